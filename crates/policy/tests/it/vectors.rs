//! Cases whose outcome was taken from kube-apiserver's own matching code (Kubernetes 1.36.2).

use std::collections::BTreeSet;

use whodid_policy::{Level, Request, Stage, Target, Version, load};

use crate::policy;

/// Rules, a request as `VERB TARGET [NAME] [-n NAMESPACE]`, and the level; `-` where no rule
/// matches.
const LEVELS: [(u32, &str, &str, &str); 28] = [
    (1, r"[{level: Metadata, resources: [{resources: [pods]}]}]", "get pods/log p -n d", "-"),
    (
        2,
        r#"[{level: Metadata, resources: [{resources: ["pods/*"]}]}]"#,
        "get pods p -n d",
        "Metadata",
    ),
    (
        3,
        r#"[{level: Metadata, resources: [{resources: ["pods/*"]}]}]"#,
        "get pods/exec p -n d",
        "Metadata",
    ),
    (4, r#"[{level: Metadata, resources: [{resources: ["*/*"]}]}]"#, "get pods/exec p -n d", "-"),
    (
        5,
        r#"[{level: Metadata, resources: [{resources: ["*/status"]}]}]"#,
        "patch pods/status p -n d",
        "Metadata",
    ),
    (
        6,
        r#"[{level: Metadata, resources: [{resources: ["*"]}]}]"#,
        "get deployments.apps x -n d",
        "-",
    ),
    (
        7,
        r#"[{level: Metadata, resources: [{group: "*", resources: ["*/scale"]}]}]"#,
        "patch deployments.apps/scale x -n d",
        "Metadata",
    ),
    (8, r#"[{level: Metadata, resources: [{group: ""}]}]"#, "get pods/exec p -n d", "Metadata"),
    (
        9,
        r"[{level: Metadata, resources: [{resources: [configmaps], resourceNames: [cm1]}]}]",
        "create configmaps -n d",
        "-",
    ),
    (
        10,
        r"[{level: Metadata, resources: [{resources: [configmaps], resourceNames: [cm1]}]}]",
        "watch configmaps cm1 -n d",
        "Metadata",
    ),
    (
        11,
        r#"[{level: Metadata, resources: [{resources: [configmaps], resourceNames: [""]}]}]"#,
        "list configmaps -n d",
        "Metadata",
    ),
    (
        12,
        r"[{level: Metadata, resources: [{resources: [pods], resourceNames: [p]}]}]",
        "get pods/log p -n d",
        "-",
    ),
    (13, r#"[{level: Metadata, namespaces: [""]}]"#, "list pods", "Metadata"),
    (14, r#"[{level: Metadata, namespaces: [""]}]"#, "get namespaces foo", "-"),
    (15, r#"[{level: Metadata, namespaces: [""]}]"#, "get /healthz", "-"),
    (
        16,
        r"[{level: Metadata, namespaces: [kube-system]}]",
        "get namespaces kube-system",
        "Metadata",
    ),
    (
        17,
        r"[{level: Metadata, resources: [{resources: [pods]}], namespaces: [a]}]",
        "list pods",
        "-",
    ),
    (18, r#"[{level: Metadata, nonResourceURLs: ["/api*"]}]"#, "get /apis/apps/v1", "Metadata"),
    (19, r#"[{level: Metadata, nonResourceURLs: ["/api*"]}]"#, "list pods", "-"),
    (20, r#"[{level: Metadata, nonResourceURLs: ["/api/*"]}]"#, "get /api", "-"),
    (
        21,
        r#"[{level: None, nonResourceURLs: ["/readyz"]}, {level: Metadata}]"#,
        "get /readyz/etcd",
        "Metadata",
    ),
    (22, r#"[{level: Metadata, nonResourceURLs: ["*"]}]"#, "get pods p -n d", "-"),
    (23, r"[{level: Metadata, users: [ann]}]", "anonymous get pods p -n d", "-"),
    (
        24,
        r#"[{level: None, users: ["system:*"]}, {level: Metadata}]"#,
        "get pods p -n d",
        "Metadata",
    ),
    (
        25,
        r"[{level: None, users: [ann], userGroups: [ops]}, {level: Metadata}]",
        "get pods p -n d",
        "Metadata",
    ),
    (26, r#"[{level: Metadata, verbs: ["*"]}]"#, "get pods p -n d", "-"),
    (
        27,
        r"[{level: Metadata, verbs: [create], resources: [{resources: [pods/exec]}]}]",
        "get pods/exec p -n d",
        "-",
    ),
    (
        28,
        r"[{level: None, resources: [{resources: [events]}]}, {level: Metadata}]",
        "create events.events.k8s.io -n d",
        "Metadata",
    ),
];

fn request(text: &str) -> Request<'_> {
    let (text, user) = match text.strip_prefix("anonymous ") {
        Some(text) => (text, None),
        None => (text, Some(if text.contains("events") { "system:node:a" } else { "ann" })),
    };
    let (what, namespace) = text.split_once(" -n ").unwrap_or((text, ""));
    let mut words = what.split(' ');
    let verb = words.next().unwrap();
    let target = Target::parse(words.next().unwrap()).unwrap();
    let target = target.at(namespace, words.next().unwrap_or_default());
    Request { user, groups: vec!["dev"], verb, target }
}

#[test]
fn levels_and_stages_are_those_of_kube_apiserver() {
    let mut count = 0;
    for (number, rules, text, expected) in LEVELS {
        let policy = policy(&format!("rules: {rules}"));
        let decision = policy.decide(&request(text));
        let level = decision.rule.map_or("-", |_| decision.level.name());
        assert_eq!(level, expected, "{number}: {rules} {text}");
        count += 1;
    }
    // 7: an error before 1.36.
    let any = LEVELS[6].1;
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {any}\n");
    assert_eq!(load(&text, Version(35)).policy, None);
    // 11: also when one is created, whose name is in its body.
    let unnamed = policy(&format!("rules: {}", LEVELS[10].1));
    assert_eq!(unnamed.decide(&request("create configmaps -n d")).level, Level::Metadata);

    let stages = |policy: &whodid_policy::Policy, text: &str| {
        let decision = policy.decide(&request(text));
        let omitted = decision.omit_stages.clone();
        let written: Vec<Stage> =
            Stage::ALL.into_iter().filter(|stage| decision.records(*stage)).collect();
        (omitted, written, decision)
    };
    // 29
    let pods = "rules: [{level: Metadata, omitStages: [ResponseStarted], resources: [{resources: [pods]}]}]";
    let rr = policy(&format!("omitStages: [RequestReceived]\n{pods}"));
    let (omitted, written, _) = stages(&rr, "watch pods -n d");
    assert_eq!(omitted, BTreeSet::from([Stage::RequestReceived, Stage::ResponseStarted]));
    assert_eq!(written, [Stage::ResponseComplete, Stage::Panic]);
    count += 1;
    // 30
    let (omitted, written, decision) = stages(&rr, "get secrets s -n d");
    assert_eq!((decision.level, decision.rule), (Level::None, None));
    assert_eq!((omitted, written), (BTreeSet::from([Stage::RequestReceived]), vec![]));
    count += 1;
    // 31
    let panics = policy(
        "rules: [{level: Metadata, omitStages: [RequestReceived, ResponseStarted, ResponseComplete]}]",
    );
    assert_eq!(stages(&panics, "get pods p -n d").1, [Stage::Panic]);
    count += 1;
    // 32
    let kept = policy(
        "omitManagedFields: true\nrules: [{level: RequestResponse, omitManagedFields: false}]",
    );
    assert!(!kept.decide(&request("get pods p -n d")).omit_managed_fields);
    count += 1;
    // 33: what is left out of objects stays in patches, which are written as they came.
    let left_out = policy("omitManagedFields: true\nrules: [{level: Request}]");
    assert!(left_out.decide(&request("patch pods p -n d")).omit_managed_fields);
    count += 1;
    // 34: bob with `--as alice` is bob.
    let alice = policy("rules: [{level: Metadata, users: [alice]}, {level: None}]");
    let bob = Request { user: Some("bob"), ..request("get pods p -n d") };
    assert_eq!((alice.decide(&bob).level, alice.decide(&bob).rule), (Level::None, Some(1)));
    count += 1;
    println!("{count} vectors");
    assert_eq!(count, 34);
}

/// What comes before the rule that decides is explained, each with the first field that differs.
#[test]
fn why_a_rule_does_not_match_is_said() {
    use whodid_policy::Mismatch::{
        Group, Groups, Name, Namespace, NoPath, Resource, Unauthenticated, User, Verb,
    };
    let policy = policy(
        r#"rules: [
        {level: None, users: [bob]},
        {level: None, userGroups: [ops]},
        {level: None, verbs: [watch]},
        {level: None, nonResourceURLs: ["/healthz*"]},
        {level: None, namespaces: [kube-system]},
        {level: None, resources: [{group: apps}]},
        {level: None, resources: [{resources: [pods/log]}]},
        {level: None, resources: [{resources: [pods], resourceNames: [q]}]},
        {level: Request}]"#,
    );
    let (decision, passed) = policy.explain(&request("get pods p -n d"));
    let why = [User, Groups, Verb, NoPath, Namespace, Group, Resource, Name];
    assert_eq!((decision.rule, passed.as_slice()), (Some(8), why.as_slice()));
    let (_, passed) = policy.explain(&request("anonymous get pods p -n d"));
    assert_eq!(passed[0], Unauthenticated);
}
