//! What becomes of requests that matter: whether secrets stand in the record, whether an exec or a
//! failed login is in it at all, and what would fill it with noise.

use std::collections::BTreeSet;

use whodid_event::Stage;

use super::{Findings, spelling};
use crate::model::{At, Level, Policy, Rule};
use crate::ordinary;
use crate::request::{Request, Target};
use crate::witness::stranger;

/// Bodies with secrets: the resource, the verb, and from which level on they are recorded.
const SECRETS: [(&str, &str, Level, &str); 6] = [
    ("secrets", "create", Level::Request, "values of secrets"),
    ("secrets", "patch", Level::Request, "values of secrets"),
    ("secrets", "get", Level::RequestResponse, "values of secrets"),
    ("secrets", "list", Level::RequestResponse, "values of secrets"),
    ("serviceaccounts/token", "create", Level::RequestResponse, "tokens that were just made"),
    ("tokenreviews", "create", Level::Request, "tokens that are checked"),
];

pub(super) fn check(policy: &Policy, findings: &mut Findings) {
    secrets(policy, findings);
    lists(policy, findings);
    streams(policy, findings);
    noise(policy, findings);
    stages(policy, findings);
    impersonation(policy, findings);
    managed_fields(policy, findings);
}

/// Whoever the rules tell apart, and somebody that they do not.
fn identities(policy: &Policy) -> Vec<(&str, Vec<&str>)> {
    let stranger = stranger(policy.rules.iter()).unwrap_or_default();
    let mut identities = vec![(stranger, vec!["system:authenticated"])];
    for rule in &policy.rules {
        let user = rule.users.first().map_or(stranger, |user| user.value.as_str());
        let mut groups = vec!["system:authenticated"];
        groups.extend(rule.user_groups.first().map(|group| group.value.as_str()));
        identities.push((user, groups));
    }
    identities
}

/// What is decided about one kind of request, for everybody and everywhere that rules tell apart:
/// the levels, each with the rule.
fn decided(policy: &Policy, verb: &str, kind: &str) -> BTreeSet<(Level, usize)> {
    let named = policy.rules.iter().flat_map(|rule| &rule.namespaces);
    let namespaces: BTreeSet<&str> = named.map(|text| text.value.as_str()).collect();
    let mut decided = BTreeSet::new();
    for (user, groups) in identities(policy) {
        for namespace in namespaces.iter().copied().chain(["default"]) {
            let Some(target) = ordinary::target(verb, kind, namespace) else { continue };
            let request = Request { user: Some(user), groups: groups.clone(), verb, target };
            let decision = policy.decide(&request);
            decided.extend(decision.rule.map(|rule| (decision.level, rule)));
        }
    }
    decided
}

fn place(policy: &Policy, rule: usize) -> (At, Option<usize>) {
    (policy.rules.get(rule).map(|rule| rule.at).unwrap_or_default(), Some(rule))
}

fn secrets(policy: &Policy, findings: &mut Findings) {
    let mut told = BTreeSet::new();
    for (kind, verb, from, what) in SECRETS {
        for (level, rule) in decided(policy, verb, kind) {
            if level >= from && told.insert((what, rule)) {
                let what = format!("{level} puts {what} into the record (`{verb} {kind}`)");
                let fix = "put a rule of level Metadata for secrets, serviceaccounts/token and \
                           tokenreviews.authentication.k8s.io before it";
                findings.warn("secrets-recorded", place(policy, rule), what, fix);
            }
        }
    }
}

fn lists(policy: &Policy, findings: &mut Findings) {
    let mut told = BTreeSet::new();
    for kind in ["pods", "deployments", "widgets.example.com", "nodes"] {
        for (level, rule) in decided(policy, "list", kind) {
            if level == Level::RequestResponse && told.insert(rule) {
                let what = format!(
                    "RequestResponse records the answer to every list, many megabytes each (`list \
                     {kind}`)"
                );
                let fix =
                    "put a rule of level Metadata for the verbs get, list and watch before it";
                findings.warn("list-responses", place(policy, rule), what, fix);
            }
        }
    }
}

