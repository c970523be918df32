//! The order of writes (`docs/format/ledger.md`), stopped before every single operation of a life
//! that goes through all its steps: killed there, without power from there on, and killed there
//! with the power gone in the next life. Whatever was acknowledged has to be there, and what
//! anybody may have seen signed has to be a beginning of the log that goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use whodid_event::redact::RuleSet;
use whodid_event::split::Position;
use whodid_store::{
    Limit, Limits, Options, Reader, Rule, SourcePosition, Table, UNIT_LEAVES, Writer,
};
use whodid_tlog::{Checkpoint, Note, Policy, proof};

use crate::sim_disk::{Lies, SimDisk};
use crate::support::{Rng, TickingClock, batch, event, everything, findings};

/// Most of a life is waiting for another try.
const LIVES_AT_ONCE: usize = 64;

const CLUSTER: &str = "a";

/// The steps, by what the path of a file begins with or ends with.
const STEPS: [(&str, &str, &str); 11] = [
    ("a key file", "keys/a/", ".keys"),
    ("the write-ahead log", "wal/", ".wal"),
    ("the meta log", "ledger/meta/", "entries"),
    ("a checkpoint of meta", "ledger/meta/", "checkpoint"),
    ("a checkpoint of the cluster", "ledger/a/", "checkpoint"),
    ("a file of bodies", "bodies/cluster=a/", ".parquet"),
    ("a commit of bodies", "bodies/_delta_log/", ".json"),
    ("a file of events", "events/cluster=a/", ".parquet"),
    ("a commit of events", "events/_delta_log/", ".json"),
    ("positions", "positions", ""),
    ("an edge", "ledger/a/", "edge"),
];

fn options() -> Options {
    let limits = Limits { wal_grace: 0, ..Limits::default() };
    let clock = Arc::new(TickingClock::new(1_767_323_045_000_000, 1_000_000));
    Options { rules: RuleSet::off(), limits, clock }
}

/// A life that goes through every step; what comes back are the events that were acknowledged.
async fn live(disk: &SimDisk) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let _died = until_it_dies(disk, &mut acknowledged).await;
    acknowledged
}

async fn until_it_dies(
    disk: &SimDisk,
    acknowledged: &mut Vec<String>,
) -> Result<(), whodid_store::Error> {
    let options = options();
    let clock = Arc::clone(&options.clock);
    let writer = Writer::open(Arc::new(disk.clone()), options).await?;
    for round in 0..2 {
        for part in 0..2 {
            let begin = round * 20 + part * 10;
            let events: Vec<String> = (begin..begin + 10).map(|i| event(9, i)).collect();
            let mut batch = batch(&writer.preparer(), CLUSTER, &events);
            batch.set_position(position(begin + 10));
            writer.append(batch).await?;
            acknowledged.extend(events);
        }
        writer.flush().await?;
    }
    writer.compact().await?;
    let bodies = Limit { age_max: None, bytes_max: Some(0) };
    let rule = Rule { bodies, ..Rule::default() };
    for plan in writer.retention(|_| rule, clock.now())? {
        writer.let_go(&plan, "a test").await?;
    }
    let last = vec![event(9, 40)];
    writer.append(batch(&writer.preparer(), CLUSTER, &last)).await?;
    acknowledged.extend(last);
    writer.close().await
}

/// As of a file that is taken in up to an item.
fn position(items: u64) -> SourcePosition {
    let at = Position { offset: 100 * items, items: 0 };
    SourcePosition { id: [7; 32], variant: 0, at, items, digest: [8; 32] }
}

/// The checkpoint that anybody could have seen, with the key that it was signed with.
fn published(disk: &SimDisk) -> Option<Checkpoint> {
    let text = |file: &str| String::from_utf8(disk.seen(&format!("ledger/{CLUSTER}/{file}"))?).ok();
    let policy = Policy::parse(&text("policy")?).ok()?;
    policy.open(&Note::parse(&text("checkpoint")?).ok()?).ok()
}

/// What is wrong with a disk as it was left, given what was acknowledged and published before.
async fn faults(disk: SimDisk, acknowledged: &[String], seen: Option<Checkpoint>) -> Vec<String> {
    let mut found = Vec::new();
    let writer = match Writer::open(Arc::new(disk.clone()), options()).await {
        Ok(writer) => writer,
        Err(error) => return vec![format!("cannot start again: {error}")],
    };
    let more = vec![event(9, 99)];
    let added = writer.append(batch(&writer.preparer(), CLUSTER, &more)).await;
    found.extend(added.err().map(|error| format!("cannot go on: {error}")));
    found.extend(writer.close().await.err().map(|error| format!("cannot close: {error}")));
    let reader = Reader::open(Arc::new(disk)).unwrap();
    found.extend(findings(&reader).await);
    let there = everything(&reader.snapshot().await.unwrap(), CLUSTER).await;
    for (seq, event) in (0..).zip(acknowledged) {
        // Without its body, perhaps.
        let envelope = |text: &str| text.split(",\"requestObject\"").next().map(str::to_owned);
        if there.get(&seq).and_then(|seen| envelope(&seen.text())) != envelope(event) {
            found.push(format!("event {seq} was acknowledged and is not there"));
        }
    }
    let Some(seen) = seen.filter(|seen| seen.head.size > 0) else { return found };
    let Some(now) = reader.checkpoint(CLUSTER).await.unwrap() else {
        found.push("a log that was seen has not begun".into());
        return found;
    };
    let follows = now
        .consistency(seen.head.size)
        .await
        .map(|path| proof::verify_consistency(seen.head, now.checkpoint().head, &path).is_ok());
    if !follows.unwrap_or(false) {
        found.push(format!(
            "a fork: {} leaves were signed before, and others are now",
            seen.head.size
        ));
    }
    found
}

