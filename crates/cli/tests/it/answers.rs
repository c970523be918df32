//! Answers: who did what, told apart from what only looks like it.

use crate::support::{Record, event};

const ID: &str = "74a11df0-238a-4a01-954e-95fbbb60a371";

fn get() -> String {
    event(ID, "get", "mallory", "/api/v1/namespaces/shop/pods/web", "")
}

/// Whether an exec under the audit ID of an earlier request is found.
fn is_exec_found(record: &Record) -> bool {
    let who = record.run(&["who", "exec", "pod/web", "-n", "shop"]);
    let both = record.run(&["search", "actor:mallory", "-o", "name"]);
    who.out.contains("mallory")
        && who.out.contains("default/1")
        && both.out == "event/default/0\nevent/default/1\n"
}

/// A client may choose its audit ID: repeating that of a harmless request hides nothing.
#[test]
fn an_exec_under_the_audit_id_of_an_earlier_get_is_found() {
    let exec =
        event(ID, "create", "mallory", "/api/v1/namespaces/shop/pods/web/exec?command=sh", "");
    let record = Record::of(&[get(), exec]);
    assert!(is_exec_found(&record));
    let ran = record.run(&["show", ID]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("default/0") && ran.err.contains("default/1"), "{}", ran.err);
    // The negative control: what is hidden, as the same request twice is, is not found.
    assert!(!is_exec_found(&Record::of(&[get(), get()])));
}

fn batch(user: &str) -> Vec<String> {
    let id = |i| format!("00000000-0000-4000-8000-{i:012}");
    (0..50).map(|i| event(&id(i), "get", user, "/api/v1/namespaces/shop/pods/web", "")).collect()
}

/// How many rows a query shows after one batch and then another, and how many of the second the
/// record had already.
fn two_batches(second: &[String]) -> (Record, [usize; 3], u64) {
    let record = Record::of(&batch("ann"));
    // From a pipe, as the file itself would be known.
    record.run_with_input(&["import", "-"], (second.join("\n") + "\n").as_bytes()).ok();
    let rows = |query: &str| {
        let ran = record.run(&["search", "verb:get", query, "-o", "name", "--limit", "0"]);
        ran.lines().len()
    };
    let rows = ["verb:*", "duplicate:true", "duplicate:*"].map(rows);
    let status = record.run(&["ingest", "status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let sources = status["sources"].as_array().unwrap();
    let duplicates = sources.iter().map(|source| source["duplicates"].as_u64().unwrap()).sum();
    (record, rows, duplicates)
}

/// A batch that is sent again is hidden, and shown on request.
#[test]
fn a_batch_that_arrives_again_is_hidden() {
    let (_record, rows, duplicates) = two_batches(&batch("ann"));
    assert_eq!((rows, duplicates), ([50, 50, 100], 50));
    // The negative control: what only looks like it is not hidden, and counted.
    let (_record, rows, duplicates) = two_batches(&batch("bob"));
    assert_eq!((rows, duplicates), ([100, 0, 100], 0));
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
