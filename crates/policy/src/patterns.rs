//! Suspicious patterns, and what has to be recorded for each to be seen: which requests, at which
//! level. Looking for them in events is for others, under the same names.

use std::fmt;

use whodid_event::Stage;

use crate::model::{Level, Policy};
use crate::ordinary;

/// What somebody may do that others should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Its name.
    pub id: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Verbs, each of which may be how it is done.
    pub verbs: &'static [&'static str],
    /// Kinds of objects, each of which may be what it is done to.
    pub kinds: &'static [&'static str],
    /// The least level that tells it.
    pub level: Level,
}

const WRITE: &[&str] = &["create", "update", "patch"];
const CHANGE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const DELETE: &[&str] = &["delete", "deletecollection"];
/// Streams are asked for with either, by client.
const STREAM: &[&str] = &["create", "get"];
const READ: &[&str] = &["get", "list", "watch"];

const ROLES: &[&str] = &["roles", "clusterroles"];
const BINDINGS: &[&str] = &["rolebindings", "clusterrolebindings"];
const RBAC: &[&str] = &["roles", "clusterroles", "rolebindings", "clusterrolebindings"];
/// What makes pods, pods included.
const WORKLOADS: &[&str] =
    &["pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs"];
const ADMISSION: &[&str] = &[
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "apiservices",
];

const fn pattern(
    id: &'static str,
    what: &'static str,
    (verbs, kinds): (&'static [&'static str], &'static [&'static str]),
    level: Level,
) -> Pattern {
    Pattern { id, what, verbs, kinds, level }
}

/// The patterns that depend on what a policy records of one request.
pub const PATTERNS: [Pattern; 34] = {
    use Level::{Metadata, Request};
    [
        pattern("KA-104", "a binding for anonymous users", (WRITE, BINDINGS), Request),
        pattern(
            "KA-201",
            "somebody asks what it may do",
            (&["create"], &["selfsubjectrulesreviews", "selfsubjectaccessreviews"]),
            Metadata,
        ),
        pattern("KA-301", "all secrets listed", (&["list"], &["secrets"]), Metadata),
        pattern("KA-302", "many secrets read", (&["get"], &["secrets"]), Metadata),
        pattern("KA-303", "secrets asked for in vain", (READ, &["secrets"]), Metadata),
        pattern("KA-305", "a token issued", (&["create"], &["serviceaccounts/token"]), Metadata),
        pattern("KA-306", "a secret that is a token", (&["create"], &["secrets"]), Request),
        pattern(
            "KA-309",
            "a client certificate asked for",
            (&["create"], &["certificatesigningrequests"]),
            Request,
        ),
        pattern("KA-401", "a command in a pod", (STREAM, &["pods/exec", "pods/attach"]), Metadata),
        pattern("KA-404", "a port of a pod forwarded", (STREAM, &["pods/portforward"]), Metadata),
        pattern(
            "KA-405",
            "a container put into a running pod",
            (&["update", "patch"], &["pods/ephemeralcontainers"]),
            Metadata,
        ),
        pattern("KA-406", "kubelet asked through the API", (STREAM, &["nodes/proxy"]), Metadata),
        pattern("KA-407", "a pod made in a system namespace", (&["create"], &["pods"]), Metadata),
        pattern("KA-409", "a job made by hand", (WRITE, &["jobs", "cronjobs"]), Metadata),
        pattern("KA-410", "a pod for every node", (&["create"], &["daemonsets"]), Metadata),
        pattern("KA-501", "a privileged container", (WRITE, WORKLOADS), Request),
        pattern("KA-502", "a pod in the host's namespaces", (WRITE, WORKLOADS), Request),
        pattern("KA-503", "a folder of the host in a pod", (WRITE, WORKLOADS), Request),
        pattern("KA-504", "capabilities added", (WRITE, WORKLOADS), Request),
        pattern("KA-505", "a pod with a controller's account", (&["create"], &["pods"]), Request),
        pattern("KA-506", "pod security switched off", (WRITE, &["namespaces"]), Request),
        pattern("KA-601", "a binding to an administrator's role", (WRITE, BINDINGS), Request),
        pattern("KA-602", "a role with wildcards", (WRITE, ROLES), Request),
        pattern("KA-603", "a role that may give itself more", (WRITE, ROLES), Request),
        pattern("KA-604", "a role that may enter pods", (WRITE, ROLES), Request),
        pattern("KA-606", "a system role changed", (CHANGE, ROLES), Metadata),
        pattern("KA-608", "an account made", (&["create"], &["serviceaccounts"]), Metadata),
        pattern("KA-610", "roles or bindings changed", (CHANGE, RBAC), Metadata),
        pattern("KA-701", "admission or an API changed", (CHANGE, ADMISSION), Metadata),
        pattern("KA-702", "events deleted", (DELETE, &["events"]), Metadata),
        pattern("KA-704", "the cluster's DNS changed", (CHANGE, &["configmaps"]), Metadata),
        pattern("KA-802", "a namespace deleted", (DELETE, &["namespaces"]), Metadata),
        pattern("KA-803", "a password in a config map", (WRITE, &["configmaps"]), Request),
        pattern("KA-804", "a port opened on every node", (WRITE, &["services"]), Request),
    ]
};

/// A pattern of which a policy does not show all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// The pattern.
    pub pattern: Pattern,
    /// The requests that are not recorded, or below the level that it needs, `VERB KIND` each.
    pub unseen: Vec<String>,
}

impl Blind {
    /// Whether nothing of it is seen.
    pub fn is_whole(&self) -> bool {
        self.unseen.len() == self.pattern.verbs.len() * self.pattern.kinds.len()
    }
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pattern { id, what, level, .. } = self.pattern;
        write!(f, "{id} {what}: ")?;
        if self.is_whole() {
            return write!(f, "needs {level}");
        }
        let shown = self.unseen.iter().take(3).map(|unseen| format!("`{unseen}`"));
        let shown: Vec<String> = shown.collect();
        let more = self.unseen.len() - shown.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        write!(f, "in part, {}{more} below {level}", shown.join(", "))
    }
}

/// The patterns that are not seen, or not all of them, when somebody whom no rule names does it.
pub fn blind(policy: &Policy) -> Vec<Blind> {
    let unseen = |pattern: &Pattern| {
        let requests = pattern.verbs.iter().flat_map(|verb| {
            let kinds = pattern.kinds.iter();
            kinds.map(move |kind| (*verb, *kind))
        });
        let is_unseen = |(verb, kind): &(&str, &str)| {
            let decision = ordinary::decide(policy, verb, kind);
            decision.level < pattern.level || !decision.records(Stage::ResponseComplete)
        };
        requests.filter(is_unseen).map(|(verb, kind)| format!("{verb} {kind}")).collect()
    };
    let blind = PATTERNS.iter().map(|pattern| Blind { pattern: *pattern, unseen: unseen(pattern) });
    blind.filter(|blind| !blind.unseen.is_empty()).collect()
}
