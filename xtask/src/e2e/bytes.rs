//! Whether what came in is given back byte for byte: as sets in which everything counts as often as
//! it is there. Where values were taken out, nothing else may be different.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use serde_json::Value;

use super::kept::{self, Run};
use super::run::{FILE, HOOK};

/// What an API server puts in front of an event in a file, and not in a list.
const HEAD: &str = r#""kind":"Event","apiVersion":"audit.k8s.io/v1","#;

/// How the placeholder of a value begins.
const PLACEHOLDER: &str = r#"{"$redacted":"#;

/// How one copy of all events differs from what was logged.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) name: &'static str,
    /// Events that were logged, and those that were given back.
    pub(super) logged: usize,
    pub(super) stored: usize,
    /// Events that only the one has, or only the other.
    pub(super) only_logged: usize,
    pub(super) only_stored: usize,
    /// Values that were taken out, by path and rule.
    pub(super) redacted: BTreeMap<(String, String), u64>,
    pub(super) faults: Vec<String>,
}

pub(super) fn judge(run: &Run) -> Vec<Comparison> {
    let headless: Vec<String> = run.logged.iter().map(|line| line.replacen(HEAD, "", 1)).collect();
    let is_off = run.set_up.redaction == "off";
    let count = |status: &Value, cluster| kept::counted(status, cluster, "redacted");
    let mut all = vec![
        compare("file", &run.logged, &run.file, is_off, count(&run.status, FILE)),
        compare("hook", &headless, &run.hook, is_off, count(&run.status, HOOK)),
    ];
    if let Some(plain) = &run.plain {
        let redacted = count(&run.plain_status, FILE);
        all.push(compare("file, redaction off", &run.logged, plain, true, redacted));
    }
    all
}

/// Everything that is wrong with any copy.
pub(super) fn faults(comparisons: Vec<Comparison>) -> Vec<String> {
    comparisons.into_iter().flat_map(|comparison| comparison.faults).collect()
}

/// Compares two multisets; `is_exact` if nothing at all may be different.
fn compare(
    name: &'static str,
    logged: &[String],
    stored: &[String],
    is_exact: bool,
    counted: u64,
) -> Comparison {
    let (only_logged, only_stored) = difference(logged, stored);
    let mut comparison = Comparison {
        name,
        logged: logged.len(),
        stored: stored.len(),
        only_logged: only_logged.len(),
        only_stored: only_stored.len(),
        ..Comparison::default()
    };
    if is_exact {
        let given = |what: &str, lines: &[&str]| {
            lines.iter().map(|line| format!("{what}: {}", start_of(line))).collect::<Vec<_>>()
        };
        comparison.faults.extend(given("not given back", &only_logged));
        comparison.faults.extend(given("never logged", &only_stored));
    } else {
        comparison.compare_redacted(&only_logged, &only_stored);
    }
    let found: u64 = comparison.redacted.values().sum();
    if found != counted {
        let fault = format!("{found} values are redacted, `whodid ingest status` counts {counted}");
        comparison.faults.push(fault);
    }
    for fault in &mut comparison.faults {
        fault.insert_str(0, &format!("{name}: "));
    }
    comparison
}

impl Comparison {
    /// Pairs the events that differ, and looks at where they do.
    fn compare_redacted(&mut self, only_logged: &[&str], only_stored: &[&str]) {
        let mut stored = HashMap::new();
        for text in only_stored {
            match parsed(text) {
                Ok((key, value)) => drop(stored.insert(key, (*text, value))),
                Err(error) => self.faults.push(format!("{error:#}: {}", start_of(text))),
            }
        }
        for text in only_logged {
            let pair =
                parsed(text).ok().and_then(|(key, value)| Some((value, stored.remove(&key)?)));
            let Some((before, (after_text, after))) = pair else {
                self.faults.push(format!("not given back: {}", start_of(text)));
                continue;
            };
            if !is_same_around(text, after_text) {
                let what = "bytes are different that no rule took out";
                self.faults.push(format!("{what}: {}", start_of(text)));
            }
            let mut paths = Vec::new();
            differences(&before, &after, "", &mut paths);
            for (path, taken) in paths {
                match taken {
                    Some(rule) => *self.redacted.entry((path, rule)).or_default() += 1,
                    None => self.faults.push(format!("{path} is different: {}", start_of(text))),
                }
            }
        }
        for (text, _) in stored.into_values() {
            self.faults.push(format!("never logged: {}", start_of(text)));
        }
    }
}

/// What only the one multiset has, and only the other.
fn difference<'t>(a: &'t [String], b: &'t [String]) -> (Vec<&'t str>, Vec<&'t str>) {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for text in a {
        *counts.entry(text).or_default() += 1;
    }
    for text in b {
        *counts.entry(text).or_default() -= 1;
    }
    let (mut only_a, mut only_b) = (Vec::new(), Vec::new());
    for (text, count) in counts {
        let only = if count > 0 { &mut only_a } else { &mut only_b };
        only.extend((0..count.abs()).map(|_| text));
    }
    (only_a, only_b)
}

/// An event, and what tells it from all others.
fn parsed(text: &str) -> anyhow::Result<((String, String, String), Value)> {
    let value: Value = serde_json::from_str(text).context("no event")?;
    let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(((part("auditID"), part("stage"), part("stageTimestamp")), value))
}

/// The paths at which two documents differ, each with the rule if its value was taken out.
fn differences(a: &Value, b: &Value, path: &str, found: &mut Vec<(String, Option<String>)>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            for ((key, x), y) in x.iter().zip(y.values()) {
                differences(x, y, &format!("{path}.{key}"), found);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (x, y) in x.iter().zip(y) {
                differences(x, y, &format!("{path}[]"), found);
            }
        }
        _ if a == b => {}
        _ => found.push((path.to_owned(), rule(b))),
    }
}

/// The rule that put this in the place of a value.
fn rule(after: &Value) -> Option<String> {
    let after = after.as_object().filter(|after| after.len() == 2)?;
    after.get("n").and_then(Value::as_u64)?;
    after.get("$redacted").and_then(Value::as_str).map(str::to_owned)
}

/// Tells whether two texts are the same but for placeholders, each as long as it says.
fn is_same_around(before: &str, after: &str) -> bool {
    let mut pieces = after.split(PLACEHOLDER);
    let mut rest = before.strip_prefix(pieces.next().unwrap_or_default());
    for piece in pieces {
        rest = rest.and_then(|rest| {
            let (placeholder, behind) = piece.split_once('}')?;
            let (_, bytes) = placeholder.rsplit_once(r#","n":"#)?;
            let (value, rest) = rest.split_at_checked(bytes.parse().ok()?)?;
            let is_value = serde_json::from_str::<Value>(value).is_ok();
            rest.strip_prefix(behind).filter(|_| is_value)
        });
    }
    rest == Some("")
}

fn start_of(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
