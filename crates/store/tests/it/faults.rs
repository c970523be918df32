//! Disks that fill up, refuse, lose a sync, or rot: every case says what the user is told, that
//! nothing acknowledged is lost, and that it goes on by itself where that is safe.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use whodid_event::redact::RuleSet;
use whodid_store::{Error, Limits, Options, Original, Reader, Repair, Writer, repair_dir};

use crate::hooked_disk::{HookedDisk, Op, Verdict};
use crate::support::{batch, event, everything, texts};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

fn options() -> Options {
    let limits = Limits { wal_grace: 0, ..Limits::default() };
    Options { rules: RuleSet::off(), limits, ..Options::default() }
}

/// Which operations fail, and how.
type Fault = Option<(Op, &'static str, i32)>;

/// A store on a disk whose faults can be switched on and off.
struct Faulty {
    folder: TempDir,
    fault: Arc<Mutex<Fault>>,
}

impl Faulty {
    fn new() -> Self {
        Faulty { folder: tempfile::tempdir().unwrap(), fault: Arc::default() }
    }

    async fn open(&self) -> Result<Writer, Error> {
        let fault = Arc::clone(&self.fault);
        let disk = HookedDisk::new(self.folder.path(), move |op, path, is_over| {
            match *fault.lock().unwrap() {
                Some((of, part, errno)) if of == op && path.contains(part) && !is_over => {
                    Verdict::Fail(errno)
                }
                _ => Verdict::Go,
            }
        });
        Writer::open(Arc::new(disk), options()).await
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

/// Appends event number `i` alone; the receipt says where it is.
async fn add(writer: &Writer, i: u64) -> Result<u64, Error> {
    let made = batch(&writer.preparer(), "c", &[event(1, i)]);
    writer.append(made).await.map(|receipt| receipt.first_seq)
}

/// Everything that another process sees of the store.
async fn read(folder: &Path) -> Vec<String> {
    let snapshot = Reader::open_dir(folder).unwrap().snapshot().await.unwrap();
    assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
    texts(&everything(&snapshot, "c").await)
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|i| event(1, i)).collect()
}

/// A disk that is full, read-only or broken for a while: senders are told to try again, nothing is
/// half-written, and it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_for_a_while() {
    for (errno, says) in [
        (ENOSPC, "No space left on device"),
        (EROFS, "Read-only file system"),
        (EIO, "Input/output error"),
    ] {
        let faulty = Faulty::new();
        let writer = faulty.open().await.unwrap();
        assert_eq!(add(&writer, 0).await.unwrap(), 0);
        faulty.set(Some((Op::Append, "wal/", errno)));
        for _ in 0..3 {
            let error = add(&writer, 1).await.unwrap_err();
            assert!(error.is_temporary() && !error.is_fatal(), "{error}");
            let message = error.to_string();
            assert!(message.starts_with("cannot write wal/0000"), "{message}");
            assert!(message.contains(says) && message.contains("try again"), "{message}");
        }
        assert_eq!(read(faulty.folder.path()).await, numbers(0..1), "half a frame is nothing");
        faulty.set(None);
        assert_eq!(add(&writer, 1).await.unwrap(), 1, "the place was not used up");
        drop(writer);
        let writer = faulty.open().await.unwrap();
        assert_eq!(texts(&everything(&writer.snapshot(), "c").await), numbers(0..2));
        writer.close().await.unwrap();
        assert_eq!(read(faulty.folder.path()).await, numbers(0..2));
    }
}

/// Segments that cannot be written wait; events go on being taken in, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn segments_that_cannot_be_written_wait() {
    for fault in [
        (Op::Append, "tmp/", ENOSPC),
        (Op::Create, "tmp/", EROFS),
        (Op::Link, "events/cluster", EIO),
        (Op::Link, "bodies/cluster", EIO),
        (Op::Link, "bodies/_delta_log", ENOSPC),
        (Op::Link, "events/_delta_log", ENOSPC),
        (Op::Create, "wal/", ENOSPC),
        (Op::Remove, "wal/", EROFS),
    ] {
        let faulty = Faulty::new();
        let writer = faulty.open().await.unwrap();
        add(&writer, 0).await.unwrap();
        faulty.set(Some(fault));
        let flushed = writer.flush().await;
        // A log file that stays too long is no reason to refuse anything.
        assert_eq!(flushed.is_ok(), fault.0 == Op::Remove, "{fault:?}: {flushed:?}");
        add(&writer, 1).await.unwrap();
        assert_eq!(read(faulty.folder.path()).await, numbers(0..2), "{fault:?}");
        faulty.set(None);
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = writer.flush().await {
            assert!(!error.is_fatal() || Instant::now() < deadline, "{fault:?}: {error}");
            tokio::task::yield_now().await;
        }
        assert_eq!(texts(&everything(&writer.snapshot(), "c").await), numbers(0..2));
        writer.close().await.unwrap();
        assert_eq!(read(faulty.folder.path()).await, numbers(0..2), "{fault:?}");
    }
}

