//! A disk that fails under the program, through a library that is loaded before all others: what
//! it says, with which exit code, and that the next run goes on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use whodid_testkit::captures;

use crate::support::{Record, preload};

/// Fails `fdatasync` of log files, or writes to them, once so many bytes were written there.
pub const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long written;

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "/wal/") != NULL;
}

static int is_due(const char *what) {
    const char *wanted = getenv("SHIM_FAIL"), *after = getenv("SHIM_AFTER");
    return wanted && after && !strcmp(wanted, what) && written >= atol(after);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (is_log(fd)) {
        if (is_due("write")) { errno = ENOSPC; return -1; }
        written += n;
    }
    return real(fd, bytes, n);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    if (is_log(fd) && is_due("fdatasync")) { errno = EIO; return -1; }
    return real(fd);
}
"#;

fn import(record: &Record, fail: &str, after: &str) -> (i32, String, Duration) {
    let file = captures::folder().join("typical-policy.jsonl.zst").display().to_string();
    let shim = preload(record.folder.path(), SHIM);
    let mut command = record.command(&["import", "--redaction", "off", "--quiet", &file]);
    command.env("LD_PRELOAD", shim).env("SHIM_FAIL", fail).env("SHIM_AFTER", after);
    let begin = Instant::now();
    let out = command.output().unwrap();
    let message = String::from_utf8(out.stderr).unwrap();
    (out.status.code().unwrap_or(-1), message, begin.elapsed())
}

#[test]
fn a_failed_sync_ends_the_program_at_once() {
    let record = Record::new();
    let (code, message, took) = import(&record, "fdatasync", "10000");
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("sync of wal/0000"), "{message}");
    assert!(message.contains("Input/output error (os error 5)"), "{message}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    goes_on(&record);
}

#[test]
fn a_full_disk_is_said_and_the_next_run_goes_on() {
    let record = Record::new();
    let (code, message, _) = import(&record, "write", "10000");
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("cannot write wal/0000"), "{message}");
    assert!(message.contains("No space left on device"), "{message}");
    assert!(message.contains("Run the same command again"), "{message}");
    goes_on(&record);
}

/// With the disk well again, everything is there once.
fn goes_on(record: &Record) {
    let (code, message, _) = import(record, "nothing", "0");
    assert_eq!(code, 0, "{message}");
    let mut expected = captures::typical();
    expected.sort_unstable();
    assert!(record.originals() == expected);
}

#[test]
fn a_second_writer_waits_its_turn() {
    let record = Record::new();
    let mut command = record.command(&["import", "-"]);
    let mut first = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // It holds the lock once it has written who it is.
    let lock = record.dir().join("lock");
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::fs::read_to_string(&lock).unwrap_or_default().is_empty() {
        assert!(Instant::now() < deadline, "it never took the lock");
        std::thread::yield_now();
    }
    let second = record.run_with_input(&["import", "-"], b"");
    assert_eq!(second.code, 3);
    let holder = format!("process {}", first.id());
    assert!(second.err.contains(&holder) && second.err.contains("being written"), "{}", second.err);
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
}
