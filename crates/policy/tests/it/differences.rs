//! Policies compared.

use whodid_policy::{Level, PROFILES, Profile, Version, diff, load};

use crate::policy;

#[test]
fn what_changes_is_shown_by_an_example() {
    let before = policy("rules: [{level: None, users: [ci]}, {level: Metadata}]");
    let after =
        policy("rules: [{level: None, users: [ci], verbs: [get, list, watch]}, {level: Metadata}]");
    let (differences, is_complete) = diff(&before, &after);
    assert!(is_complete);
    let [difference] = differences.as_slice() else { panic!("{differences:?}") };
    let levels = (difference.before.level, difference.after.level);
    assert_eq!(levels, (Level::None, Level::Metadata));
    assert_eq!(difference.example.user, Some("ci"));
    assert!(!["get", "list", "watch"].contains(&difference.example.verb));
}

#[test]
fn what_says_the_same_otherwise_is_no_difference() {
    let pairs = [
        ("rules: [{level: Metadata}]", "rules: [{level: Metadata, users: [a]}, {level: Metadata}]"),
        (
            "rules: [{level: Metadata, resources: [{resources: [pods, secrets]}]}, {level: None}]",
            "rules: [{level: Metadata, resources: [{resources: [pods]}, {resources: [secrets]}]}]",
        ),
        (
            "rules: [{level: None, nonResourceURLs: ['/api*']}, {level: Metadata}]",
            "rules: [{level: None, nonResourceURLs: ['/api', '/api*']}, {level: Metadata}]",
        ),
    ];
    for (before, after) in pairs {
        assert_eq!(diff(&policy(before), &policy(after)), (vec![], true), "{before}");
    }
}

#[test]
fn profiles_are_told_apart() {
    let load = |profile: &Profile| load(&profile.text(), Version::NEWEST).policy.unwrap();
    let policies: Vec<_> = PROFILES.iter().map(load).collect();
    let (daily, minimal) = (&policies[1], &policies[0]);
    let (differences, _) = diff(minimal, daily);
    let more = differences.iter().filter(|d| d.after.level > d.before.level).count();
    println!("{} differences, {more} of them more", differences.len());
    assert!(more >= 3 && more == differences.len(), "{differences:#?}");
    for policy in &policies {
        assert_eq!(diff(policy, policy).0, []);
    }
}
