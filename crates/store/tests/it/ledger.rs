//! The ledger: what is signed is what is there, a record that went back or was altered is refused
//! and found, and every proof holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use whodid_event::redact::RuleSet;
use whodid_store::{
    Finding, Limits, Options, Proven, Reader, Verification, Wanted, Writer, hex, reopen_dir,
};
use whodid_tlog::{CompactRange, Hash, Policy, tile};

use crate::support::{append, copy, event, findings};

fn options() -> Options {
    Options { rules: RuleSet::off(), ..Options::default() }
}

/// A record of so many events of cluster `c`, some of them twice, in segments of 256.
async fn record(dir: &Path, count: u64) {
    let limits = Limits { segment_leaves: 256, ..Limits::default() };
    let writer = Writer::open_dir(dir, Options { limits, ..options() }).await.unwrap();
    let events: Vec<String> = (0..count).map(|i| event(1, i - u64::from(i % 50 == 49))).collect();
    append(&writer, "c", &events, 64).await;
    writer.close().await.unwrap();
}

async fn verify(dir: &Path) -> Verification {
    Reader::open_dir(dir).unwrap().verify(Wanted::default(), |_, _| {}).await.unwrap()
}

/// Why a writer does not start.
async fn refusal(dir: &Path) -> String {
    match Writer::open_dir(dir, options()).await {
        Ok(_) => "it starts".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The files below a folder, relative to it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_what_was_signed() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 1_000).await;
    let verification = verify(folder.path()).await;
    assert_eq!(verification.findings, []);
    assert_eq!((verification.events, verification.logs.len()), (1_000, 2));
    assert!(verification.logs.iter().any(|log| (log.size, log.unsigned) == (1_000, 0)));
    assert!(verification.files >= 8, "{verification:?}");
    // Another life goes on with the same tree, also over compaction.
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    append(&writer, "c", &(1_000..1_300).map(|i| event(1, i)).collect::<Vec<_>>(), 7).await;
    writer.flush().await.unwrap();
    writer.compact().await.unwrap();
    writer.close().await.unwrap();
    let verification = verify(folder.path()).await;
    assert_eq!((verification.findings, verification.events), (vec![], 1_300));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_a_proof_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 700).await;
    let reader = Reader::open_dir(folder.path()).unwrap();
    let policy = Policy::parse(&reader.policy().unwrap()).unwrap();
    let mut checked = 0;
    for seq in (0..700).step_by(23).chain([255, 256, 511, 512, 699]) {
        let evidence = reader.prove("c", &[seq].into()).await.unwrap().unwrap();
        let [Proven { leaf, proof }] = evidence.proven() else { panic!("{evidence:?}") };
        let checkpoint = policy.open(&proof.checkpoint).unwrap();
        proof.verify_in(&leaf.entry, &checkpoint).unwrap();
        let entry: serde_json::Value = serde_json::from_slice(&leaf.entry).unwrap();
        assert_eq!((entry["seq"].as_u64(), entry["cluster"].as_str()), (Some(seq), Some("c")));
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
    assert!(reader.prove("c", &[700].into()).await.unwrap().is_none());
    assert!(reader.prove("d", &[0].into()).await.unwrap().is_none());
    // All at once, and what is around them.
    let evidence = reader.prove("c", &(0..700).collect()).await.unwrap().unwrap();
    let hash = |proven: &Proven| Hash::of_leaf(&proven.leaf.entry);
    let hashes: Vec<Hash> = evidence.proven().iter().map(hash).collect();
    assert!(evidence.proven().iter().any(|proven| !proven.leaf.bodies.is_empty()));
    for (begin, end) in [(0, 700), (0, 1), (699, 700), (3, 300), (256, 512), (100, 699)] {
        let [left, leaves, right] = evidence.range(&(begin..end)).await.unwrap();
        assert_eq!(leaves, hashes[begin as usize..end as usize]);
        let mut whole = CompactRange::from_hashes(0, begin, left).unwrap();
        for leaf in leaves {
            whole.append(leaf, |_, _| {});
        }
        assert!(whole.extend(&CompactRange::from_hashes(end, 700, right).unwrap()));
        assert_eq!(whole.root(), evidence.checkpoint().head.root);
    }
    assert!(evidence.range(&(0..701)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_went_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    record(&old, 300).await;
    copy(&old, &new);
    record(&new, 400).await;
    // Everything but the ledger is put back.
    let back = folder.path().join("back");
    copy(&old, &back);
    fs::remove_dir_all(back.join("ledger")).unwrap();
    copy(&new.join("ledger"), &back.join("ledger"));
    let why = refusal(&back).await;
    assert!(why.contains("signed over 700 leaves, and the record of c has 300"), "{why}");
    assert!(why.contains("whodid ledger reopen"), "{why}");
    let found = findings(&Reader::open_dir(&back).unwrap()).await;
    assert!(
        found.iter().any(|finding| finding.contains("put back to an older state")),
        "{found:?}"
    );
    // A person decides to go on.
    let names = ["c".to_owned(), "meta".to_owned()];
    let reopened = reopen_dir(&back, &names, "a copy was put back").await.unwrap();
    let [c, meta] = reopened.as_slice() else { panic!("{reopened:?}") };
    assert!(c.origin.ends_with("/c/2") && c.frozen.ends_with("/c"), "{reopened:?}");
    assert!(meta.origin.ends_with("/meta/2"), "{reopened:?}");
    let verification = verify(&back).await;
    assert_eq!((verification.findings, verification.events), (vec![], 301));
    assert!(back.join("ledger/c.1/checkpoint").is_file());
    assert_eq!(refusal(&back).await, "it starts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_away_is_noticed() {
    for (path, says) in [
        ("ledger", "the ledger is gone"),
        ("ledger/c", "it is gone, although the log was begun"),
        ("ledger/c/key", "it is gone, although the log was begun"),
        ("ledger/c/checkpoint", "it is gone, although the log was begun"),
        ("ledger/meta/key", "the ledger is gone"),
        ("ledger/meta/checkpoint", "it is gone, although the log was begun"),
        ("ledger/meta/entries", "not all there"),
        ("ledger/meta/edge", "it starts"),
        ("ledger/c/edge", "it starts"),
        ("ledger/c/policy", "it starts"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), 300).await;
        remove(&folder.path().join(path));
        let why = refusal(folder.path()).await;
        assert!(why.contains(says), "{path}: {why}");
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// A log whose statements were taken away is not one that has not begun: nothing is signed in the
/// place of what was.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_statements_is_not_begun_anew() {
    let gone: [&[&str]; 6] = [
        &["c/checkpoint", "c/edge"],
        &["c/checkpoint", "c/edge", "c/policy"],
        &["c/checkpoint", "c/edge", "c/key"],
        &["c/checkpoint", "c/edge", "c/policy", "c/key"],
        &["meta/checkpoint", "meta/edge"],
        &["c"],
    ];
    for gone in gone {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), 300).await;
        for path in gone {
            remove(&folder.path().join("ledger").join(path));
        }
        let found = findings(&Reader::open_dir(folder.path()).unwrap()).await;
        assert!(!found.is_empty(), "{gone:?}");
        let why = refusal(folder.path()).await;
        assert!(why.contains("it is gone, although the log was begun"), "{gone:?}: {why}");
    }
}

/// What a crash may leave of a log that is about to begin hinders nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_crash_kept_from_beginning_begins() {
    for left in [&["checkpoint"] as &[&str], &["checkpoint", "policy"], &[]] {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
        let other = tempfile::tempdir().unwrap();
        drop(Writer::open_dir(other.path(), options()).await.unwrap());
        append(&writer, "c", &[event(1, 1)], 1).await;
        drop(writer);
        // A new log's statements are those of `meta` where nothing has been done.
        let log = folder.path().join("ledger/c");
        if log.exists() {
            remove(&log);
        }
        fs::create_dir(log).unwrap();
        for file in left {
            let from = other.path().join("ledger/meta").join(file);
            fs::copy(from, folder.path().join("ledger/c").join(file)).unwrap();
        }
        assert_eq!(findings(&Reader::open_dir(folder.path()).unwrap()).await, Vec::<String>::new());
        assert_eq!(refusal(folder.path()).await, "it starts");
        assert_eq!(findings(&Reader::open_dir(folder.path()).unwrap()).await, Vec::<String>::new());
    }
}