/// A sync that failed once is never tried again: what the disk holds is unknown until it is read
/// anew. The process has to know within a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_stops_the_writer() {
    for (op, part, named) in [
        (Op::Sync, "wal/", "wal/0000"),
        (Op::SyncDir, "wal", "wal"),
        (Op::Sync, "tmp/", "bodies/cluster=c"),
        (Op::SyncDir, "events/cluster", "events/cluster=c"),
        (Op::SyncDir, "bodies/cluster", "bodies/cluster=c"),
        (Op::SyncDir, "events/_delta_log", "events/_delta_log"),
        (Op::SyncDir, "bodies/_delta_log", "bodies/_delta_log"),
    ] {
        let faulty = Faulty::new();
        let writer = faulty.open().await.unwrap();
        // Of these two, the second has a body. The log of the cluster is begun with the first.
        let events = [event(1, 1), event(1, 0)];
        add(&writer, 1).await.unwrap();
        writer.flush().await.unwrap();
        faulty.set(Some((op, part, EIO)));
        let begin = Instant::now();
        // The first meets the log's own sync, the second those of the segments.
        let (sent, flushed) = (add(&writer, 0).await, writer.flush().await);
        let error = writer.failed().await;
        assert!(begin.elapsed() < Duration::from_secs(1), "{op:?} {part}: too late");
        assert!(error.is_fatal() && flushed.is_err(), "{op:?} {part}: {error}");
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("sync of {named}")) && message.contains("os error 5"),
            "{message}"
        );
        // The disk is well again, which proves nothing about what it forgot.
        faulty.set(None);
        assert!(add(&writer, 2).await.unwrap_err().is_fatal(), "{op:?} {part}");
        assert!(writer.close().await.is_err());
        let writer = faulty.open().await.unwrap();
        let seen = texts(&everything(&writer.snapshot(), "c").await);
        assert!(seen == events || seen == events[..1] && sent.is_err(), "{seen:?}");
        writer.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_can_still_be_read() {
    let faulty = Faulty::new();
    let writer = faulty.open().await.unwrap();
    add(&writer, 0).await.unwrap();
    drop(writer);
    faulty.set(Some((Op::Create, "", EROFS)));
    let error = faulty.open().await.err().unwrap().to_string();
    assert!(
        error.starts_with("cannot write ") && error.contains("Read-only file system"),
        "{error}"
    );
    assert_eq!(read(faulty.folder.path()).await, numbers(0..1));
}

