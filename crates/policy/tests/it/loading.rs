//! What kube-apiserver refuses, and what it only warns of.

use whodid_policy::{Severity, Version, load};

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

/// A code, a line and a column.
type Found = (&'static str, usize, usize);

/// A text, the release, and what is found in it: code, line and column.
const CASES: [(&str, u32, &[Found]); 34] = [
    ("rules:\n- level: Metadata\n", 36, &[]),
    ("rules:\n- level: metadata\n", 36, &[("level-unsupported", 4, 10)]),
    ("rules:\n- level: ''\n", 36, &[("level-unsupported", 4, 10)]),
    ("rules:\n- verbs: [get]\n", 36, &[("level-missing", 4, 3)]),
    ("rules: []\n", 36, &[("no-rules", 1, 1)]),
    ("rules:\n", 36, &[("no-rules", 1, 1)]),
    ("", 36, &[("no-rules", 1, 1)]),
    ("rules: {}\n", 36, &[("no-rules", 1, 1), ("wrong-type", 3, 8)]),
    ("rules:\n- [x]\n", 36, &[("no-rules", 1, 1), ("wrong-type", 4, 3)]),
    ("rules:\n- level: None\n  users: ann\n", 36, &[("wrong-type", 5, 10)]),
    ("rules:\n- level: None\n  users: [1]\n", 36, &[("wrong-type", 5, 11)]),
    ("rules:\n- level: None\n  verbs: [on]\n", 36, &[("wrong-type", 5, 11)]),
    ("rules:\n- level: None\n  omitManagedFields: 'true'\n", 36, &[("wrong-type", 5, 22)]),
    ("rules:\n- level: None\n  omitStages: [ResponseStart]\n", 36, &[("stage-unsupported", 5, 16)]),
    ("omitStages: [x]\nrules:\n- level: None\n", 36, &[("stage-unsupported", 3, 14)]),
    ("rules:\n- level: None\n  nonResourceURLs: [healthz]\n", 36, &[("invalid-path", 5, 21)]),
    ("rules:\n- level: None\n  nonResourceURLs: ['']\n", 36, &[("invalid-path", 5, 21)]),
    ("rules:\n- level: None\n  nonResourceURLs: [/a*b]\n", 36, &[("invalid-path", 5, 21)]),
    ("rules:\n- level: None\n  nonResourceURLs: ['*']\n", 36, &[]),
    (
        "rules:\n- level: None\n  nonResourceURLs: [/a]\n  namespaces: [b]\n",
        36,
        &[("mixed-targets", 5, 21)],
    ),
    ("rules:\n- level: None\n  resources: [{group: apps/v1}]\n", 36, &[("invalid-group", 5, 15)]),
    ("rules:\n- level: None\n  resources: [{group: Apps}]\n", 36, &[("invalid-group", 5, 15)]),
    ("rules:\n- level: None\n  resources: [{group: '*'}]\n", 36, &[]),
    ("rules:\n- level: None\n  resources: [{group: '*'}]\n", 35, &[("invalid-group", 5, 15)]),
    (
        "rules:\n- level: None\n  resources: [{resourceNames: [x]}]\n",
        36,
        &[("names-without-resources", 5, 32)],
    ),
    ("rules:\n- level: None\n  verb: [get]\n", 36, &[("unknown-field", 5, 3)]),
    (
        "rules:\n- level: None\n  resources:\n  - group: apps\n    verbs: [get]\n",
        36,
        &[("unknown-field", 7, 5)],
    ),
    ("rules:\n- level: None\nverbs: [get]\n", 36, &[("unknown-field", 5, 1)]),
    ("rules:\n- level: None\n  level: Request\n", 36, &[("duplicate-field", 5, 3)]),
    ("omitManagedFields: true\nrules:\n- level: Request\n", 22, &[("unknown-field", 3, 1)]),
    ("metadata: {name: x}\nrules: &r\n- level: Request\n", 36, &[]),
    ("rules: [{level: None, resources: [1]}]\n", 36, &[("wrong-type", 3, 35)]),
    ("rules: [\n", 36, &[("no-policy", 3, 8)]),
    ("rules:\n- level: None\n---\nx: y\n", 36, &[]),
];

#[test]
fn errors_and_warnings_stand_where_they_belong() {
    for (text, minor, expected) in CASES {
        let loaded = load(&format!("{HEAD}{text}"), Version(minor));
        let found: Vec<_> = loaded
            .findings
            .iter()
            .map(|finding| (finding.code, finding.at.line, finding.at.column))
            .collect();
        assert_eq!(found, expected, "{text}: {:#?}", loaded.findings);
        let is_refused = loaded.findings.iter().any(|f| f.severity == Severity::Error);
        assert_eq!(loaded.policy.is_none(), is_refused, "{text}");
    }
}

#[test]
fn only_policies_are_policies() {
    let rules = "rules: [{level: None}]\n";
    let cases = [
        ("apiVersion: audit.k8s.io/v1\n", 36, false),
        ("kind: Policy\n", 36, false),
        ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\n", 36, false),
        ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy\n", 23, true),
        ("apiVersion: audit.k8s.io/v1\nkind: Event\n", 36, false),
        ("apiVersion: v1\nkind: Policy\n", 36, false),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", 36, true),
    ];
    for (head, minor, is_one) in cases {
        let loaded = load(&format!("{head}{rules}"), Version(minor));
        assert_eq!(loaded.policy.is_some(), is_one, "{head}: {:?}", loaded.findings);
    }
    for text in ["", "[]", "x", "\u{0}", "{\"apiVersion\": 1}", &"a".repeat(2 << 20)] {
        let loaded = load(text, Version::NEWEST);
        assert!(loaded.policy.is_none() && !loaded.findings.is_empty());
    }
    let json = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"None"}]}"#;
    assert!(load(json, Version::NEWEST).policy.is_some());
}
