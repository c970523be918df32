//! Power loss at any operation: what was acknowledged is there, once, as it came.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use whodid_event::redact::RuleSet;
use whodid_store::{Limits, Options, Reader, Snapshot, Writer};

use crate::sim_disk::{Lies, SimDisk};
use crate::support::{Rng, Seen, TickingClock, batch, event, everything, findings};

/// Most of a life is waiting for another try.
const LIVES_AT_ONCE: usize = 64;

/// The power goes, or the process, before this many operations on the disk.
const OPERATIONS_MAX: u64 = 400;

const CLUSTERS: [&str; 2] = ["a", "b"];

/// Segments of a few events, so that a short run passes every step many times.
fn options(rng: &mut Rng) -> Options {
    let limits =
        Limits { segment_leaves: 10 + rng.below(60) as usize, wal_grace: 0, ..Limits::default() };
    // Every look at the clock is a minute, so that days end and segments age, too.
    let clock = Arc::new(TickingClock::new(1_767_323_045_000_000, 60_000_000));
    Options { rules: RuleSet::off(), limits, clock }
}

/// What a sender knows: what it sent, and what was acknowledged at which place.
#[derive(Default)]
struct Sent {
    all: HashSet<String>,
    acknowledged: HashMap<&'static str, BTreeMap<i64, String>>,
    next: u64,
}

/// Sends until the power goes or enough is sent.
async fn send(
    writer: &Writer,
    sent: &mut Sent,
    rng: &mut Rng,
    batches: u64,
) -> Result<(), whodid_store::Error> {
    for _ in 0..batches {
        let cluster = CLUSTERS[rng.below(2) as usize];
        let events: Vec<String> = (0..=rng.below(12)).map(|i| event(7, sent.next + i)).collect();
        sent.next += events.len() as u64;
        sent.all.extend(events.iter().cloned());
        let receipt = writer.append(batch(&writer.preparer(), cluster, &events)).await?;
        let places = sent.acknowledged.entry(cluster).or_default();
        places.extend((receipt.first_seq.cast_signed()..).zip(events));
        match rng.below(20) {
            0 => writer.flush().await?,
            1 => {
                writer.flush().await?;
                writer.compact().await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is wrong with a snapshot, given what was sent.
async fn faults(snapshot: &Snapshot, sent: &Sent) -> Vec<String> {
    let mut faults: Vec<String> =
        snapshot.warnings().iter().map(|warning| format!("warning: {warning}")).collect();
    let mut seen_texts = HashSet::new();
    for cluster in CLUSTERS {
        let seen = everything(snapshot, cluster).await;
        for (place, (seq, event)) in (0..).zip(&seen) {
            if place != *seq {
                faults.push(format!("{cluster}/{place} is not there, but {seq} is"));
                break;
            }
            let text = event.text();
            if !sent.all.contains(&text) {
                faults.push(format!("{cluster}/{seq} was never sent: {text}"));
            }
            if !seen_texts.insert(text) {
                faults.push(format!("{cluster}/{seq} is there twice"));
            }
        }
        for (seq, text) in sent.acknowledged.get(cluster).into_iter().flatten() {
            if seen.get(seq).map(Seen::text).as_ref() != Some(text) {
                faults.push(format!("{cluster}/{seq} was acknowledged and is not there"));
            }
        }
    }
    faults
}

/// One life of a store: sending until the power goes, coming back, going on. What comes back are
/// the faults that were seen.
async fn live(seed: u64, lies: Lies) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let mut sent = Sent::default();
    let mut disk = SimDisk::new(rng.below(OPERATIONS_MAX), lies);
    let mut found = Vec::new();
    for round in 0..4 {
        if let Ok(writer) = Writer::open(Arc::new(disk.clone()), options(&mut rng)).await {
            let _died = send(&writer, &mut sent, &mut rng, 20).await;
            if rng.chance(30) {
                let _died = writer.close().await;
            }
        }
        let fuse = if round == 3 { u64::MAX } else { rng.below(OPERATIONS_MAX) };
        // A process that was killed leaves things unsynced that the next one builds on.
        let is_kill = rng.chance(33);
        disk = if is_kill { disk.after_kill(fuse) } else { disk.after_power_loss(&mut rng, fuse) };
    }
    // A reader in another process, before any writer has looked.
    if let Ok(reader) = Reader::open(Arc::new(disk.clone())) {
        match reader.snapshot().await {
            Ok(snapshot) => found.extend(faults(&snapshot, &sent).await),
            Err(error) => found.push(format!("a reader cannot read: {error}")),
        }
    } else if !sent.acknowledged.is_empty() {
        found.push("the store is gone".into());
    }
    match Writer::open(Arc::new(disk.clone()), options(&mut rng)).await {
        Ok(writer) => {
            let ended = send(&writer, &mut sent, &mut rng, 3).await;
            found.extend(ended.err().map(|error| format!("cannot go on: {error}")));
            found.extend(faults(&writer.snapshot(), &sent).await);
            found.extend(writer.close().await.err().map(|error| format!("cannot close: {error}")));
            let reader = Reader::open(Arc::new(disk)).unwrap();
            found.extend(findings(&reader).await);
        }
        Err(error) => found.push(format!("cannot start again: {error}")),
    }
    found
}

/// Runs seeds on all cores; what comes back are the seeds with faults.
async fn run(seeds: std::ops::Range<u64>, lies: Lies) -> BTreeMap<u64, Vec<String>> {
    let mut lives = tokio::task::JoinSet::new();
    let mut seeds = seeds.into_iter();
    let mut bad = BTreeMap::new();
    loop {
        while lives.len() < LIVES_AT_ONCE {
            let Some(seed) = seeds.next() else { break };
            lives.spawn(async move { (seed, live(seed, lies).await) });
        }
        let Some(ended) = lives.join_next().await else { return bad };
        match ended {
            Ok((_, faults)) if faults.is_empty() => {}
            Ok((seed, faults)) => {
                bad.insert(seed, faults);
            }
            Err(panic) => {
                bad.insert(u64::MAX, vec![panic.to_string()]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_power_losses() {
    let bad = run(0..1_000, Lies::default()).await;
    // The faults themselves: time is a part of what is drawn, so that a seed alone is not enough.
    let some: Vec<_> = bad.iter().take(5).collect();
    assert!(bad.is_empty(), "{} of 1000 seeds lost something: {some:#?}", bad.len());
    println!("1000 seeds on a disk that forgets what was not synced: 0 lost anything");
}

/// The same check sees a disk that breaks either promise.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_is_found_out() {
    for lies in [Lies { files: true, folders: false }, Lies { files: false, folders: true }] {
        let bad = run(0..60, lies).await;
        println!("{lies:?}: {} of 60 seeds lost something", bad.len());
        assert!(bad.len() >= 20, "{lies:?} stayed unseen in all but {} of 60 seeds", bad.len());
    }
}
