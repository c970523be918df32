//! `cargo xtask bench`: a corpus is taken in, settles and is asked about, by us and by peers with
//! the same file in the same run. Answers are compared before times count. It fails where a bar is
//! missed that was asked for; how peers work is in `bench::peers`.

use std::fs;
use std::time::Duration;

use anyhow::ensure;

use crate::calibration::Calibration;
use crate::measure::Usage;
use crate::product::Record;
use crate::{cache, command, corpus, repository};

mod corpora;
mod peers;
mod questions;

use peers::{Answer, Figures, Peer, Task, Webhook};

/// Resident memory during the import, in bytes.
const PEAK_BYTES_MAX: u64 = 1 << 30;

/// What `--large` takes in.
const LARGE_EVENTS: u64 = 10_000_000;

/// Measure the product and its peers on the same events.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Ten million events.
    #[arg(long, conflicts_with = "events")]
    large: bool,
    /// Of the generator, and of what is asked about.
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
    /// Fail if a question takes longer than the fastest peer that keeps the data queryable.
    #[arg(long)]
    require_fastest: bool,
    /// Who takes part beside us; everybody if left out.
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// Measure only ourselves.
    #[arg(long, conflicts_with = "peer")]
    without_peer: bool,
    /// The negative control: what is said has to be noticed.
    #[arg(long = "break", value_name = "WHAT")]
    broken: Option<Broken>,
    /// Write the tables to `bench/RESULTS.md`, those of `--large` to `bench/RESULTS-large.md`.
    #[arg(long)]
    save: bool,
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Broken {
    /// A line is left out of one of our answers.
    Answer,
    /// One event in 10,000 is lost on its way over the webhook.
    Event,
}