/// The one log file that holds events.
fn log_file(folder: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder.join("wal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .filter(|path| fs::metadata(path).unwrap().len() > 8)
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Where frames begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    (8..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"WdF1").collect()
}

/// A write that was cut off anywhere is cut off at the next start; what was acknowledged stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_is_cut_off() {
    let original = tempfile::tempdir().unwrap();
    let writer = Writer::open_dir(original.path(), options()).await.unwrap();
    for i in 0..3 {
        add(&writer, i).await.unwrap();
    }
    drop(writer);
    let whole = fs::read(log_file(original.path())).unwrap();
    let last = frames(&whole)[2];
    for cut in (last..whole.len()).step_by(7) {
        fs::write(log_file(original.path()), &whole[..cut]).unwrap();
        assert_eq!(read(original.path()).await, numbers(0..2), "cut at {cut}");
    }
    let writer = Writer::open_dir(original.path(), options()).await.unwrap();
    assert_eq!(add(&writer, 9).await.unwrap(), 2);
    writer.close().await.unwrap();
    let expected: Vec<String> = [0, 1, 9].map(|i| event(1, i)).into();
    assert_eq!(read(original.path()).await, expected);
}

/// Damage to what was acknowledged stops a start, with a message that names the place; a reader
/// shows what it can; a repair goes on with the loss on record.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_never_cut_off_in_silence() {
    // Which frame is damaged, and what a repair says.
    for (damaged, lost) in [(0, Some((0, 0))), (2, Some((2, 2))), (3, None)] {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
        for i in 0..4 {
            add(&writer, i).await.unwrap();
        }
        // In the third case only a frame of another cluster shows that the last one of `c` had
        // been acknowledged.
        writer.append(batch(&writer.preparer(), "other", &[event(2, 0)])).await.unwrap();
        drop(writer);
        let path = log_file(folder.path());
        let mut bytes = fs::read(&path).unwrap();
        let at = frames(&bytes)[damaged];
        bytes[at + 60] ^= 1;
        fs::write(&path, &bytes).unwrap();

        let error = Writer::open_dir(folder.path(), options()).await.err().unwrap();
        let (name, message) = (path.file_name().unwrap().to_str().unwrap(), error.to_string());
        let expected = format!("wal/{name}: the frame at byte {at} is damaged");
        assert!(message.starts_with(&expected), "{message}");
        assert!(message.contains("whodid ingest repair"), "{message}");
        let snapshot = Reader::open_dir(folder.path()).unwrap().snapshot().await.unwrap();
        assert!(!snapshot.warnings().is_empty());
        assert_eq!(everything(&snapshot, "c").await.len(), 3, "the others are shown");

        let repair = repair_dir(folder.path()).await.unwrap();
        let kept = format!("wal/{name}.damaged");
        assert_eq!(repair.kept, std::slice::from_ref(&kept));
        assert_eq!(fs::read(folder.path().join(kept)).unwrap(), bytes);
        assert_eq!(repair.lost.first().map(|lost| (lost.from, lost.to)), lost);
        assert_eq!(repair.damage.len(), 1);
        assert_eq!(repair.uncertain.is_empty(), lost.is_some());
        let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
        let seen = everything(&writer.snapshot(), "c").await;
        assert_eq!(seen.len(), 4);
        for (seq, event) in &seen {
            let is_lost = *seq == damaged as i64;
            assert_eq!(matches!(event.original, Original::Raw(_)), is_lost, "{seq}");
            assert_eq!(event.text().contains("lost"), is_lost, "{seq}: {}", event.text());
        }
        assert_eq!(add(&writer, 4).await.unwrap(), 4);
        writer.close().await.unwrap();
        assert_eq!(repair_dir(folder.path()).await.unwrap(), Repair::default());
    }
}

