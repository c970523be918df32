//! Traffic of the record, summed up as far as a policy tells requests apart.

use std::collections::BTreeSet;
use std::time::Duration;

use whodid_engine::Cache;
use whodid_engine::sql::{Limits, sql, texts};
use whodid_policy::{Level, Placed, Policy, Request, Rule, Stage, Target, Traffic};
use whodid_store::Reader;

use crate::args::StoreArgs;
use crate::failure::Failure;
use crate::output::say;

/// For grouping and joining.
const MEMORY_MAX: usize = 1 << 30;
/// Until it is given up.
const TIME_MAX: Duration = Duration::from_mins(10);

/// Stands for every value that no rule names.
const OTHER: &str = "\u{1}";

/// Which events are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    pub cluster: Option<&'a str>,
    /// Taken in since, in microseconds since 1970.
    pub since: Option<i64>,
    /// Whether bodies are measured, too, which takes longer.
    pub with_bodies: bool,
}

/// Events that are alike to every rule.
pub struct Group {
    user: Option<String>,
    groups: Vec<String>,
    verb: String,
    api: String,
    resource: Option<String>,
    subresource: String,
    namespace: String,
    name: String,
    path: String,
    pub stage: Stage,
    pub level: Level,
    pub events: u64,
    envelopes: u64,
    requests: u64,
    responses: u64,
}

impl Group {
    /// As a policy sees it.
    pub fn traffic(&self) -> Traffic<'_> {
        let target = match &self.resource {
            Some(resource) => Target::Resource {
                group: &self.api,
                resource,
                subresource: &self.subresource,
                namespace: &self.namespace,
                name: &self.name,
            },
            None => Target::Path(self.path.as_str().into()),
        };
        let groups = self.groups.iter().map(String::as_str).collect();
        let request = Request { user: self.user.as_deref(), groups, verb: &self.verb, target };
        let Group { stage, level, events, envelopes, requests, responses, .. } = *self;
        Traffic { request, stage, level, events, envelopes, requests, responses }
    }
}

/// All traffic of a record, and how many days it spans.
pub async fn read(
    store: &StoreArgs,
    scope: Scope<'_>,
    policies: &[&Policy],
) -> Result<(Vec<Group>, f64), Failure> {
    let snapshot = Reader::open_dir(&store.dir())?.snapshot().await?;
    for warning in snapshot.warnings() {
        say!("warning: {warning}");
    }
    let limits = Limits { rows: None, time: TIME_MAX, memory: MEMORY_MAX };
    let cache = Cache::default();
    let mut rows = Vec::new();
    for statement in [groups(scope, policies), span(scope)] {
        let mut answer = sql(&snapshot, &cache, &statement, limits).await?;
        let mut found = Vec::new();
        while let Some(batch) = answer.batch().await? {
            found.extend(texts(&batch)?);
        }
        if answer.cut().is_some() {
            let why = format!("stopped after {} s; narrow it with --cluster", TIME_MAX.as_secs());
            return Err(Failure::Unavailable(why));
        }
        rows.push(found);
    }
    let span = rows.pop().and_then(|rows| rows.into_iter().next()).unwrap_or_default();
    let seconds: f64 =
        span.into_iter().next().flatten().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let groups = rows.pop().unwrap_or_default().into_iter().filter_map(group).collect();
    // Less than a minute says nothing about a day.
    Ok((groups, seconds.max(60.0) / 86_400.0))
}

fn group(row: Vec<Option<String>>) -> Option<Group> {
    let mut cells = row.into_iter();
    let mut text = || cells.next().flatten();
    let user = text().filter(|user| !user.is_empty());
    let groups = text().unwrap_or_default();
    let mut string = || text().unwrap_or_default();
    let (verb, api, resource) = (string(), string(), string());
    let (subresource, namespace, name, path) = (string(), string(), string(), string());
    let (stage, level) = (Stage::from_name(&string())?, Level::of(&string())?);
    let mut number = || string().parse().unwrap_or(0);
    Some(Group {
        user,
        groups: groups.split('\n').filter(|group| !group.is_empty()).map(str::to_owned).collect(),
        verb,
        api,
        resource: Some(resource).filter(|resource| !resource.is_empty()),
        subresource,
        namespace,
        name,
        path,
        stage,
        level,
        events: number(),
        envelopes: number(),
        requests: number(),
        responses: number(),
    })
}

