//! What a rule's fields say, one by one: names that kube-apiserver compares exactly and that are
//! never equal to anything, or to more than meant.

use whodid_event::resource;

use super::Findings;
use whodid_event::Stage;

use crate::model::{GroupResources, Level, Placed, Rule};
use crate::witness::VERBS;

/// Verbs of requests for paths, besides those for resources.
const METHODS: [&str; 4] = ["post", "put", "head", "options"];

/// Subresources that begin as a WebSocket (verb get) or as SPDY (verb create).
const STREAMS: [&str; 3] = ["exec", "attach", "portforward"];

pub(super) fn check(number: usize, rule: &Rule, findings: &mut Findings) {
    let rule_number = Some(number);
    verbs(rule, rule_number, findings);
    stages(rule, rule_number, findings);
    let exact = [
        ("users", &rule.users),
        ("userGroups", &rule.user_groups),
        ("namespaces", &rule.namespaces),
    ];
    for (field, list) in exact {
        globs(field, list, rule_number, findings);
    }
    for entry in &rule.resources {
        globs("resourceNames", &entry.names, rule_number, findings);
        for spec in &entry.resources {
            resource(entry, spec, rule_number, findings);
        }
        streams(rule, entry, rule_number, findings);
        created(rule, entry, rule_number, findings);
    }
}

fn globs(field: &str, list: &[Placed<String>], rule: Option<usize>, findings: &mut Findings) {
    for text in list.iter().filter(|text| text.contains('*')) {
        let what = format!(
            "{:?} in {field} is compared as it stands: no * is expanded here, and nothing has this \
             name",
            text.value
        );
        findings.warn("no-globbing", (text.at, rule), what, "name each one, or use userGroups");
    }
}

fn verbs(rule: &Rule, number: Option<usize>, findings: &mut Findings) {
    for verb in &rule.verbs {
        let lower = verb.to_ascii_lowercase();
        let is_known = |verb: &str| VERBS.contains(&verb) || METHODS.contains(&verb);
        if verb.value == "*" {
            let what = "the verb \"*\" is compared as it stands, and no request has it".to_owned();
            findings.warn("verb-wildcard", (verb.at, number), what, "leave verbs out to match all");
        } else if !is_known(verb) {
            let fix = if is_known(&lower) {
                format!("write `{lower}`")
            } else {
                format!("verbs are {}", VERBS.join(", "))
            };
            let what = format!(
                "no request has the verb {:?}{}",
                verb.value,
                if verb.value == "impersonate" {
                    ": who acts in somebody else's name is recorded by what they do"
                } else {
                    ""
                }
            );
            findings.warn("unknown-verb", (verb.at, number), what, &fix);
        }
    }
    let has = |verb: &str| rule.verbs.iter().any(|known| known.value == verb);
    let at = rule.verbs.first().map_or(rule.at, |verb| verb.at);
    if has("delete") && !has("deletecollection") {
        let what = "`kubectl delete --all` and the deletion of a namespace are deletecollection, \
                    which this rule does not match";
        findings.warn("deletecollection", (at, number), what.into(), "add deletecollection");
    }
    if has("update") && !has("patch") {
        let what = "`kubectl apply`, `edit` and `scale` are patch, and server-side apply creates \
                    with it, too; this rule does not match them";
        findings.warn("patch-missing", (at, number), what.into(), "add patch");
    }
}

fn stages(rule: &Rule, number: Option<usize>, findings: &mut Findings) {
    if rule.level != Level::None && rule.omit_stages.contains(&Stage::ResponseComplete) {
        let what = "without ResponseComplete nothing tells how a request ended, or that there was \
                    one";
        findings.warn("outcome-hidden", (rule.at, number), what.into(), "keep ResponseComplete");
    }
    if rule.level != Level::None && rule.omit_stages.contains(&Stage::ResponseStarted) {
        hides_failures((rule.at, number), findings);
    }
}

pub(super) fn hides_failures(place: (crate::model::At, Option<usize>), findings: &mut Findings) {
    let what = "failed authentication is recorded at ResponseStarted alone, and an exec that goes \
                on shows there before it ends";
    findings.warn("failures-hidden", place, what.into(), "keep ResponseStarted");
}

fn resource(
    entry: &GroupResources,
    spec: &Placed<String>,
    rule: Option<usize>,
    findings: &mut Findings,
) {
    let place = (spec.at, rule);
    let (plural, sub) = spec.split_once('/').unwrap_or((spec, ""));
    if spec.value == "*/*" {
        let what = "\"*/*\" matches nothing: a * before the / wants a subresource by name".into();
        return findings.warn("matches-nothing", place, what, "leave resources out to match all");
    }
    if sub == "*" && !entry.resources.iter().any(|other| other.value == plural) {
        let what = format!("{:?} matches {plural} themselves, too", spec.value);
        let fix = format!("name the subresources, or add `{plural}` to say that it is meant");
        findings.warn("parent-matched", place, what, &fix);
    }
    if plural.contains('*') || entry.group == "*" {
        return;
    }
    let known = |called: &str| {
        let here = resource::canonical_in(called, |group| group == entry.group);
        here.or_else(|| resource::canonical(called))
    };
    let Some(meant) = known(plural) else { return };
    if meant.group != entry.group && meant.plural == plural && is_built_in(&entry.group) {
        let group = if meant.group.is_empty() { "\"\"" } else { meant.group };
        let what = format!(
            "{plural} are not in the group {:?}, and kube-apiserver does not notice: this matches \
             nothing",
            entry.group
        );
        findings.warn("wrong-group", place, what, &format!("they are in {group}"));
    } else if meant.plural != plural && is_built_in(&entry.group) {
        let what = format!("no resource is called {plural:?}: this matches nothing");
        findings.warn("unknown-resource", place, what, &format!("write `{}`", meant.plural));
    }
}

/// Groups whose resources are known here.
fn is_built_in(group: &str) -> bool {
    group.is_empty()
        || group.ends_with(".k8s.io")
        || ["apps", "batch", "policy", "autoscaling", "extensions"].contains(&group)
}

fn streams(rule: &Rule, entry: &GroupResources, number: Option<usize>, findings: &mut Findings) {
    let has = |verb: &str| rule.verbs.iter().any(|known| known.value == verb);
    if rule.verbs.is_empty() || has("get") == has("create") {
        return;
    }
    for spec in &entry.resources {
        let sub = spec.split_once('/').map(|(_, sub)| sub);
        let Some(sub) = sub.filter(|sub| STREAMS.contains(sub)) else { continue };
        let (matched, missed) = if has("create") {
            ("create", "get: kubectl's since 1.31, over a WebSocket")
        } else {
            ("get", "create: older kubectl's, and what it falls back to")
        };
        let what = format!("the verb of {sub} is also {missed}; this rule matches {matched} only");
        findings.warn("stream-verb", (spec.at, number), what, "add both, get and create");
    }
}

fn created(rule: &Rule, entry: &GroupResources, number: Option<usize>, findings: &mut Findings) {
    let create = rule.verbs.iter().find(|verb| verb.value == "create");
    let is_plain = entry.resources.iter().any(|spec| !spec.contains('/'));
    let Some(verb) = create.filter(|_| is_plain && !entry.names.is_empty()) else { return };
    if !entry.names.iter().any(|name| name.is_empty()) {
        let what = "what is created has its name in the body, where no rule looks: create never \
                    matches beside resourceNames";
        let fix = "add \"\" to resourceNames, or a rule of its own for create";
        findings.warn("names-of-created", (verb.at, number), what.into(), fix);
    }
}
