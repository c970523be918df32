//! Retention: what may go is gone, what is held stays, and everything that was signed can still be
//! checked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use whodid_event::redact::RuleSet;
use whodid_store::{
    Clock, Hold, Limit, Limits, Options, Plan, Reader, Rule, SystemClock, Table, UNIT_LEAVES,
    Verification, Wanted, Writer, reopen_dir,
};
use whodid_tlog::Policy;

use crate::support::{append, copy, event, findings};

/// So many are there when a checkpoint is stamped: within the first unit, and within a block.
const STAMPED: usize = 10_001;

/// Two units and a half.
const EVENTS: u64 = 2 * UNIT_LEAVES + UNIT_LEAVES / 2;

const NOTHING_KEPT: Limit = Limit { age_max: None, bytes_max: Some(0) };
const UNLIMITED: Limit = Limit { age_max: None, bytes_max: None };
const EVERYTHING: Rule = Rule { events: NOTHING_KEPT, bodies: UNLIMITED };

async fn writer(dir: &Path) -> Writer {
    // Segments that end elsewhere than units.
    let limits = Limits { segment_leaves: 30_000, ..Limits::default() };
    let options = Options { limits, rules: RuleSet::off(), ..Options::default() };
    Writer::open_dir(dir, options).await.unwrap()
}

async fn record(dir: &Path) {
    let writer = writer(dir).await;
    let events: Vec<String> = (0..EVENTS).map(|i| event(1, i)).collect();
    let (early, late) = events.split_at(STAMPED);
    append(&writer, "c", early, 4_096).await;
    writer.flush().await.unwrap();
    // Checkpoints of all sizes may be time-stamped, also of those that are pruned.
    let newest = writer.checkpoint("c").unwrap().unwrap();
    let size = newest.checkpoint().head.size;
    assert_eq!(size, STAMPED as u64);
    writer.keep_stamp("c", size, newest.note(), b"a token".to_vec()).unwrap();
    append(&writer, "c", late, 4_096).await;
    append(&writer, "d", &[event(2, 1)], 1).await;
    writer.close().await.unwrap();
}

/// The writer follows its own commits; what is written down has to be the same.
async fn check_files(writer: &Writer, dir: &Path) -> usize {
    let (known, written) =
        (writer.snapshot(), Reader::open_dir(dir).unwrap().snapshot().await.unwrap());
    for table in [Table::Events, Table::Bodies] {
        assert_eq!(known.files(table), written.files(table));
    }
    known.files(Table::Events).len()
}

async fn prune(writer: &Writer, rule: Rule) -> Vec<Plan> {
    let plans = writer.retention(|_| rule, SystemClock.now()).unwrap();
    for plan in plans.iter().filter(|plan| plan.to > plan.from) {
        writer.let_go(plan, "a test").await.unwrap();
    }
    plans
}

async fn verify(dir: &Path) -> Verification {
    let reader = Reader::open_dir(dir).unwrap();
    let verification = reader.verify(Wanted::default(), |_, _| {}).await.unwrap();
    assert_eq!(verification.findings, []);
    verification
}