/// Whoever puts his own policy and checkpoint beside the key does not get the key's signature.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_not_the_keys_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    record(&own, 300).await;
    record(&other, 300).await;
    for file in ["policy", "checkpoint"] {
        fs::copy(other.join("ledger/c").join(file), own.join("ledger/c").join(file)).unwrap();
    }
    let why = refusal(&own).await;
    assert!(why.contains("it names another key than the one beside it"), "{why}");
}

/// An edge that claims more than was signed, or another tree, is not gone on from.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_no_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    record(&old, 300).await;
    copy(&old, &new);
    record(&new, 300).await;
    for log in ["c", "meta"] {
        let back = folder.path().join(format!("back-{log}"));
        copy(&new, &back);
        let checkpoint = format!("ledger/{log}/checkpoint");
        fs::copy(old.join(&checkpoint), back.join(&checkpoint)).unwrap();
        let why = refusal(&back).await;
        assert!(why.contains("the checkpoint was put back to an older state"), "{log}: {why}");
        let found = findings(&Reader::open_dir(&back).unwrap()).await;
        assert!(found.iter().any(|finding| finding.contains("put back")), "{log}: {found:?}");
        // Without the edge, only what is in segments tells.
        remove(&back.join(format!("ledger/{log}/edge")));
        if log == "c" {
            let why = refusal(&back).await;
            assert!(why.contains("what is in segments, 600 leaves"), "{why}");
        }
        let found = findings(&Reader::open_dir(&back).unwrap()).await;
        assert!(!found.is_empty(), "{log}");
    }
    // Another edge of the same size: it is made again from the entries.
    for log in ["c", "meta"] {
        let edge = new.join(format!("ledger/{log}/edge"));
        let mut forged = fs::read(&edge).unwrap();
        *forged.last_mut().unwrap() ^= 1;
        fs::write(&edge, forged).unwrap();
    }
    record(&new, 10).await;
    assert_eq!(findings(&Reader::open_dir(&new).unwrap()).await, Vec::<String>::new());
}

