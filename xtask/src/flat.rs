//! `cargo xtask flat`: events in a stream into one record, up to a hundred million of them. It
//! fails if an event takes more processor time with many in the record than with few, or if memory
//! grows beyond a limit. Speed beside peers is `bench`'s.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use whodid_testkit::generate::{Generator, Options};

use crate::calibration::Calibration;
use crate::product::Record;
use crate::{cache, corpus, measure};

/// The calibration works on so many events.
const SAMPLE_EVENTS: u64 = 10_000;

/// Fill one record from a stream, and compare what the first events took with what the last did.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 100_000_000)]
    events: u64,
    /// What the first events are, beside spans of ten times as many.
    #[arg(long, default_value_t = 1_000_000)]
    first: u64,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The most that an event of any span may take, times what it takes in any other.
    #[arg(long, value_name = "TIMES", default_value_t = 1.2)]
    require_ratio: f64,
    /// Resident memory.
    #[arg(long, value_name = "MIB", default_value_t = 1_536)]
    require_resident_mib: u64,
    /// The negative control: of the last span every other event is not counted.
    #[arg(long = "break")]
    is_broken: bool,
}

/// What so many events took.
struct Span {
    end: u64,
    events: u64,
    cpu: Duration,
    wall: Duration,
    peak_bytes: u64,
}

impl Span {
    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.events.max(1) as f64
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = cache::folder()?.join("flat");
    let record = Record::fresh(&folder)?;
    let sample = folder.join("sample.jsonl");
    corpus::write(&sample, args.seed, SAMPLE_EVENTS, false)?;
    println!("{}", Calibration::measure(&sample, &folder)?);
    let spans = fill(args, &record)?;
    let stored = record.counts()?.get("default").copied().unwrap_or_default();
    let bytes = record.settled_bytes()? as f64 / args.events as f64;
    println!("{stored} events stored, {bytes:.1} bytes each before compaction");
    std::fs::remove_dir_all(&folder)?;
    ensure!(stored == args.events, "{stored} of {} events are stored", args.events);
    let faults = judge(args, &spans);
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Sends the stream, and looks at the program at the end of each span.
fn fill(args: &Args, record: &Record) -> anyhow::Result<Vec<Span>> {
    let mut child = record.importing("default").stdin(Stdio::piped()).spawn()?;
    let input = child.stdin.take().context("no stdin")?;
    let mut input = BufWriter::with_capacity(1 << 20, input);
    let mut generator = Generator::new(args.seed, Options::default());
    let mut spans: Vec<Span> = Vec::new();
    let (mut line, mut begin, mut cpu) = (Vec::new(), Instant::now(), Duration::ZERO);
    let mut sent = 0;
    while sent < args.events {
        let length = if spans.is_empty() { args.first } else { 10 * args.first };
        let end = ((sent / length + 1) * length).min(args.events);
        for _ in sent..end {
            line.clear();
            generator.next_into(&mut line);
            input.write_all(&line)?;
        }
        let (now, so_far) = (Instant::now(), measure::cpu_of(&child)?);
        let is_short = args.is_broken && end == args.events;
        let span = Span {
            end,
            events: if is_short { (end - sent) / 2 } else { end - sent },
            cpu: so_far.saturating_sub(cpu),
            wall: now - begin,
            peak_bytes: measure::peak_of(&child)?,
        };
        println!(
            "up to {:>11}: {:.1} µs CPU each, {:.0} events/s, {} MiB at most",
            span.end,
            span.cpu_micros(),
            span.events as f64 / span.wall.as_secs_f64(),
            span.peak_bytes >> 20
        );
        spans.push(span);
        (sent, begin, cpu) = (end, now, so_far);
    }
    input.flush()?;
    drop(input);
    let status = child.wait()?;
    ensure!(status.success(), "the import ended with {status}");
    Ok(spans)
}

fn judge(args: &Args, spans: &[Span]) -> Vec<String> {
    let mut faults = Vec::new();
    let costs = || spans.iter().map(Span::cpu_micros);
    let (least, most) = (costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max));
    println!("{} spans; dearest {most:.1} µs, cheapest {least:.1} µs an event", spans.len());
    if spans.len() < 2 {
        faults.push(format!("{} spans: there is nothing to compare", spans.len()));
    }
    if most > args.require_ratio * least {
        let times = args.require_ratio;
        faults.push(format!("{most:.1} µs is more than {times} times {least:.1} µs"));
    }
    let peak_mib = spans.iter().map(|span| span.peak_bytes >> 20).max().unwrap_or_default();
    if peak_mib > args.require_resident_mib {
        let most = args.require_resident_mib;
        faults.push(format!("{peak_mib} MiB resident, at most {most} are asked for"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_named() {
        let args = Args {
            events: 30,
            first: 10,
            seed: 1,
            require_ratio: 1.2,
            require_resident_mib: 100,
            is_broken: false,
        };
        let span = |micros: u64, mib: u64| Span {
            end: 0,
            events: 1_000,
            cpu: Duration::from_micros(1_000 * micros),
            wall: Duration::from_secs(1),
            peak_bytes: mib << 20,
        };
        assert!(judge(&args, &[span(20, 100), span(24, 90)]).is_empty());
        assert_eq!(judge(&args, &[span(20, 100), span(25, 101)]).len(), 2);
        assert_eq!(judge(&args, &[span(20, 100)]).len(), 1);
    }
}
