//! The process that other tests start to kill it or to watch its system calls: it appends batches
//! and says so line by line on stdout. Not a test by itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use whodid_event::redact::RuleSet;
use whodid_store::{Limits, Options, Writer};

use crate::hooked_disk::{HookedDisk, Op, Verdict};
use crate::support::{batch, event};

/// Events in a batch.
pub const BATCH_EVENTS: u64 = 50;

/// A step at which the child is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Append,
    Fsync,
    Segment,
    DeltaCommit,
    WalDelete,
}

impl Step {
    pub const ALL: [Step; 5] =
        [Step::Append, Step::Fsync, Step::Segment, Step::DeltaCommit, Step::WalDelete];

    /// The step that an operation is part of.
    fn of(op: Op, path: &str) -> Option<Step> {
        match op {
            Op::Append if path.starts_with("wal/") => Some(Step::Append),
            Op::Sync if path.starts_with("wal/") => Some(Step::Fsync),
            Op::Remove if path.starts_with("wal/") => Some(Step::WalDelete),
            Op::Link if path.contains("/_delta_log/") => Some(Step::DeltaCommit),
            Op::Link if path.ends_with(".parquet") => Some(Step::Segment),
            _ => None,
        }
    }
}

/// What a test-only switch breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Break {
    #[default]
    Nothing,
    /// One event in 10,000 is acknowledged without having been appended.
    Drop,
    /// Nothing is synced.
    NoSync,
}

/// What the child is to do.
#[derive(Clone, Debug)]
pub struct Task {
    pub dir: PathBuf,
    /// Batches to send first.
    pub again: Vec<u64>,
    /// Then all from this one on,
    pub from: u64,
    /// to before this one.
    pub to: u64,
    /// So many batches wait for their acknowledgement at once.
    pub senders: usize,
    /// Where to stand still, and at which time of passing it; `true` is after the step.
    pub stop: Option<(Step, u64, bool)>,
    pub broken: Break,
}

const VARIABLE: &str = "WHODID_TEST_CHILD";

impl Task {
    /// The command that starts this process's program as the child.
    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "child::child", "--nocapture", "--quiet"])
            .env(VARIABLE, self.encode())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    fn encode(&self) -> String {
        let again: Vec<String> = self.again.iter().map(ToString::to_string).collect();
        let stop = self.stop.map(|(step, nth, after)| (step as usize, nth, u8::from(after)));
        let (step, nth, after) = stop.unwrap_or((9, 0, 0));
        let (from, to, senders, broken) = (self.from, self.to, self.senders, self.broken as u8);
        let dir = self.dir.display();
        format!("{dir};{};{from};{to};{senders};{step};{nth};{after};{broken}", again.join(","))
    }

    fn decode(text: &str) -> Task {
        let parts: Vec<&str> = text.split(';').collect();
        let number = |i: usize| parts[i].parse::<u64>().unwrap();
        Task {
            dir: parts[0].into(),
            again: parts[1].split(',').filter_map(|n| n.parse().ok()).collect(),
            from: number(2),
            to: number(3),
            senders: number(4) as usize,
            stop: Step::ALL.get(number(5) as usize).map(|step| (*step, number(6), number(7) == 1)),
            broken: match number(8) {
                0 => Break::Nothing,
                1 => Break::Drop,
                _ => Break::NoSync,
            },
        }
    }

    fn options() -> Options {
        let limits = Limits { segment_leaves: 5_000, wal_grace: 0, ..Limits::default() };
        Options { rules: RuleSet::off(), limits, ..Options::default() }
    }

    /// A disk that stands still at the step, for good.
    fn disk(&self) -> HookedDisk {
        let (stop, broken, passed) = (self.stop, self.broken, AtomicU64::new(0));
        HookedDisk::new(&self.dir, move |op, path, is_over| {
            if broken == Break::NoSync && op == Op::Sync {
                return Verdict::Skip;
            }
            let Some((step, nth, after)) = stop else { return Verdict::Go };
            let is_at = Step::of(op, path) == Some(step) && is_over == after;
            if is_at && passed.fetch_add(1, Ordering::Relaxed) + 1 == nth {
                say("R");
                loop {
                    std::thread::park();
                }
            }
            Verdict::Go
        })
    }

    async fn run(self) {
        // The disk itself where nothing is to be done to it.
        let is_plain = self.stop.is_none() && self.broken == Break::Nothing;
        let writer = if is_plain {
            Writer::open_dir(Path::new(&self.dir), Self::options()).await.unwrap()
        } else {
            Writer::open(Arc::new(self.disk()), Self::options()).await.unwrap()
        };
        let writer = Arc::new(writer);
        say("O");
        let numbers = self.again.clone().into_iter().chain(self.from..self.to);
        let numbers = Arc::new(Mutex::new(numbers));
        let senders: Vec<_> = (0..self.senders)
            .map(|_| {
                let (writer, numbers) = (Arc::clone(&writer), Arc::clone(&numbers));
                tokio::spawn(async move {
                    loop {
                        let Some(number) = numbers.lock().unwrap().next() else { break };
                        send(&writer, number, self.broken).await;
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
    }
}

async fn send(writer: &Writer, number: u64, broken: Break) {
    let first = number * BATCH_EVENTS;
    let kept = |i: &u64| broken != Break::Drop || i % 10_000 != 7;
    let events: Vec<String> =
        (first..first + BATCH_EVENTS).filter(kept).map(|i| event(3, i)).collect();
    say(&format!("S {number}"));
    let receipt = writer.append(batch(&writer.preparer(), "c", &events)).await.unwrap();
    say(&format!("A {number} {}", receipt.first_seq));
}

/// Prints a line with one system call.
fn say(line: &str) {
    let line = format!("{line}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent has gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn child() {
    if let Ok(task) = std::env::var(VARIABLE) {
        Task::decode(&task).run().await;
    }
}
