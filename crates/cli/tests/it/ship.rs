//! Logs followed as their users follow them: by a server on the same machine, and by a shipper that
//! is killed, over rotation and a restart of the server.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::serve::Server;
use crate::support::{Ran, Record, event};

/// A log that is written as kube-apiserver does.
struct Log {
    path: PathBuf,
    file: File,
    lines: Vec<String>,
    rotations: u32,
}

impl Log {
    fn new(record: &Record) -> Log {
        let path = record.folder.path().join("log/audit.log");
        fs::create_dir(path.parent().unwrap()).unwrap();
        Log { file: Self::open(&path), path, lines: Vec::new(), rotations: 0 }
    }

    fn open(path: &PathBuf) -> File {
        OpenOptions::new().append(true).create(true).open(path).unwrap()
    }

    fn write(&mut self, lines: usize) {
        for _ in 0..lines {
            let line = event(&format!("a-{}", self.lines.len()), "get", "alice", "/x", "");
            self.file.write_all(format!("{line}\n").as_bytes()).unwrap();
            self.lines.push(line);
        }
    }

    /// As kube-apiserver rotates, packed at once, or as logrotate's `copytruncate`.
    fn rotate(&mut self) {
        self.rotations += 1;
        let number = self.rotations;
        let name = format!("audit-2026-01-02T03-04-05.{number:03}.log");
        match number % 3 {
            0 => {
                fs::copy(&self.path, self.path.with_file_name(format!("audit.log.{number}")))
                    .unwrap();
                self.file.set_len(0).unwrap();
                return;
            }
            1 => fs::rename(&self.path, self.path.with_file_name(name)).unwrap(),
            _ => {
                let packed = File::create(self.path.with_file_name(name + ".gz")).unwrap();
                let mut gzip = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
                gzip.write_all(&fs::read(&self.path).unwrap()).unwrap();
                gzip.finish().unwrap();
                fs::remove_file(&self.path).unwrap();
            }
        }
        self.file = Self::open(&self.path);
    }

    fn text(&self) -> String {
        self.path.display().to_string()
    }
}

