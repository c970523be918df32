//! Policies, case by case of tlog-policy.

use super::*;
use crate::testlog::{Log, key, witness};

fn policy(lines: &str) -> Result<Policy, Error> {
    let mut text = lines.replace("LOG", &key().verifier().to_string());
    for number in 1..=4 {
        let vkey = witness(number).verifier().to_string();
        text = text.replace(&format!("W{number}"), &vkey);
    }
    Policy::parse(&text)
}

#[test]
fn quorums() {
    let witnesses = "log LOG\nwitness a W1\n\twitness b W2 https://b.example\nwitness c W3\n";
    for (quorum, seen_by, is_enough) in [
        ("quorum none", &[][..], true),
        ("quorum a", &[][..], false),
        ("quorum a", &[2, 3], false),
        ("quorum a", &[1], true),
        ("group g any a b\nquorum g", &[3], false),
        ("group g any a b\nquorum g", &[2], true),
        ("group g all a b\nquorum g", &[2], false),
        ("group g all a b\nquorum g", &[1, 2], true),
        ("group g 2 a b c\nquorum g", &[1], false),
        ("group g 2 a b c\nquorum g", &[1, 3], true),
        ("group g any a b\n# between\n\ngroup h all g c\nquorum h", &[1, 2], false),
        ("group g any a b\ngroup h all g c\nquorum h", &[2, 3], true),
        // A witness that the policy does not know counts for nothing.
        ("group g any a b c\nquorum g", &[4], false),
    ] {
        let policy = policy(&format!("{witnesses}{quorum}\n")).unwrap();
        let mut note = Log::of(9).checkpoint(9);
        for number in seen_by {
            note.add(witness(*number).sign(note.text(), 1));
        }
        assert_eq!(policy.open(&note).is_ok(), is_enough, "{quorum} {seen_by:?}");
    }
}

#[test]
fn a_log_that_is_not_named_is_not_believed() {
    let note = Log::of(9).checkpoint(9);
    assert_eq!(Policy::of_log(key().verifier().clone()).open(&note).unwrap().head.size, 9);
    for other in ["quorum none", "witness a W1\nquorum none"] {
        assert!(matches!(policy(other).unwrap().open(&note), Err(Error::Log(_))));
    }
}

#[test]
fn what_is_no_policy() {
    for (text, line) in [
        ("", 1),
        ("log LOG\n", 2),
        ("log LOG\nlog LOG\nquorum none\n", 2),
        ("log W1\nquorum none\n", 1),
        ("witness a LOG\nquorum none\n", 1),
        ("witness a W1\nwitness b W1\nquorum none\n", 2),
        ("witness a W1\nwitness a W2\nquorum none\n", 2),
        ("witness none W1\nquorum none\n", 1),
        ("quorum a\nwitness a W1\n", 1),
        ("quorum none\nquorum none\n", 2),
        ("witness a W1\ngroup g 2 a\nquorum g\n", 2),
        ("witness a W1\ngroup g 0 a\nquorum g\n", 2),
        ("witness a W1\ngroup g 01 a\nquorum g\n", 2),
        ("witness a W1\ngroup g all\nquorum g\n", 2),
        ("witness a W1\ngroup g all a a\nquorum g\n", 2),
        ("witness a W1\ngroup g all a\ngroup h all a\nquorum h\n", 3),
        ("group g all g\nquorum g\n", 1),
        ("group g all none\nquorum g\n", 1),
        ("logs LOG\nquorum none\n", 1),
        ("log LOG a b\nquorum none\n", 1),
        ("log LOG\r\nquorum none\n", 1),
        ("log x\nquorum none\n", 1),
    ] {
        let error = policy(text).unwrap_err();
        assert!(
            matches!(error, Error::Malformed { line: found, .. } if found == line),
            "{text}: {error}"
        );
    }
}
