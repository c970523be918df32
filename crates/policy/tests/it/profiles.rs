//! The policies that are given out are taken by every release, and free of findings.

use whodid_policy::{Flags, Outcome, PROFILES, Version, benchmark, lint, load};

#[test]
fn profiles_have_no_findings() {
    for profile in &PROFILES {
        for minor in [24, 30, 35, 36] {
            let loaded = load(&profile.text(), Version(minor));
            assert_eq!(loaded.findings, [], "{} on 1.{minor}", profile.name);
            let policy = loaded.policy.unwrap();
            assert_eq!(lint(&policy), [], "{}", profile.name);
        }
        assert!(!profile.leaves_out.is_empty() && profile.days > 0);
    }
    assert_eq!(PROFILES.len(), 7);
}

#[test]
fn the_benchmark_is_answered() {
    let loaded = load(&PROFILES[1].text(), Version::NEWEST);
    let manifest = "
    - --audit-log-path=/var/log/a.log
    - --audit-log-maxage=30
    - name: audit-log-maxbackup
      value: \"5\"";
    let flags = Flags::find(manifest);
    let outcome = |checks: Vec<whodid_policy::Check>| -> Vec<(&str, &str)> {
        checks.iter().map(|check| (check.id, check.outcome.name())).collect()
    };
    let checks = benchmark(loaded.policy.as_ref(), Some(&flags), Version::NEWEST);
    let (pass, fail) = (Outcome::Pass.name(), Outcome::Fail.name());
    let expected = [
        ("1.2.16", pass),
        ("1.2.17", pass),
        ("1.2.18", fail),
        ("1.2.19", pass),
        ("3.2.1", pass),
        ("3.2.2", pass),
    ];
    assert_eq!(outcome(checks), expected);
    let checks = benchmark(None, None, Version(30));
    assert!(checks[..4].iter().all(|check| check.outcome == Outcome::NotKnown));
    assert!(checks[4..].iter().all(|check| check.outcome == Outcome::Fail));
    // Rotated files are kept for ever before 1.36.
    let old = benchmark(None, Some(&Flags::find("--audit-log-path=x")), Version(35));
    assert_eq!(old[1].outcome, Outcome::Fail);
}

#[test]
fn flags_are_found_in_every_form() {
    for text in [
        "kube-apiserver --audit-log-path=/a --audit-policy-file=/b",
        "args: [\"--audit-log-path=/a\", \"--audit-policy-file=/b\"]",
        "extraArgs:\n- {name: audit-log-path, value: /a}\n- {name: audit-policy-file, value: /b}",
        "extraArgs:\n- name: audit-log-path\n  value: \"/a\"\n- name: audit-policy-file\n  value: /b\n",
        "extraArgs:\n  audit-log-path: /a\n  audit-policy-file: '/b'\n",
        "kube-apiserver-arg: [\"audit-log-path=/a\",\"audit-policy-file=/b\"]",
    ] {
        let flags = Flags::find(text);
        assert_eq!(flags.get("audit-log-path"), Some("/a"), "{text}");
        assert_eq!(flags.get("audit-policy-file"), Some("/b"), "{text}");
    }
    assert!(Flags::find("my-audit-log-path=/x and audit-logs").is_empty());
}
