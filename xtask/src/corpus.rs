//! Files of generated events, and what is to be found in them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use whodid_testkit::generate::{Generator, Options};

/// What is looked for: rare, and neither in one place nor in an index.
pub(crate) const QUERY: &str = "verb:delete ns:pay-qa";

/// One event in this many is left out of a file that is broken on purpose.
const LEFT_OUT_ONE_IN: u64 = 10_000;

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Corpus {
    /// Lines, those that are sent again included.
    pub(crate) events: u64,
    /// Requests that [`QUERY`] finds.
    pub(crate) found: u64,
}

impl std::ops::AddAssign for Corpus {
    fn add_assign(&mut self, other: Corpus) {
        self.events += other.events;
        self.found += other.found;
    }
}

/// Writes `events` lines to a file, and counts what is in them. If it `is_broken`, some are
/// counted and not written.
pub(crate) fn write(
    path: &Path,
    seed: u64,
    events: u64,
    is_broken: bool,
) -> anyhow::Result<Corpus> {
    let options = Options::default();
    // What other seeds give happened at other times.
    let seconds = seed.wrapping_mul(events) / 400;
    let start_micros = options.start_micros + i64::try_from(seconds)? * 1_000_000;
    let mut generator = Generator::new(seed, Options { start_micros, ..options });
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut found = HashSet::new();
    let mut line = Vec::new();
    for number in 1..=events {
        line.clear();
        generator.next_into(&mut line);
        found.extend(audit_id_if_found(&line));
        if !is_broken || !number.is_multiple_of(LEFT_OUT_ONE_IN) {
            out.write_all(&line)?;
        }
    }
    out.flush()?;
    Ok(Corpus { events, found: found.len() as u64 })
}

/// The audit ID of an event that [`QUERY`] finds.
fn audit_id_if_found(line: &[u8]) -> Option<String> {
    // Parsing every event would take longer than generating it.
    let text = str::from_utf8(line).ok().filter(|line| line.contains("\"verb\":\"delete\""))?;
    let event: Value = serde_json::from_str(text).ok()?;
    let is = |path, value| event.pointer(path).and_then(Value::as_str) == Some(value);
    let is_found = is("/verb", "delete") && is("/objectRef/namespace", "pay-qa");
    event.get("auditID")?.as_str().filter(|_| is_found).map(str::to_owned)
}
