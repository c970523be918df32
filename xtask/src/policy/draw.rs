//! Policies at random, made of the names that requests have, so that every branch is taken often.

use whodid_testkit::generate::Random;

const USERS: [&str; 6] = [
    "admin",
    "alice@example.com",
    "bob@example.com",
    "system:serviceaccount:ci:deployer",
    "system:anonymous",
    "nobody",
];
const GROUPS: [&str; 6] = [
    "system:masters",
    "platform",
    "developers",
    "system:serviceaccounts",
    "system:unauthenticated",
    "nobodies",
];
const VERBS: [&str; 8] =
    ["get", "list", "watch", "create", "patch", "delete", "deletecollection", "*"];
const ENTRIES: [&str; 16] = [
    "{group: \"\", resources: [pods]}",
    "{group: \"\", resources: [pods, secrets, configmaps]}",
    "{group: \"\", resources: [\"pods/*\"]}",
    "{group: \"\", resources: [pods/log, pods/exec]}",
    "{group: \"\", resources: [\"*/log\", \"*/token\"]}",
    "{group: \"\", resources: [\"*\"]}",
    "{group: \"\", resources: [\"*/*\"]}",
    "{group: \"\"}",
    "{group: apps}",
    "{group: apps, resources: [deployments, deployments/scale]}",
    "{group: apps, resources: [\"*/scale\"]}",
    "{group: \"*\", resources: [\"*/scale\", secrets]}",
    "{group: \"*\"}",
    "{group: \"\", resources: [configmaps], resourceNames: [one]}",
    "{group: \"\", resources: [configmaps, secrets], resourceNames: [one, \"\"]}",
    "{group: authentication.k8s.io, resources: [tokenreviews]}",
];
const NAMESPACES: [&str; 4] = ["default", "kube-system", "", "elsewhere"];
const URLS: [&str; 7] = ["/api*", "/apis/*", "*", "/readyz", "/healthz*", "/version", "/api"];
const LEVELS: [&str; 4] = ["None", "Metadata", "Request", "RequestResponse"];
const STAGES: [&str; 4] = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];

/// Some of a list, in the form of YAML; not often all.
fn some(random: &mut Random, of: &[&str], is_quoted: bool) -> String {
    let count = 1 + random.below(2);
    let items: Vec<String> = (0..count)
        .map(|_| of.get(random.below(of.len())).copied().unwrap_or_default())
        .map(|item| if is_quoted { format!("{item:?}") } else { item.to_owned() })
        .collect();
    format!("[{}]", items.join(", "))
}

fn rule(random: &mut Random) -> String {
    let level = LEVELS.get(random.below(LEVELS.len())).copied().unwrap_or_default();
    let mut rule = format!("- level: {level}\n");
    let mut field = |name: &str, value: String| rule.push_str(&format!("  {name}: {value}\n"));
    let one_in = |random: &mut Random, n: usize| random.below(n) == 0;
    if one_in(random, 4) {
        field("users", some(random, &USERS, true));
    }
    if one_in(random, 4) {
        field("userGroups", some(random, &GROUPS, true));
    }
    if one_in(random, 3) {
        field("verbs", some(random, &VERBS, true));
    }
    match random.below(8) {
        0 | 1 => field("nonResourceURLs", some(random, &URLS, true)),
        2 => field("namespaces", some(random, &NAMESPACES, true)),
        3 => {
            field("resources", some(random, &ENTRIES, false));
            field("namespaces", some(random, &NAMESPACES, true));
        }
        4..=6 => field("resources", some(random, &ENTRIES, false)),
        _ => {}
    }
    if one_in(random, 3) {
        field("omitStages", some(random, &STAGES, true));
    }
    match random.below(4) {
        0 => field("omitManagedFields", "true".into()),
        1 => field("omitManagedFields", "false".into()),
        _ => {}
    }
    rule
}

/// A policy that kube-apiserver takes.
pub(super) fn policy(random: &mut Random) -> String {
    let mut text = "apiVersion: audit.k8s.io/v1\nkind: Policy\n".to_owned();
    if random.below(2) == 0 {
        text.push_str(&format!("omitStages: {}\n", some(random, &STAGES, true)));
    }
    if random.below(2) == 0 {
        text.push_str("omitManagedFields: true\n");
    }
    text.push_str("rules:\n");
    for _ in 0..3 + random.below(7) {
        text.push_str(&rule(random));
    }
    text
}