impl Args {
    fn peers(&self) -> Vec<Peer> {
        if self.without_peer {
            return Vec::new();
        }
        match self.peer.as_slice() {
            [] => vec![Peer::VictoriaLogs, Peer::Clickhouse, Peer::Duckdb, Peer::Zstd],
            chosen => chosen.to_vec(),
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = cache::folder()?.join("bench");
    let record = Record::fresh(&folder)?;
    let file = folder.join("events.jsonl");
    let events = if args.large { LARGE_EVENTS } else { args.events };
    let mut corpus = corpus::write(&file, args.seed, events, false)?;
    corpus.events += questions::plant(&file, args.seed)?;
    let literals = questions::draw(&file, args.seed)?.to_string();
    println!("asked about {literals}");
    let calibration = Calibration::measure(&file, &folder)?;
    println!("{calibration}");
    let lose = if args.broken == Some(Broken::Event) { 10_000 } else { 0 };
    let task = Task { folder: &folder, file: &file, literals: &literals, lose };
    let mut all = vec![peers::ours(&record, &task, corpus)?];
    if args.broken == Some(Broken::Answer) {
        drop_a_line(&mut all);
    }
    for peer in args.peers() {
        all.push(peers::run(peer, &task)?);
    }
    fs::remove_file(&file)?;
    let events = corpus.events;
    let mut tables = format!("{}\n\n{}", table(&all, events), asked(&all));
    if args.peers().contains(&Peer::VictoriaLogs) {
        let sizes = corpora::measure(record.program(), &folder)?;
        tables = format!("{tables}\n\n{}", corpora::table(&sizes));
    }
    println!("\n{events} events, seed {}; {calibration}\n\n{tables}", args.seed);
    if args.save {
        save(args, events, &calibration, &tables)?;
    }
    compare(&all)?;
    check(args, &all, events)
}

/// The control of the comparison.
fn drop_a_line(all: &mut [Figures]) {
    let answers = all.iter_mut().flat_map(|it| it.answers.iter_mut().flatten());
    let longest = answers.max_by_key(|answer| answer.answer.len());
    longest.and_then(|answer| answer.answer.pop());
}

/// All that answer have to say the same.
fn compare(all: &[Figures]) -> anyhow::Result<()> {
    let mut compared = 0;
    let mut faults = Vec::new();
    for (question, title) in questions::TITLES.iter().enumerate() {
        let said = |it: &Figures| it.answers.get(question).cloned().flatten();
        let given: Vec<(&str, Answer)> =
            all.iter().filter_map(|it| Some((it.name, said(it)?))).collect();
        // Who only counts lines of a file gives none.
        let mut given = given.iter().filter(|(_, said)| said.answer != [""; 0] || question == 10);
        let Some((first, one)) = given.next() else { continue };
        for (name, other) in given.filter(|(name, _)| !name.starts_with("zstd")) {
            compared += 1;
            if one.answer != other.answer {
                let lines = [one.answer.len(), other.answer.len()];
                faults.push(format!("{title}: {first} and {name} differ, {lines:?} lines"));
            }
        }
    }
    println!("{compared} answers of peers compared with ours");
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn check(args: &Args, all: &[Figures], events: u64) -> anyhow::Result<()> {
    let Some((ours, peers)) = all.split_first() else { return Ok(()) };
    let speed = per_second(events, ours.import.wall);
    let least = args.require_events_per_second;
    ensure!(speed >= least, "{speed} events/s, at least {least} are asked for");
    let ledger = u64::try_from(ours.import.ledger.as_nanos())? / events;
    let most = args.require_ledger_ns;
    ensure!(ledger > 0 && ledger <= most, "the ledger took {ledger} ns an event, at most {most}");
    let verified = per_second(events, ours.verify.unwrap_or_default().cpu);
    let least = args.require_verified_per_second;
    ensure!(verified >= least, "{verified} events/s verified, at least {least} are asked for");
    let peak = ours.import.peak_bytes;
    ensure!(peak < PEAK_BYTES_MAX, "{peak} bytes resident, fewer than {PEAK_BYTES_MAX} asked for");
    if args.require_fastest {
        let slow: Vec<&str> = (0..questions::COUNT)
            .filter(|question| {
                let fastest = fastest(peers, *question);
                fastest.is_some_and(|fastest| warm(ours, *question) > Some(fastest))
            })
            .filter_map(|question| questions::TITLES.get(question).copied())
            .collect();
        ensure!(slow.is_empty(), "a peer is faster at {}", slow.join(", "));
    }
    Ok(())
}

fn warm(it: &Figures, question: usize) -> Option<f64> {
    it.answers.get(question)?.as_ref().map(Answer::warm)
}

/// The fastest of those that keep the data queryable.
fn fastest(peers: &[Figures], question: usize) -> Option<f64> {
    let keep =
        peers.iter().filter(|it| it.import.wall > Duration::ZERO && !it.name.contains("zstd"));
    keep.filter_map(|it| warm(it, question)).min_by(f64::total_cmp)
}

/// The questions, and how long each took: warm, and in parentheses the first time.
fn asked(all: &[Figures]) -> String {
    let names = all.iter().map(|it| it.name.to_owned());
    let titles: Vec<String> = names.chain(["us : the fastest peer".to_owned()]).collect();
    let mut lines = vec![line("ms, warm (cold)", &titles), "|---".repeat(all.len() + 2) + "|"];
    let mut product = (0.0, 0_u32);
    for (question, title) in questions::TITLES.iter().enumerate() {
        let cell = |it: &Figures| match it.answers.get(question).and_then(Option::as_ref) {
            Some(answer) => format!("{:.1} ({:.1})", answer.warm(), answer.cold()),
            None => "-".to_owned(),
        };
        let mut cells: Vec<String> = all.iter().map(cell).collect();
        let ours = all.first().and_then(|it| warm(it, question));
        let ratio = ours.zip(fastest(all.get(1..).unwrap_or_default(), question));
        cells.push(ratio.map_or_else(|| "-".to_owned(), |(us, peer)| format!("{:.2}", us / peer)));
        if let Some(ratio) = ours.zip(all.get(1).and_then(|it| warm(it, question))) {
            product = (product.0 + (ratio.1 / ratio.0).ln(), product.1 + 1);
        }
        lines.push(line(title, &cells));
    }
    if product.1 > 0 {
        let mean = (product.0 / f64::from(product.1)).exp();
        let name = all.get(1).map_or("", |it| it.name);
        lines.push(format!("\nGeometric mean: {mean:.2} times as fast as {name}."));
    }
    lines.join("\n")
}

fn line(first: &str, cells: &[String]) -> String {
    format!("| {first} | {} |", cells.join(" | "))
}

fn save(args: &Args, events: u64, calibration: &Calibration, tables: &str) -> anyhow::Result<()> {
    let today = command::output(std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let (file, events_asked) = if args.large {
        ("RESULTS-large.md", "--large".to_owned())
    } else {
        ("RESULTS.md", format!("--events {}", args.events))
    };
    let peers = args.peer.iter().filter_map(clap::ValueEnum::to_possible_value);
    let peers: String = peers.map(|peer| format!(" --peer {}", peer.get_name())).collect();
    let text = format!(
        "# Results\n\n{}, {events} events, seed {}; {calibration}; by\n\
         `cargo xtask bench {events_asked}{peers} --save`.\n\n{tables}\n",
        today.trim(),
        args.seed
    );
    Ok(fs::write(repository::root().join("bench").join(file), text)?)
}

/// A row of the table: what it is, and how to read it from the figures of one.
type Row = (&'static str, fn(&Figures, u64) -> String);

const ROWS: [Row; 15] = [
    ("import, events/s", |it, events| {
        taken(&it.import, per_second(events, it.import.wall).to_string())
    }),
    ("import, CPU µs per event", |it, events| taken(&it.import, per_event(it.import.cpu, events))),
    ("of it tree, commitments and signing", |it, events| own(it.verify, it.import.ledger, events)),
    ("import, peak resident MiB", |it, _| {
        taken(&it.import, (it.import.peak_bytes >> 20).to_string())
    }),
    ("webhook with TLS, lists of 400, events/s", |it, events| {
        webhook(it, |webhook| per_second(events, webhook.usage.wall).to_string())
    }),
    ("webhook, CPU µs per event", |it, events| {
        webhook(it, |webhook| per_event(webhook.usage.cpu, events))
    }),
    ("webhook, answer p99, ms", |it, _| {
        webhook(it, |webhook| format!("{:.0}", webhook.answer_p99))
    }),
    ("webhook, peak resident MiB", |it, _| {
        webhook(it, |webhook| (webhook.usage.peak_bytes >> 20).to_string())
    }),
    ("bytes per event, as imported", |it, events| ratio(it.imported_bytes, events)),
    ("compaction, CPU µs per event", |it, events| {
        taken(&it.settle, per_event(it.settle.cpu, events))
    }),
    ("compaction, peak resident MiB", |it, _| {
        taken(&it.settle, (it.settle.peak_bytes >> 20).to_string())
    }),
    ("bytes per event, compacted", |it, events| ratio(it.settled_bytes, events)),
    ("deletions in a namespace, a program for it, ms", |it, _| millis(it.started.first())),
    ("a word in bodies, a program for it, ms", |it, _| millis(it.started.get(1))),
    ("verify, CPU µs per event", |it, events| {
        own(it.verify, it.verify.unwrap_or_default().cpu, events)
    }),
];

/// Of what somebody does not do there is no figure.
fn taken(usage: &Usage, figure: String) -> String {
    if usage.wall.is_zero() { "-".to_owned() } else { figure }
}

fn table(all: &[Figures], events: u64) -> String {
    let names: Vec<String> = all.iter().map(|it| it.name.to_owned()).collect();
    let mut lines = vec![line("", &names), "|---".repeat(all.len() + 1) + "|"];
    for (what, cell) in ROWS {
        let cells: Vec<String> = all.iter().map(|it| cell(it, events)).collect();
        lines.push(line(what, &cells));
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
    (events as f64 / wall.as_secs_f64().max(1e-9)) as u64
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(total: u64, events: u64) -> String {
    format!("{:.1}", total as f64 / events as f64)
}

fn per_event(cpu: Duration, events: u64) -> String {
    ratio(u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX), events)
}

fn webhook(it: &Figures, figure: impl Fn(Webhook) -> String) -> String {
    it.webhook.map_or_else(|| "-".to_owned(), figure)
}

/// What only we do.
fn own(verify: Option<Usage>, cpu: Duration, events: u64) -> String {
    verify.map_or_else(|| "-".to_owned(), |_| per_event(cpu, events))
}

fn millis(time: Option<&f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"))
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
            started: vec![7.0],
            ..Figures::default()
        };
        let table = table(&[figures("a"), figures("b")], 1_000);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[..2], ["|  | a | b |", "|---|---|---|"]);
        assert_eq!(lines[2], "| import, events/s | 50000 | 50000 |");
        assert_eq!(lines[3], "| import, CPU µs per event | 40.0 | 40.0 |");
        assert_eq!(lines[13], "| bytes per event, compacted | 55.6 | 55.6 |");
        assert!(lines[4].ends_with("| - | - |") && lines[15].ends_with("| - | - |"));
    }
}
