//! `cargo xtask soak`: fills a record with millions of events, kills the import of more at random
//! moments, and asks at once: the answer has to be there within seconds, and complete.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::cache;
use crate::corpus::{self, Corpus};
use crate::product::Record;

/// The events come in files of this many.
const FILE_EVENTS: u64 = 1_000_000;

/// The cluster of the events that are stored before the kills.
const STORED: &str = "stored";

/// Kill the program under load, and see how soon it answers again.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many events are stored first.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Within this many milliseconds the first answer has to be there.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    require_answer_ms: u64,
    /// The negative control: lose one event in 10,000 on the way in. It has to end in red.
    #[arg(long = "break")]
    is_broken: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = cache::folder()?.join("soak");
    let record = Record::fresh(&folder)?;
    let soak = Soak { record, folder: &folder, is_broken: args.is_broken };
    let mut expected = BTreeMap::new();
    let per_file = args.events.min(FILE_EVENTS);
    let (stored, slowest) = soak.store(args.events.div_ceil(per_file), per_file)?;
    expected.insert(STORED.to_owned(), stored);
    let mut answers = Vec::new();
    for kill in 1..=args.kills {
        let cluster = format!("killed-{kill}");
        let moment = slowest.mul_f64(random_between(0.05, 0.7));
        let file = folder.join("events.jsonl");
        let killed = soak.write(&file, 1_000 + u64::from(kill), per_file)?;
        let is_killed = soak.record.import_until(&file, &cluster, moment)?;
        ensure!(is_killed, "the import was done before it was killed; store more events");
        let (found, answer) = soak.record.search(STORED)?;
        println!("killed after {moment:.1?}, answered {found} after {answer:.2?}");
        answers.push(answer);
        expect("found", found, stored.found)?;
        // What was acknowledged is not lost, and what comes again is not there twice.
        soak.record.import(&file, &cluster)?;
        let (found, _) = soak.record.search(&cluster)?;
        expect("found after the import went on", found, killed.found)?;
        expected.insert(cluster, killed);
    }
    soak.check_counts(&expected)?;
    fs::remove_dir_all(&folder)?;
    judge(answers, Duration::from_millis(args.require_answer_ms))
}

struct Soak<'f> {
    record: Record,
    folder: &'f Path,
    is_broken: bool,
}

impl Soak<'_> {
    fn write(&self, file: &Path, seed: u64, events: u64) -> anyhow::Result<Corpus> {
        corpus::write(file, seed, events, self.is_broken)
    }

    /// Stores so many files; returns what they hold, and how long the slowest import took.
    fn store(&self, files: u64, events: u64) -> anyhow::Result<(Corpus, Duration)> {
        let (mut stored, mut slowest) = (Corpus::default(), Duration::ZERO);
        for seed in 1..=files {
            let file = self.folder.join("events.jsonl");
            stored += self.write(&file, seed, events)?;
            slowest = slowest.max(self.record.import(&file, STORED)?.wall);
        }
        Ok((stored, slowest))
    }

    fn check_counts(&self, expected: &BTreeMap<String, Corpus>) -> anyhow::Result<()> {
        let counts = self.record.counts()?;
        for (cluster, corpus) in expected {
            let count = counts.get(cluster).copied().unwrap_or_default();
            expect(&format!("events of {cluster}"), count, corpus.events)?;
        }
        Ok(())
    }
}

fn expect(what: &str, count: u64, expected: u64) -> anyhow::Result<()> {
    ensure!(count == expected, "{what}: {count} instead of {expected}");
    Ok(())
}

/// A number at random.
fn random_between(from: f64, to: f64) -> f64 {
    let bits = RandomState::new().hash_one(0);
    let unit = f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    from + unit * (to - from)
}

fn judge(mut answers: Vec<Duration>, limit: Duration) -> anyhow::Result<()> {
    answers.sort_unstable();
    let (Some(median), Some(max)) = (answers.get(answers.len() / 2), answers.last()) else {
        bail!("nothing was killed");
    };
    println!("{} kills: answered after {median:.2?} (median), {max:.2?} (max)", answers.len());
    ensure!(*max <= limit, "{max:.2?} until the first answer, at most {limit:?} are allowed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_answer_counts() {
        let answers = [3, 9, 4].map(Duration::from_secs).to_vec();
        judge(answers.clone(), Duration::from_secs(9)).unwrap();
        let error = judge(answers, Duration::from_secs(8)).unwrap_err().to_string();
        assert!(error.starts_with("9.00s until"), "{error}");
        assert!(judge(Vec::new(), Duration::MAX).is_err());
        assert!((0.5..=2.0).contains(&random_between(0.5, 2.0)));
    }
}