/// A seal that nobody signed is neither believed nor signed later.
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_behind_the_checkpoint_is_nobodys_word() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 300).await;
    let signed = verify(folder.path()).await.logs;
    let path = files(folder.path()).into_iter().find(|path| path.starts_with("bodies/cluster=c"));
    let path = path.unwrap();
    let file = folder.path().join(&path);
    let mut bytes = fs::read(&file).unwrap();
    // Where it says who made it: nothing is harmed.
    let at = bytes.windows(6).position(|six| six == b"whodid").unwrap();
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let seal = serde_json::json!({
        "kind": "Seal", "path": path, "bytes": bytes.len(),
        "sha256": hex(&Sha256::digest(&bytes).into()),
    });
    let entries = folder.path().join("ledger/meta/entries");
    let unfinished = fs::read(&entries).unwrap();
    let mut forged = tile::entries(&unfinished).unwrap();
    let entry = format!(
        r#"{{"v":1,"seq":{},"cluster":"meta","source":"whodid","received":"2026-01-01T00:00:00Z","record":{seal}}}"#,
        forged.len()
    );
    forged.push(entry.as_bytes());
    fs::write(&entries, tile::bundle(forged).unwrap()).unwrap();
    let is_found =
        |found: Vec<String>| found.iter().any(|finding| finding.contains("it was sealed"));
    assert!(is_found(findings(&Reader::open_dir(folder.path()).unwrap()).await));
    assert_eq!(refusal(folder.path()).await, "it starts");
    assert!(is_found(findings(&Reader::open_dir(folder.path()).unwrap()).await));
    assert_eq!(verify(folder.path()).await.logs, signed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_removed_with_its_log_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 300).await;
    let reader = Reader::open_dir(folder.path()).unwrap();
    let policy = Policy::parse(&reader.policy().unwrap()).unwrap();
    for path in ["ledger/c", "keys/c", "events/_delta_log", "bodies/_delta_log"] {
        remove(&folder.path().join(path));
    }
    let empty = tempfile::tempdir().unwrap();
    Writer::open_dir(empty.path(), options()).await.unwrap().close().await.unwrap();
    for table in ["events", "bodies"] {
        let log = format!("{table}/_delta_log");
        copy(&empty.path().join(&log), &folder.path().join(&log));
    }
    for policy in [None, Some(&policy)] {
        let wanted = Wanted { cluster: None, policy };
        let found = reader.verify(wanted, |_, _| {}).await.unwrap().findings;
        let has = |what: &str| found.iter().any(|finding| finding.what.contains(what));
        assert!(has("files of c were sealed, and neither"), "{found:?}");
        assert_eq!(has("/c, and nothing that it signed is there"), policy.is_some(), "{found:?}");
    }
    // Of another cluster nothing is missing.
    let wanted = Wanted { cluster: Some("x"), policy: Some(&policy) };
    assert_eq!(reader.verify(wanted, |_, _| {}).await.unwrap().findings, []);
}

