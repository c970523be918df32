//! `cargo xtask tail`: a log is written and rotated while `whodid ship` follows it, is killed, is
//! stopped for a while, or finds no server. Every line has to be in the record once; where one
//! cannot be, because its file was deleted unread, the record has to say so.

use std::fmt::Write;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use clap::ValueEnum;

use crate::cache;
use crate::product::{Record, Server};

mod history;
mod loss;
mod scenario;
mod ship;
mod stored;
mod writer;

use ship::Ship;
use stored::Stored;
use writer::{KINDS, Plan, Signals, Written};

/// The cluster of all events.
const CLUSTER: &str = "tailed";

/// Nothing more is expected when nothing has come for so long; a file counts as done only some
/// seconds after the last line was written to it, and only then is it on record what it lacks.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// How often it is looked what the record has.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Write and rotate a log, and see that every line of it comes into the record once.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the log is written while the program is killed.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// Lines in a second.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// How often the program is killed.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// How often the program is stopped while files are deleted.
    #[arg(long, default_value_t = 8)]
    stops: u32,
    /// How long the server is away.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    outage_seconds: u64,
    /// Resident memory of the program.
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    require_resident_mib: u64,
    /// What is drawn at random; printed, to do the same again.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this.
    #[arg(long)]
    only: Option<Scenario>,
    /// The negative control: one line in 10,000 is not written, or one gap is overlooked. It has to
    /// end in red.
    #[arg(long = "break")]
    is_broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// The program is killed while files are renamed, copied, cut and packed.
    Rotation,
    /// The program is stopped while files are deleted.
    Loss,
    /// The server is stopped.
    Outage,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let program = Record::build()?;
    let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("--seed {seed}");
    let mut faults = Vec::new();
    for scenario in Scenario::value_variants() {
        if args.only.is_some_and(|only| only != *scenario) {
            continue;
        }
        let name = format!("{scenario:?}").to_lowercase();
        let stand = Stand::new(args, program.clone(), &name, seed)?;
        let found = match scenario {
            Scenario::Rotation => scenario::rotation(&stand),
            Scenario::Loss => scenario::loss(&stand),
            Scenario::Outage => scenario::outage(&stand),
        };
        let kept = stand.folder.display().to_string();
        let found = found.map_err(|error| error.context(format!("{name}, in {kept}")))?;
        if found.is_empty() {
            fs::remove_dir_all(&stand.folder)?;
        } else {
            println!("kept to be looked at: {kept}");
        }
        faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A record, a log beside it, and the programs between them.
struct Stand<'a> {
    args: &'a Args,
    seed: u64,
    folder: PathBuf,
    record: Record,
}

impl<'a> Stand<'a> {
    fn new(args: &'a Args, program: PathBuf, name: &str, seed: u64) -> anyhow::Result<Self> {
        println!("\n{name}");
        let folder = cache::folder()?.join("tail").join(name);
        if folder.try_exists()? {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("log"))?;
        Ok(Stand { args, seed, record: Record::of(program, &folder)?, folder })
    }

    fn ship(&self, server: &Server) -> anyhow::Result<Ship> {
        let create = ["ingest", "token", "create", CLUSTER, "--source", "control-plane-1"];
        let (_, token) = self.record.run(&create)?;
        let command = self.record.ship(server, token.trim_end(), CLUSTER, &self.log());
        Ship::start(command, &self.folder.join("ship.log"))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log/audit.log")
    }

    /// Lets the log be written for as long as `drive` takes.
    fn under_load<T>(
        &self,
        plan: &Plan,
        drive: impl FnOnce(&Signals) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Written, T)> {
        let (log, signals) = (self.log(), Signals::default());
        thread::scope(|scope| {
            let writer = scope.spawn(|| writer::write(&log, plan, &signals));
            let driven = drive(&signals);
            signals.is_over.store(true, Ordering::Relaxed);
            let written = writer.join().map_err(|_| anyhow!("the writer has panicked"))?;
            Ok((written?, driven?))
        })
    }

    /// How many lines are in the record.
    fn stored(&self) -> anyhow::Result<u64> {
        self.total("events")
    }

    fn total(&self, what: &str) -> anyhow::Result<u64> {
        Ok(self.record.totals(what)?.get(CLUSTER).copied().unwrap_or_default())
    }

    /// Waits until so many lines are in the record, or no more come; returns how long that took.
    fn settle(&self, lines: u64) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let (mut stored, mut moved) = (self.stored()?, Instant::now());
        while stored < lines && moved.elapsed() < IDLE_MAX {
            thread::sleep(LOOK_EVERY);
            let now_stored = self.stored()?;
            if now_stored != stored {
                (stored, moved) = (now_stored, Instant::now());
            }
        }
        Ok(begin.elapsed())
    }

    /// Reads back what is stored, and prints what was written and what became of it.
    fn compare(&self, written: &Written, ship: &Ship) -> anyhow::Result<Stored> {
        let stored = Stored::read(&self.record, CLUSTER, written)?;
        let rotations = KINDS.iter().zip(written.rotations);
        let rotations = rotations.fold(String::new(), |mut text, (kind, count)| {
            // Writing into memory does not fail.
            let _written = write!(text, ", {kind:?} {count}");
            text
        });
        let (lines, halves) = (written.lines.len(), written.halves);
        println!("{lines} lines, {halves} of them in two halves; rotated{rotations}");
        let (missing, twice, others) = (stored.missing(), stored.twice(), stored.others.len());
        println!("missing {missing}, twice {twice}, never written {others}");
        println!("`whodid ship`: {} MiB resident at most", ship.peak_bytes() >> 20);
        Ok(stored)
    }

    /// What holds of every scenario.
    fn faults(&self, written: &Written, ship: &Ship, plan: &Plan) -> anyhow::Result<Vec<String>> {
        let mut faults = Vec::new();
        for what in ["duplicates", "conflicts"] {
            let count = self.total(what)?;
            if count > 0 {
                faults.push(format!("{count} {what} on record"));
            }
        }
        let (peak, most) = (ship.peak_bytes(), self.args.require_resident_mib);
        if peak > most << 20 {
            let mib = peak >> 20;
            faults.push(format!("`whodid ship`: {mib} MiB resident, at most {most} are asked for"));
        }
        let seconds = written.lines.len() as u64 / self.args.rate;
        let rotations: u32 = written.rotations.iter().sum();
        if u64::from(rotations) < seconds / plan.rotate_every.as_secs().max(1) / 2 {
            faults.push(format!("only {rotations} rotations in {seconds} seconds"));
        }
        for (kind, count) in KINDS.iter().zip(written.rotations) {
            if count == 0 {
                faults.push(format!("it was never rotated by {kind:?}"));
            }
        }
        Ok(faults)
    }
}
