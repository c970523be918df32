//! `kill -9` at every step of an event's way to disk, over and over on the same records: what was
//! acknowledged is there, and nothing is there twice once duplicates are hidden.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use whodid_store::Reader;

use crate::child::{BATCH_EVENTS, Break, Step, Task};
use crate::support::{Rng, event, everything, findings};

/// Kills of one record before the next begins.
const KILLS_EACH: u64 = 10;
const KILLS: u64 = 100;
const HITS_MIN: u64 = 5;
const RATE_MIN: f64 = 5_000.0;

/// What the sender of one record knows.
#[derive(Default)]
struct Sender {
    /// The place of each acknowledged batch.
    acknowledged: BTreeMap<u64, u64>,
    /// Batches that were sent without an answer.
    open: BTreeSet<u64>,
    next: u64,
}

/// How one life of the child went.
struct Life {
    reached: bool,
    events: u64,
    sending: Duration,
}

impl Sender {
    /// Lets the child send until it stands still at the step, or so many batches were
    /// acknowledged; then it is killed.
    fn live(&mut self, task: &Task, batches: u64) -> Life {
        let mut child = task.command().spawn().unwrap();
        let mut life = Life { reached: false, events: 0, sending: Duration::ZERO };
        let mut began = Instant::now();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["O"] => began = Instant::now(),
                ["S", number] => {
                    let number = number.parse().unwrap();
                    self.open.insert(number);
                    self.next = self.next.max(number + 1);
                }
                ["A", number, place] => {
                    let number = number.parse().unwrap();
                    self.open.remove(&number);
                    self.acknowledged.insert(number, place.parse().unwrap());
                    life.events += BATCH_EVENTS;
                }
                ["R"] => life.reached = true,
                _ => continue,
            }
            life.sending = began.elapsed();
            let is_enough = task.stop.is_none() && life.events >= batches * BATCH_EVENTS;
            if life.reached || is_enough {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        life
    }

    /// What is missing, and what is there twice.
    async fn faults(&self, dir: &Path) -> (Vec<String>, u64) {
        let reader = Reader::open_dir(dir).unwrap();
        let snapshot = reader.snapshot().await.unwrap();
        let mut faults = findings(&reader).await;
        let seen = everything(&snapshot, "c").await;
        let count = seen.len() as i64;
        if seen.last_key_value().is_some_and(|(last, _)| *last + 1 != count) {
            faults.push("the log has gaps".into());
        }
        for (number, place) in &self.acknowledged {
            for i in 0..BATCH_EVENTS {
                let found = seen.get(&(place + i).cast_signed());
                let expected = event(3, number * BATCH_EVENTS + i);
                if found.is_none_or(|found| found.text() != expected) {
                    faults.push(format!("event {i} of batch {number} is not there"));
                }
            }
        }
        let mut shown = HashSet::new();
        for (place, event) in seen.iter().filter(|(_, event)| !event.duplicate) {
            if !shown.insert(event.text()) {
                faults.push(format!("event {place} is shown twice"));
            }
        }
        (faults, shown.len() as u64)
    }
}

/// What a run of kills came to.
#[derive(Debug, Default)]
struct Outcome {
    kills: u64,
    hits: BTreeMap<Step, u64>,
    events: u64,
    sending: Duration,
    checked: u64,
    faults: Vec<String>,
}

/// Kills the child again and again, and looks at the record after each time.
async fn run(kills: u64, broken: Break) -> Outcome {
    let mut rng = Rng::new(2_026);
    let mut outcome = Outcome::default();
    while outcome.kills < kills {
        let folder = tempfile::tempdir().unwrap();
        let mut sender = Sender::default();
        for _ in 0..KILLS_EACH {
            // Four times out of five at a named step, else whenever it happens.
            let step = (outcome.kills % 5 != 4)
                .then(|| Step::ALL[(outcome.kills % 6 % 5) as usize])
                .map(|step| (step, nth(step, &mut rng), rng.chance(50)));
            let task = Task {
                dir: folder.path().join("record"),
                again: sender.open.iter().copied().collect(),
                from: sender.next,
                to: u64::MAX / BATCH_EVENTS,
                senders: 4,
                stop: step,
                broken,
            };
            let life = sender.live(&task, 40 + rng.below(200));
            outcome.kills += 1;
            outcome.events += life.events;
            outcome.sending += life.sending;
            if let Some((step, ..)) = step.filter(|_| life.reached) {
                *outcome.hits.entry(step).or_default() += 1;
            }
            let (faults, shown) = sender.faults(&task.dir).await;
            outcome
                .faults
                .extend(faults.into_iter().map(|f| format!("kill {}: {f}", outcome.kills)));
            outcome.checked = outcome.checked.max(shown);
        }
    }
    outcome
}

/// How often a step is passed before the child stands still at it.
fn nth(step: Step, rng: &mut Rng) -> u64 {
    match step {
        Step::Append | Step::Fsync => 10 + rng.below(200),
        Step::Segment | Step::DeltaCommit => 1 + rng.below(8),
        Step::WalDelete => 1 + rng.below(3),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills() {
    let outcome = run(KILLS, Break::Nothing).await;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = outcome.events as f64 / outcome.sending.as_secs_f64();
    let Outcome { kills, hits, events, checked, .. } = &outcome;
    println!(
        "{kills} kills, {events} events acknowledged at {rate:.0}/s, up to {checked} in a record; hits: {hits:?}"
    );
    assert!(outcome.faults.is_empty(), "{:#?}", &outcome.faults[..outcome.faults.len().min(20)]);
    assert!(*kills >= KILLS && rate >= RATE_MIN, "too few or too slow");
    for step in Step::ALL {
        let hit = hits.get(&step).copied().unwrap_or(0);
        assert!(hit >= HITS_MIN, "{step:?} was hit only {hit} times");
    }
}

/// The same check notices one event in 10,000.
#[tokio::test(flavor = "multi_thread")]
async fn one_lost_event_in_ten_thousand_is_noticed() {
    let outcome = run(KILLS_EACH, Break::Drop).await;
    println!("with one event in 10,000 dropped: {} faults", outcome.faults.len());
    assert!(!outcome.faults.is_empty(), "nothing was noticed in {outcome:?}");
}
