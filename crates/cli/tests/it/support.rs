//! What these tests share: a record in a folder of its own, and running the program on it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use whodid_testkit::captures;

/// A record in a folder that is removed afterwards.
pub struct Record {
    pub folder: TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

pub fn whodid() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whodid"));
    command.env_remove("WHODID_DATA_DIR").env("TZ", "UTC").stdin(Stdio::null());
    command
}

impl Record {
    pub fn new() -> Record {
        Record { folder: tempfile::tempdir().unwrap() }
    }

    /// A record of all captured events, nothing redacted.
    pub fn of_captures() -> Record {
        let record = Record::new();
        let file = |name: &str| captures::folder().join(name).display().to_string();
        let (typical, broad) =
            (file("typical-policy.jsonl.zst"), file("broad-policy-all-stages.jsonl.zst"));
        record.run(&["import", "--redaction", "off", &typical, &broad]).ok();
        record
    }

    /// A record of some events.
    pub fn of(events: &[String]) -> Record {
        let record = Record::new();
        let file = record.file("events.jsonl", (events.join("\n") + "\n").as_bytes());
        record.run(&["import", "--redaction", "off", &file]).ok();
        record
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    /// Writes a file beside the record, and returns its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// The command with these arguments, on this record.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = whodid();
        command.args(args).env("WHODID_DATA_DIR", self.dir());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs a command that reads these bytes from its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let ran = Ran::of(child.wait_with_output().unwrap());
        // The program may have stopped reading.
        let _written = writer.join().unwrap();
        ran
    }

    /// Every event of the record as it came in, sorted.
    pub fn originals(&self) -> Vec<String> {
        let found = self.run(&["search", "stage:*", "--limit", "0", "-o", "raw"]).ok();
        let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

/// Compiles a library that is loaded before all others; the C compiler is one that every
/// installation of Rust needs.
pub fn preload(folder: &Path, source: &str) -> PathBuf {
    let (code, library) = (folder.join("preload.c"), folder.join("preload.so"));
    std::fs::write(&code, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &code])
        .arg("-ldl")
        .status()
        .expect("cc is not installed");
    assert!(compiled.success());
    library
}

/// An event about a pod, for cases that the captures do not hold.
pub fn event(audit_id: &str, verb: &str, user: &str, uri: &str, more: &str) -> String {
    let path = uri.split('?').next().unwrap();
    let subresource = match path.rsplit('/').next().unwrap() {
        last @ ("exec" | "attach") => format!(r#","subresource":"{last}""#),
        _ => String::new(),
    };
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{audit_id}","stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","user":{{"username":"{user}"}},"sourceIPs":["10.0.0.9"],"objectRef":{{"resource":"pods","namespace":"shop","name":"web","apiVersion":"v1"{subresource}}},"responseStatus":{{"metadata":{{}},"code":200}},{more}"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","stageTimestamp":"2026-01-02T03:04:05.000000Z"}}"#
    )
}
