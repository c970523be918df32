//! `cargo xtask bench`: imports a million events, compacts and queries them, beside ClickHouse with
//! the same file in the same run, and fails if the import is slower or bigger than it may be.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::calibration::Calibration;
use crate::measure::{self, Usage};
use crate::product::Record;
use crate::{cache, corpus, repository};

/// Resident memory during the import, in bytes.
const PEAK_BYTES_MAX: u64 = 1 << 30;

/// What the peer is made of.
const PEER: [&str; 2] = ["chdb==4.4.0", "chdb-core==26.9.0"];

/// Measure the import of many events, and a peer with the same.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Of the generator.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Fail below this speed; what no machine reaches is the negative control.
    #[arg(long, value_name = "EVENTS", default_value_t = 40_000)]
    require_events_per_second: u64,
    /// Fail if the tree, the commitments and the signatures take more of an event, in nanoseconds.
    #[arg(long, value_name = "NS", default_value_t = 2_500)]
    require_ledger_ns: u64,
    /// Fail if a core verifies fewer events in a second.
    #[arg(long, value_name = "EVENTS", default_value_t = 60_000)]
    require_verified_per_second: u64,
    /// Measure only ourselves.
    #[arg(long)]
    without_peer: bool,
}

/// The figures of one of the two.
struct Figures {
    name: &'static str,
    import: Usage,
    imported_bytes: u64,
    settle: Usage,
    settled_bytes: u64,
    queries: Vec<Duration>,
    /// Of us alone.
    verify: Option<Usage>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = cache::folder()?.join("bench");
    let record = Record::fresh(&folder)?;
    let file = folder.join("events.jsonl");
    let corpus = corpus::write(&file, args.seed, args.events, false)?;
    let calibration = Calibration::measure(&file, &folder)?;
    println!("{calibration}");
    let ours = ours(&record, &file, corpus)?;
    let peer = (!args.without_peer).then(|| peer(&folder, &file)).transpose()?;
    fs::remove_file(&file)?;
    let both: Vec<&Figures> = std::iter::once(&ours).chain(&peer).collect();
    println!("\n{} events, seed {}; {calibration}\n", args.events, args.seed);
    println!("{}", table(&both, args.events));
    let speed = per_second(args.events, ours.import.wall);
    let least = args.require_events_per_second;
    ensure!(speed >= least, "{speed} events/s, at least {least} are asked for");
    let ledger = u64::try_from(ours.import.ledger.as_nanos())? / args.events;
    let most = args.require_ledger_ns;
    ensure!(ledger > 0 && ledger <= most, "the ledger took {ledger} ns an event, at most {most}");
    let verified = per_second(args.events, ours.verify.unwrap_or_default().cpu);
    let least = args.require_verified_per_second;
    ensure!(verified >= least, "{verified} events/s verified, at least {least} are asked for");
    let peak = ours.import.peak_bytes;
    ensure!(peak < PEAK_BYTES_MAX, "{peak} bytes resident, fewer than {PEAK_BYTES_MAX} asked for");
    Ok(())
}

fn ours(record: &Record, file: &Path, corpus: corpus::Corpus) -> anyhow::Result<Figures> {
    let import = record.import(file, "default")?;
    let imported_bytes = record.settled_bytes()?;
    let (settle, _) = record.run(&["compact"])?;
    let settled_bytes = record.settled_bytes()?;
    let (found, rare) = record.search("default")?;
    ensure!(found == corpus.found, "{found} of {} requests found", corpus.found);
    let (word, _) = record.run(&["search", "body:hostPID", "--limit", "0", "-o", "name"])?;
    let queries = vec![rare, word.wall];
    let (verify, verified) = record.run(&["verify"])?;
    ensure!(verified.contains(&format!("read {} events", corpus.events)), "{verified}");
    let verify = Some(verify);
    Ok(Figures { name: "whodid", import, imported_bytes, settle, settled_bytes, queries, verify })
}

