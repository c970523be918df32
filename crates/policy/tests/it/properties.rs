//! Whatever a policy is made of: what is decided is what kube-apiserver's rules say, written down
//! a second time here; no text makes the loader panic; what is said to be impossible never happens.

use proptest::prelude::*;
use whodid_policy::{Level, Policy, Request, Target, Version, diff, lint, load};

const USERS: [&str; 3] = ["ann", "bob", "system:node:a"];
const GROUPS: [&str; 3] = ["ops", "dev", "system:nodes"];
const VERBS: [&str; 4] = ["get", "list", "create", "patch"];
const SPECS: [&str; 8] =
    ["pods", "pods/*", "pods/exec", "*/exec", "*", "secrets", "*/*", "deployments/scale"];
const NAMES: [&str; 3] = ["x", "", "y"];
const SPACES: [&str; 3] = ["a", "", "b"];
const URLS: [&str; 5] = ["/api*", "*", "/healthz", "/api/*", "/api"];
const PATHS: [&str; 5] = ["/api", "/api/v1", "/healthz", "/healthz/etcd", "/"];
const LEVELS: [&str; 4] = ["None", "Metadata", "Request", "RequestResponse"];

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![2 => Just(vec![]), 1 => prop::sample::subsequence(of.to_vec(), 1..=of.len())]
}

fn list(items: &[&str]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("'{item}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn entry() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["", "apps", "*"]), some(&SPECS), some(&NAMES)).prop_map(
        |(group, specs, names)| {
            let names = if specs.is_empty() { vec![] } else { names };
            let (specs, names) = (list(&specs), list(&names));
            format!("{{group: '{group}', resources: {specs}, resourceNames: {names}}}")
        },
    )
}

