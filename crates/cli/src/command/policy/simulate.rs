//! `whodid policy simulate`: a policy held against recorded traffic, to tell what it would have
//! recorded.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use whodid_policy::{Blind, Level, Policy, Simulation, Tally, blind, unanswered};

use super::policy;
use super::traffic::{Scope, read};
use crate::args::{PolicyFormat, SimulateArgs};
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{bytes, cell, pretty, print};

/// Bytes that a recorded event takes on disk, per byte of JSON: measured on captured traffic
/// (docs/storage.md).
const STORED: f64 = 0.048;

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
        let blind: Vec<String> = blind(self.policy).iter().map(Blind::to_string).collect();
        if !blind.is_empty() {
            text.push_str(&format!(
                "\nsuspicious and not seen with it:\n  {}\n",
                blind.join("\n  ")
            ));
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
        let pattern = |of: &Blind| {
            json!({
                "id": of.pattern.id, "what": of.pattern.what, "level": of.pattern.level.name(),
                "unseen": of.unseen,
            })
        };
        let blind = blind(self.policy);
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
            "blind": blind.iter().map(pattern).collect::<Vec<_>>(),
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
