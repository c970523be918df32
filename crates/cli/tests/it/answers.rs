//! Answers: who did what, told apart from what only looks like it.

use crate::support::{Record, event};

const ID: &str = "74a11df0-238a-4a01-954e-95fbbb60a371";

/// A client may choose its audit ID: repeating that of a harmless request hides nothing.
#[test]
fn an_exec_under_the_audit_id_of_an_earlier_get_is_found() {
    let record = Record::of(&[
        event(ID, "get", "mallory", "/api/v1/namespaces/shop/pods/web", ""),
        event(ID, "create", "mallory", "/api/v1/namespaces/shop/pods/web/exec?command=sh", ""),
    ]);
    let who = record.run(&["who", "exec", "pod/web", "-n", "shop"]).ok();
    assert!(who.contains("mallory") && who.contains("default/1"), "{who}");
    let both = record.run(&["search", "actor:mallory", "-o", "name"]).ok();
    assert_eq!(both, "event/default/0\nevent/default/1\n");
    let ran = record.run(&["show", ID]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("default/0") && ran.err.contains("default/1"), "{}", ran.err);
}

/// A batch that is sent again is hidden, and shown on request.
#[test]
fn a_batch_that_arrives_again_is_hidden() {
    let events: Vec<String> = (0..50)
        .map(|i| {
            let id = format!("00000000-0000-4000-8000-{i:012}");
            event(&id, "get", "ann", "/api/v1/namespaces/shop/pods/web", "")
        })
        .collect();
    let record = Record::of(&events);
    // From a pipe, as the file itself would be known.
    let out = record.run_with_input(&["import", "-"], (events.join("\n") + "\n").as_bytes()).ok();
    assert!(out.contains("50 in the record already"), "{out}");
    let names = |query: &[&str]| {
        let args = [&["search"], query, &["-o", "name", "--limit", "0"]].concat();
        record.run(&args).lines().len()
    };
    assert_eq!(names(&["actor:ann"]), 50, "each is shown once");
    assert_eq!(names(&["actor:ann", "duplicate:true"]), 50);
    assert_eq!(names(&["actor:ann", "duplicate:*"]), 100);
    let status = record.run(&["ingest", "status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let sum: u64 = status["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["duplicates"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 50);
}

/// One byte of difference is no duplicate: both stay visible, and say so.
#[test]
fn two_versions_of_one_event_are_both_shown() {
    let uri = "/api/v1/namespaces/shop/pods/web";
    let record = Record::of(&[
        event(ID, "delete", "ann", uri, ""),
        event(ID, "delete", "ann", uri, r#""userAgent":"kubectl","#),
    ]);
    let out = record.run(&["search", "verb:delete"]).ok();
    assert_eq!(out.matches("conflict").count(), 2, "{out}");
}

/// Who deleted the namespaces of the captures, and what else happened there.
#[test]
fn questions_to_the_captures() {
    let record = Record::of_captures();
    let who = |args: &[&str]| record.run(&[&["who"], args].concat());
    let deleted = who(&["deleted", "ns", "--no-headers"]).ok();
    assert_eq!(deleted.lines().count(), 5, "{deleted}");
    assert!(deleted.lines().all(|line| line.contains("bob@example.com")), "{deleted}");
    let one = who(&["deleted", "ns/scratch1"]).ok();
    assert_eq!(one.lines().count(), 2, "{one}");
    let exec = who(&["exec", "pod", "-n", "shop"]);
    assert!(exec.lines().len() > 1 && exec.err.contains("attempts"), "{}{}", exec.out, exec.err);
    let attempts = who(&["exec", "pod", "-n", "shop", "--attempts"]);
    assert!(attempts.lines().len() > exec.lines().len());
    let nobody = who(&["deleted", "ns/no-such-namespace"]);
    assert_eq!((nobody.code, &*nobody.out), (1, ""));
    assert!(nobody.err.contains("no-such-namespace"), "{}", nobody.err);
    // A garbage collector's deletion leads back to the person's.
    let cascade = who(&["deleted", "pod", "--limit", "0"]).ok();
    assert!(cascade.contains("BECAUSE"), "{cascade}");
}
