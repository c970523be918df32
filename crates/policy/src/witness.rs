//! Finding a request for which something holds. Rules compare with what they name and with nothing
//! else, so that of the values of a field only those count that rules name, and one that none
//! does: if no request made of these will do, no request does.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::evaluate::{is_path, is_resource};
use crate::model::{Placed, Rule};
use crate::request::{Request, Target};

/// So many requests are tried before it is left open whether there is one.
const TRIES_MAX: usize = 200_000;

/// The verbs of requests for resources (Kubernetes, "Request verbs").
pub(crate) const VERBS: [&str; 8] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// The verbs of other requests: HTTP's methods.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What came of looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Search<'p> {
    /// Such a request.
    Found(Request<'p>),
    /// There is none.
    Impossible,
    /// There were too many to try.
    GaveUp,
}

/// Looks for a request that all of `matching` match and that is wanted. `others` are the rules that
/// what is wanted depends on.
pub(crate) fn search<'p>(
    matching: &[&'p Rule],
    others: &[&'p Rule],
    is_wanted: impl Fn(&Request<'p>) -> bool,
) -> Search<'p> {
    let values = Values::of(matching, others);
    let mut tries = 0;
    for target in &values.targets {
        let verbs = match target {
            Target::Resource { .. } => &values.verbs,
            Target::Path(_) => &values.methods,
        };
        for verb in verbs {
            for (user, groups) in &values.users {
                let (groups, target) = (groups.clone(), target.clone());
                let request = Request { user: *user, groups, verb, target };
                if !is_real(&request) {
                    continue;
                }
                tries += 1;
                if tries > TRIES_MAX {
                    return Search::GaveUp;
                }
                if matching.iter().all(|rule| rule.mismatch(&request).is_none())
                    && is_wanted(&request)
                {
                    return Search::Found(request);
                }
            }
        }
    }
    Search::Impossible
}

/// Whether the API server can have seen it so: what is created has no name in its URL.
fn is_real(request: &Request<'_>) -> bool {
    match &request.target {
        Target::Resource { subresource: "", name, .. } if request.verb == "create" => {
            name.is_empty()
        }
        Target::Resource { subresource: "", name, .. } => {
            let needs_one = ["get", "update", "patch", "delete"].contains(&request.verb);
            !name.is_empty() || !needs_one
        }
        // A subresource is that of an object.
        Target::Resource { name, .. } => !name.is_empty(),
        Target::Path(_) => true,
    }
}

/// Values of which requests are made, those that no rule names first: they match least.
struct Values<'p> {
    users: Vec<(Option<&'p str>, Vec<&'p str>)>,
    verbs: Vec<&'p str>,
    methods: Vec<&'p str>,
    targets: Vec<Target<'p>>,
}

impl<'p> Values<'p> {
    fn of(matching: &[&'p Rule], others: &[&'p Rule]) -> Self {
        let strings = |field: for<'r> fn(&'r Rule) -> &'r Vec<Placed<String>>,
                       fresh: &[&'p str]| {
            candidates(matching, others, field, fresh)
        };
        let verbs = |known: &[&'static str]| {
            let mut verbs = strings(|rule| &rule.verbs, known);
            verbs.retain(|verb| known.contains(verb));
            verbs
        };
        Values {
            users: users(&strings(|rule| &rule.users, &["jane"]), &memberships(matching, others)),
            verbs: verbs(&VERBS),
            methods: verbs(&METHODS),
            targets: targets(matching, others, &strings(|rule| &rule.namespaces, &["default", ""])),
        }
    }
}

/// The values of a field: what a rule that has to match names, or else values that none names and
/// then those that others name.
fn candidates<'p>(
    matching: &[&'p Rule],
    others: &[&'p Rule],
    field: for<'r> fn(&'r Rule) -> &'r Vec<Placed<String>>,
    fresh: &[&'p str],
) -> Vec<&'p str> {
    let named = |rule: &&'p Rule| field(rule).iter().map(|text| text.value.as_str());
    let restricting: Vec<&&Rule> = matching.iter().filter(|rule| !field(rule).is_empty()).collect();
    let mut values: Vec<&str> = if let Some(first) = restricting.first() {
        named(first).collect()
    } else {
        let others: Vec<&str> = others.iter().flat_map(named).collect();
        let is_fresh = |value: &&&str| !others.contains(value);
        let (fresh, known): (Vec<&str>, Vec<&str>) =
            fresh.iter().partition(|value| is_fresh(value));
        [fresh, known, others].concat()
    };
    let all_name = |value: &&str| {
        restricting.iter().all(|rule| field(rule).iter().any(|text| text.value == *value))
    };
    values.retain(all_name);
    dedup(&mut values);
    values
}

fn dedup<T: Ord + Clone>(values: &mut Vec<T>) {
    let mut seen = BTreeSet::new();
    values.retain(|value| seen.insert(value.clone()));
}