/// Events of a scope, those that are there twice once.
fn condition(scope: Scope<'_>) -> String {
    let mut parts = vec!["e.raw_reason IS NULL AND NOT e.duplicate".to_owned()];
    parts.extend(scope.cluster.map(|cluster| format!("e.cluster = {}", quoted(cluster))));
    parts.extend(scope.since.map(|since| format!("e.received >= to_timestamp_micros({since})")));
    parts.join(" AND ")
}

fn span(scope: Scope<'_>) -> String {
    format!(
        "SELECT CAST(extract(epoch FROM max(e.time)) - extract(epoch FROM min(e.time)) AS double) \
           FROM events e WHERE {}",
        condition(scope)
    )
}

/// The bytes of an event as JSON without its bodies: names of members and what most events have
/// alike, and the values that differ.
const ENVELOPE: &str = "\
    CASE WHEN e.text IS NOT NULL THEN octet_length(e.text) ELSE 505 + \
    CASE WHEN e.stage = 'RequestReceived' THEN 0 ELSE 218 END + \
    coalesce(octet_length(e.request_uri), 0) + coalesce(octet_length(e.username), 0) + \
    coalesce(octet_length(e.user_uid), 0) + coalesce(octet_length(e.user_agent), 0) + \
    coalesce(octet_length(array_to_string(e.user_groups, '\",\"')), 0) + \
    coalesce(octet_length(e.decision_reason), 0) + coalesce(octet_length(e.message), 0) + \
    coalesce(octet_length(e.namespace) + 15, 0) + coalesce(octet_length(e.name) + 10, 0) + \
    coalesce(octet_length(e.object_uid) + 9, 0) END";

fn groups(scope: Scope<'_>, policies: &[&Policy]) -> String {
    let named = |field: fn(&Rule) -> Vec<&Placed<String>>| -> BTreeSet<String> {
        let rules = policies.iter().flat_map(|policy| &policy.rules);
        rules.flat_map(field).map(|text| text.value.clone()).collect()
    };
    let namespaces = named(|rule| rule.namespaces.iter().collect());
    let names = named(|rule| rule.resources.iter().flat_map(|entry| &entry.names).collect());
    // What is created gets its name in the event from its body, and has none in the URL.
    let name = format!(
        "CASE WHEN e.verb = 'create' AND e.subresource IS NULL THEN '' ELSE {} END",
        told_apart("e.name", &names)
    );
    let (bodies, joined) = if scope.with_bodies {
        (
            "sum(coalesce(b.requests, 0)), sum(coalesce(b.responses, 0))",
            // In this order, sizes are kept in memory and events pass by them.
            "(SELECT cluster, seq, \
                sum(octet_length(json)) FILTER (WHERE member = 'requestObject') AS requests, \
                sum(octet_length(json)) FILTER (WHERE member = 'responseObject') AS responses \
               FROM bodies GROUP BY cluster, seq) b \
             RIGHT JOIN events e ON b.cluster = e.cluster AND b.seq = e.seq",
        )
    } else {
        ("0 AS requests, 0 AS responses", "events e")
    };
    format!(
        "SELECT e.username, array_to_string(e.user_groups, chr(10)), e.verb, e.api_group, \
                e.resource, e.subresource, {namespace}, {name}, \
                CASE WHEN e.resource IS NULL THEN split_part(e.request_uri, '?', 1) END, \
                e.stage, e.level, count(*), sum({ENVELOPE}), {bodies} \
           FROM {joined} WHERE {condition} \
          GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        namespace = told_apart("e.namespace", &namespaces),
        condition = condition(scope),
    )
}

/// The values that rules name, and one for all others.
fn told_apart(column: &str, named: &BTreeSet<String>) -> String {
    let other = quoted(OTHER);
    if named.is_empty() {
        return format!("CASE WHEN {column} IS NULL THEN '' ELSE {other} END");
    }
    let list: Vec<String> = named.iter().map(|text| quoted(text)).collect();
    format!(
        "CASE WHEN {column} IS NULL THEN '' WHEN {column} IN ({}) THEN {column} ELSE {other} END",
        list.join(", ")
    )
}

/// A literal of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
