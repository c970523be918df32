//! What a policy must be besides well-formed, after kube-apiserver's own validation: it does not
//! start with a policy that has one of these errors.

use crate::finding::{Finding, Severity};
use crate::model::{At, Placed, Policy, Rule};
use crate::version::Version;

/// Adds an error for everything that kube-apiserver refuses.
pub(crate) fn validate(policy: &Policy, begin: At, version: Version, findings: &mut Vec<Finding>) {
    if policy.rules.is_empty() {
        findings.push(error(
            "no-rules",
            (begin, None),
            "there is no rule: kube-apiserver says \"loaded illegal policy with 0 rules\"".into(),
            "to record nothing, write one rule of level None",
        ));
    }
    for (number, rule) in policy.rules.iter().enumerate() {
        let mut add = |code, at, what, fix| {
            findings.push(error(code, (at, Some(number)), what, fix));
        };
        targets(rule, &mut add);
        for url in &rule.non_resource_urls {
            path(url, &mut add);
        }
        groups(rule, version, &mut add);
    }
}

type Add<'a> = dyn FnMut(&'static str, At, String, &'static str) + 'a;

fn error(
    code: &'static str,
    place: (At, Option<usize>),
    what: String,
    fix: &'static str,
) -> Finding {
    Finding::new((code, Severity::Error), place, what, fix)
}

fn targets(rule: &Rule, add: &mut Add<'_>) {
    if let Some(url) = rule.non_resource_urls.first().filter(|_| rule.is_for_resources()) {
        let what = "a rule is for resources and namespaces, or for nonResourceURLs, not for both";
        add("mixed-targets", url.at, what.into(), "make two rules of it");
    }
}

fn path(url: &Placed<String>, add: &mut Add<'_>) {
    if **url == "*" {
        return;
    }
    if !url.starts_with('/') {
        let what = format!("the path {:?} does not begin with /", url.value);
        add("invalid-path", url.at, what, "write `*`, a path such as /healthz, or /healthz*");
    }
    if inner_star(url) {
        let what = format!("the path {:?} has a * before its last character", url.value);
        add("invalid-path", url.at, what, "a * may only stand at the end, once");
    }
}

/// A `*` anywhere but at the end.
fn inner_star(url: &str) -> bool {
    url.strip_suffix('*').unwrap_or(url).contains('*')
}

fn groups(rule: &Rule, version: Version, add: &mut Add<'_>) {
    for entry in &rule.resources {
        let group = entry.group.as_str();
        if group == "*" && !version.has_any_group() {
            let what = format!("group \"*\" is for Kubernetes 1.36 and later, not for {version}");
            add("invalid-group", entry.at, what, "name each group");
        } else if !group.is_empty() && group != "*" && !is_subdomain(group) {
            let what = format!(
                "{group:?} is no API group: kube-apiserver asks for a DNS subdomain, without a \
                 version"
            );
            add("invalid-group", entry.at, what, "write `apps`, not `apps/v1`");
        }
        if let Some(name) = entry.names.first().filter(|_| entry.resources.is_empty()) {
            let what = "resourceNames without resources".into();
            add("names-without-resources", name.at, what, "name the resources, too");
        }
    }
}

/// DNS-1123 subdomain, as Kubernetes checks it.
fn is_subdomain(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}
