//! Whose doing is each event of the script's people? Every one has to be expected by exactly the
//! act that was under way when its request was received, in every derived field and at every stage;
//! and every act has to have all that it was expected to cause.
//!
//! The audit log says which events there are, the product what they mean: nothing that the product
//! lost or misread can hide.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use anyhow::Context;
use serde_json::Value;

use super::expected::{COMPLETE, Expected, RECEIVED, STARTED, Seen};
use super::kept::{Done, Run, Stages};

/// The people of the testbed, as the API server names them.
const PEOPLE: [&str; 4] =
    ["admin", "alice@example.com", "bob@example.com", "system:serviceaccount:ci:deployer"];

/// What kubectl asks to learn what there is.
const DISCOVERY: [&str; 4] = ["/api", "/apis", "/openapi", "/version"];

/// The fields that say where an event is, not what it means.
const PLACES: [&str; 5] = ["cluster", "id", "received", "seq", "source"];

/// What one act caused.
#[derive(Debug, Default)]
pub(super) struct Caused {
    pub(super) requests: usize,
    pub(super) events: usize,
    pub(super) discovery: usize,
}

/// What was found, act by act, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    pub(super) caused: Vec<Caused>,
    /// Events from before the script: the testbed makes itself usable.
    pub(super) before: usize,
    pub(super) faults: Vec<String>,
}

/// What the stages of one request have in common.
type Key<'r> = (&'r str, &'r str);

/// A request, by its stages in the order of the log.
type Request<'r> = Vec<Seen<'r>>;

pub(super) fn judge(run: &Run) -> anyhow::Result<Attribution> {
    let logged: Vec<Value> =
        run.logged.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    let found = by_stage(&run.file_events);
    let mut attribution = Attribution::default();
    let mut requests: BTreeMap<u64, BTreeMap<Key<'_>, Request<'_>>> = BTreeMap::new();
    for event in logged.iter().filter(|event| is_of_people(event)) {
        let stage = text(event, "stage");
        let id = text(event, "auditID");
        let received = text(event, "requestReceivedTimestamp");
        let Some(&found) = found.get(&(id, stage, text(event, "stageTimestamp"))) else {
            attribution.faults.push(format!("not found: {stage} of {}", text(event, "requestURI")));
            continue;
        };
        let time = micros(received).with_context(|| format!("{received} is no time"))?;
        let of_time = requests.entry(time).or_default();
        of_time.entry((id, received)).or_default().push(Seen { logged: event, found });
    }
    attribute(run, &requests, &mut attribution);
    attribution.faults.extend(judge_ways(run, &found));
    Ok(attribution)
}

/// An event, by what tells it from all others: audit ID, stage and the stage's time.
type ByStage<'r> = HashMap<(&'r str, &'r str, &'r str), &'r Value>;

fn by_stage(events: &[Value]) -> ByStage<'_> {
    let key =
        |event| (text(event, "audit_id"), text(event, "stage"), text(event, "stage_timestamp"));
    events.iter().map(|event| (key(event), event)).collect()
}

/// An event means the same whichever way it came.
fn judge_ways(run: &Run, of_file: &ByStage<'_>) -> Vec<String> {
    let fields = |event: &Value| {
        let mut fields = event.as_object().cloned().unwrap_or_default();
        fields.retain(|field, _| !PLACES.contains(&field.as_str()));
        fields
    };
    let of_hook = by_stage(&run.hook_events);
    let other = of_hook
        .iter()
        .filter(|(key, event)| of_file.get(*key).map(|event| fields(event)) != Some(fields(event)));
    other
        .map(|((id, stage, _), _)| format!("the log and the webhook differ in {stage} of {id}"))
        .collect()
}

/// Gives each act the requests that were received while it was under way.
fn attribute(
    run: &Run,
    requests: &BTreeMap<u64, BTreeMap<Key<'_>, Request<'_>>>,
    attribution: &mut Attribution,
) {
    let (mut begin, mut faults) = (0, Vec::new());
    for act in &run.acts {
        // What nobody was under way for.
        for request in between(requests, begin, act.begin) {
            if begin == 0 && request.iter().all(is_of_testbed) {
                attribution.before += request.len();
            } else {
                faults.extend(request.last().map(|seen| format!("outside: {}", seen.line())));
            }
        }
        begin = act.end + 1;
        let requests = between(requests, act.begin, act.end + 1).collect::<Vec<_>>();
        attribution.caused.push(judge_act(act, &requests, run.set_up.stages, &mut faults));
    }
    for request in between(requests, begin, u64::MAX) {
        faults.extend(request.last().map(|seen| format!("outside: {}", seen.line())));
    }
    attribution.faults.append(&mut faults);
}