/// The next life believes what a process that was killed left, writes it down, and loses power.
async fn killed_and_without_power(killed: SimDisk) -> SimDisk {
    if let Ok(writer) = Writer::open(Arc::new(killed.clone()), options()).await {
        let _died = writer.flush().await;
    }
    killed.after_the_worst()
}

/// Stops before operation `at`, in each way.
async fn stopped(at: u64, lies: Lies) -> Vec<String> {
    let disk = SimDisk::new(at, lies);
    let acknowledged = live(&disk).await;
    let seen = published(&disk);
    let without_power = disk.after_power_loss(&mut Rng::new(at), u64::MAX);
    let killed = disk.after_kill(u64::MAX);
    let both = killed_and_without_power(disk.after_kill(u64::MAX)).await;
    let mut found = faults(killed, &acknowledged, seen.clone()).await;
    found.extend(faults(both, &acknowledged, seen.clone()).await);
    found.extend(faults(without_power, &acknowledged, seen).await);
    found
}

/// Stops at each of these operations; what comes back are those after which something was wrong.
async fn run(stops: impl IntoIterator<Item = u64>, lies: Lies) -> BTreeMap<u64, Vec<String>> {
    let mut lives = tokio::task::JoinSet::new();
    let mut stops = stops.into_iter();
    let mut bad = BTreeMap::new();
    loop {
        while lives.len() < LIVES_AT_ONCE {
            let Some(at) = stops.next() else { break };
            lives.spawn(async move { (at, stopped(at, lies).await) });
        }
        let Some(ended) = lives.join_next().await else { return bad };
        let (at, found) = ended.unwrap_or_else(|panic| (u64::MAX, vec![panic.to_string()]));
        if !found.is_empty() {
            bad.insert(at, found);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_can_be_the_last() {
    let whole = SimDisk::new(u64::MAX, Lies::default());
    assert_eq!(live(&whole).await.len(), 41);
    let done = whole.done();
    for (step, begins, ends) in STEPS {
        let is_it = |path: &&String| path.starts_with(begins) && path.ends_with(ends);
        let count = done.iter().filter(is_it).count();
        println!("{count:4} operations: {step}");
        assert!(count > 0, "no life goes through {step}: {done:#?}");
    }
    let bad = run(0..=done.len() as u64, Lies::default()).await;
    for (at, found) in bad.iter().take(5) {
        let step = done.get(*at as usize);
        eprintln!("stopped before operation {at}, {step:?}: {found:#?}");
    }
    assert!(bad.is_empty(), "{} of {} stops lost something", bad.len(), done.len() + 1);
    println!("{} stops, each killed and without power: nothing lost, no fork", done.len() + 1);
}

/// So many operations of the next life, at most, until what it found is in segments and an edge.
const NEXT_MAX: u64 = 60;

/// A checkpoint that a killed process left is durable before anything builds on it: wherever the
/// power goes in the next life, there is never more in segments than was signed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_signed_is_made_durable() {
    let whole = SimDisk::new(u64::MAX, Lies::default());
    live(&whole).await;
    let path = format!("ledger/{CLUSTER}/checkpoint");
    let signed = (1_u64..).zip(whole.done()).filter(|(_, done)| *done == path);
    let stops: Vec<u64> = signed.map(|(at, _)| at).collect();
    let mut lives = tokio::task::JoinSet::new();
    for (at, next) in stops.iter().flat_map(|at| (0..NEXT_MAX).map(move |next| (*at, next))) {
        lives.spawn(async move {
            let disk = SimDisk::new(at, Lies::default());
            let acknowledged = live(&disk).await;
            let seen = published(&disk);
            let lost = killed_and_without_power(disk.after_kill(next)).await;
            (at, next, faults(lost, &acknowledged, seen).await)
        });
    }
    let mut count = 0;
    while let Some(ended) = lives.join_next().await {
        let (at, next, found) = ended.unwrap();
        assert_eq!(found, Vec::<String>::new(), "killed before {at}, without power before {next}");
        count += 1;
    }
    println!("{count} second lives without power, after {} checkpoints", stops.len());
    assert!(stops.len() >= 3 && count >= 180, "{stops:?}");
}

/// A store that has more than a unit of leaves, as a process that was ended left it.
async fn with_a_unit() -> SimDisk {
    let disk = SimDisk::new(u64::MAX, Lies::default());
    let limits = Limits { segment_leaves: 50_000, ..options().limits };
    let options = Options { limits, ..options() };
    let writer = Writer::open(Arc::new(disk.clone()), options).await.unwrap();
    let events: Vec<String> = (0..UNIT_LEAVES + 500).map(|i| event(9, i)).collect();
    for events in events.chunks(8_192) {
        writer.append(batch(&writer.preparer(), CLUSTER, events)).await.unwrap();
    }
    writer.close().await.unwrap();
    disk.after_kill(u64::MAX)
}

/// Lets a unit go that is past its retention; what comes back are the operations that it took.
async fn prune(disk: &SimDisk) -> Result<Range<u64>, whodid_store::Error> {
    let options = options();
    let now = options.clock.now();
    let writer = Writer::open(Arc::new(disk.clone()), options).await?;
    let begin = disk.done().len() as u64;
    let events = Limit { age_max: None, bytes_max: Some(0) };
    for plan in writer.retention(|_| Rule { events, ..Rule::default() }, now)? {
        if plan.to > plan.from {
            writer.let_go(&plan, "a test").await?;
        }
    }
    let end = disk.done().len() as u64;
    writer.close().await?;
    Ok(begin..end)
}

/// What is wrong with a store whose prune was stopped, once it was repeated.
async fn faults_of_prune(disk: SimDisk) -> Vec<String> {
    let mut found = Vec::new();
    let reader = Reader::open(Arc::new(disk.clone())).unwrap();
    found.extend(findings(&reader).await);
    found.extend(prune(&disk).await.err().map(|error| format!("cannot be repeated: {error}")));
    found.extend(findings(&reader).await);
    let snapshot = reader.snapshot().await.unwrap();
    for table in [Table::Events, Table::Bodies] {
        let first = snapshot.files(table).iter().map(|file| file.stats.seq.0).min();
        // Not every event has a body.
        if first.is_none_or(|first| !(UNIT_LEAVES..UNIT_LEAVES + 10).contains(&first)) {
            found.push(format!("the first leaf of {} is {first:?}", table.name()));
        }
    }
    if disk.seen("keys/a/000000000000.keys").is_some() {
        found.push("keys of what was pruned are left".into());
    }
    found
}

/// Stops a prune before each of its operations, on a disk with these lies; what comes back is how
/// many stops there were, and those after which something was wrong.
async fn prunes_stopped(lies: Lies) -> (usize, BTreeMap<u64, Vec<String>>) {
    let store = with_a_unit().await;
    store.lie(lies);
    let whole = store.after_kill(u64::MAX);
    let stops = prune(&whole).await.unwrap();
    let done = whole.done();
    let during = &done[stops.start as usize..stops.end as usize];
    let keys = during.iter().filter(|path| path.starts_with("keys/a/")).count();
    let count = during.len() + 1;
    println!("{count} stops, {keys} of them about files of keys");
    assert!(count > 20 && keys > 0, "{during:#?}");
    let mut lives = tokio::task::JoinSet::new();
    for at in stops.start..=stops.end {
        let disk = store.after_kill(at);
        lives.spawn(async move {
            let _died = prune(&disk).await;
            let without_power = disk.after_power_loss(&mut Rng::new(at), u64::MAX);
            let mut found = Vec::new();
            for disk in [disk.after_kill(u64::MAX), without_power] {
                // Of a disk that lies there may be nothing that can be read.
                let faults = tokio::spawn(faults_of_prune(disk)).await;
                found.extend(faults.unwrap_or_else(|panic| vec![panic.to_string()]));
            }
            (at, found)
        });
    }
    let mut ended: BTreeMap<_, _> = lives.join_all().await.into_iter().collect();
    ended.retain(|_, found| !found.is_empty());
    for (at, found) in ended.iter().take(5) {
        eprintln!("stopped before operation {at}, {:?}: {found:#?}", done.get(*at as usize));
    }
    (count, ended)
}

/// A prune that was stopped before any of its operations can be repeated, and shows nothing wrong
/// until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_can_be_stopped_anywhere() {
    let (count, bad) = prunes_stopped(Lies::default()).await;
    assert!(bad.is_empty(), "{} of {count} stops lost something", bad.len());
    println!("each killed and without power: nothing wrong, and each prune ended when repeated");
}

/// Its control: files go before it is durable that they were to, and the power after them.
#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_seen_when_a_prune_is_stopped() {
    let (count, bad) = prunes_stopped(Lies { files: true, folders: false }).await;
    println!("files are not synced: {} of {count} stopped prunes lost something", bad.len());
    assert!(bad.len() >= 5, "only {} of {count}", bad.len());
}

/// The control: a disk that breaks its promises is found out.
#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_seen_by_the_matrix() {
    let lies = Lies { files: true, folders: false };
    let bad = run((0..400).step_by(8), lies).await;
    println!("files are not synced: {} of 50 stops lost something", bad.len());
    assert!(bad.len() >= 15, "only {} of 50", bad.len());
}
