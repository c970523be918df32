//! `cargo xtask e2e`: a real control plane, kubectl at work, and the product that records it, once
//! with values taken out and once without. Every event has to be what its act should have caused,
//! every byte has to come back, and everybody has to count the same.
//!
//! The control plane is [`crate::testbed`]; what is done is in `acts`, what is judged in
//! `attribution`, `bytes` and `counts`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::builder::PossibleValuesParser;

use crate::product::Record;
use crate::{cache, testbed};

mod acts;
mod attribution;
mod bytes;
mod counts;
mod expected;
mod kept;
mod perform;
mod report;
mod run;
mod sabotage;

use kept::{Run, SET_UPS};
use run::Place;
use sabotage::Break;

/// Record what people do to a real control plane, and compare every event and every byte.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The release of Kubernetes.
    #[arg(long, value_name = "MINOR", default_value = testbed::build::MINORS[0],
          value_parser = PossibleValuesParser::new(testbed::build::MINORS))]
    pub(crate) kubernetes: String,
    /// The negative control: judge a kept run with one thing wrong. It has to end in red.
    #[arg(long = "break", value_name = "KIND")]
    broken: Option<Break>,
    /// The program to test, instead of one that is built.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Args {
    /// What the test part runs.
    pub(crate) fn of(kubernetes: &str) -> Args {
        Args { kubernetes: kubernetes.to_owned(), broken: None, program: None }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut runs = match args.broken {
        Some(_) => kept_or_new(args)?,
        None => anew(args)?,
    };
    if let Some(kind) = args.broken {
        let faults = judge(&runs, Judging::Silently)?;
        ensure!(faults.is_empty(), "what is kept is red as it is; run this without --break first");
        let first = runs.first_mut().context("nothing is kept")?;
        let done = sabotage::apply(kind, first)?;
        println!("broken, of the {} policy: {}", first.set_up.name, report::cut(&done, 300));
    }
    let faults = judge(&runs, Judging::Aloud)?;
    ensure!(faults.is_empty(), "{} faults\n{}", faults.len(), report::faults(&faults));
    println!("\neverything is as it has to be");
    Ok(())
}

/// Whether tables are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judging {
    Aloud,
    Silently,
}

/// What is wrong with runs.
fn judge(runs: &[Run], judging: Judging) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for run in runs {
        let attribution = attribution::judge(run)?;
        let comparisons = bytes::judge(run);
        let counts = counts::judge(run);
        if judging == Judging::Aloud {
            println!("\n{} policy, redaction {}", run.set_up.name, run.set_up.redaction);
            report::acts(run, &attribution);
            report::bytes(&comparisons);
            report::counts(&counts);
        }
        let found = [attribution.faults, bytes::faults(comparisons), counts.faults].concat();
        faults.extend(found.iter().map(|fault| format!("{}: {fault}", run.set_up.name)));
    }
    faults.extend(counts::judge_all(runs));
    Ok(faults)
}

/// The runs that are kept, or new ones where one is missing.
fn kept_or_new(args: &Args) -> anyhow::Result<Vec<Run>> {
    let cache = cache::folder()?;
    let load = |set_up| Run::load(&kept::folder(&cache, &args.kubernetes, &set_up), set_up);
    SET_UPS.into_iter().map(load).collect::<anyhow::Result<_>>().or_else(|error| {
        println!("nothing usable is kept ({error:#})");
        anew(args)
    })
}

/// Runs everything, and keeps it.
fn anew(args: &Args) -> anyhow::Result<Vec<Run>> {
    let began = Instant::now();
    let testbed = testbed::build::build(&args.kubernetes)?;
    let product = match &args.program {
        Some(program) => program.clone(),
        None => Record::build()?,
    };
    let built = began.elapsed();
    let cache = cache::folder()?;
    let mut runs = Vec::new();
    println!("building: {:.1} s", built.as_secs_f64());
    for set_up in SET_UPS {
        let kept = kept::folder(&cache, &args.kubernetes, &set_up);
        let folder = kept.with_file_name("run");
        let place = Place { testbed: testbed.clone(), product: product.clone(), folder };
        let (run, times) = run::run(&place, set_up)?;
        let all: Duration = times.iter().map(|(_, time)| *time).sum();
        let shares = times.iter().map(|(what, time)| format!("{what} {:.1}", time.as_secs_f64()));
        let shares = shares.collect::<Vec<_>>().join(", ");
        println!("{}: {:.1} s ({shares})", set_up.name, all.as_secs_f64());
        run.save(&kept)?;
        // What is kept says all; the folder stays only where something went wrong.
        std::fs::remove_dir_all(&place.folder)?;
        runs.push(run);
    }
    Ok(runs)
}
