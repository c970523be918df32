//! The demo: what it says can be tried, works, and it leaves nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ran, Record, whodid};

/// Starts a command and reads its output up to a line that begins like this.
#[expect(clippy::zombie_processes, reason = "whoever starts it waits for it")]
fn start(command: &mut Command, last: &str) -> (Child, Vec<String>, impl Read + use<>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended early: {lines:?}");
        let is_last = line.starts_with(last);
        lines.push(line.trim_end().to_owned());
        if is_last {
            return (child, lines, out);
        }
    }
}

fn interrupt(child: &mut Child) -> i32 {
    Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap().code().unwrap_or(-1)
}

#[test]
fn what_it_says_works_and_it_leaves_nothing() {
    let record = Record::new();
    let mut command = record.command(&["demo"]);
    command.env("TMPDIR", record.folder.path());
    let begin = Instant::now();
    let (mut demo, lines, _out) = start(&mut command, "Ctrl-C");
    let took = begin.elapsed();
    println!("ready after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(lines[0].contains("times moved to now"), "{lines:?}");
    let questions: Vec<&String> = lines.iter().filter(|line| line.contains("--data-dir")).collect();
    assert_eq!(questions.len(), 3);
    for question in questions {
        let words: Vec<&str> = question.split_whitespace().skip(1).collect();
        if words[0] == "tail" {
            let (mut tail, shown, _out) = start(whodid().args(&words), "20");
            assert!(shown[0].starts_with("TIME"), "{shown:?}");
            tail.kill().unwrap();
            tail.wait().unwrap();
            continue;
        }
        let ran = Ran::of(whodid().args(&words).output().unwrap());
        let out = ran.ok();
        assert!(out.lines().count() > 1, "{question}: {out}");
    }
    assert_eq!(interrupt(&mut demo), 0);
    assert_eq!(std::fs::read_dir(record.folder.path()).unwrap().count(), 0, "it leaves nothing");
}

#[test]
fn it_can_be_kept() {
    let record = Record::new();
    let kept = record.folder.path().join("kept").display().to_string();
    let (mut demo, ..) = start(&mut record.command(&["demo", "--keep", &kept]), "Ctrl-C");
    assert_eq!(interrupt(&mut demo), 0);
    record.run(&["search", "verb:delete", "--data-dir", &kept]).ok();
}
