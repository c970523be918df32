//! Which suspicious patterns a policy shows.

use std::collections::BTreeSet;

use whodid_event::resource;
use whodid_policy::{Blind, Level, PATTERNS, PROFILES, Policy, Profile, Version, blind, load};

fn policy(rules: &str) -> Policy {
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
    load(&text, Version::NEWEST).policy.unwrap()
}

fn ids(policy: &Policy) -> Vec<&'static str> {
    blind(policy).iter().map(|blind| blind.pattern.id).collect()
}

#[test]
fn names_are_of_something() {
    let names: BTreeSet<&str> = PATTERNS.iter().map(|pattern| pattern.id).collect();
    assert_eq!(names.len(), PATTERNS.len());
    for pattern in &PATTERNS {
        for kind in pattern.kinds {
            let plural = kind.split('/').next().unwrap();
            let known = resource::canonical(plural).map(|known| known.plural);
            assert_eq!(known, Some(plural), "{}", pattern.id);
        }
        assert!(pattern.level >= Level::Metadata, "{}", pattern.id);
    }
}

#[test]
fn each_level_shows_what_needs_it() {
    let all = blind(&policy("- level: None\n"));
    assert!(all.len() == PATTERNS.len() && all.iter().all(Blind::is_whole));
    let with_bodies = PATTERNS.iter().filter(|pattern| pattern.level > Level::Metadata);
    let with_bodies: Vec<&str> = with_bodies.map(|pattern| pattern.id).collect();
    assert!(with_bodies.len() >= 15, "{with_bodies:?}");
    assert_eq!(ids(&policy("- level: Metadata\n")), with_bodies);
    assert_eq!(ids(&policy("- level: Request\n")), Vec::<&str>::new());
    // Without the last stage, nothing is known to have happened.
    let early = policy("- level: Request\n  omitStages: [ResponseComplete]\n");
    assert_eq!(ids(&early).len(), PATTERNS.len());
}

/// The control: for each pattern, hiding one of its requests is noticed, as far as it goes.
#[test]
fn each_request_of_each_pattern_counts() {
    let mut hidden = 0;
    for pattern in &PATTERNS {
        for verb in pattern.verbs {
            for kind in pattern.kinds {
                let of = resource::canonical(kind.split('/').next().unwrap()).unwrap();
                let rule = format!(
                    "- level: None\n  verbs: [{verb}]\n  resources:\n  - group: \"{}\"\n    \
                     resources: [\"{kind}\"]\n- level: Request\n",
                    of.group
                );
                let blind = blind(&policy(&rule));
                let found = blind.iter().find(|blind| blind.pattern.id == pattern.id).unwrap();
                assert_eq!(found.unseen, [format!("{verb} {kind}")], "{}", pattern.id);
                hidden += 1;
            }
        }
    }
    println!("{hidden} requests hidden, one at a time, each missed");
    assert!(hidden >= 150, "{hidden}");
}

#[test]
fn what_is_seen_in_part_says_which() {
    let only_get = policy(
        "- level: Metadata\n  verbs: [get]\n  resources:\n  - group: \"\"\n    resources: \
         [pods/exec]\n- level: None\n",
    );
    let blind = blind(&only_get);
    let shown = |id: &str| {
        let found = blind.iter().find(|blind| blind.pattern.id == id).unwrap();
        found.to_string()
    };
    assert_eq!(
        shown("KA-401"),
        "KA-401 a command in a pod: in part, `create pods/exec`, `create pods/attach`, \
         `get pods/attach` below Metadata"
    );
    assert_eq!(shown("KA-802"), "KA-802 a namespace deleted: needs Metadata");
}

/// What profiles do not show is what they say that they leave out: bodies, above all of secrets.
#[test]
fn profiles_show_what_they_can() {
    for profile in &PROFILES {
        let policy = load(&profile.text(), Version::NEWEST).policy.unwrap();
        let blind = ids(&policy);
        println!("{}: {} of {} unseen: {blind:?}", profile.name, blind.len(), PATTERNS.len());
        assert!(blind.contains(&"KA-306"), "{} records secrets", profile.name);
    }
    let daily = load(&Profile::of("daily").unwrap().text(), Version::NEWEST).policy.unwrap();
    assert!(ids(&daily).len() <= 4, "{:?}", ids(&daily));
}