/// Waits until so many events came in from a source.
fn wait_for(record: &Record, source: &str, events: usize) -> Value {
    let begin = Instant::now();
    loop {
        let status: Value =
            serde_json::from_str(&record.run(&["ingest", "status", "-o", "json"]).ok()).unwrap();
        let sources = status["sources"].as_array().unwrap();
        let count = sources.iter().find(|of| of["source"] == source).map(|of| &of["events"]);
        if count.and_then(Value::as_u64).unwrap_or(0) >= events as u64 {
            return status;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{events} from {source}: {status}");
        sleep(Duration::from_millis(50));
    }
}

fn ship(record: &Record, server: &str, token: &str, log: &Log) -> Child {
    let state = record.folder.path().join("state");
    let mut command = record.command(&["ship", "--server", server, "--cluster", "prod"]);
    command.args(["--token", token, "--state-dir"]).arg(state).arg(&log.path);
    command.stderr(Stdio::null()).spawn().unwrap()
}

fn check(record: &Record, log: &Log) {
    let mut lines = log.lines.clone();
    lines.sort_unstable();
    assert_eq!(record.originals(), lines);
}

#[test]
fn a_server_follows_a_log_of_its_own_machine() {
    let record = Record::new();
    let mut log = Log::new(&record);
    log.write(3);
    let tail = format!("prod={}", log.text());
    let args =
        ["--insecure-http", "--redaction", "off", "--listen", "127.0.0.1:0", "--tail", &tail];
    let server = Server::with(&record, &args);
    wait_for(&record, "file/audit.log", 3);
    for _ in 0..3 {
        log.rotate();
        log.write(2);
    }
    wait_for(&record, "file/audit.log", log.lines.len());
    assert_eq!(server.end("TERM"), 0);
    log.write(2);
    log.rotate();
    log.write(2);
    let server = Server::with(&record, &args);
    wait_for(&record, "file/audit.log", log.lines.len());
    assert_eq!(server.end("TERM"), 0);
    check(&record, &log);
    // The file is known wherever it comes from.
    let file = log.path.display().to_string();
    let again = record.run(&["import", "--redaction", "off", "--cluster", "prod", &file]).ok();
    assert!(again.contains("2 imported before"), "{again}");
}

#[test]
fn a_shipper_that_is_killed_goes_on() {
    let record = Record::new();
    let mut log = Log::new(&record);
    let token = record.run(&["ingest", "token", "create", "prod", "--source", "cp-1"]).ok();
    let token = token.trim();
    let mut server = Server::start(&record, "127.0.0.1:0");
    let (url, address) = (server.url.clone(), server.url.replace("http://", ""));
    let mut shipper = ship(&record, &url, token, &log);
    for round in 0..12 {
        log.write(50);
        if round % 2 == 1 {
            shipper.kill().unwrap();
            shipper.wait().unwrap();
        }
        log.rotate();
        log.write(50);
        if round % 2 == 1 {
            shipper = ship(&record, &url, token, &log);
        }
        if round == 6 {
            // Nothing is lost while the server is away.
            assert_eq!(server.end("TERM"), 0);
            log.write(50);
            log.rotate();
            server = Server::start(&record, &address);
        }
        wait_for(&record, "file/cp-1", 1);
    }
    let status = wait_for(&record, "file/cp-1", log.lines.len());
    Command::new("kill").args(["-s", "TERM", &shipper.id().to_string()]).status().unwrap();
    assert!(shipper.wait().unwrap().success());
    assert_eq!(server.end("TERM"), 0);
    assert_eq!(
        (&status["sources"][0]["duplicates"], &status["raw"]),
        (&0.into(), &Value::Array(vec![]))
    );
    println!("{} lines, {} rotations, 6 kills", log.lines.len(), log.rotations);
    check(&record, &log);
}

#[test]
fn what_was_deleted_unread_is_on_record() {
    let record = Record::new();
    let mut log = Log::new(&record);
    let token = record.run(&["ingest", "token", "create", "prod", "--source", "cp-1"]).ok();
    let server = Server::start(&record, "127.0.0.1:0");
    let mut shipper = ship(&record, &server.url, token.trim(), &log);
    log.write(3);
    wait_for(&record, "file/cp-1", 3);
    let half = "{\"half\":";
    log.file.write_all(half.as_bytes()).unwrap();
    let length = fs::metadata(&log.path).unwrap().len();
    let notes = record.folder.path().join("state");
    let begin = Instant::now();
    let is_noted = || {
        let mut notes = fs::read_dir(&notes).unwrap().flatten();
        notes.any(|file| {
            fs::read_to_string(file.path()).unwrap_or_default().contains(&length.to_string())
        })
    };
    while !is_noted() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the half line was not seen");
        sleep(Duration::from_millis(20));
    }
    shipper.kill().unwrap();
    shipper.wait().unwrap();
    fs::remove_file(&log.path).unwrap();
    let mut shipper = ship(&record, &server.url, token.trim(), &log);
    let status = wait_for(&record, "file/cp-1", 4);
    shipper.kill().unwrap();
    shipper.wait().unwrap();
    assert_eq!(server.end("TERM"), 0);
    let reason = status["raw"][0]["reason"].as_str().unwrap();
    let from = length - half.len() as u64;
    let log = log.text();
    let expected = format!("a gap: {log:?} went away; whatever followed byte {from} was not read");
    assert!(reason.starts_with(&expected), "{reason}");
}

#[test]
fn a_shipper_says_what_is_wrong() {
    let record = Record::new();
    let log = Log::new(&record);
    let server = Server::start(&record, "127.0.0.1:0");
    let mut written = log;
    written.write(1);
    let file = written.text();
    let run =
        |args: &[&str]| -> Ran { record.run(&[&["ship", "--cluster", "prod"], args].concat()) };
    let state = record.folder.path().join("state").display().to_string();
    let with = |token: &str, file: &str| {
        run(&["--server", &server.url, "--token", token, "--state-dir", &state, file])
    };
    let refused = with("no-token", &file);
    assert_eq!(refused.code, 3);
    assert!(refused.err.contains("unknown or revoked"), "{}", refused.err);
    let nowhere = with("no-token", "/no/such/folder/audit.log");
    assert_eq!(nowhere.code, 3);
    assert!(nowhere.err.contains("/no/such/folder/audit.log: No such file"), "{}", nowhere.err);
    assert_eq!(run(&["--server", &server.url, &file]).code, 2);
    assert_eq!(server.end("TERM"), 0);
}
