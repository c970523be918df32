//! Events that a policy is said to leave of those that there were, against those that are left.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use whodid_policy::{Level, Policy, Request, Rule, Stage, Target};

use super::{Break, Log, requests};

/// How often each branch of the evaluation was taken.
#[derive(Debug, Default)]
pub(super) struct Branches(pub(super) BTreeMap<String, u64>);

impl Branches {
    fn add(&mut self, branch: impl Into<String>) {
        *self.0.entry(branch.into()).or_default() += 1;
    }

    /// Counts the branches that all requests take through a policy.
    pub(super) fn count(&mut self, policy: &Policy) {
        for request in requests::all() {
            let (decision, passed) = policy.explain(&request);
            for why in passed {
                self.add(format!("no: {why}"));
            }
            let Some(rule) = decision.rule.and_then(|rule| policy.rules.get(rule)) else {
                self.add("no rule matches");
                continue;
            };
            for how in matched(rule, &request) {
                self.add(format!("yes: {how}"));
            }
            self.add(format!("level {}", decision.level));
            if !rule.omit_stages.is_empty() && !policy.omit_stages.is_empty() {
                self.add("stages omitted by both");
            }
            if let Some(omitted) = rule.omit_managed_fields {
                let differs = omitted != policy.omit_managed_fields;
                self.add(format!("managedFields by the rule, against the policy: {differs}"));
            }
        }
    }
}

/// By what a rule matches.
fn matched(rule: &Rule, request: &Request<'_>) -> BTreeSet<&'static str> {
    let mut how = BTreeSet::new();
    let mut add = |is: bool, what: &'static str| {
        if is {
            how.insert(what);
        }
    };
    add(!rule.users.is_empty(), "a user");
    add(!rule.user_groups.is_empty(), "a group");
    add(!rule.verbs.is_empty(), "a verb");
    add(rule.is_catch_all(), "everything");
    match &request.target {
        Target::Path(path) => {
            for url in &rule.non_resource_urls {
                let url = url.value.as_str();
                add(url == "*", "any path");
                add(url == path, "a path");
                let prefix = url.strip_suffix('*').filter(|prefix| !prefix.is_empty());
                add(prefix.is_some_and(|prefix| path.starts_with(prefix)), "paths that begin so");
            }
        }
        Target::Resource { group, resource, subresource, name, .. } => {
            add(!rule.namespaces.is_empty(), "a namespace");
            for entry in rule.resources.iter().filter(|e| e.group == *group || e.group == "*") {
                add(entry.group == "*", "any group");
                add(entry.resources.is_empty(), "everything of a group");
                let called = entry.names.iter().any(|known| known.value == *name);
                add(called, "a name");
                if !entry.names.is_empty() && !called {
                    continue;
                }
                for spec in &entry.resources {
                    let spec = spec.value.as_str();
                    add(spec == "*", "*");
                    add(spec == *resource && subresource.is_empty(), "a resource");
                    add(spec.split_once('/') == Some((*resource, *subresource)), "a subresource");
                    let of_any = spec.strip_prefix("*/") == Some(*subresource);
                    add(of_any && !subresource.is_empty(), "*/subresource");
                    let all = spec.strip_suffix("/*") == Some(*resource);
                    add(all && !subresource.is_empty(), "resource/*");
                    add(all && subresource.is_empty(), "resource/*, the resource itself");
                }
            }
        }
    }
    how
}

/// What came of comparing.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) policies: usize,
    pub(super) predicted: usize,
    pub(super) found: usize,
    /// Events out of whose bodies managedFields have to be left.
    pub(super) without_managed: u64,
    pub(super) differences: Vec<String>,
}

/// What an event is compared by: its stage, its level, which bodies it has, and whether these have
/// managedFields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    stage: String,
    level: String,
    /// Of request and response: whether it is there, and has managedFields.
    bodies: [Option<bool>; 2],
}

fn text<'e>(event: &'e Value, name: &str) -> &'e str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Of each body, whether it has managedFields.
fn bodies(event: &Value) -> [Option<bool>; 2] {
    ["requestObject", "responseObject"].map(|name| {
        let body = event.get(name)?;
        let has = |object: &Value| {
            object.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null())
        };
        let items = body.get("items").and_then(Value::as_array);
        Some(has(body) || items.is_some_and(|items| items.iter().any(has)))
    })
}

impl Judged {
    /// Compares what a policy left with what it should have.
    pub(super) fn policy(
        &mut self,
        policy: &Policy,
        written: &str,
        all: &Log,
        log: &Log,
        broken: Option<Break>,
    ) {
        self.policies += 1;
        for (number, request) in requests::all().iter().enumerate() {
            let there = all.get(&number).map(Vec::as_slice).unwrap_or_default();
            let mut expected: Vec<Seen> =
                there.iter().filter_map(|event| predict(policy, request, event, broken)).collect();
            // With the fields said to stay, it is another event.
            let other = Some(Break::ManagedFields);
            let kept = there.iter().filter_map(|event| predict(policy, request, event, other));
            let differs = kept.zip(&expected).filter(|(kept, left)| kept != *left);
            self.without_managed += differs.count() as u64;
            let found = log.get(&number).map(Vec::as_slice).unwrap_or_default();
            let mut found: Vec<Seen> = found
                .iter()
                .map(|event| Seen {
                    stage: text(event, "stage").to_owned(),
                    level: text(event, "level").to_owned(),
                    bodies: bodies(event),
                })
                .collect();
            expected.sort();
            found.sort();
            self.predicted += expected.len();
            self.found += found.len();
            if expected != found {
                self.differences.push(format!(
                    "{request}: expected {expected:?}, found {found:?}, with\n{written}"
                ));
            }
        }
    }
}

/// What a policy leaves of an event that was recorded with everything.
fn predict(
    policy: &Policy,
    request: &Request<'_>,
    event: &Value,
    broken: Option<Break>,
) -> Option<Seen> {
    let decision = policy.decide(request);
    let stage = Stage::from_name(text(event, "stage"))?;
    let is_left =
        decision.records(stage) || broken == Some(Break::Stages) && decision.level != Level::None;
    let omits = decision.omit_managed_fields && broken != Some(Break::ManagedFields);
    let [request_body, response_body] = bodies(event);
    // A patch is recorded as it came.
    let kept = |has: bool| has && !omits;
    let bodies = [
        request_body.filter(|_| decision.level >= Level::Request),
        response_body.filter(|_| decision.level >= Level::RequestResponse),
    ]
    .map(|body| body.map(kept));
    let level = decision.level.name().to_owned();
    is_left.then(|| Seen { stage: stage.name().to_owned(), level, bodies })
}
