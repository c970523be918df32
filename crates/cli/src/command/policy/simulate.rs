//! `whodid policy simulate` and `status`: a policy held against recorded traffic, to tell what it
//! would have recorded, or whether it is the one that did.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use whodid_policy::{Level, PROFILES, Policy, Simulation, Tally, Version, load, unanswered};
use whodid_query::seconds;

use super::policy;
use super::traffic::{Group, Scope, read};
use crate::args::{PolicyFormat, PolicyStatusArgs, SimulateArgs, StoreArgs};
use crate::command::now;
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{bytes, cell, pretty, print};

/// Bytes that a recorded event takes on disk, per byte of JSON: measured on captured traffic
/// (docs/storage.md).
const STORED: f64 = 0.046;

/// Bytes of a log file once it is rotated and compressed by kube-apiserver (gzip).
const GZIPPED: f64 = 0.115;

/// `whodid policy simulate`.
pub async fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let policy = policy(&args.file, args.version.kubernetes_version)?;
    let cluster = args.cluster.as_deref();
    let scope = Scope { cluster, since: None, with_bodies: true };
    let (groups, days) = read(&args.store, scope, &[&policy]).await?;
    if groups.is_empty() {
        return Err(Failure::NothingFound("there is no traffic in the record to simulate".into()));
    }
    let mut simulation = Simulation::new(&policy);
    for group in &groups {
        simulation.add(&policy, &group.traffic());
    }
    let report = Report { policy: &policy, simulation: &simulation, days, args };
    Ok(print(&match args.output {
        PolicyFormat::Text => report.text(),
        PolicyFormat::Json => pretty(&report.json()),
    })?)
}

struct Report<'a> {
    policy: &'a Policy,
    simulation: &'a Simulation,
    /// Days that the traffic spans.
    days: f64,
    args: &'a SimulateArgs,
}

impl Report<'_> {
    /// An amount a day.
    #[expect(clippy::cast_precision_loss, reason = "estimates")]
    fn daily(&self, amount: u64) -> f64 {
        amount as f64 / self.days
    }

    fn disk(&self, factor: f64) -> f64 {
        self.daily(self.simulation.all.bytes) * factor * f64::from(self.args.days)
    }

    fn row(&self, name: &str, tally: Tally) -> Vec<String> {
        vec![
            name.to_owned(),
            format!("{:.0}", self.daily(tally.events)),
            bytes(self.daily(tally.bytes)),
            tally.events.to_string(),
        ]
    }

    fn text(&self) -> String {
        let Simulation { all, before, rules, unmatched, .. } = self.simulation;
        let mut text = format!(
            "{} events were recorded in {}; with this policy {} of them would have been\n\n",
            before.events,
            span(self.days),
            all.events
        );
        let titles = |first: &str| [first, "EVENTS/DAY", "BYTES/DAY", "EVENTS"].map(str::to_owned);
        let mut table = Table::new(titles("RULE"));
        for ((number, rule), tally) in (1..).zip(&self.policy.rules).zip(rules) {
            let name = format!("{number} (line {}, {})", rule.at.line, rule.level);
            let mut row = self.row(&name, *tally);
            if rule.level == Level::None {
                // What it keeps out.
                row = vec![name, NONE.into(), NONE.into(), format!("-{}", tally.events)];
            }
            table.row(row);
        }
        table.row(vec!["no rule".into(), NONE.into(), NONE.into(), format!("-{unmatched}")]);
        table.row(self.row("in all", *all));
        text.push_str(&table.print(true));
        for (title, tallies) in
            [("USER", &self.simulation.users), ("RESOURCE", &self.simulation.resources)]
        {
            let mut table = Table::new(titles(title));
            for (name, tally) in largest(tallies, self.args.limit) {
                table.row(self.row(&cell(name), *tally));
            }
            text.push_str(&format!("\n{}", table.print(true)));
        }
        text.push_str(&format!(
            "\ndisk for {} days: about {} in whodid, {} as files, {} as files compressed\n",
            self.args.days,
            bytes(self.disk(STORED)),
            bytes(self.disk(1.0)),
            bytes(self.disk(GZIPPED)),
        ));
        let lost = unanswered(self.policy);
        if !lost.is_empty() {
            text.push_str(&format!("\nnot answered with it:\n  {}\n", lost.join("\n  ")));
        }
        self.doubts().into_iter().for_each(|doubt| text.push_str(&format!("\n{doubt}\n")));
        text
    }

    /// What the traffic cannot tell.
    fn doubts(&self) -> Vec<String> {
        let without = self.simulation.all.without_bodies;
        let mut doubts = Vec::new();
        if without > 0 {
            doubts.push(format!(
                "{without} events were recorded at a lower level than this policy's: their bodies \
                 are not counted, so that there would be more bytes"
            ));
        }
        doubts.push(
            "only what was recorded is counted: what the policy in force leaves out is not known \
             here"
                .to_owned(),
        );
        doubts
    }

    fn json(&self) -> Value {
        let tally = |tally: &Tally| {
            json!({
                "events": tally.events,
                "bytes": tally.bytes,
                "eventsPerDay": self.daily(tally.events),
                "bytesPerDay": self.daily(tally.bytes),
                "withoutBodies": tally.without_bodies,
            })
        };
        let named = |tallies: &BTreeMap<String, Tally>| -> Vec<Value> {
            let largest = largest(tallies, self.args.limit);
            let with = |(name, of): (&String, &Tally)| json!({"name": name, "tally": tally(of)});
            largest.into_iter().map(with).collect()
        };
        let rule = |((number, rule), of): ((usize, &whodid_policy::Rule), &Tally)| json!({"rule": number, "line": rule.at.line, "level": rule.level.name(), "tally": tally(of)});
        let rules = (1..).zip(&self.policy.rules).zip(&self.simulation.rules);
        json!({
            "days": self.days,
            "before": tally(&self.simulation.before),
            "after": tally(&self.simulation.all),
            "rules": rules.map(rule).collect::<Vec<_>>(),
            "unmatched": self.simulation.unmatched,
            "users": named(&self.simulation.users),
            "resources": named(&self.simulation.resources),
            "disk": {
                "days": self.args.days,
                "whodid": self.disk(STORED),
                "files": self.disk(1.0),
                "compressed": self.disk(GZIPPED),
            },
            "unanswered": unanswered(self.policy),
            "doubts": self.doubts(),
        })
    }
}