fn peer(folder: &Path, file: &Path) -> anyhow::Result<Figures> {
    let python = cache::python(&PEER)?;
    let data = folder.join("clickhouse");
    if data.try_exists()? {
        fs::remove_dir_all(&data)?;
    }
    let script = repository::root().join("bench/clickhouse.py");
    let run = |action: &str, file: Option<&Path>| {
        let mut command = Command::new(&python);
        command.arg(&script).arg(action).arg(&data).args(file);
        measure::run(&mut command, folder)
    };
    let (import, imported) = run("load", Some(file))?;
    let (settle, settled) = run("settle", None)?;
    let (_, millis) = run("query", None)?;
    let bytes = |printed: String| printed.trim().parse().context("the peer printed no number");
    let millis = millis.lines().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    Ok(Figures {
        name: "ClickHouse (chdb)",
        import,
        imported_bytes: bytes(imported)?,
        settle,
        settled_bytes: bytes(settled)?,
        queries: millis.into_iter().map(|millis| Duration::from_secs_f64(millis / 1e3)).collect(),
        verify: None,
    })
}

/// A row of the table: what it is, and how to read it from the figures of one.
type Row = (&'static str, fn(&Figures, u64) -> String);

const ROWS: [Row; 11] = [
    ("import, events/s", |it, events| per_second(events, it.import.wall).to_string()),
    ("import, CPU µs per event", |it, events| per_event(it.import.cpu, events)),
    ("of it tree, commitments and signing", |it, events| own(it.verify, it.import.ledger, events)),
    ("import, peak resident MiB", |it, _| (it.import.peak_bytes >> 20).to_string()),
    ("bytes per event, as imported", |it, events| ratio(it.imported_bytes, events)),
    ("compaction, CPU µs per event", |it, events| per_event(it.settle.cpu, events)),
    ("compaction, peak resident MiB", |it, _| (it.settle.peak_bytes >> 20).to_string()),
    ("bytes per event, compacted", |it, events| ratio(it.settled_bytes, events)),
    ("deletions in a namespace, ms, cold", |it, _| millis(it.queries.first())),
    ("a rare word in bodies, ms, cold", |it, _| millis(it.queries.get(1))),
    ("verify, CPU µs per event", |it, events| {
        own(it.verify, it.verify.unwrap_or_default().cpu, events)
    }),
];

fn table(all: &[&Figures], events: u64) -> String {
    let line = |first: &str, cells: Vec<String>| format!("| {first} | {} |", cells.join(" | "));
    let names = all.iter().map(|it| it.name.to_owned()).collect();
    let mut lines = vec![line("", names), "|---".repeat(all.len() + 1) + "|"];
    for (what, cell) in ROWS {
        lines.push(line(what, all.iter().map(|it| cell(it, events)).collect()));
    }
    lines.join("\n")
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a speed, rounded down"
)]
fn per_second(events: u64, wall: Duration) -> u64 {
    (events as f64 / wall.as_secs_f64()) as u64
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(total: u64, events: u64) -> String {
    format!("{:.1}", total as f64 / events as f64)
}

fn per_event(cpu: Duration, events: u64) -> String {
    ratio(u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), events)
}

/// What only we do.
fn own(verify: Option<Usage>, cpu: Duration, events: u64) -> String {
    verify.map_or_else(|| "-".to_owned(), |_| per_event(cpu, events))
}

fn millis(time: Option<&Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.as_millis().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_column_for_each() {
        let usage = |millis, peak_bytes| Usage {
            wall: Duration::from_millis(millis),
            cpu: Duration::from_millis(2 * millis),
            peak_bytes,
            ledger: Duration::from_millis(millis / 10),
        };
        let figures = |name| Figures {
            name,
            import: usage(20, 5 << 20),
            imported_bytes: 100_000,
            settle: usage(10, 6 << 20),
            settled_bytes: 55_555,
            queries: vec![Duration::from_millis(7)],
            verify: None,
        };
        let table = table(&[&figures("a"), &figures("b")], 1_000);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[..2], ["|  | a | b |", "|---|---|---|"]);
        assert_eq!(lines[2], "| import, events/s | 50000 | 50000 |");
        assert_eq!(lines[3], "| import, CPU µs per event | 40.0 | 40.0 |");
        assert_eq!(lines[9], "| bytes per event, compacted | 55.6 | 55.6 |");
        assert!(lines[11].ends_with("| - | - |"));
    }
}