/// What a table's log says of a file is held against the file.
#[tokio::test(flavor = "multi_thread")]
async fn statistics_that_are_not_true_are_found() {
    let lies = [
        (r#"\"numRecords\":256"#, r#"\"numRecords\":255"#, "rows"),
        (r#"\"twin\":25"#, r#"\"twin\":20"#, "twins"),
        (r#"\"minValues\":{\"seq\":0"#, r#"\"minValues\":{\"seq\":1"#, "seq"),
        (r#"\"received\":\"2"#, r#"\"received\":\"1"#, "received"),
        (r#"\"time\":\"2"#, r#"\"time\":\"1"#, "time"),
        (r#""size":"#, r#""size":1"#, "bytes"),
    ];
    for (truth, lie, what) in lies {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), 300).await;
        let mut changed = 0;
        for path in files(&folder.path().join("events/_delta_log")) {
            let file = folder.path().join("events/_delta_log").join(path);
            let text = fs::read_to_string(&file).unwrap();
            changed += text.matches(truth).count();
            fs::write(&file, text.replace(truth, lie)).unwrap();
        }
        assert!(changed > 0, "{truth}");
        let found = findings(&Reader::open_dir(folder.path()).unwrap()).await;
        let says = format!("the table's log says {what}");
        assert!(found.iter().any(|finding| finding.contains(&says)), "{what}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_gone_or_wrong_is_made_again() {
    for bytes in [None, Some(b"WdEdge01".to_vec()), Some(vec![0; 100])] {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), 300).await;
        let edge = folder.path().join("ledger/c/edge");
        let whole = fs::read(&edge).unwrap();
        let mut wrong = whole.clone();
        wrong[20] ^= 1;
        match bytes {
            None => fs::write(&edge, wrong).unwrap(),
            Some(bytes) => fs::write(&edge, bytes).unwrap(),
        }
        record(folder.path(), 10).await;
        assert_eq!(findings(&Reader::open_dir(folder.path()).unwrap()).await, Vec::<String>::new());
    }
}

/// What of a store is not covered by the ledger, by design (`docs/format/ledger.md`).
fn is_covered(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    ["events/cluster=", "bodies/cluster=", "keys/", "ledger/", "store.json"]
        .iter()
        .any(|p| path.starts_with(p))
        && !path.ends_with("/key")
}

/// What flipping bits came to.
#[derive(Debug, Default)]
struct Flips {
    tried: usize,
    missed: Vec<String>,
    /// Files that a finding named.
    named: BTreeSet<String>,
}

/// Flips a bit in one of so many bytes of everything that the ledger covers. Findings about paths
/// that begin like `hidden` are overlooked, which the check has to notice.
async fn flip(every: usize, hidden: Option<&'static str>) -> Flips {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 300).await;
    assert_eq!(verify(folder.path()).await.findings, []);
    let mut shares = tokio::task::JoinSet::new();
    // More than there are processors: each waits for files some of the time.
    let count = 3 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for share in 0..count {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        let bytes = (share * every, count * every);
        shares.spawn(async move { flip_share(copied.path(), bytes, hidden).await });
    }
    let mut flips = Flips::default();
    for Flips { tried, missed, named } in shares.join_all().await {
        flips.tried += tried;
        flips.missed.extend(missed);
        flips.named.extend(named);
    }
    flips
}

/// A store that is refused as a whole, as a finding about its descriptor.
fn unreadable(error: &whodid_store::Error) -> Finding {
    let what = error.to_string();
    assert!(what.contains("store.json"), "{what}");
    Finding { path: "store.json".into(), leaves: None, received: None, what }
}

/// Flips a bit in one of so many bytes, from one on.
async fn flip_share(folder: &Path, (from, every): (usize, usize), hidden: Option<&str>) -> Flips {
    let mut flips = Flips::default();
    for path in files(folder).into_iter().filter(|path| is_covered(path)) {
        let file = folder.join(&path);
        let whole = fs::read(&file).unwrap();
        let shown = path.to_str().unwrap().to_owned();
        // Of the keys, those of blocks that have leaves.
        let used = if shown.starts_with("keys/") { 2 * 32 } else { whole.len() };
        for at in (from..used).step_by(every) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&file, flipped).unwrap();
            let mut found = match Reader::open_dir(folder) {
                Ok(_) => verify(folder).await.findings,
                // What a store is stands there: nothing else can be looked at.
                Err(error) => vec![unreadable(&error)],
            };
            found.retain(|finding| hidden.is_none_or(|hidden| !finding.path.starts_with(hidden)));
            if found.is_empty() {
                flips.missed.push(format!("{shown} at {at}"));
            }
            if found.iter().any(|finding| finding.path == shown) {
                flips.named.insert(shown.clone());
            }
            flips.tried += 1;
        }
        fs::write(&file, whole).unwrap();
    }
    flips
}

/// A flipped bit anywhere in a sealed file, the keys of commitments or the ledger is found.
/// `WHODID_FLIP_EVERY` says how many bytes lie between flips; `cargo xtask tamper` flips all.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found() {
    let every = std::env::var("WHODID_FLIP_EVERY").ok().and_then(|every| every.parse().ok());
    let every = every.unwrap_or(97);
    let Flips { tried, missed, named } = flip(every, None).await;
    println!("{tried} flips, {} missed; findings name {named:?}", missed.len());
    assert!(missed.is_empty(), "{missed:?}");
    assert!(tried >= 300 || every > 97, "only {tried}");
    for table in ["events/", "bodies/", "store.json"] {
        assert!(named.iter().any(|path| path.starts_with(table)), "{named:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_that_is_hidden_is_noticed() {
    let Flips { tried, missed, .. } = flip(997, Some("bodies/")).await;
    println!("{tried} flips, findings about bodies hidden: {} missed", missed.len());
    assert!(missed.iter().any(|path| path.starts_with("bodies/")), "{missed:?}");
}

/// Compaction gives no seal to what had lost its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_altered_is_not_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 600).await;
    let path = files(folder.path()).into_iter().find(|path| path.starts_with("events/cluster=c"));
    let file = folder.path().join(path.unwrap());
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(6).position(|six| six == b"whodid").unwrap();
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    let refused = writer.compact().await.unwrap_err().to_string();
    assert!(refused.contains("it is not as it was sealed"), "{refused}");
    writer.close().await.unwrap();
    let found = findings(&Reader::open_dir(folder.path()).unwrap()).await;
    assert!(found.iter().any(|finding| finding.contains("it was sealed with")), "{found:?}");
    // A person decides to go on with it as it is.
    reopen_dir(folder.path(), &["meta".to_owned()], "a test").await.unwrap();
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    assert!(writer.compact().await.unwrap().files_before > 1);
    writer.close().await.unwrap();
    assert_eq!(verify(folder.path()).await.findings, []);
}
