//! Ordinary requests: of a kind and a verb, by somebody whom no rule names. What a policy makes of
//! them is asked by checks of all sorts.

use whodid_event::resource;

use crate::evaluate::Decision;
use crate::model::Policy;
use crate::request::{Request, Target};
use crate::witness::stranger;

/// What a request is about as it usually stands in its URL: what is created or listed has no name.
pub(crate) fn target<'a>(verb: &str, kind: &'a str, namespace: &'a str) -> Option<Target<'a>> {
    let is_of_one = kind.contains('/') || !["create", "list", "watch"].contains(&verb);
    let name = if is_of_one { "example" } else { "" };
    Target::parse(kind).ok().map(|target| target.at(namespace, name))
}

/// What is decided about one; of what is no kind, what is decided where no rule matches.
pub(crate) fn decide(policy: &Policy, verb: &str, kind: &str) -> Decision {
    let known = resource::canonical(kind.split(['/', '.']).next().unwrap_or(kind));
    let namespace = if known.is_none_or(|known| known.is_namespaced) { "default" } else { "" };
    let Some(target) = target(verb, kind, namespace) else { return policy.by(None) };
    let user = stranger(policy.rules.iter());
    policy.decide(&Request { user, groups: vec!["system:authenticated"], verb, target })
}
