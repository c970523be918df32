//! What `whodid policy simulate` predicts from traffic that was recorded with everything, against
//! what the policy really left of the same traffic.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use serde_json::Value;

use super::{Log, Place, parsed, requests};
use crate::product::Record;

/// Events that were predicted and found, in all and by rule.
pub(super) struct Compared {
    all: (u64, u64),
    rules: BTreeMap<u64, (u64, u64)>,
}

impl Compared {
    /// Within two in a hundred, for each rule as well as in all; and there is something.
    pub(super) fn is_right(&self) -> bool {
        let is_near = |(predicted, found): &(u64, u64)| predicted.abs_diff(*found) * 50 <= *found;
        self.all.1 > 0 && is_near(&self.all) && self.rules.values().all(is_near)
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (predicted, found) = self.all;
        write!(f, "{predicted} events predicted, {found} found; by rule")?;
        self.rules.iter().try_for_each(|(rule, (p, n))| write!(f, " {rule}: {p}/{n}"))
    }
}

/// Simulates a policy on what was recorded with everything.
pub(super) fn compare(place: &Place, text: &str, all: &Log, log: &Log) -> anyhow::Result<Compared> {
    let folder = place.folder.join("simulated");
    let record = Record::of(place.program.clone(), &folder)?;
    let lines: String = all.values().flatten().map(|event| format!("{event}\n")).collect();
    let (traffic, policy) = (folder.join("traffic.jsonl"), folder.join("policy.yaml"));
    std::fs::write(&traffic, lines)?;
    std::fs::write(&policy, text)?;
    let path = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a path");
    record.run(&["import", "--quiet", &path(&traffic)?])?;
    let (_, printed) = record.run(&["policy", "simulate", &path(&policy)?, "-o", "json"])?;
    let answer: Value = serde_json::from_str(&printed)?;
    let events = |tally: &Value| tally.pointer("/events").and_then(Value::as_u64).unwrap_or(0);
    let mut rules: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for rule in answer.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let number = rule.get("rule").and_then(Value::as_u64).unwrap_or(0);
        let is_recorded = rule.get("level").and_then(Value::as_str) != Some("None");
        let predicted = rule.get("tally").map_or(0, events);
        rules.insert(number, (if is_recorded { predicted } else { 0 }, 0));
    }
    let policy = parsed(text)?;
    let asked = requests::all();
    let mut found = 0;
    for (number, events) in log {
        let count = events.len() as u64;
        found += count;
        let rule = asked.get(*number).and_then(|request| policy.decide(request).rule);
        if let Some(rule) = rule {
            rules.entry(rule as u64 + 1).or_default().1 += count;
        }
    }
    let predicted = answer.get("after").map_or(0, events);
    Ok(Compared { all: (predicted, found), rules })
}
