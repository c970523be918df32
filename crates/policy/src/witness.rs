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

/// Names for what no rule names: the first that really none does.
const USERS: [&str; 4] = ["jane", "somebody", "somebody-else", "another-user"];
const NAMESPACES: [&str; 4] = ["default", "somewhere", "elsewhere", "another-namespace"];
const GROUPS: [&str; 4] = ["example.com", "example.org", "example.net", "another.example"];
const PLURALS: [&str; 4] = ["widgets", "gadgets", "gizmos", "doodads"];
const SUBRESOURCES: [&str; 4] = ["extra", "other", "further", "another"];
const NAMES: [&str; 4] = ["example", "some-name", "some-other-name", "another-name"];

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
    if values.is_complete { Search::Impossible } else { Search::GaveUp }
}

/// Somebody whom no rule names; `None` if all names are taken.
pub(crate) fn stranger<'p>(rules: impl Iterator<Item = &'p Rule>) -> Option<&'static str> {
    let named: Vec<&str> = rules.flat_map(|rule| texts(&rule.users)).collect();
    fresh(&USERS, &named)
}

fn fresh(pool: &[&'static str], named: &[&str]) -> Option<&'static str> {
    pool.iter().find(|value| !named.contains(value)).copied()
}

fn texts(list: &[Placed<String>]) -> impl Iterator<Item = &str> {
    list.iter().map(|text| text.value.as_str())
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
    /// Whether there is, in every field, a value that no rule names.
    is_complete: bool,
}

/// A field of rules that is compared as it stands.
type Field = for<'r> fn(&'r Rule) -> &'r Vec<Placed<String>>;

impl<'p> Values<'p> {
    fn of(matching: &[&'p Rule], others: &[&'p Rule]) -> Self {
        let verbs = |known: &[&'static str]| {
            // There are no others: none has to be made up.
            let mut verbs = candidates(matching, others, |rule| &rule.verbs, None);
            verbs.extend(known);
            let is_asked = |verb: &&str| {
                let allows = |rule: &&Rule| {
                    rule.verbs.is_empty() || texts(&rule.verbs).any(|named| named == *verb)
                };
                known.contains(verb) && matching.iter().all(allows)
            };
            verbs.retain(is_asked);
            dedup(&mut verbs);
            verbs
        };
        let named = |field: Field| -> Vec<&'p str> {
            matching.iter().chain(others).flat_map(|rule| texts(field(rule))).collect()
        };
        let user = fresh(&USERS, &named(|rule| &rule.users));
        let namespace = fresh(&NAMESPACES, &named(|rule| &rule.namespaces));
        let mut namespaces = candidates(matching, others, |rule| &rule.namespaces, namespace);
        if matching.iter().all(|rule| rule.namespaces.is_empty()) {
            namespaces.push("");
            dedup(&mut namespaces);
        }
        let names = candidates(matching, others, |rule| &rule.users, user);
        let (targets, has_strangers) = targets(matching, others, &namespaces);
        Values {
            users: users(&names, &memberships(matching, others)),
            verbs: verbs(&VERBS),
            methods: verbs(&METHODS),
            targets,
            is_complete: user.is_some() && namespace.is_some() && has_strangers,
        }
    }
}

/// The values of a field: what all rules that have to match name, or else one that none names and
/// then those that others name.
fn candidates<'p>(
    matching: &[&'p Rule],
    others: &[&'p Rule],
    field: Field,
    fresh: Option<&'static str>,
) -> Vec<&'p str> {
    let restricting: Vec<&&Rule> = matching.iter().filter(|rule| !field(rule).is_empty()).collect();
    let mut values: Vec<&str> = match restricting.first() {
        Some(first) => texts(field(first)).collect(),
        None => {
            fresh.into_iter().chain(others.iter().flat_map(|rule| texts(field(rule)))).collect()
        }
    };
    values.retain(|value| restricting.iter().all(|rule| texts(field(rule)).any(|t| t == *value)));
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
) -> (Vec<Target<'p>>, bool) {
    let (mut targets, mut has_strangers) = (Vec::new(), true);
    let is_about = |is: fn(&Rule) -> bool| matching.iter().any(|rule| is(rule));
    if !is_about(|rule| !rule.non_resource_urls.is_empty()) {
        let (resources, names, has) = resources(matching, others);
        has_strangers = has;
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
    (targets, has_strangers)
}

type Resources<'p> = Vec<(&'p str, &'p str, &'p str)>;

/// Groups with resources and subresources that fit the rules that have to match, names, and whether
/// each has one that no rule names.
fn resources<'p>(
    matching: &[&'p Rule],
    others: &[&'p Rule],
) -> (Resources<'p>, Vec<&'p str>, bool) {
    let all = || matching.iter().chain(others).flat_map(|rule| &rule.resources);
    let mut groups: Vec<&str> = all().map(|entry| entry.group.as_str()).collect();
    let mut names: Vec<&str> = all().flat_map(|entry| texts(&entry.names)).collect();
    let (mut plurals, mut subs) = (Vec::new(), Vec::new());
    for spec in all().flat_map(|entry| texts(&entry.resources)).filter(|spec| *spec != "*") {
        let (plural, sub) = spec.split_once('/').unwrap_or((spec, ""));
        plurals.push(plural);
        subs.push(sub);
    }
    // Those that no rule names first, then what most have.
    let fields = [
        (&mut groups, &GROUPS, Some("")),
        (&mut plurals, &PLURALS, Some("pods")),
        (&mut subs, &SUBRESOURCES, Some("")),
        (&mut names, &NAMES, Some("")),
    ];
    let mut has_strangers = true;
    for (values, pool, usual) in fields {
        let stranger = fresh(pool, values);
        has_strangers &= stranger.is_some();
        values.retain(|value| *value != "*");
        values.splice(0..0, stranger.into_iter().chain(usual));
        dedup(values);
    }
    // A resource alone comes before its subresources.
    subs.sort_by_key(|sub| !sub.is_empty());
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
    (found, names, has_strangers)
}

/// Paths that fit the rules that have to match; a prefix stands for itself, and for what begins so
/// and with no longer one.
fn paths<'p>(matching: &[&'p Rule], others: &[&'p Rule]) -> Vec<Target<'p>> {
    let all = || matching.iter().chain(others).flat_map(|rule| texts(&rule.non_resource_urls));
    let longest = all().map(str::len).max().unwrap_or(0);
    // With longer and longer ends, until no rule names a part of it.
    let below = |prefix: &str| -> Cow<'p, str> {
        let is_named = |path: &str| {
            let names = |url: &str| {
                let named = url.strip_suffix('*').unwrap_or(url);
                named.len() > prefix.len() && (url == path || path.starts_with(named))
            };
            all().any(names)
        };
        let mut path = format!("{prefix}elsewhere");
        while is_named(&path) && path.len() < prefix.len() + longest + 16 {
            path = format!("{prefix}~{}", path.get(prefix.len()..).unwrap_or_default());
        }
        path.into()
    };
    let mut paths: Vec<Cow<'_, str>> = vec![below("/")];
    for url in all() {
        match url.strip_suffix('*') {
            Some("") => {}
            Some(prefix) => paths.extend([prefix.into(), below(prefix)]),
            None => paths.push(url.into()),
        }
    }
    let fits = |rule: &&Rule, path: &str| {
        rule.non_resource_urls.is_empty()
            || rule.non_resource_urls.iter().any(|url| is_path(url, path))
    };
    paths.retain(|path| matching.iter().all(|rule| fits(rule, path)));
    paths.into_iter().map(Target::Path).collect()
}