fn between<'m, 'r>(
    requests: &'m BTreeMap<u64, BTreeMap<Key<'r>, Request<'r>>>,
    begin: u64,
    end: u64,
) -> impl Iterator<Item = &'m Request<'r>> {
    // A clock that is set back makes an act of less than no time; it has no requests.
    requests.range(begin..end.max(begin)).flat_map(|(_, requests)| requests.values())
}

/// Compares what one act caused with what it should have caused.
fn judge_act(
    act: &Done,
    requests: &[&Request<'_>],
    stages: Stages,
    faults: &mut Vec<String>,
) -> Caused {
    let mut caused = Caused::default();
    let mut counts = vec![0; act.expected.len()];
    let mut fault = |what: String| faults.push(format!("{}: {}: {what}", act.who, act.command));
    for request in requests {
        let Some(last) = request.last() else { continue };
        if is_discovery(last) {
            caused.discovery += request.len();
            continue;
        }
        caused.requests += 1;
        caused.events += request.len();
        if let Some(wrong) = wrong_stages(request, stages) {
            fault(format!("{}: {wrong}", last.line()));
        }
        let is_free = |(expected, count): &(&Expected, &mut usize)| **count < expected.most;
        let mut candidates = act.expected.iter().zip(&mut counts).filter(is_free);
        let fitting = candidates.find(|(expected, _)| differences(expected, request).is_empty());
        match fitting {
            Some((_, count)) => *count += 1,
            None => fault(unexpected(act, request)),
        }
    }
    for (expected, count) in act.expected.iter().zip(counts) {
        if count < expected.least {
            fault(format!("missing: {}", expected.text));
        }
    }
    caused
}

/// What is different at any stage.
fn differences(expected: &Expected, request: &Request<'_>) -> Vec<String> {
    request.iter().flat_map(|seen| expected.differences(seen)).collect()
}

/// Says what a request is, and what is closest to it.
fn unexpected(act: &Done, request: &Request<'_>) -> String {
    let line = request.last().map(Seen::line).unwrap_or_default();
    let all = act.expected.iter().map(|expected| (differences(expected, request), expected));
    match all.min_by_key(|(differences, _)| differences.len()) {
        Some((differences, expected)) if !differences.is_empty() => {
            format!("unexpected: {line} (closest: {}; {})", expected.text, differences.join(", "))
        }
        _ => format!("unexpected: {line}"),
    }
}

/// What is wrong with the stages that were recorded of a request that has ended.
fn wrong_stages(request: &Request<'_>, stages: Stages) -> Option<String> {
    let mut expected = vec![COMPLETE];
    if request.last().is_some_and(is_long_running) {
        expected.insert(0, STARTED);
    }
    if stages == Stages::All {
        expected.insert(0, RECEIVED);
    }
    let mut found: Vec<&str> = request.iter().map(Seen::stage).collect();
    // Two stages can be written in any order, if they come at the same time.
    found
        .sort_by_key(|stage| [RECEIVED, STARTED, COMPLETE].iter().position(|known| known == stage));
    (found != expected).then(|| format!("stages {}", found.join(", ")))
}

fn is_long_running(seen: &Seen<'_>) -> bool {
    let target = seen.target();
    let subresource = target.split_once('/').map_or("", |(_, subresource)| subresource);
    text(seen.found, "verb") == "watch"
        || ["exec", "attach", "portforward", "log", "proxy"].contains(&subresource)
}

fn is_of_people(event: &Value) -> bool {
    let name = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    PEOPLE.contains(&name("/user/username")) || PEOPLE.contains(&name("/impersonatedUser/username"))
}

fn is_of_testbed(seen: &Seen<'_>) -> bool {
    text(seen.found, "tool") == "testbed"
}

/// Tells whether kubectl looked what there is, and was told.
fn is_discovery(seen: &Seen<'_>) -> bool {
    let path = seen.target();
    let is_below = |root: &&str| {
        path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_read = text(seen.found, "action") == "read" && text(seen.found, "outcome") == "success";
    DISCOVERY.iter().any(is_below) && is_read
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Microseconds since 1970 of a time as the API server writes it, `2026-01-02T03:04:05.678900Z`.
fn micros(time: &str) -> Option<u64> {
    let number = |range: Range<usize>| time.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut days = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum::<u64>();
    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += months.iter().take(usize::try_from(month).ok()?.checked_sub(1)?).sum::<u64>();
    days += day.checked_sub(1)?;
    let seconds = (days * 24 + number(11..13)?) * 3_600 + number(14..16)? * 60 + number(17..19)?;
    Some(seconds * 1_000_000 + number(20..26)?)
}

#[cfg(test)]
mod tests;
