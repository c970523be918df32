//! That every difference is seen, and that only what a rule took out is none.

use super::*;

const BEFORE: &str =
    r#"{"auditID":"1","stage":"s","stageTimestamp":"t","a":{"b":"secret"},"c":[1]}"#;
const AFTER: &str =
    r#"{"auditID":"1","stage":"s","stageTimestamp":"t","a":{"b":{"$redacted":"r","n":8}},"c":[1]}"#;

fn faults(logged: &[&str], stored: &[&str], is_exact: bool, counted: u64) -> Vec<String> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    compare("x", &owned(logged), &owned(stored), is_exact, counted).faults
}

#[test]
fn everything_counts_as_often_as_it_is_there() {
    assert!(faults(&["a", "b", "a"], &["a", "a", "b"], true, 0).is_empty());
    assert_eq!(faults(&["a", "a"], &["a"], true, 0), ["x: not given back: a"]);
    assert_eq!(faults(&["a"], &["a", "b"], true, 0), ["x: never logged: b"]);
}

#[test]
fn what_a_rule_took_out_is_no_fault_but_counted() {
    assert!(faults(&[BEFORE], &[AFTER], false, 1).is_empty());
    assert_eq!(faults(&[BEFORE], &[AFTER], false, 2).len(), 1);
    // Where nothing may be taken out, both texts are wrong, and the count is, too.
    assert_eq!(faults(&[BEFORE], &[AFTER], true, 0).len(), 2);
}

#[test]
fn anything_else_that_is_different_is_a_fault() {
    let other_length = AFTER.replace(r#""n":8"#, r#""n":7"#);
    let other_value = AFTER.replace("[1]", "[2]");
    let other_spelling = AFTER.replace("[1]", "[1 ]");
    let more_in_it = AFTER.replace(r#""n":8"#, r#""n":8,"m":1"#);
    let other_event = AFTER.replace(r#""auditID":"1""#, r#""auditID":"2""#);
    for wrong in [other_length, other_value, other_spelling, more_in_it, other_event] {
        assert!(!faults(&[BEFORE], &[&wrong], false, 1).is_empty(), "{wrong}");
    }
    assert!(!faults(&[BEFORE], &[], false, 0).is_empty());
    assert!(!faults(&[], &[AFTER], false, 0).is_empty());
}