fn streams(policy: &Policy, findings: &mut Findings) {
    for kind in ["pods/exec", "pods/attach", "pods/portforward", "secrets"] {
        for (level, rule) in decided(policy, "get", kind) {
            let is_for_all = policy.rules.get(rule).is_some_and(|rule| {
                rule.users.is_empty() && rule.user_groups.is_empty() && rule.namespaces.is_empty()
            });
            if level == Level::None && is_for_all {
                let what = if kind == "secrets" {
                    "who reads secrets is not recorded (`get secrets`)".to_owned()
                } else {
                    format!("`get {kind}`, which is how kubectl does it, is not recorded")
                };
                let fix = "put a rule of level Metadata for it before this one";
                findings.warn("access-not-recorded", place(policy, rule), what, fix);
            }
        }
    }
}

fn noise(policy: &Policy, findings: &mut Findings) {
    let node = ("system:node:node-1", vec!["system:nodes", "system:authenticated"]);
    let chatter = [
        ("update", "leases", "every node renews its lease every ten seconds"),
        ("create", "events", "controllers write events all the time"),
        (
            "create",
            "events.events.k8s.io",
            "controllers write events all the time, these in a group of their own",
        ),
    ];
    for (verb, kind, why) in chatter {
        let Ok(target) = Target::parse(kind) else { continue };
        let name = if verb == "update" { "node-1" } else { "" };
        let target = target.at("kube-node-lease", name);
        let (user, groups) = node.clone();
        let decision = policy.decide(&Request { user: Some(user), groups, verb, target });
        if let Some(rule) = decision.rule.filter(|_| decision.level != Level::None) {
            let what = format!("{why}, and they are recorded (`{verb} {kind}`)");
            let fix = format!("put a rule of level None for {kind} before it");
            findings.warn("noise", place(policy, rule), what, &fix);
        }
    }
}

fn stages(policy: &Policy, findings: &mut Findings) {
    let place = (policy.omit_stages_at, None);
    if policy.omit_stages.contains(&Stage::ResponseStarted) {
        spelling::hides_failures(place, findings);
    }
    if policy.omit_stages.contains(&Stage::ResponseComplete) {
        let what = "without ResponseComplete nothing tells how a request ended".to_owned();
        findings.warn("outcome-hidden", place, what, "keep ResponseComplete");
    }
    let keeps = |rule: &Rule| {
        rule.level != Level::None && !rule.omit_stages.contains(&Stage::RequestReceived)
    };
    if !policy.omit_stages.contains(&Stage::RequestReceived) && policy.rules.iter().any(keeps) {
        let what = "RequestReceived repeats for every request what its later events say, without \
                    the outcome; only --audit-*-mode=blocking-strict needs it";
        let fix = "write `omitStages: [RequestReceived]`";
        findings.warn("request-received", place, what.into(), fix);
    }
}

fn impersonation(policy: &Policy, findings: &mut Findings) {
    for (number, rule) in policy.rules.iter().enumerate() {
        let is_about_people = !rule.users.is_empty() || !rule.user_groups.is_empty();
        let is_about_all =
            rule.verbs.is_empty() && rule.non_resource_urls.is_empty() && !rule.is_for_resources();
        if rule.level == Level::None && is_about_people && is_about_all {
            let what = "nothing that these users do is recorded, and rules see who authenticated: \
                        what they do in the name of others (`--as`) is lost with it";
            let fix = "restrict it to verbs such as get, list and watch, or to resources";
            findings.warn("impersonation-blind", (rule.at, Some(number)), what.into(), fix);
        }
    }
}

fn managed_fields(policy: &Policy, findings: &mut Findings) {
    let keeps = |rule: &Rule| {
        rule.level >= Level::Request
            && !rule.omit_managed_fields.unwrap_or(policy.omit_managed_fields)
    };
    if let Some(number) = policy.rules.iter().position(keeps) {
        let what = "metadata.managedFields are recorded with every object, and nobody reads them";
        findings.note(
            "managed-fields",
            place(policy, number),
            what.into(),
            "write `omitManagedFields: true`",
        );
    }
}
