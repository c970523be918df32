//! Traps that people fall into, each in a policy that is good but for it.

use whodid_policy::{Finding, PROFILES, Version, lint, load};

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
                    omitManagedFields: true\nrules:\n";

/// What a good policy begins with.
const GOOD: &str = "
- level: None
  resources: [{group: coordination.k8s.io}, {resources: [events]}, {group: events.k8s.io}]
- level: Metadata
  resources: [{resources: [secrets, serviceaccounts/token]}, {group: authentication.k8s.io}]
";
const END: &str = "- {level: Metadata, verbs: [get, list, watch]}\n- {level: Request}\n";

/// A trap, and the finding that names it.
const TRAPS: [(&str, &str); 27] = [
    (
        "unreachable-rule",
        "- {level: Metadata, resources: [{resources: [pods]}]}\n- {level: Request, verbs: [patch], resources: [{resources: [pods]}]}\n",
    ),
    (
        "unreachable-rule",
        "- {level: Metadata, users: [a, b]}\n- {level: Request, users: [b], verbs: [patch]}\n",
    ),
    (
        "unreachable-rule",
        "- {level: None, nonResourceURLs: [/api*]}\n- {level: Metadata, nonResourceURLs: [/apis, /api/v1*]}\n",
    ),
    (
        "unreachable-rule",
        "- {level: Metadata, verbs: [get, list, watch]}\n- {level: Metadata, verbs: [create, update, patch, delete, deletecollection], resources: [{group: apps}]}\n- {level: Request, resources: [{group: apps, resources: [deployments]}]}\n",
    ),
    ("matches-nothing", "- {level: Metadata, resources: [{resources: ['*/*']}]}\n"),
    ("parent-matched", "- {level: Metadata, resources: [{resources: ['pods/*']}]}\n"),
    ("verb-wildcard", "- {level: Metadata, verbs: ['*']}\n"),
    ("unknown-verb", "- {level: Metadata, verbs: [GET]}\n"),
    ("unknown-verb", "- {level: Metadata, verbs: [impersonate]}\n"),
    ("no-globbing", "- {level: None, users: ['system:*'], verbs: [get]}\n"),
    ("no-globbing", "- {level: Metadata, namespaces: ['kube-*']}\n"),
    (
        "no-globbing",
        "- {level: Metadata, resources: [{resources: [configmaps], resourceNames: ['kube-*']}]}\n",
    ),
    (
        "stream-verb",
        "- {level: Request, verbs: [create], resources: [{resources: [pods/exec, pods/attach]}]}\n",
    ),
    (
        "names-of-created",
        "- {level: Request, verbs: [create, patch], resources: [{resources: [configmaps], resourceNames: [cm1]}]}\n",
    ),
    ("wrong-group", "- {level: Metadata, resources: [{group: '', resources: [deployments]}]}\n"),
    ("unknown-resource", "- {level: Metadata, resources: [{resources: [Pod]}]}\n"),
    ("deletecollection", "- {level: Request, verbs: [create, patch, delete]}\n"),
    ("patch-missing", "- {level: Request, verbs: [create, update]}\n"),
    ("secrets-recorded", "- {level: Request, users: [admin]}\n"),
    ("list-responses", "- {level: RequestResponse, resources: [{resources: [pods]}]}\n"),
    ("failures-hidden", "- {level: Metadata, omitStages: [ResponseStarted], verbs: [get]}\n"),
    ("outcome-hidden", "- {level: Metadata, omitStages: [ResponseComplete], verbs: [watch]}\n"),
    ("access-not-recorded", "- {level: None, verbs: [get]}\n"),
    ("impersonation-blind", "- {level: None, users: [ci]}\n"),
    ("unknown-field", "- level: None\n  resources:\n  - group: apps\n    verbs: [get]\n"),
    ("unknown-field", "- level: None\n  userGroup: [ops]\n  verbs: [get]\n"),
    ("duplicate-field", "- {level: None, users: [a], verbs: [get], users: [b]}\n"),
];

