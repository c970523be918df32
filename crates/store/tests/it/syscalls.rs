//! What the kernel sees, through `strace`: no batch is acknowledged before the `fdatasync` that
//! covers its frame has returned.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::child::{Break, Task};

const BATCHES: u64 = 200;

/// A log file as the calls show it.
#[derive(Default)]
struct LogFile {
    written: Vec<u8>,
    /// How much of it was written when the last finished sync began.
    synced: usize,
    /// The same for syncs that have begun, by thread.
    syncing: HashMap<String, usize>,
}

impl LogFile {
    /// Whether the frame of the event at `place` is durable.
    fn covers(&self, place: u64) -> bool {
        let magic = b"WdF1";
        let begin = (0..self.synced.saturating_sub(20)).find(|at| {
            self.written[*at..].starts_with(magic)
                && self.written[at + 12..at + 20] == place.to_le_bytes()
        });
        begin.is_some_and(|at| {
            let body = u32::from_le_bytes(self.written[at + 8..at + 12].try_into().unwrap());
            at + 12 + body as usize <= self.synced
        })
    }
}

/// Runs the child under `strace`; returns how many acknowledgements were seen, and which came too
/// early.
fn watch(senders: usize, broken: Break) -> (u64, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let task = Task {
        dir: folder.path().join("record"),
        again: Vec::new(),
        from: 0,
        to: BATCHES,
        senders,
        stop: None,
        broken,
    };
    let child = task.command();
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-y",
            "-xx",
            "-s",
            "1000000",
            "-e",
            "trace=write,pwrite64,fdatasync,fsync",
            "-o",
        ])
        .arg(&trace)
        .arg(child.get_program())
        .args(child.get_args())
        .envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let ended = strace.status().expect("strace is not installed: apt-get install strace");
    assert!(ended.success(), "{ended}");
    judge(&trace)
}

/// Reads a trace in the order in which calls began and returned.
fn judge(trace: &Path) -> (u64, Vec<u64>) {
    let mut files: HashMap<String, LogFile> = HashMap::new();
    // What a thread's unfinished call is about.
    let mut unfinished: HashMap<String, String> = HashMap::new();
    let (mut acknowledged, mut early) = (0, Vec::new());
    for line in std::fs::read_to_string(trace).unwrap().lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let (call, is_begin, is_end) = if call.starts_with("<... ") {
            (unfinished.remove(thread).unwrap_or_default(), false, true)
        } else if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread.to_owned(), begun.to_owned());
            (begun.to_owned(), true, false)
        } else {
            (call.to_owned(), true, true)
        };
        let Some((name, arguments)) = call.split_once('(') else { continue };
        // `-y` names the file, `-xx` writes its name in hexadecimal: `7</tmp/…>`.
        let file = unhex(arguments.split(['<', '>']).nth(1).unwrap_or_default());
        let file = String::from_utf8_lossy(&file).into_owned();
        let is_log = file.contains("/wal/");
        match name {
            "write" | "pwrite64" if is_log && is_end => {
                let bytes = unhex(arguments.split('"').nth(1).unwrap_or_default());
                files.entry(file).or_default().written.extend(bytes);
            }
            "fdatasync" | "fsync" if is_log => {
                let log = files.entry(file).or_default();
                if is_begin {
                    log.syncing.insert(thread.to_owned(), log.written.len());
                }
                if is_end && line.ends_with("= 0") {
                    log.synced = log.syncing.remove(thread).unwrap_or(0).max(log.synced);
                }
            }
            "write" if arguments.starts_with("1<") && is_begin => {
                let said = unhex(arguments.split('"').nth(1).unwrap_or_default());
                let said = String::from_utf8_lossy(&said).into_owned();
                let Some(("A", numbers)) = said.trim_end().split_once(' ') else { continue };
                let place = numbers.split_once(' ').unwrap().1.parse().unwrap();
                acknowledged += 1;
                if !files.values().any(|log| log.covers(place)) {
                    early.push(place);
                }
            }
            _ => {}
        }
    }
    (acknowledged, early)
}

/// The bytes of a string as `strace -xx` prints it; what is not in hexadecimal stands for itself.
fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(hex) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = &hex[2..];
        } else {
            bytes.push(rest.as_bytes()[0]);
            rest = &rest[1..];
        }
    }
    bytes
}

#[test]
fn acknowledged_means_synced() {
    for senders in [1, 8] {
        let (acknowledged, early) = watch(senders, Break::Nothing);
        println!(
            "{senders} senders: {acknowledged} acknowledged, {} before their sync",
            early.len()
        );
        assert_eq!((acknowledged, early), (BATCHES, vec![]));
    }
}

#[test]
fn an_acknowledgement_before_its_sync_is_noticed() {
    let (acknowledged, early) = watch(1, Break::NoSync);
    println!("without syncs: {acknowledged} acknowledged, {} before their sync", early.len());
    assert_eq!((acknowledged, early.len() as u64), (BATCHES, BATCHES));
}
