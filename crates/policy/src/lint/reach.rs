//! Which requests reach which rule: rules that decide none, requests that no rule decides.

use super::Findings;
use crate::model::{Level, Policy, Rule};
use crate::request::Target;
use crate::witness::{Search, VERBS, search};

pub(super) fn check(policy: &Policy, findings: &mut Findings) {
    for (number, rule) in policy.rules.iter().enumerate() {
        unreachable(policy, number, rule, findings);
    }
    catch_all(policy, findings);
    let all: Vec<&Rule> = policy.rules.iter().collect();
    let is_recorded = search(&[], &all, |request| policy.decide(request).level != Level::None);
    if is_recorded == Search::Impossible {
        let place = (policy.rules.first().map(|rule| rule.at).unwrap_or_default(), None);
        let what = "no request is recorded with it".to_owned();
        findings.warn("records-nothing", place, what, "begin with `whodid policy generate`");
    }
}

fn unreachable(policy: &Policy, number: usize, rule: &Rule, findings: &mut Findings) {
    let earlier: Vec<&Rule> = policy.rules.iter().take(number).collect();
    let decides = |request: &_| policy.decide(request).rule == Some(number);
    if search(&[rule], &earlier, decides) != Search::Impossible {
        return;
    }
    let place = (rule.at, Some(number));
    let (what, fix) = match search(&[rule], &[], |_| true) {
        Search::Found(example) => {
            let by = policy.decide(&example).rule.map_or(0, |rule| rule + 1);
            let what = format!(
                "no request reaches this rule (the {}): those before it decide them all; `{} {}`, \
                 for example, is decided by rule {by}",
                ordinal(number),
                example.verb,
                example.target
            );
            (what, "move it up, or remove it")
        }
        // A verb that does not exist is a finding of its own, and so is what matches nothing.
        _ if rule.verbs.iter().any(|verb| !VERBS.contains(&verb.value.as_str())) => return,
        _ if names(rule).any(|spec| spec == "*/*") => return,
        _ => ("no request matches this rule".to_owned(), "mend its fields, or remove it"),
    };
    findings.warn("unreachable-rule", place, what, fix);
}

fn names(rule: &Rule) -> impl Iterator<Item = &str> {
    rule.resources.iter().flat_map(|entry| &entry.resources).map(|spec| spec.value.as_str())
}

fn ordinal(number: usize) -> String {
    let number = number + 1;
    let suffix = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

fn catch_all(policy: &Policy, findings: &mut Findings) {
    let all: Vec<&Rule> = policy.rules.iter().collect();
    let is_left = |request: &crate::request::Request<'_>| {
        matches!(request.target, Target::Resource { .. }) && policy.decide(request).rule.is_none()
    };
    let Search::Found(example) = search(&[], &all, is_left) else { return };
    let at = policy.rules.last().map(|rule| rule.at).unwrap_or_default();
    let what = format!(
        "what no rule matches is not recorded, and nothing says so: `{} {}`, for example",
        example.verb, example.target
    );
    let fix = "end with a rule that has a level and nothing else";
    findings.warn("no-catch-all", (at, None), what, fix);
}
