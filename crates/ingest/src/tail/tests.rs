//! What rotation does to files, one case each: every line is taken in once, and what cannot be is a
//! gap on record. The clock stands still unless a case moves it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use whodid_event::Gap;
use whodid_event::split::{EVENT_BYTES_MAX, Item, Splitter};

use super::gaps::MISSING_MIN;
use super::*;

/// What was taken in, as the record keeps it.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    items: Vec<String>,
    positions: Vec<SourcePosition>,
    /// So many portions are refused first.
    troubles: u32,
    /// What happens while somebody asks how far files are.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
    /// Whether the process is killed when the next portion was taken.
    is_killed: bool,
    /// So long each portion takes, by this clock.
    slow: Option<(Micros, Arc<Time>)>,
}

impl Sink for Record {
    async fn known(&self, id: &[u8; 32]) -> Result<Vec<SourcePosition>, Trouble> {
        let mut taken = self.0.lock().unwrap();
        if let Some(happens) = taken.meanwhile.take() {
            happens();
        }
        Ok(taken.positions.iter().filter(|position| position.id == *id).copied().collect())
    }

    async fn take(&self, portion: &Portion) -> Result<(), Trouble> {
        let pieces: Vec<_> = portion.body().collect().await;
        let mut taken = self.0.lock().unwrap();
        if taken.troubles > 0 {
            taken.troubles -= 1;
            return Err(Trouble::Passing("not now".into()));
        }
        if let Some((takes, clock)) = &taken.slow {
            clock.0.fetch_add(*takes, Ordering::Relaxed);
        }
        let mut splitter = Splitter::default();
        for piece in pieces {
            splitter.push(&piece.unwrap());
        }
        splitter.finish();
        while let Some(item) = splitter.next_item() {
            taken.items.push(match item {
                Item::Value(bytes) | Item::Broken(bytes) => {
                    String::from_utf8(bytes.to_vec()).unwrap()
                }
                Item::Oversized(oversized) => format!("{} bytes", oversized.bytes),
            });
        }
        if let Some(position) = portion.position {
            taken.positions.retain(|known| known.id != position.id);
            taken.positions.push(position);
        }
        let is_killed = std::mem::take(&mut taken.is_killed);
        drop(taken);
        assert!(!is_killed, "kill -9");
        Ok(())
    }
}

/// A log, its tail, and what was written and should be taken in.
struct Case {
    folder: TempDir,
    runtime: Runtime,
    record: Record,
    tail: Option<Tail<Record>>,
    written: Vec<String>,
    clock: Arc<Time>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Time(AtomicI64);

impl Clock for Time {
    fn now(&self) -> Micros {
        self.0.load(Ordering::Relaxed)
    }
}

impl Case {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        let mut case = Case {
            folder,
            runtime,
            record: Record::default(),
            tail: None,
            written: Vec::new(),
            clock: Arc::new(Time(AtomicI64::new(1_790_000_000_000_000))),
            stop: watch::Sender::new(false),
        };
        case.start();
        case
    }

    fn start(&mut self) {
        let _context = self.runtime.enter();
        let is_over = self.stop.subscribe();
        let notes = self.folder.path().join("notes.json");
        let (record, clock) = (self.record.clone(), Arc::clone(&self.clock));
        let tail = Tail::new(&self.log(), &notes, record, is_over, clock);
        self.tail = Some(tail.unwrap());
    }

    /// Starts anew, as after `kill -9`, when so much time has passed.
    fn restart(&mut self, away: Micros) {
        self.tail = None;
        self.clock.0.fetch_add(away, Ordering::Relaxed);
        self.start();
    }

    fn log(&self) -> PathBuf {
        self.file("audit.log")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("log").join(name)
    }