/// And traps that a policy as a whole falls into.
const WHOLE: [(&str, &str); 7] = [
    (
        "no-catch-all",
        "omitStages: [RequestReceived]\nrules:\n- {level: Metadata, resources: [{resources: [pods]}]}\n",
    ),
    ("request-received", "rules:\n- {level: Metadata}\n"),
    ("noise", "rules:\n- {level: Metadata}\n"),
    ("noise", "rules:\n- {level: None, resources: [{resources: [events]}]}\n- {level: Metadata}\n"),
    ("records-nothing", "rules:\n- {level: None}\n"),
    ("failures-hidden", "omitStages: [ResponseStarted]\nrules:\n- {level: Metadata}\n"),
    ("secrets-recorded", "rules:\n- {level: RequestResponse}\n"),
];

fn found(text: &str) -> Vec<Finding> {
    let loaded = load(text, Version::NEWEST);
    let mut findings = loaded.findings;
    findings.extend(loaded.policy.iter().flat_map(lint));
    findings
}

/// The traps that are not found; findings of the code `hidden` are overlooked.
fn missed(hidden: Option<&str>) -> (usize, Vec<String>) {
    let head = HEAD.split("omitStages").next().unwrap();
    let texts = TRAPS.map(|(code, trap)| {
        // Secrets are asked for before a rule can name them.
        let before = if code == "secrets-recorded" { [trap, GOOD] } else { [GOOD, trap] };
        (code, format!("{HEAD}{}{END}", before.concat()))
    });
    let texts = texts.into_iter().chain(WHOLE.map(|(code, text)| (code, format!("{head}{text}"))));
    let (mut count, mut missed) = (0, Vec::new());
    for (code, text) in texts {
        count += 1;
        let of_code = |finding: &Finding| finding.code == code && hidden != Some(code);
        let found = found(&text);
        if !found.iter().any(of_code) {
            let codes: Vec<&str> = found.iter().map(|finding| finding.code).collect();
            missed.push(format!("{code}: {text}: {codes:?}"));
        }
    }
    (count, missed)
}

#[test]
fn every_trap_is_found() {
    let (count, missed) = missed(None);
    println!("{count} traps, {} missed", missed.len());
    assert!(count >= 25 && missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_trap_that_is_overlooked_is_noticed() {
    for (code, _) in TRAPS {
        assert!(!missed(Some(code)).1.is_empty(), "{code}");
    }
}

/// Whatever names a policy has, somebody and something has others.
#[test]
fn no_rule_is_called_unreachable_for_the_names_of_others() {
    let pairs = [
        ("users: [jane]", "userGroups: [ops]"),
        ("namespaces: [default, \"\"]", "resources: [{resources: [pods]}]"),
        ("resources: [{group: example.com}, {group: \"\"}]", "namespaces: [shop]"),
        (
            "resources: [{resources: [widgets, pods, pods/extra, widgets/extra]}]",
            "resources: [{group: \"\"}]",
        ),
        (
            "resources: [{resources: [pods], resourceNames: [example, \"\"]}]",
            "resources: [{resources: [pods]}]",
        ),
        ("nonResourceURLs: [/elsewhere]", "nonResourceURLs: [\"*\"]"),
        ("nonResourceURLs: [/api, /api/*]", "nonResourceURLs: [/api*]"),
        ("nonResourceURLs: [/api, /api/*, /api~*]", "nonResourceURLs: [/api*]"),
    ];
    for (first, second) in pairs {
        let text = format!("{HEAD}- level: Request\n  {first}\n- level: Metadata\n  {second}\n");
        let found = found(&text);
        assert!(found.iter().all(|f| f.code != "unreachable-rule"), "{text}: {found:?}");
    }
}

/// A trap beside nothing but good rules is found alone.
#[test]
fn good_policies_have_no_findings() {
    assert_eq!(found(&format!("{HEAD}{GOOD}{END}")), []);
    let good = PROFILES.iter().filter(|profile| found(&profile.text()).is_empty()).count();
    println!("{} policies without findings", good + 1);
    assert!(good >= 5);
    let mut strangers = 0;
    for (code, trap) in TRAPS {
        let before = if code == "secrets-recorded" { [trap, GOOD] } else { [GOOD, trap] };
        let others = found(&format!("{HEAD}{}{END}", before.concat()));
        for finding in others.into_iter().filter(|finding| finding.code != code) {
            // Without its field, the rule matches every exec.
            let is_what_follows =
                trap.contains("userGroup:") && finding.code == "access-not-recorded";
            assert!(is_what_follows, "{trap}: {finding:?}");
            strangers += 1;
        }
    }
    println!("{strangers} findings besides those of the traps");
}
