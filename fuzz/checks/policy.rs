//! What must hold of any text taken for an audit policy.

use whodid_policy::{Request, Severity, Target, Version, lint, load};

/// Checks one input, and returns whether it is a policy.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let loaded = load(text, Version::NEWEST);
    // A carriage return ends a line of YAML, too (YAML 1.2.2 §5.4).
    let lines = text.matches(['\n', '\r']).count() + 2;
    for finding in &loaded.findings {
        let at = finding.at;
        assert!((1..=lines).contains(&at.line) && at.column > 0, "{finding:?} of {text:?}");
    }
    let is_refused = loaded.findings.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(loaded.policy.is_none(), is_refused, "{text:?}");
    let Some(policy) = loaded.policy else { return false };
    let target = Target::parse("pods/exec").expect("it is one").at("default", "web");
    let request = Request { user: Some("jane"), groups: vec![], verb: "get", target };
    let (decision, passed) = policy.explain(&request);
    assert_eq!(policy.decide(&request), decision);
    assert_eq!(decision.rule.unwrap_or(policy.rules.len()), passed.len());
    // What is looked for in many combinations takes too long for larger ones.
    if policy.rules.len() <= 4 && text.len() < 1_000 {
        lint(&policy);
    }
    true
}
