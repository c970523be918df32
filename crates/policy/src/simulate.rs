//! What a policy would have recorded of traffic that was recorded by another: counts of events and
//! bytes, by rule, user and resource. Reading the traffic is for others.

use std::collections::BTreeMap;

use whodid_event::Stage;

use crate::model::{Level, Policy};
use crate::ordinary;
use crate::request::{Request, Target};

/// What is asked in an incident, and the request that has to be recorded for it, at which level.
const QUESTIONS: [(&str, &str, &str, Level); 9] = [
    ("who ran what in a pod", "get", "pods/exec", Level::Metadata),
    ("who read secrets", "get", "secrets", Level::Metadata),
    ("who deleted a namespace", "delete", "namespaces", Level::Metadata),
    ("who changed roles and bindings", "patch", "clusterrolebindings", Level::Metadata),
    ("which role a binding gave", "create", "clusterrolebindings", Level::Request),
    ("what a change of a deployment was", "patch", "deployments", Level::Request),
    ("which image a pod was made with", "create", "pods", Level::Request),
    ("who listed what", "list", "pods", Level::Metadata),
    ("who issued tokens", "create", "serviceaccounts/token", Level::Metadata),
];

/// Questions about somebody whom no rule names that cannot be answered with a policy.
pub fn unanswered(policy: &Policy) -> Vec<String> {
    let is_lost = |(_, verb, kind, least): &(&str, &str, &str, Level)| {
        let decision = ordinary::decide(policy, verb, kind);
        decision.level < *least || !decision.records(Stage::ResponseComplete)
    };
    let lost = QUESTIONS.into_iter().filter(is_lost);
    lost.map(|(what, verb, kind, least)| format!("{what} (`{verb} {kind}` at {least})")).collect()
}

/// Events that were recorded of requests that are alike to every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic<'a> {
    /// One of the requests.
    pub request: Request<'a>,
    /// The stage.
    pub stage: Stage,
    /// The level that they were recorded at.
    pub level: Level,
    /// How many.
    pub events: u64,
    /// Bytes of them without bodies.
    pub envelopes: u64,
    /// Bytes of the requests' bodies.
    pub requests: u64,
    /// Bytes of the responses' bodies.
    pub responses: u64,
}

/// What there would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub events: u64,
    /// Bytes of JSON.
    pub bytes: u64,
    /// Of these events, those that were recorded at a lower level: their bodies are not counted.
    pub without_bodies: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.without_bodies += other.without_bodies;
    }
}

/// What a policy would have recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// All of it.
    pub all: Tally,
    /// What was recorded.
    pub before: Tally,
    /// By the rule that decides, from 0; rules of level None have what they keep out, with 0 bytes.
    pub rules: Vec<Tally>,
    /// Events that no rule matches, and that are not recorded.
    pub unmatched: u64,
    /// By user.
    pub users: BTreeMap<String, Tally>,
    /// By resource, or `path`.
    pub resources: BTreeMap<String, Tally>,
}

impl Simulation {
    /// Begins with nothing.
    pub fn new(policy: &Policy) -> Self {
        Simulation { rules: vec![Tally::default(); policy.rules.len()], ..Simulation::default() }
    }

    /// Adds traffic, as `policy` would have recorded it.
    pub fn add(&mut self, policy: &Policy, traffic: &Traffic<'_>) {
        let Traffic { request, stage, level, events, envelopes, requests, responses } = traffic;
        let bytes = envelopes + requests + responses;
        self.before.add(Tally { events: *events, bytes, without_bodies: 0 });
        let decision = policy.decide(request);
        let Some(rule) = decision.rule.and_then(|rule| self.rules.get_mut(rule)) else {
            self.unmatched += events;
            return;
        };
        if decision.level == Level::None {
            rule.events += events;
            return;
        }
        if !decision.records(*stage) {
            return;
        }
        let body = |from: Level, bytes: u64| if decision.level >= from { bytes } else { 0 };
        let bodies = body(Level::Request, *requests) + body(Level::RequestResponse, *responses);
        let is_known = decision.level <= *level;
        let tally = Tally {
            events: *events,
            bytes: envelopes + bodies,
            without_bodies: if is_known { 0 } else { *events },
        };
        rule.add(tally);
        self.all.add(tally);
        let user = request.user.unwrap_or("(not authenticated)");
        self.users.entry(user.to_owned()).or_default().add(tally);
        let resource = match &request.target {
            Target::Path(_) => "(no resource)".to_owned(),
            Target::Resource { resource, .. } => {
                let target = request.target.clone().at("", "");
                if resource.is_empty() { "(unknown)".to_owned() } else { target.to_string() }
            }
        };
        self.resources.entry(resource).or_default().add(tally);
    }
}