/// The first leaf of each table.
async fn first(dir: &Path) -> [u64; 2] {
    let snapshot = Reader::open_dir(dir).unwrap().snapshot().await.unwrap();
    [Table::Events, Table::Bodies].map(|table| {
        let of_cluster = snapshot.files(table).iter().filter(|file| file.cluster == "c");
        of_cluster.map(|file| file.stats.seq.0).min().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_goes_and_proofs_stay() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let reader = Reader::open_dir(dir).unwrap();
    let policy = Policy::parse(&reader.policy().unwrap()).unwrap();
    let before = reader.prove("c", &[5].into()).await.unwrap().unwrap();
    let kept = 2 * UNIT_LEAVES;
    let wanted: BTreeSet<u64> = [kept, kept + 1, kept + 300, EVENTS - 1].into();

    let writer = writer(dir).await;
    // Nothing is old enough.
    let day = Limit { age_max: Some(86_400_000_000), bytes_max: None };
    let day = Rule { events: day, bodies: day };
    assert_eq!(prune(&writer, day).await, []);
    let shown = reader.retention(|_| EVERYTHING, SystemClock.now()).await.unwrap();
    let done = prune(&writer, EVERYTHING).await;
    assert_eq!(shown, done);
    let [plan] = done.as_slice() else { panic!("{done:?}") };
    assert_eq!((&*plan.cluster, plan.from, plan.to), ("c", 0, kept));
    assert_eq!(prune(&writer, EVERYTHING).await, []);
    assert!(check_files(&writer, dir).await > 0);
    writer.vacuum(chrono::TimeDelta::zero()).await.unwrap();
    writer.close().await.unwrap();

    let [events, bodies] = first(dir).await;
    assert!(events == kept && bodies >= kept, "{events} {bodies}");
    let verification = verify(dir).await;
    let log = verification.logs.iter().find(|log| log.origin.ends_with("/c")).unwrap();
    assert_eq!((log.size, log.pruned), (EVENTS, kept));
    assert_eq!(verification.events, EVENTS - kept + 1);
    // What was proved holds, and what is left can be.
    let [proven] = before.proven() else { panic!("{before:?}") };
    let checkpoint = policy.open(&proven.proof.checkpoint).unwrap();
    proven.proof.verify_in(&proven.leaf.entry, &checkpoint).unwrap();
    let after = reader.prove("c", &wanted).await.unwrap().unwrap();
    assert_eq!(after.proven().len(), wanted.len());
    let gone = reader.prove("c", &[5].into()).await.unwrap_err().to_string();
    assert!(gone.contains("was pruned"), "{gone}");
    // Deleted means deleted: no file has them, and no key.
    let mut files = Vec::new();
    all_files(dir, &mut files);
    assert!(!files.iter().any(|path| path.contains("keys/c/000000000000.keys")), "{files:?}");
    assert!(
        !files.iter().any(|path| path.contains("cluster=c") && path.contains("/000000000000000-"))
    );

    // A start without the edge makes the tree from what is left.
    fs::remove_file(dir.join("ledger/c/edge")).unwrap();
    let writer = self::writer(dir).await;
    append(&writer, "c", &(EVENTS..EVENTS + 300).map(|i| event(1, i)).collect::<Vec<_>>(), 64)
        .await;
    writer.flush().await.unwrap();
    let flushed = check_files(&writer, dir).await;
    writer.compact().await.unwrap();
    assert!(check_files(&writer, dir).await < flushed);
    writer.close().await.unwrap();
    assert_eq!(verify(dir).await.events, EVENTS - kept + 301);
    // The meta log may begin anew; what was pruned is known all the same.
    reopen_dir(dir, &["meta".to_owned()], "a test").await.unwrap();
    assert_eq!(verify(dir).await.events, EVENTS - kept + 301);
}

/// The paths of all files.
fn all_files(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all_files(&entry.path(), found);
        } else {
            found.push(entry.path().display().to_string());
        }
    }
}

/// What goes without a record of it is a finding: the control of the test above.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_unrecorded_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let ledger = folder.path().join("meta-before");
    copy(&dir.join("ledger/meta"), &ledger);
    let writer = writer(dir).await;
    prune(&writer, EVERYTHING).await;
    writer.close().await.unwrap();
    fs::remove_dir_all(dir.join("ledger/meta")).unwrap();
    fs::rename(ledger, dir.join("ledger/meta")).unwrap();
    let found = findings(&Reader::open_dir(dir).unwrap()).await;
    assert!(found.iter().any(|finding| finding.contains("these leaves are missing")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let writer = writer(dir).await;
    let hold = |since: Option<&str>, until: Option<&str>| {
        let (since, until) = (since.map(str::to_owned), until.map(str::to_owned));
        Some(Hold { cluster: "c".into(), since, until })
    };
    writer.hold("case 17", hold(None, None), "court order").await.unwrap();
    assert!(writer.hold("case 17", hold(None, None), "again").await.is_err());
    let plans = prune(&writer, EVERYTHING).await;
    let [plan] = plans.as_slice() else { panic!("{plans:?}") };
    assert_eq!((plan.from, plan.to, plan.held_by.as_deref()), (0, 0, Some("case 17")));
    // Whoever has a plan from before the hold is refused.
    let forced = Plan { to: UNIT_LEAVES, ..plan.clone() };
    let refused = writer.let_go(&forced, "a test").await.unwrap_err().to_string();
    assert!(refused.contains("the hold \"case 17\" forbids"), "{refused}");
    writer.close().await.unwrap();

    let writer = self::writer(dir).await;
    assert_eq!(Reader::open_dir(dir).unwrap().holds().unwrap().len(), 1);
    writer.hold("case 17", None, "closed").await.unwrap();
    assert!(writer.hold("case 17", None, "closed").await.is_err());
    // One of another time is in nobody's way.
    writer.hold("case 18", hold(None, Some("2001-01-01T00:00:00Z")), "old").await.unwrap();
    writer.hold("case 19", hold(Some("2999-01-01T00:00:00Z"), None), "later").await.unwrap();
    let [plan] = prune(&writer, EVERYTHING).await.try_into().unwrap();
    assert_eq!((plan.to, plan.held_by), (2 * UNIT_LEAVES, None));
    writer.close().await.unwrap();
    verify(dir).await;
}
