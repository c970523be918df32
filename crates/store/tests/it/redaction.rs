//! Bodies that go: by their retention, or redacted one by one. Leaves, proofs and all other bodies
//! stay what they were, and what went without a record of it is found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use whodid_event::redact::RuleSet;
use whodid_store::{
    Clock, Hold, Limit, Limits, Options, Original, Plan, Reader, Rule, SystemClock, Table,
    Verification, Wanted, Writer, redact_dir, reopen_dir,
};
use whodid_tlog::Policy;

use crate::support::{Seen, append, copy, event, everything, findings};

const EVENTS: u64 = 3_000;

/// Every third has a body (`support::event`).
const BODIES: u64 = EVENTS / 3;

const ALL_BODIES: Rule = Rule {
    events: Limit { age_max: None, bytes_max: None },
    bodies: Limit { age_max: None, bytes_max: Some(0) },
};

async fn writer(dir: &Path) -> Writer {
    let limits = Limits { segment_leaves: 700, ..Limits::default() };
    let options = Options { limits, rules: RuleSet::off(), ..Options::default() };
    Writer::open_dir(dir, options).await.unwrap()
}

async fn add(writer: &Writer, from: u64, to: u64) {
    append(writer, "c", &(from..to).map(|i| event(1, i)).collect::<Vec<_>>(), 64).await;
}

async fn record(dir: &Path) {
    let writer = writer(dir).await;
    add(&writer, 0, EVENTS).await;
    append(&writer, "d", &[event(2, 3)], 1).await;
    writer.close().await.unwrap();
}

async fn verify(dir: &Path) -> Verification {
    let reader = Reader::open_dir(dir).unwrap();
    let verification = reader.verify(Wanted::default(), |_, _| {}).await.unwrap();
    assert_eq!(verification.findings, []);
    verification
}

async fn seen(dir: &Path, cluster: &str) -> Vec<Seen> {
    let snapshot = Reader::open_dir(dir).unwrap().snapshot().await.unwrap();
    everything(&snapshot, cluster).await.into_values().collect()
}

async fn let_go(writer: &Writer, rule: Rule) -> Vec<Plan> {
    let plans = writer.retention(
        |cluster| if cluster == "c" { rule } else { Rule::default() },
        SystemClock.now(),
    );
    let plans = plans.unwrap();
    for plan in plans.iter().filter(|plan| plan.to > plan.from) {
        writer.let_go(plan, "a test").await.unwrap();
    }
    plans
}

