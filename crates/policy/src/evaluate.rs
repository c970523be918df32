//! What a policy decides about a request, and why the rules before the one that decides do not.

use std::collections::BTreeSet;
use std::fmt;

use whodid_event::Stage;

use crate::model::{GroupResources, Level, Placed, Policy, Rule};
use crate::request::{Request, Target};

/// What is recorded of a request; fixed before it is handled, for all of its stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How much.
    pub level: Level,
    /// The stages about which nothing is written.
    pub omit_stages: BTreeSet<Stage>,
    /// Whether `metadata.managedFields` is left out of objects (of patches it never is).
    pub omit_managed_fields: bool,
    /// The rule that decides, from 0; `None` if none matches, and nothing is recorded.
    pub rule: Option<usize>,
}

impl Decision {
    /// Whether an event is written at a stage.
    pub fn records(&self, stage: Stage) -> bool {
        self.level != Level::None && !self.omit_stages.contains(&stage)
    }
}

/// Why a rule does not match a request: the first field that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It asks for users or groups, and authentication failed.
    Unauthenticated,
    /// The user is not among its users.
    User,
    /// None of the user's groups is among its groups.
    Groups,
    /// The verb is not among its verbs.
    Verb,
    /// It is for resources, and this is none.
    NoResource,
    /// It is for paths that are no resources, and this is one.
    NoPath,
    /// The namespace is not among its namespaces.
    Namespace,
    /// No entry is for this API group.
    Group,
    /// No entry of this API group names the resource.
    Resource,
    /// The resource is there, and another name.
    Name,
    /// None of its paths fits.
    Path,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mismatch::Unauthenticated => "nobody authenticated, and it asks for users or groups",
            Mismatch::User => "it is for other users",
            Mismatch::Groups => "it is for groups that the user is in none of",
            Mismatch::Verb => "it is for other verbs",
            Mismatch::NoResource => "it is for resources, and this is a path",
            Mismatch::NoPath => "it is for paths, and this is a resource",
            Mismatch::Namespace => "it is for other namespaces",
            Mismatch::Group => "it is for resources of other API groups",
            Mismatch::Resource => "it is for other resources of this API group",
            Mismatch::Name => "it is for objects of other names",
            Mismatch::Path => "it is for other paths",
        })
    }
}

impl Policy {
    /// What is recorded of a request.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        self.by(self.rules.iter().position(|rule| rule.mismatch(request).is_none()))
    }

    /// The same, and why each rule before the one that decides does not match.
    pub fn explain(&self, request: &Request<'_>) -> (Decision, Vec<Mismatch>) {
        let why = |rule: &Rule| rule.mismatch(request);
        let passed: Vec<Mismatch> = self.rules.iter().map_while(why).collect();
        let decides = Some(passed.len()).filter(|number| *number < self.rules.len());
        (self.by(decides), passed)
    }

    /// What is recorded of every request that this rule decides, or that none does.
    pub fn by(&self, number: Option<usize>) -> Decision {
        let rule = number.and_then(|number| self.rules.get(number));
        let mut omit_stages = self.omit_stages.clone();
        omit_stages.extend(rule.into_iter().flat_map(|rule| &rule.omit_stages));
        let of_rule = rule.and_then(|rule| rule.omit_managed_fields);
        Decision {
            level: rule.map_or(Level::None, |rule| rule.level),
            omit_stages,
            omit_managed_fields: of_rule.unwrap_or(self.omit_managed_fields),
            rule: rule.and(number),
        }
    }
}

fn has(list: &[Placed<String>], text: &str) -> bool {
    list.iter().any(|item| item.value == text)
}

impl Rule {
    /// Why it does not match; `None` if it does.
    pub fn mismatch(&self, request: &Request<'_>) -> Option<Mismatch> {
        let asks_who = !self.users.is_empty() || !self.user_groups.is_empty();
        match request.user {
            None if asks_who => return Some(Mismatch::Unauthenticated),
            Some(user) if !self.users.is_empty() && !has(&self.users, user) => {
                return Some(Mismatch::User);
            }
            _ => {}
        }
        let is_member = || request.groups.iter().any(|group| has(&self.user_groups, group));
        if !self.user_groups.is_empty() && !is_member() {
            return Some(Mismatch::Groups);
        }
        if !self.verbs.is_empty() && !has(&self.verbs, request.verb) {
            return Some(Mismatch::Verb);
        }
        match &request.target {
            Target::Resource { .. } if self.is_for_resources() => self.resource(&request.target),
            Target::Path(_) if self.is_for_resources() => Some(Mismatch::NoResource),
            _ if self.non_resource_urls.is_empty() => None,
            Target::Resource { .. } => Some(Mismatch::NoPath),
            Target::Path(path) => {
                let fits = |url: &Placed<String>| is_path(url, path);
                (!self.non_resource_urls.iter().any(fits)).then_some(Mismatch::Path)
            }
        }
    }

    fn resource(&self, target: &Target<'_>) -> Option<Mismatch> {
        let Target::Resource { group, resource, subresource, namespace, name } = target else {
            return Some(Mismatch::NoResource);
        };
        if !self.namespaces.is_empty() && !has(&self.namespaces, namespace) {
            return Some(Mismatch::Namespace);
        }
        if self.resources.is_empty() {
            return None;
        }
        let mut nearest = Mismatch::Group;
        let of_group = |entry: &&GroupResources| entry.group == *group || entry.group == "*";
        for entry in self.resources.iter().filter(of_group) {
            let is_named = entry.resources.is_empty()
                || entry.resources.iter().any(|spec| is_resource(spec, resource, subresource));
            // Names count only beside resources; without them, they are an error.
            let is_called =
                entry.resources.is_empty() || entry.names.is_empty() || has(&entry.names, name);
            match (is_named, is_called) {
                (true, true) => return None,
                (true, false) => nearest = Mismatch::Name,
                (false, _) if nearest == Mismatch::Group => nearest = Mismatch::Resource,
                (false, _) => {}
            }
        }
        Some(nearest)
    }
}

/// Whether an entry of `resources` names this resource or subresource.
pub(crate) fn is_resource(spec: &str, resource: &str, subresource: &str) -> bool {
    if spec == "*" {
        return true;
    }
    let is_exact = match spec.split_once('/') {
        None => subresource.is_empty() && spec == resource,
        Some((of, sub)) => !subresource.is_empty() && of == resource && sub == subresource,
    };
    is_exact
        || !subresource.is_empty() && spec.strip_prefix("*/") == Some(subresource)
        // The resource itself, too.
        || spec.strip_suffix("/*") == Some(resource)
}

/// Whether an entry of `nonResourceURLs` fits a path.
pub(crate) fn is_path(spec: &str, path: &str) -> bool {
    spec == "*" || spec == path || spec.strip_suffix('*').is_some_and(|spec| path.starts_with(spec))
}
