//! As many audit events as wanted, the same for the same seed: captured events with their
//! identities (audit IDs, UIDs, times, pods, nodes, namespaces, people, addresses, resource
//! versions) redrawn from pools that churn slowly, so that cardinalities and repetition are those
//! of a cluster of 120 nodes rather than of one small capture.
//!
//! It writes lines of a log file and knows nothing of how they are sent.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::LazyLock;

use crate::captures;

mod draw;
mod random;
mod template;
#[cfg(test)]
mod tests;

use draw::Cluster;
pub use random::Random;
use template::{Template, members};

/// One request in this many is logged when it is received, too.
const RECEIVED_ONE_IN: usize = 10;
/// One line in this many is sent again.
const RESENT_ONE_IN: usize = 100;
/// A line is sent again within this many lines.
const RESENT_WITHIN: usize = 2_000;
/// One line in this many is odd.
const ODD_ONE_IN: usize = 1_000;
/// The pools change a little after this many requests.
const CHURN_EVERY: u64 = 5_000;

static TEMPLATES: LazyLock<Vec<Template>> =
    LazyLock::new(|| captures::typical().iter().map(|line| Template::cut(line)).collect());

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// When the first request is received, in microseconds since 1970.
    pub start_micros: i64,
    /// How many requests are received in a second of the events' own time.
    pub events_per_second: f64,
    /// Whether 1 % of the lines come again, byte for byte, within the next 2,000.
    pub resent: bool,
    /// Whether 0.1 % of the lines are odd: another order of members, no stage, cut off, no JSON.
    pub odd: bool,
}

impl Default for Options {
    /// Five hundred requests a second from the first of November 2026 on, some sent again.
    fn default() -> Self {
        let start_micros = 1_793_491_200_000_000;
        Options { start_micros, events_per_second: 500.0, resent: true, odd: false }
    }
}

/// A source of audit events without end.
#[derive(Debug)]
pub struct Generator {
    options: Options,
    random: Random,
    cluster: Cluster,
    requests: u64,
    lines: usize,
    /// The answer to a request whose receipt was the last line.
    answer: Option<Vec<u8>>,
    /// Lines to send again, and before which line.
    again: BinaryHeap<Reverse<(usize, Vec<u8>)>>,
}

impl Generator {
    /// A generator that writes the same lines for the same arguments.
    pub fn new(seed: u64, options: Options) -> Generator {
        let mut random = Random::new(seed);
        let cluster = Cluster::new(&mut random, options.start_micros);
        let again = BinaryHeap::new();
        Generator { options, random, cluster, requests: 0, lines: 0, answer: None, again }
    }

    /// Appends one line with its line end.
    pub fn next_into(&mut self, out: &mut Vec<u8>) {
        self.lines += 1;
        if self.again.peek().is_some_and(|Reverse((due, _))| *due <= self.lines) {
            let Reverse((_, line)) = self.again.pop().expect("it was seen");
            out.extend_from_slice(&line);
            return;
        }
        let start = out.len();
        self.event_into(out);
        out.push(b'\n');
        if self.options.odd && self.random.one_in(ODD_ONE_IN) {
            make_odd(out, start, self.random.below(4));
        }
        if self.options.resent && self.random.one_in(RESENT_ONE_IN) {
            let due = self.lines + 1 + self.random.below(RESENT_WITHIN);
            self.again.push(Reverse((due, out[start..].to_vec())));
        }
    }

    fn event_into(&mut self, out: &mut Vec<u8>) {
        if let Some(answer) = self.answer.take() {
            return out.extend_from_slice(&answer);
        }
        let template = &TEMPLATES[self.random.below(TEMPLATES.len())];
        self.cluster.next_request(&mut self.random, self.options.events_per_second, template);
        match &template.received {
            Some(received) if self.random.one_in(RECEIVED_ONE_IN) => {
                self.cluster.write(received, out);
                let mut answer = Vec::with_capacity(template.answered.text.len());
                self.cluster.write(&template.answered, &mut answer);
                self.answer = Some(answer);
            }
            _ => self.cluster.write(&template.answered, out),
        }
        self.requests += 1;
        if self.requests.is_multiple_of(CHURN_EVERY) {
            self.cluster.churn(&mut self.random);
        }
    }
}

/// Spoils the line from `start` on in one of four ways.
fn make_odd(out: &mut Vec<u8>, start: usize, way: usize) {
    let line = String::from_utf8(out.split_off(start)).expect("events are UTF-8");
    let parts = members(line.trim_end());
    let odd = match way {
        0 => object(parts.into_iter().rev()),
        1 => object(parts.into_iter().filter(|member| !member.starts_with("\"stage\":"))),
        2 => parts[..parts.len() / 2].join(",").replacen('"', "{\"", 1),
        _ => "I1101 00:00:00.000000       1 audit.go:1] a line of another log".to_owned(),
    };
    out.extend_from_slice(odd.as_bytes());
    out.push(b'\n');
}

fn object<'m>(members: impl Iterator<Item = &'m str>) -> String {
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