/// The meta log as it was, put back: what it said since is forgotten.
async fn without_record_of(dir: &Path, act: impl AsyncFnOnce()) -> Vec<String> {
    let before = tempfile::tempdir().unwrap();
    copy(&dir.join("ledger/meta"), before.path());
    act().await;
    fs::remove_dir_all(dir.join("ledger/meta")).unwrap();
    copy(before.path(), &dir.join("ledger/meta"));
    findings(&Reader::open_dir(dir).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_past_their_retention_go_and_proofs_stay() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let reader = Reader::open_dir(dir).unwrap();
    let policy = Policy::parse(&reader.policy().unwrap()).unwrap();
    let wanted: BTreeSet<u64> = [0, 3, 255, 256, EVENTS - 3, EVENTS - 1].into();
    let before = reader.prove("c", &wanted).await.unwrap().unwrap();
    assert_eq!(verify(dir).await.bodies, BODIES + 1);

    let writer = writer(dir).await;
    let day = Limit { age_max: Some(86_400_000_000), bytes_max: None };
    assert_eq!(let_go(&writer, Rule { bodies: day, ..Rule::default() }).await, []);
    let shown = reader
        .retention(|of| if of == "c" { ALL_BODIES } else { Rule::default() }, SystemClock.now());
    let shown = shown.await.unwrap();
    let done = let_go(&writer, ALL_BODIES).await;
    assert_eq!(shown, done);
    let [plan] = done.as_slice() else { panic!("{done:?}") };
    assert_eq!(
        (&*plan.cluster, plan.table, plan.from, plan.to),
        ("c", Table::Bodies, 0, EVENTS - 2)
    );
    assert_eq!(let_go(&writer, ALL_BODIES).await, []);
    // What comes now has its bodies.
    add(&writer, EVENTS, EVENTS + 30).await;
    writer.flush().await.unwrap();
    writer.compact().await.unwrap();
    writer.vacuum(chrono::TimeDelta::zero()).await.unwrap();
    writer.close().await.unwrap();

    let verification = verify(dir).await;
    assert_eq!((verification.events, verification.gone), (EVENTS + 31, BODIES));
    assert_eq!(verification.bodies, 11);
    let left = seen(dir, "c").await;
    for (i, event) in (0..).zip(&left) {
        let Original::Event(text) = &event.original else { panic!("{event:?}") };
        let is_gone = i < EVENTS && i.is_multiple_of(3);
        assert_eq!(text.contains(r#""requestObject":{"$c":""#), is_gone, "{text}");
        assert_eq!(*text == self::event(1, i), !is_gone, "{text}");
    }
    // What was proved holds, and the same can be proved again, of the same leaf.
    let after = reader.prove("c", &wanted).await.unwrap().unwrap();
    for (before, after) in before.proven().iter().zip(after.proven()) {
        let checkpoint = policy.open(&before.proof.checkpoint).unwrap();
        before.proof.verify_in(&before.leaf.entry, &checkpoint).unwrap();
        assert_eq!(before.leaf.entry, after.leaf.entry);
    }
    // A start without the edge makes the tree of commitments; a meta log that begins anew knows.
    fs::remove_file(dir.join("ledger/c/edge")).unwrap();
    let writer = self::writer(dir).await;
    add(&writer, EVENTS + 30, EVENTS + 60).await;
    writer.close().await.unwrap();
    reopen_dir(dir, &["meta".to_owned()], "a test").await.unwrap();
    assert_eq!(verify(dir).await.gone, BODIES);
}

/// The control of the test above.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_go_unrecorded_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let found = without_record_of(dir, async || {
        let writer = writer(dir).await;
        let_go(&writer, ALL_BODIES).await;
        writer.close().await.unwrap();
    });
    let found = found.await;
    let is_it = |finding: &&String| finding.contains("is gone, and no record says");
    assert!(found.iter().filter(is_it).count() > 900, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_held_stay() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let writer = writer(dir).await;
    let hold = Hold { cluster: "c".into(), since: None, until: None };
    writer.hold("case", Some(hold), "court order").await.unwrap();
    let plans = let_go(&writer, ALL_BODIES).await;
    let [plan] = plans.as_slice() else { panic!("{plans:?}") };
    assert_eq!((plan.from, plan.to, plan.held_by.as_deref()), (0, 0, Some("case")));
    let forced = Plan { to: EVENTS, ..plan.clone() };
    assert!(writer.let_go(&forced, "a test").await.is_err());
    writer.close().await.unwrap();
    let refused = redact_dir(dir, ("c", 3), &BTreeSet::new(), "a test").await;
    assert!(refused.unwrap_err().to_string().contains("the hold \"case\" forbids"));
    assert_eq!(verify(dir).await.gone, 0);
}

/// The key of the block that leaf 0 is in.
fn first_key(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("keys/c/000000000000.keys")).unwrap().drain(..32).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_body_is_gone_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let reader = Reader::open_dir(dir).unwrap();
    let leaves: BTreeSet<u64> = (0..256).chain(EVENTS - 40..EVENTS).collect();
    let before = reader.prove("c", &leaves).await.unwrap().unwrap();
    let key = first_key(dir);
    let files = tables(dir);

    let last = EVENTS - 3;
    for seq in [6, last, 9] {
        let gone = redact_dir(dir, ("c", seq), &BTreeSet::new(), "a password").await.unwrap();
        assert_eq!(gone, ["requestObject".to_owned()].into());
    }
    // It can be repeated, by the name of the member, too.
    let member: BTreeSet<String> = ["requestObject".to_owned()].into();
    assert_eq!(redact_dir(dir, ("c", 6), &member, "again").await.unwrap(), member);

    // The key that could tell a guess is nowhere, nor is a file that had the value.
    assert_ne!(first_key(dir), key);
    let salts = fs::read_to_string(dir.join("keys/c/000000000000.salts")).unwrap();
    let salts: serde_json::Value = serde_json::from_str(&salts).unwrap();
    let of_block = salts["0"]["salts"].as_object().unwrap();
    let kept = |seq: &str| of_block[seq].as_object().unwrap().len();
    assert_eq!((of_block.len(), kept("6"), kept("9"), kept("12")), (256, 0, 0, 1));
    let had_it = |file: &String| files.contains(file) && file.starts_with("000000000000000-");
    assert!(!tables(dir).iter().any(had_it), "{files:?}");
    for file in fs::read_dir(dir.join("wal")).unwrap() {
        assert!(file.unwrap().metadata().unwrap().len() <= 8);
    }

    let verification = verify(dir).await;
    assert_eq!((verification.gone, verification.bodies), (3, BODIES + 1 - 3));
    let after = reader.prove("c", &leaves).await.unwrap().unwrap();
    for (before, after) in before.proven().iter().zip(after.proven()) {
        assert_eq!(before.leaf.entry, after.leaf.entry);
        let is_redacted = [6, 9, last].contains(&before.leaf.seq);
        let wanted = if is_redacted { &[][..] } else { &before.leaf.bodies };
        assert_eq!(after.leaf.bodies, wanted);
    }
    let shown = &seen(dir, "c").await[6];
    assert!(shown.text().contains(r#""requestObject":{"$c":""#), "{shown:?}");

    // The block that was not full goes on with another key, and can lose that, too.
    let writer = writer(dir).await;
    add(&writer, EVENTS, EVENTS + 100).await;
    writer.flush().await.unwrap();
    writer.compact().await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(verify(dir).await.gone, 3);
    redact_dir(dir, ("c", EVENTS + 9), &BTreeSet::new(), "another").await.unwrap();
    fs::remove_file(dir.join("ledger/c/edge")).unwrap();
    self::writer(dir).await.close().await.unwrap();
    assert_eq!(verify(dir).await.gone, 4);
    reopen_dir(dir, &["meta".to_owned()], "a test").await.unwrap();
    assert_eq!(verify(dir).await.gone, 4);
}

/// The files of the table of bodies.
fn tables(dir: &Path) -> BTreeSet<String> {
    let days = fs::read_dir(dir.join("bodies/cluster=c")).unwrap();
    let files = days.flat_map(|day| fs::read_dir(day.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_redacted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let response: BTreeSet<String> = ["responseObject".to_owned()].into();
    for (seq, members, why) in [
        (4, BTreeSet::new(), "has neither requestObject nor responseObject"),
        (3, response, "has no responseObject"),
        (EVENTS, BTreeSet::new(), "there is no event c/3000"),
    ] {
        let refused = redact_dir(dir, ("c", seq), &members, "a test").await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    assert_eq!(verify(dir).await.gone, 0);
}

/// The control: a redaction that nobody recorded, and one that is on record and was not done.
#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_that_is_not_as_recorded_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(dir).await;
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    let found = without_record_of(copied.path(), async || {
        redact_dir(copied.path(), ("c", 6), &BTreeSet::new(), "a test").await.unwrap();
    });
    let found = found.await;
    assert!(
        found.iter().any(|finding| finding.contains("is gone, and no record says")),
        "{found:?}"
    );

    // The table and the keys of before under the ledger of after.
    let before = tempfile::tempdir().unwrap();
    for part in ["bodies", "keys"] {
        copy(&dir.join(part), &before.path().join(part));
    }
    redact_dir(dir, ("c", 6), &BTreeSet::new(), "a test").await.unwrap();
    for part in ["bodies", "keys"] {
        fs::remove_dir_all(dir.join(part)).unwrap();
        copy(&before.path().join(part), &dir.join(part));
    }
    let found = findings(&Reader::open_dir(dir).unwrap()).await;
    assert!(found.iter().any(|finding| finding.contains("is still there")), "{found:?}");
}