    /// Writes text at the end of a file of the log.
    fn append(&self, name: &str, text: &str) {
        let file = fs::OpenOptions::new().append(true).create(true).open(self.file(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Writes so many lines to the log.
    fn write(&mut self, lines: usize) {
        for _ in 0..lines {
            let line = format!(r#"{{"kind":"Event","auditID":"{}"}}"#, self.written.len());
            self.append("audit.log", &format!("{line}\n"));
            self.written.push(line);
        }
    }

    /// Looks until nothing moves.
    fn look(&mut self) {
        let _context = self.runtime.enter();
        let tail = self.tail.as_mut().unwrap();
        for _ in 0..100 {
            if !tail.look().unwrap() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn wait(&mut self, time: Micros) {
        self.clock.0.fetch_add(time, Ordering::Relaxed);
        self.look();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.file(from), self.file(to)).unwrap();
    }

    fn copy_and_truncate(&self, to: &str) {
        fs::copy(self.log(), self.file(to)).unwrap();
        fs::OpenOptions::new().write(true).truncate(true).open(self.log()).unwrap();
    }

    fn pack(&self, name: &str) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&fs::read(self.file(name)).unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    fn gaps(&self) -> Vec<(String, u64, Option<u64>)> {
        let taken = self.record.0.lock().unwrap();
        let gaps = taken.items.iter().filter_map(|item| Gap::parse(item));
        let name = |gap: &Gap<'_>| gap.file.rsplit('/').next().unwrap().to_owned();
        gaps.map(|gap| (name(&gap), gap.from, gap.until)).collect()
    }

    /// Checks that every line was taken in once, in whatever order, and that nothing else was.
    fn check(&self) {
        let taken = self.record.0.lock().unwrap();
        let mut taken = taken.items.clone();
        let mut written = self.written.clone();
        taken.sort();
        written.sort();
        assert_eq!(taken, written);
    }
}

const MINUTE: Micros = 60_000_000;
const HOUR: Micros = 60 * MINUTE;

const LUMBERJACK: &str = "audit-2026-01-02T03-04-05.678.log";

#[test]
fn lines_as_they_come() {
    let mut case = Case::new();
    case.look();
    case.write(3);
    case.look();
    case.check();
    // Half a line is none.
    case.append("audit.log", r#"{"kind":"Event","#);
    case.look();
    case.check();
    case.append("audit.log", "\"auditID\":\"x\"}\n");
    case.written.push(r#"{"kind":"Event","auditID":"x"}"#.into());
    case.look();
    case.check();
    case.wait(QUIET * 2);
    case.write(1);
    case.look();
    case.check();
}

#[test]
fn renamed_as_kube_apiserver_does() {
    let mut case = Case::new();
    case.write(2);
    case.look();
    case.write(2);
    case.rename("audit.log", LUMBERJACK);
    case.write(2);
    case.look();
    case.check();
    // Whoever renames may still be writing.
    case.append(LUMBERJACK, "{\"late\":1}\n");
    case.written.push("{\"late\":1}".into());
    case.look();
    case.check();
    case.wait(QUIET);
    fs::write(case.file(&format!("{LUMBERJACK}.gz")), case.pack(LUMBERJACK)).unwrap();
    fs::remove_file(case.file(LUMBERJACK)).unwrap();
    case.wait(QUIET);
    case.restart(HOUR);
    case.look();
    case.check();
    assert_eq!(case.gaps(), []);
}

#[test]
fn killed_before_a_new_file_was_looked_at_to_its_end() {
    let mut case = Case::new();
    case.write(3);
    case.record.0.lock().unwrap().is_killed = true;
    let look = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.look()));
    assert!(look.is_err());
    let taken = fs::metadata(case.log()).unwrap().len();
    case.write(2);
    fs::remove_file(case.log()).unwrap();
    case.restart(HOUR);
    case.look();
    case.wait(MISSING_MIN);
    // Behind the last item; its line feed is no item.
    assert_eq!(case.gaps(), [("audit.log".to_owned(), taken - 1, None)]);
}

#[test]
fn rotated_and_packed_while_nobody_looked() {
    let mut case = Case::new();
    case.write(2);
    case.look();
    case.restart(HOUR);
    case.write(3);
    case.rename("audit.log", LUMBERJACK);
    fs::write(case.file(&format!("{LUMBERJACK}.gz")), case.pack(LUMBERJACK)).unwrap();
    fs::remove_file(case.file(LUMBERJACK)).unwrap();
    case.write(2);
    case.look();
    case.check();
    assert_eq!(case.gaps(), []);
}

#[test]
fn packing_takes_its_time() {
    let mut case = Case::new();
    case.write(2_000);
    case.rename("audit.log", "audit.log.1");
    let packed = case.pack("audit.log.1");
    fs::remove_file(case.file("audit.log.1")).unwrap();
    fs::write(case.file("audit.log.1.gz"), &packed[..packed.len() / 2]).unwrap();
    case.look();
    case.wait(QUIET);
    fs::write(case.file("audit.log.1.gz"), &packed).unwrap();
    case.wait(QUIET);
    case.check();
    assert_eq!(case.gaps(), []);
}

#[test]
fn copied_and_truncated() {
    let mut case = Case::new();
    case.write(2);
    case.look();
    case.write(3);
    case.copy_and_truncate("audit.log.1");
    case.write(1);
    case.look();
    case.check();
    // So quickly that it is as long again before anybody looks.
    case.copy_and_truncate("audit.log.2");
    case.write(20);
    case.look();
    case.check();
    case.wait(QUIET * 2);
    case.restart(HOUR);
    case.look();
    case.check();
    assert_eq!(case.gaps(), []);
}

/// Found by the long form of these checks: bytes of the new content were taken for the old one's.
#[test]
fn copied_and_truncated_while_it_is_being_opened() {
    let mut case = Case::new();
    case.write(4);
    case.look();
    case.restart(0);
    let (log, copy) = (case.log(), case.file("audit.log.1"));
    let lines: Vec<String> = (0..9).map(|i| format!("{{\"auditID\":\"new-{i}\"}}")).collect();
    case.written.extend(lines.clone());
    case.record.0.lock().unwrap().meanwhile = Some(Box::new(move || {
        fs::copy(&log, &copy).unwrap();
        fs::write(&log, lines.join("\n") + "\n").unwrap();
    }));
    case.look();
    case.wait(LIST_EVERY);
    case.check();
    // What came into its place is longer, which says nothing about the copy.
    case.wait(QUIET * 2);
    case.restart(HOUR);
    case.look();
    case.check();
    assert_eq!(case.gaps(), []);
}

#[test]
fn deleted_while_it_is_read() {
    let mut case = Case::new();
    case.write(2);
    case.look();
    case.write(2);
    fs::remove_file(case.log()).unwrap();
    case.look();
    case.check();
    case.write(1);
    case.wait(QUIET);
    case.wait(QUIET);
    case.check();
    assert_eq!(case.gaps(), []);
}

#[test]
fn what_went_away_unread_is_a_gap() {
    let mut case = Case::new();
    case.write(2);
    case.look();
    let taken = fs::metadata(case.log()).unwrap().len();
    // Nobody knows what else it held.
    case.restart(MINUTE);
    fs::remove_file(case.log()).unwrap();
    case.write(1);
    case.look();
    case.wait(MISSING_MIN);
    assert_eq!(case.gaps(), [("audit.log".to_owned(), taken, None)]);
    // It is on record once.
    case.wait(LIST_EVERY);
    case.restart(MINUTE);
    case.look();
    assert_eq!(case.gaps().len(), 1);
}

#[test]
fn what_was_seen_and_not_taken_in_is_a_gap_of_known_length() {
    let mut case = Case::new();
    case.write(2);
    let whole = fs::metadata(case.log()).unwrap().len();
    case.append("audit.log", "{\"half\":");
    case.rename("audit.log", LUMBERJACK);
    case.look();
    case.restart(0);
    fs::remove_file(case.file(LUMBERJACK)).unwrap();
    case.look();
    case.wait(MISSING_MIN);
    assert_eq!(case.gaps(), [(LUMBERJACK.to_owned(), whole, Some(whole + 8))]);
}

#[test]
fn a_rotated_file_that_was_taken_in_may_go() {
    let mut case = Case::new();
    case.write(2);
    case.rename("audit.log", LUMBERJACK);
    case.write(1);
    case.look();
    case.restart(0);
    fs::remove_file(case.file(LUMBERJACK)).unwrap();
    case.look();
    case.wait(MISSING_MIN);
    case.check();
}

/// Found by the long form of these checks: a file that could not be read yet as far as it is taken
/// in, or was being renamed while the folder was listed, was said to have gone.
#[test]
fn a_file_that_is_missing_for_a_moment_is_no_gap() {
    let mut case = Case::new();
    case.write(2_000);
    case.look();
    case.restart(0);
    let whole = case.pack("audit.log");
    fs::remove_file(case.log()).unwrap();
    case.look();
    fs::write(case.file("audit.log.1.gz"), &whole[..whole.len() / 2]).unwrap();
    case.write(1);
    case.wait(MISSING_MIN * 2);
    fs::write(case.file("audit.log.1.gz"), &whole).unwrap();
    case.wait(LIST_EVERY);
    case.check();
    assert_eq!(case.gaps(), []);
}

/// Found by the long form of these checks: a file that had to wait for its turn was taken for one
/// to which nothing is added any more, and cut in the middle of a line.
#[test]
fn a_file_that_waits_for_its_turn_is_not_done() {
    let mut case = Case::new();
    case.write(3);
    case.rename("audit.log", "audit.log.2");
    // More than is handed over in one turn, which ends within a line.
    case.write(100_000);
    case.rename("audit.log", "audit.log.1");
    case.write(1);
    case.record.0.lock().unwrap().slow = Some((QUIET * 2, Arc::clone(&case.clock)));
    case.look();
    case.wait(QUIET);
    case.check();
    assert_eq!(case.gaps(), []);
}

/// Found by the long form of these checks: killed between the answer and the note, it named lines
/// that are in the record.
#[test]
fn what_was_taken_in_and_not_noted_is_no_gap() {
    let mut case = Case::new();
    let notes = case.folder.path().join("notes.json");
    case.write(2);
    case.look();
    let before = fs::read(&notes).unwrap();
    case.write(2);
    case.look();
    let taken = fs::metadata(case.log()).unwrap().len();
    fs::write(&notes, before).unwrap();
    case.restart(MINUTE);
    fs::remove_file(case.log()).unwrap();
    case.look();
    case.wait(MISSING_MIN);
    assert_eq!(case.gaps(), [("audit.log".to_owned(), taken - 1, None)]);
}

#[test]
fn half_a_line_at_the_end_is_kept() {
    let mut case = Case::new();
    case.write(2);
    case.append("audit.log", "{\"half\":");
    case.written.push("{\"half\":".into());
    case.look();
    fs::OpenOptions::new().write(true).truncate(true).open(case.log()).unwrap();
    case.write(1);
    case.look();
    case.check();
    assert_eq!(case.gaps(), []);
}

#[test]
fn a_damaged_packed_file_is_a_gap() {
    let mut case = Case::new();
    case.write(5_000);
    case.rename("audit.log", "audit.log.1");
    let mut packed = case.pack("audit.log.1");
    fs::remove_file(case.file("audit.log.1")).unwrap();
    let middle = packed.len() / 2;
    packed[middle..middle + 64].fill(0xff);
    fs::write(case.file("audit.log.1.gz"), &packed).unwrap();
    case.look();
    case.wait(PACKING_MAX);
    let gaps = case.gaps();
    assert!(matches!(&gaps[..], [(file, from, None)] if file == "audit.log.1.gz" && *from > 0));
}

#[test]
fn a_line_too_long_for_memory_is_sent_from_its_file() {
    let mut case = Case::new();
    case.write(1);
    for length in [HELD + 1, EVENT_BYTES_MAX + 1] {
        let line = format!(r#"{{"kind":"Event","auditID":"{}"}}"#, "x".repeat(length));
        case.append("audit.log", &format!("{line}\n"));
        let is_kept = line.len() <= EVENT_BYTES_MAX;
        case.written.push(if is_kept { line } else { format!("{} bytes", line.len()) });
    }
    case.write(1);
    case.look();
    case.check();
    case.restart(HOUR);
    case.write(1);
    case.look();
    case.check();
}

/// Longer than what is held in memory.
const HELD: usize = 5 << 20;

#[test]
fn what_is_refused_is_sent_again() {
    let mut case = Case::new();
    case.record.0.lock().unwrap().troubles = 1;
    case.write(3);
    case.look();
    case.check();
}

/// The negative control: the same check notices a line too few and a line too many.
#[test]
fn a_line_lost_or_doubled_is_noticed() {
    let mut case = Case::new();
    case.write(3);
    case.look();
    case.check();
    let is_noticed = |case: &Case| {
        let check = std::panic::AssertUnwindSafe(|| case.check());
        std::panic::catch_unwind(check).is_err()
    };
    case.written.push("never written".into());
    assert!(is_noticed(&case));
    case.written.pop();
    case.written.pop();
    assert!(is_noticed(&case));
}
