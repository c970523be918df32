//! That each event has to be expected, by the act of its time, and each act to have its events.

use serde_json::json;

use super::super::kept::{Run, SET_UPS};
use super::*;

const SECOND: u64 = 1_000_000;

fn act(expected: &[&str], begin: u64) -> Done {
    Done {
        who: "alice".into(),
        command: "x".into(),
        expected: expected.iter().map(|line| Expected::parse(line).unwrap()).collect(),
        begin: begin * SECOND,
        end: (begin + 1) * SECOND,
    }
}

/// Requests of alice at these seconds of 1970, each a read of the pod `a`.
fn run(acts: Vec<Done>, seconds: &[u64]) -> Run {
    let time = |second: &u64| format!("1970-01-01T00:00:{second:02}.500000Z");
    let logged = seconds.iter().enumerate().map(|(number, second)| {
        json!({
            "auditID": number.to_string(), "stage": COMPLETE, "stageTimestamp": time(second),
            "requestReceivedTimestamp": time(second), "user": { "username": "alice@example.com" },
        })
        .to_string()
    });
    let found = seconds.iter().enumerate().map(|(number, second)| {
        json!({
            "audit_id": number.to_string(), "stage": COMPLETE, "stage_timestamp": time(second),
            "verb": "get", "resource": "pods", "code": 200, "action": "read", "outcome": "success",
            "object": "n/pod/a", "actor": "alice@example.com", "dry_run": false,
        })
    });
    Run {
        set_up: SET_UPS[1],
        acts,
        scrapes: Vec::new(),
        logged: logged.collect(),
        log_files: 1,
        file: Vec::new(),
        hook: Vec::new(),
        plain: None,
        file_events: found.clone().collect(),
        hook_events: found.collect(),
        status: Value::Null,
        plain_status: Value::Null,
    }
}

const READ: &str = "get pods 200 read success n/pod/a";

#[track_caller]
fn check(run: &Run, expected: &[&str]) {
    let faults = judge(run).unwrap().faults;
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn what_is_expected_is_no_fault() {
    check(&run(vec![act(&[READ], 10), act(&[READ, READ], 20)], &[10, 20, 20]), &["not so"; 0]);
}

#[test]
fn too_much_too_little_and_at_the_wrong_time() {
    let one = || vec![act(&[READ], 10)];
    check(&run(one(), &[]), &["missing: get pods"]);
    check(&run(one(), &[10, 10]), &["unexpected: get pods"]);
    check(&run(one(), &[10, 30]), &["outside: get pods"]);
    check(&run(one(), &[5, 10]), &["outside: get pods"]);
    check(&run(vec![act(&["get pods 200 read success n/pod/a +"], 10)], &[10, 10]), &[]);
}

#[test]
fn what_the_product_says_is_compared() {
    let mut wrong = run(vec![act(&[READ], 10)], &[10]);
    wrong.file_events[0]["action"] = "list".into();
    check(&wrong, &["action list instead of read", "missing", "the log and the webhook differ"]);
    let mut lost = run(vec![act(&[READ], 10)], &[10]);
    lost.file_events.clear();
    check(&lost, &["not found", "missing", "the log and the webhook differ"]);
    let mut open = run(vec![act(&[READ], 10)], &[10]);
    open.set_up = SET_UPS[0];
    check(&open, &["stages ResponseComplete"]);
}

#[test]
fn times_are_those_of_the_calendar() {
    assert_eq!(micros("1970-01-01T00:00:00.000001Z"), Some(1));
    assert_eq!(micros("2026-11-22T17:25:03.500000Z"), Some(1_795_368_303_500_000));
    assert_eq!(micros("2000-03-01T00:00:00.000000Z"), Some(951_868_800_000_000));
    assert_eq!(micros("yesterday"), None);
}
