//! A policy as it is in force, each value with its place in the text. How it is read is `load`'s,
//! what it decides `evaluate`'s.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use whodid_event::Stage;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// What stands there.
    pub value: T,
    /// Where.
    pub at: At,
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Everything but bodies.
    Metadata,
    /// And the body of the request.
    Request,
    /// And the body of the response.
    RequestResponse,
}

impl Level {
    /// All of them, from nothing to everything.
    pub const ALL: [Level; 4] =
        [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];

    /// The name in policies and events.
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }

    /// The level of this name; names are case-sensitive.
    pub fn of(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A policy that kube-apiserver takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The first rule that matches decides.
    pub rules: Vec<Rule>,
    /// Stages about which nothing is written, whatever the rule.
    pub omit_stages: BTreeSet<Stage>,
    /// Where that stands.
    pub omit_stages_at: At,
    /// Whether `metadata.managedFields` is left out of bodies, unless a rule says otherwise.
    pub omit_managed_fields: bool,
}

/// What happens to requests that match every field; an empty field matches anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Where it begins.
    pub at: At,
    /// How much is recorded.
    pub level: Level,
    /// Exact names of users.
    pub users: Vec<Placed<String>>,
    /// Exact names of groups, of which the user has one.
    pub user_groups: Vec<Placed<String>>,
    /// Exact verbs.
    pub verbs: Vec<Placed<String>>,
    /// Resources, of which one is asked for.
    pub resources: Vec<GroupResources>,
    /// Exact namespaces; `""` is none.
    pub namespaces: Vec<Placed<String>>,
    /// Paths of what is no resource: `*`, exact, or with a `*` at the end.
    pub non_resource_urls: Vec<Placed<String>>,
    /// Stages about which nothing is written, besides those of the policy.
    pub omit_stages: BTreeSet<Stage>,
    /// Instead of the policy's.
    pub omit_managed_fields: Option<bool>,
}

/// Resources of one API group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupResources {
    /// Where it begins.
    pub at: At,
    /// The API group; `""` is the core group, `*` any (since Kubernetes 1.36).
    pub group: String,
    /// `r`, `r/sub`, `r/*`, `*/sub` or `*`; none: everything in the group.
    pub resources: Vec<Placed<String>>,
    /// Exact names of objects, as they stand in the URL; none: any.
    pub names: Vec<Placed<String>>,
}

impl Rule {
    /// Whether it is for resources alone.
    pub fn is_for_resources(&self) -> bool {
        !self.resources.is_empty() || !self.namespaces.is_empty()
    }

    /// Whether it is for everything, or for the same as another.
    pub(crate) fn matches_as(&self, other: &Rule) -> bool {
        let texts = |list: &[Placed<String>]| -> Vec<String> {
            list.iter().map(|text| text.value.clone()).collect()
        };
        let lists = |rule: &Rule| {
            [&rule.users, &rule.user_groups, &rule.verbs, &rule.namespaces, &rule.non_resource_urls]
                .map(|list| texts(list))
        };
        let resources = |rule: &Rule| -> Vec<_> {
            let entry = |entry: &GroupResources| {
                (entry.group.clone(), texts(&entry.resources), texts(&entry.names))
            };
            rule.resources.iter().map(entry).collect()
        };
        self.is_catch_all() || lists(self) == lists(other) && resources(self) == resources(other)
    }

    /// Whether it matches every request there is.
    pub fn is_catch_all(&self) -> bool {
        !self.is_for_resources()
            && [&self.users, &self.user_groups, &self.verbs, &self.non_resource_urls]
                .iter()
                .all(|list| list.is_empty())
    }
}