/// Groups that a user can be in: one of each rule that has to match, or else none or one.
fn memberships<'p>(matching: &[&'p Rule], others: &[&'p Rule]) -> Vec<Vec<&'p str>> {
    let groups = |rule: &&'p Rule| rule.user_groups.iter().map(|group| group.value.as_str());
    let mut sets: Vec<Vec<&str>> = vec![Vec::new()];
    for rule in matching.iter().filter(|rule| !rule.user_groups.is_empty()) {
        let with = |set: &Vec<&'p str>| {
            let set = set.clone();
            groups(rule).map(move |group| [set.as_slice(), &[group]].concat())
        };
        sets = sets.iter().flat_map(with).collect();
        sets.truncate(TRIES_MAX);
    }
    if sets.len() == 1 && sets.iter().all(Vec::is_empty) {
        sets.extend(others.iter().flat_map(groups).map(|group| vec![group]));
    }
    dedup(&mut sets);
    sets
}

/// Whoever authenticates is in `system:authenticated`.
fn users<'p>(names: &[&'p str], groups: &[Vec<&'p str>]) -> Vec<(Option<&'p str>, Vec<&'p str>)> {
    const AUTHENTICATED: &str = "system:authenticated";
    const UNAUTHENTICATED: &str = "system:unauthenticated";
    let mut users = Vec::new();
    for name in names {
        for groups in groups {
            let mut groups = groups.clone();
            if !groups.contains(&AUTHENTICATED) && !groups.contains(&UNAUTHENTICATED) {
                groups.push(AUTHENTICATED);
            }
            users.push((Some(*name), groups));
        }
    }
    users.push((None, Vec::new()));
    users
}

/// What is asked for: all combinations of what rules name.
fn targets<'p>(
    matching: &[&'p Rule],
    others: &[&'p Rule],
    namespaces: &[&'p str],
) -> Vec<Target<'p>> {
    let mut targets = Vec::new();
    let is_about = |is: fn(&Rule) -> bool| matching.iter().any(|rule| is(rule));
    if !is_about(|rule| !rule.non_resource_urls.is_empty()) {
        let (resources, names) = resources(matching, others);
        for (group, resource, subresource) in resources {
            for name in &names {
                for namespace in namespaces {
                    let is_namespace = (group, resource) == ("", "namespaces");
                    let namespace = if is_namespace { name } else { namespace };
                    let target = Target::Resource { group, resource, subresource, namespace, name };
                    targets.push(target);
                }
            }
        }
    }
    if !is_about(Rule::is_for_resources) {
        targets.extend(paths(matching, others));
    }
    dedup(&mut targets);
    targets
}

type Resources<'p> = Vec<(&'p str, &'p str, &'p str)>;

/// Groups with resources and subresources that fit the rules that have to match, and names.
fn resources<'p>(matching: &[&'p Rule], others: &[&'p Rule]) -> (Resources<'p>, Vec<&'p str>) {
    let all = || matching.iter().chain(others).flat_map(|rule| &rule.resources);
    let specs = || all().flat_map(|entry| &entry.resources).map(|spec| spec.value.as_str());
    let mut groups: Vec<&str> = vec!["example.com", ""];
    groups.extend(all().map(|entry| entry.group.as_str()).filter(|group| *group != "*"));
    let mut plurals: Vec<&str> = vec!["widgets", "pods"];
    let mut subs: Vec<&str> = vec!["", "extra"];
    for spec in specs().filter(|spec| *spec != "*") {
        let (plural, sub) = spec.split_once('/').unwrap_or((spec, ""));
        plurals.extend(Some(plural).filter(|plural| *plural != "*"));
        subs.extend(Some(sub).filter(|sub| *sub != "*"));
    }
    let mut names: Vec<&str> = vec!["example", ""];
    names.extend(all().flat_map(|entry| &entry.names).map(|name| name.value.as_str()));
    [&mut groups, &mut plurals, &mut subs, &mut names].into_iter().for_each(dedup);
    let fits = |rule: &&'p Rule, (group, plural, sub): (&str, &str, &str)| {
        rule.resources.is_empty()
            || rule.resources.iter().any(|entry| {
                let is_named = |spec: &Placed<String>| is_resource(spec, plural, sub);
                (entry.group == group || entry.group == "*")
                    && (entry.resources.is_empty() || entry.resources.iter().any(is_named))
            })
    };
    let mut found = Vec::new();
    for group in &groups {
        for plural in &plurals {
            for sub in &subs {
                let resource = (*group, *plural, *sub);
                if matching.iter().all(|rule| fits(rule, resource)) {
                    found.push(resource);
                }
            }
        }
    }
    (found, names)
}

/// Paths that fit the rules that have to match; a prefix stands for itself and for what begins so.
fn paths<'p>(matching: &[&'p Rule], others: &[&'p Rule]) -> Vec<Target<'p>> {
    let all = matching.iter().chain(others).flat_map(|rule| &rule.non_resource_urls);
    let mut paths: Vec<Cow<'_, str>> = vec!["/elsewhere".into()];
    for url in all {
        match url.strip_suffix('*') {
            Some("") => {}
            Some(prefix) => paths.extend([prefix.into(), format!("{prefix}/more").into()]),
            None => paths.push(url.value.as_str().into()),
        }
    }
    let fits = |rule: &&Rule, path: &str| {
        rule.non_resource_urls.is_empty()
            || rule.non_resource_urls.iter().any(|url| is_path(url, path))
    };
    paths.retain(|path| matching.iter().all(|rule| fits(rule, path)));
    paths.into_iter().map(Target::Path).collect()
}