/// A log file that is gone leaves a gap that nobody steps over.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_log_file_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let faulty = Faulty { folder, fault: Arc::default() };
    let writer = faulty.open().await.unwrap();
    add(&writer, 0).await.unwrap();
    writer.flush().await.unwrap();
    faulty.set(Some((Op::Create, "tmp/", ENOSPC)));
    add(&writer, 1).await.unwrap();
    assert!(writer.flush().await.is_err());
    let first = log_file(faulty.folder.path());
    add(&writer, 2).await.unwrap();
    drop(writer);
    faulty.set(None);
    fs::remove_file(first).unwrap();
    let message = faulty.open().await.err().unwrap().to_string();
    assert!(
        message.starts_with("cluster c: events 1 to 1 are neither in a segment nor"),
        "{message}"
    );
    let repair = repair_dir(faulty.folder.path()).await.unwrap();
    assert_eq!(repair.lost.len(), 1, "{repair:?}");
    let writer = faulty.open().await.unwrap();
    let seen = texts(&everything(&writer.snapshot(), "c").await);
    assert_eq!((&seen[0], &seen[2]), (&event(1, 0), &event(1, 2)));
    assert!(seen[1].starts_with("event c/1 was acknowledged and is lost"), "{}", seen[1]);
}

/// Somebody else's commit in a table's log is an alarm, not a conflict to be resolved.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_commit_stops_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    add(&writer, 0).await.unwrap();
    writer.flush().await.unwrap();
    let log = folder.path().join("events/_delta_log");
    let commit = r#"{"commitInfo":{"operation":"DELETE"}}"#;
    fs::write(log.join(format!("{:020}.json", 2)), commit).unwrap();
    add(&writer, 1).await.unwrap();
    let error = writer.flush().await.unwrap_err().to_string();
    assert!(error.contains("commit 2 was not made by this writer"), "{error}");
    assert!(writer.failed().await.is_fatal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_writer_is_told_who_the_first_is() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    let message = Writer::open_dir(folder.path(), options()).await.err().unwrap().to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    assert!(message.contains("--server"), "{message}");
    drop(writer);
    Writer::open_dir(folder.path(), options()).await.unwrap().close().await.unwrap();
}

/// What takes away a part of a record must not make it begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_a_missing_part_is_refused() {
    for (gone, says) in [
        ("wal", "wal: the write-ahead log is gone"),
        ("events", "events: the table is gone"),
        ("bodies", "bodies: the table is gone"),
        ("keys", "keys/c: the keys are gone"),
        ("store.json", "store.json: it is gone, although the folder holds a record"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
        add(&writer, 0).await.unwrap();
        writer.flush().await.unwrap();
        add(&writer, 1).await.unwrap();
        drop(writer);
        let (path, aside) = (folder.path().join(gone), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let message = Writer::open_dir(folder.path(), options()).await.err().unwrap().to_string();
        assert!(message.starts_with(says), "{message}");
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::rename(&aside, &path).unwrap();
        assert_eq!(read(folder.path()).await, numbers(0..2), "{gone}");
        Writer::open_dir(folder.path(), options()).await.unwrap().close().await.unwrap();
    }
}

/// The first bytes of a log file are not its frames: if they rot, nothing is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_beginning_of_a_log_file_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    add(&writer, 0).await.unwrap();
    drop(writer);
    let path = log_file(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let message = Writer::open_dir(folder.path(), options()).await.err().unwrap().to_string();
    assert!(message.contains("does not begin like a log file"), "{message}");
    let snapshot = Reader::open_dir(folder.path()).unwrap().snapshot().await.unwrap();
    assert_eq!(texts(&everything(&snapshot, "c").await), numbers(0..1));
    assert_eq!(repair_dir(folder.path()).await.unwrap().damage.len(), 1);
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    assert_eq!(texts(&everything(&writer.snapshot(), "c").await), numbers(0..1));
    writer.close().await.unwrap();
}

/// Runs of a program that each write a little make checkpoints together.
#[tokio::test(flavor = "multi_thread")]
async fn short_runs_make_checkpoints_too() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..20 {
        let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
        add(&writer, i).await.unwrap();
        writer.close().await.unwrap();
    }
    for table in ["events", "bodies"] {
        let hint = folder.path().join(table).join("_delta_log/_last_checkpoint");
        assert!(hint.is_file(), "{table} has no checkpoint after 20 commits");
    }
    assert_eq!(read(folder.path()).await, numbers(0..20));
}