fn rule() -> impl Strategy<Value = String> {
    let target = prop_oneof![
        Just(String::new()),
        some(&URLS).prop_map(|urls| format!(", nonResourceURLs: {}", list(&urls))),
        (prop::collection::vec(entry(), 0..3), some(&SPACES)).prop_map(|(entries, spaces)| {
            format!(", resources: [{}], namespaces: {}", entries.join(", "), list(&spaces))
        }),
    ];
    let who = (some(&USERS), some(&GROUPS), some(&VERBS));
    (prop::sample::select(LEVELS.to_vec()), who, target).prop_map(
        |(level, (users, groups, verbs), target)| {
            let (users, groups, verbs) = (list(&users), list(&groups), list(&verbs));
            format!(
                "{{level: {level}, users: {users}, userGroups: {groups}, verbs: {verbs}{target}}}"
            )
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    prop::collection::vec(rule(), 1..6)
        .prop_map(|rules| crate::policy(&format!("rules: [{}]", rules.join(",\n"))))
}

fn requests() -> impl Strategy<Value = Request<'static>> {
    let resource = (
        prop::sample::select(vec!["", "apps"]),
        prop::sample::select(vec!["pods", "secrets", "deployments"]),
        prop::sample::select(vec!["", "exec", "scale"]),
        prop::sample::select(SPACES.to_vec()),
        prop::sample::select(NAMES.to_vec()),
    );
    let target = prop_oneof![
        resource.prop_map(|(group, resource, subresource, namespace, name)| Target::Resource {
            group,
            resource,
            subresource,
            namespace,
            name
        }),
        prop::sample::select(PATHS.to_vec()).prop_map(|path| Target::Path(path.into())),
    ];
    let user = prop::option::of(prop::sample::select(USERS.to_vec()));
    (user, some(&GROUPS), prop::sample::select(VERBS.to_vec()), target).prop_map(
        |(user, groups, verb, target)| Request {
            user,
            // Without a user, there are no groups.
            groups: if user.is_some() { groups } else { vec![] },
            verb,
            target,
        },
    )
}

/// kube-apiserver's `ruleMatches`, as Kubernetes describes it, without any thought of speed.
fn matches(rule: &whodid_policy::Rule, request: &Request<'_>) -> bool {
    let texts = |list: &[whodid_policy::Placed<String>]| -> Vec<String> {
        list.iter().map(|text| text.value.clone()).collect()
    };
    let (users, groups) = (texts(&rule.users), texts(&rule.user_groups));
    if !users.is_empty() && !request.user.is_some_and(|user| users.contains(&user.to_owned())) {
        return false;
    }
    let is_member = request.groups.iter().any(|group| groups.contains(&(*group).to_owned()));
    if !groups.is_empty() && (request.user.is_none() || !is_member) {
        return false;
    }
    let verbs = texts(&rule.verbs);
    if !verbs.is_empty() && !verbs.contains(&request.verb.to_owned()) {
        return false;
    }
    let (spaces, urls) = (texts(&rule.namespaces), texts(&rule.non_resource_urls));
    if !spaces.is_empty() || !rule.resources.is_empty() {
        let Target::Resource { group, resource, subresource, namespace, name } = &request.target
        else {
            return false;
        };
        if !spaces.is_empty() && !spaces.contains(&(*namespace).to_owned()) {
            return false;
        }
        let combined = if subresource.is_empty() {
            (*resource).to_owned()
        } else {
            format!("{resource}/{subresource}")
        };
        return rule.resources.is_empty()
            || rule.resources.iter().any(|entry| {
                let names = texts(&entry.names);
                (entry.group == *group || entry.group == "*")
                    && (entry.resources.is_empty()
                        || (names.is_empty() || names.contains(&(*name).to_owned()))
                            && texts(&entry.resources).iter().any(|spec| {
                                spec == "*"
                                    || *spec == combined
                                    || !subresource.is_empty()
                                        && *spec == format!("*/{subresource}")
                                    || *spec == format!("{resource}/*")
                            }))
            });
    }
    if !urls.is_empty() {
        let Target::Path(path) = &request.target else { return false };
        return urls.iter().any(|url| {
            url == "*"
                || url == path
                || url.ends_with('*') && path.starts_with(url.trim_end_matches('*'))
        });
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_first_rule_that_matches_decides(
        policy in policies(),
        requests in prop::collection::vec(requests(), 32),
    ) {
        for request in requests {
            let expected = policy.rules.iter().position(|rule| matches(rule, &request));
            let (decision, passed) = policy.explain(&request);
            prop_assert_eq!(decision.rule, expected, "{} in {:#?}", request, policy);
            prop_assert_eq!(passed.len(), expected.unwrap_or(policy.rules.len()));
            prop_assert_eq!(&policy.decide(&request), &decision);
            let level = expected.map_or(Level::None, |rule| policy.rules[rule].level);
            prop_assert_eq!(decision.level, level);
        }
    }

    #[test]
    fn what_is_unreachable_decides_nothing(
        policy in policies(),
        requests in prop::collection::vec(requests(), 64),
    ) {
        let findings = lint(&policy);
        let is_dead = |rule: usize| {
            findings.iter().any(|f| f.code == "unreachable-rule" && f.rule == Some(rule))
        };
        for request in requests.iter().filter(|request| is_real(request)) {
            if let Some(rule) = policy.decide(request).rule {
                prop_assert!(!is_dead(rule), "{} reaches rule {} of {:#?}", request, rule, policy);
            }
        }
    }

    #[test]
    fn what_differs_is_told(
        before in policies(),
        after in policies(),
        requests in prop::collection::vec(requests(), 64),
    ) {
        let (differences, is_complete) = diff(&before, &after);
        for difference in &differences {
            prop_assert_eq!(&before.decide(&difference.example), &difference.before);
            prop_assert_eq!(&after.decide(&difference.example), &difference.after);
            prop_assert!(difference.before != difference.after);
        }
        prop_assume!(is_complete);
        for request in requests.iter().filter(|request| is_real(request)) {
            let (a, b) = (before.decide(request), after.decide(request));
            let rules = (a.rule, b.rule);
            let is_told = differences.iter().any(|d| (d.before.rule, d.after.rule) == rules);
            prop_assert!(a.level == b.level || is_told, "{}: {:?}, {:?}", request, a, b);
        }
        prop_assert_eq!(diff(&before, &before).0, vec![]);
    }

    #[test]
    fn no_text_makes_the_loader_panic(
        text in "(apiVersion: audit.k8s.io/v1\nkind: Policy\n)?(rules|omitStages|x)?[:\\[\\]{}\n \"'a-z*&<!|>0-9-]{0,80}",
        minor in 20u32..40,
    ) {
        let loaded = load(&text, Version(minor));
        prop_assert!(loaded.policy.is_some() || !loaded.findings.is_empty());
    }
}

/// As kube-apiserver can see it: what is created has no name in its URL, what is got has one.
fn is_real(request: &Request<'_>) -> bool {
    let Target::Resource { subresource, name, .. } = &request.target else {
        return request.verb != "list" && request.verb != "create";
    };
    if !subresource.is_empty() {
        return !name.is_empty();
    }
    match request.verb {
        "create" => name.is_empty(),
        "list" => true,
        _ => !name.is_empty(),
    }
}