/// The largest by bytes.
fn largest(tallies: &BTreeMap<String, Tally>, limit: usize) -> Vec<(&String, &Tally)> {
    let mut largest: Vec<_> = tallies.iter().collect();
    largest.sort_by_key(|(_, tally)| std::cmp::Reverse((tally.bytes, tally.events)));
    largest.truncate(limit);
    largest
}

/// A length of time in the unit that fits.
fn span(days: f64) -> String {
    match days {
        days if days >= 2.0 => format!("{days:.1} days"),
        days if days * 24.0 >= 2.0 => format!("{:.1} hours", days * 24.0),
        days => format!("{:.1} minutes", days * 24.0 * 60.0),
    }
}

/// `whodid policy status`: which policy the events agree with.
pub async fn status(args: &PolicyStatusArgs) -> Result<(), Failure> {
    let version = args.version.kubernetes_version;
    let mut candidates = Vec::new();
    for file in &args.files {
        candidates.push((file.display().to_string(), policy(file, version)?));
    }
    for profile in &PROFILES {
        let loaded = load(&profile.text(), Version::NEWEST);
        candidates.extend(loaded.policy.map(|policy| (profile.name.to_owned(), policy)));
    }
    let Some(span @ 1..) = seconds(&args.since) else {
        let why = format!("--since {}: write a length of time, such as 1h or 7d", args.since);
        return Err(Failure::Usage(why));
    };
    let policies: Vec<&Policy> = candidates.iter().map(|(_, policy)| policy).collect();
    let since = Some(now() - i64::from(span) * 1_000_000);
    let scope = Scope { cluster: args.cluster.as_deref(), since, with_bodies: false };
    let (groups, _) = read(&args.store, scope, &policies).await?;
    let all: u64 = groups.iter().map(|group| group.events).sum();
    if all == 0 {
        return Err(Failure::NothingFound(format!("no event came in the last {}", args.since)));
    }
    let mut table =
        Table::new(["POLICY", "EVENTS THAT AGREE", "FIRST THAT DOES NOT"].map(str::to_owned));
    let mut best = 0;
    for (name, policy) in &candidates {
        let (agreeing, example) = agreement(policy, &groups);
        best = best.max(agreeing);
        let example = example.map_or_else(|| NONE.to_owned(), |example| cell(&example));
        table.row(vec![cell(name), format!("{agreeing} of {all}"), example]);
    }
    print(&table.print(true))?;
    if best == all {
        return Ok(());
    }
    Err(Failure::NothingFound("the events agree with none of these policies".into()))
}

/// The profile that the events of the last hour agree with best, how many do, and of how many;
/// `None` without events.
pub async fn in_force(
    store: &StoreArgs,
    cluster: Option<&str>,
) -> Result<Option<(&'static str, u64, u64)>, Failure> {
    let profiles: Vec<(&str, Policy)> = PROFILES
        .iter()
        .filter_map(|profile| Some((profile.name, load(&profile.text(), Version::NEWEST).policy?)))
        .collect();
    let policies: Vec<&Policy> = profiles.iter().map(|(_, policy)| policy).collect();
    let since = Some(now() - 3_600 * 1_000_000);
    let (groups, _) = read(store, Scope { cluster, since, with_bodies: false }, &policies).await?;
    let all: u64 = groups.iter().map(|group| group.events).sum();
    let agreeing = profiles.iter().map(|(name, policy)| (*name, agreement(policy, &groups).0));
    // Of several that are the same, the first.
    let best = agreeing.rev().max_by_key(|(_, count)| *count);
    Ok(best.filter(|_| all > 0).map(|(name, count)| (name, count, all)))
}

/// How many events were recorded at the level and stage that a policy says, and one that was not.
fn agreement(policy: &Policy, groups: &[Group]) -> (u64, Option<String>) {
    let (mut agreeing, mut example) = (0, None);
    for group in groups {
        let traffic = group.traffic();
        let decision = policy.decide(&traffic.request);
        if decision.level == group.level && decision.records(group.stage) {
            agreeing += group.events;
        } else if example.is_none() {
            example = Some(format!("{} ({}, {})", traffic.request, group.stage, group.level));
        }
    }
    (agreeing, example)
}
