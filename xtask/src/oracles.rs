//! `cargo xtask oracles`: verifiers of transparency logs that others wrote have to accept what
//! `whodid_tlog` makes, checkpoints, proofs and tiles, and to refuse it with any byte flipped.
//!
//! They are the Go modules and Python packages of `testbed/oracle`, a crate, and Tessera's `fsck`.
//! What is asked is in `cases`, what has to be answered in `judge` and `rule`. How the product
//! keeps a log, and gives proofs away, is left to its own tests.

use std::process::Command;
use std::thread;

use anyhow::anyhow;
use clap::ValueEnum;
use whodid_testkit::generate::Random;

mod ask;
mod build;
mod cases;
pub(crate) mod fsck;
mod judge;
mod log;
mod native;
mod request;
mod rule;

pub(crate) use build::fsck as build_fsck;
use cases::Case;
use judge::{Oracle, Tally};
use log::{Keys, Log};
use native::Native;

/// What is drawn at random is the same in every run.
const SEED: u64 = 20_261_125;

const GO: [Oracle; 2] = [Oracle::XMod, Oracle::TransparencyDev];
const PYTHON: [Oracle; 2] = [Oracle::Proofbundle, Oracle::Pymerkle];

/// Let verifiers that others wrote look at our proofs.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// The negative control: do one thing wrong. It has to end in red.
    #[arg(long = "break", value_name = "KIND")]
    broken: Option<Break>,
}

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Break {
    /// One verdict in 10,000 is taken for an acceptance.
    Accept,
    /// One verdict in 10,000 gets lost.
    Lose,
    /// One flip in 10,000 is not made.
    Flip,
    /// One good proof in 100 has a bit flipped.
    Proof,
    /// The bytes that `fsck` has to find are not changed.
    Log,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let programs = build::build()?;
    let mut random = Random::new(SEED);
    let log = Log::new(&mut random)?;
    let folder = programs.folder.join("log");
    log.write(&folder)?;
    let cases = cases::all(&log, &folder, random.clone(), args.broken)?;
    println!("{} questions about trees of {:?} leaves", cases.len(), log.sizes);
    let native = Native::new(&log)?;
    let new = || Tally::new(args.broken);
    let tally = thread::scope(|scope| {
        let go =
            scope.spawn(|| ask_program(Command::new(&programs.go), &GO, &log.keys, &cases, new()));
        let python =
            scope.spawn(|| ask_program(programs.python(), &PYTHON, &log.keys, &cases, new()));
        let mut tally = new();
        for case in &cases {
            tally.add(case, &native::ORACLES, native.ask(&case.request));
        }
        for thread in [go, python] {
            tally.merge(thread.join().map_err(|_| anyhow!("a thread has panicked"))??);
        }
        anyhow::Ok(tally)
    })?;
    print!("{}", tally.table());
    tally.finish()?;
    fsck::check(&programs, &log, &folder, &mut random, args.broken)
}

fn ask_program(
    program: Command,
    oracles: &[Oracle],
    keys: &Keys,
    cases: &[Case],
    mut tally: Tally,
) -> anyhow::Result<Tally> {
    ask::ask(program, keys, cases.iter(), |case, said| tally.add(case, oracles, said))?;
    Ok(tally)
}
