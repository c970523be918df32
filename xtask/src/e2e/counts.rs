//! Whether everybody counts the same: the API server's metric, its log, and the product, for each
//! of the two ways that the events came.

use std::collections::HashSet;

use serde_json::Value;

use super::kept::{self, Run};
use super::run::{FILE, HOOK};

/// With fewer events than this in one run, or in both together, little is tested.
const RUN_EVENTS_MIN: usize = 600;
const EVENTS_MIN: usize = 2_000;

/// The counts of one run, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) shown: Vec<String>,
    pub(super) faults: Vec<String>,
}

pub(super) fn judge(run: &Run) -> Counts {
    let Counts { mut shown, mut faults } = Counts::default();
    let mut equal = |what: String, found: u64, expected: u64| {
        shown.push(format!("{what}: {found}"));
        if found != expected {
            faults.push(format!("{what}: {found} instead of {expected}"));
        }
    };
    match run.scrapes.iter().find(|scrape| scrape.counted == scrape.logged) {
        Some(scrape) => {
            let moment = format!("when the API server had counted {}", scrape.counted);
            let (file, hook) = stored_at(run, scrape.logged);
            equal(format!("{moment}, of the log"), file, scrape.counted);
            equal(format!("{moment}, of the webhook"), hook, scrape.counted);
        }
        None => equal("scrapes that agree with the log".into(), 0, 1),
    }
    let logged = length(&run.logged);
    for (cluster, events) in [(FILE, &run.file_events), (HOOK, &run.hook_events)] {
        let status = |what| kept::counted(&run.status, cluster, what);
        equal(format!("events of `{cluster}`"), status("events"), logged);
        equal(format!("events of `{cluster}` that are found"), length(events), logged);
        for none in ["duplicates", "conflicts", "raw"] {
            equal(format!("{none} of `{cluster}`"), status(none), 0);
        }
    }
    let events = run.logged.len();
    if events < RUN_EVENTS_MIN {
        faults.push(format!("{events} events, at least {RUN_EVENTS_MIN} are needed"));
    }
    shown.push(format!("lines of the log at the end: {logged}, in {} files", run.log_files));
    Counts { shown, faults }
}

/// What is wrong with all runs together.
pub(super) fn judge_all(runs: &[Run]) -> Vec<String> {
    let events: usize = runs.iter().map(|run| run.logged.len()).sum();
    let mut faults = Vec::new();
    if events < EVENTS_MIN {
        faults.push(format!("{events} events in all runs, at least {EVENTS_MIN} are needed"));
    }
    if runs.iter().all(|run| run.log_files < 2) {
        faults.push("no log was rotated".into());
    }
    faults
}

/// How many of the first lines of the log the product has: of the log by their number, and of the
/// webhook, whose batches may pass each other, by what they are.
fn stored_at(run: &Run, logged: u64) -> (u64, u64) {
    let before = |event: &&Value| event.get("seq").and_then(Value::as_u64) < Some(logged);
    let file = run.file_events.iter().filter(before).count();
    let ids = |events: &[Value], names: [&str; 3]| -> HashSet<[String; 3]> {
        let part = |event: &Value, name: &str| {
            event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        events.iter().map(|event| names.map(|name| part(event, name))).collect()
    };
    let first = run.logged.iter().take(usize::try_from(logged).unwrap_or(usize::MAX));
    let first: Vec<Value> = first.filter_map(|line| serde_json::from_str(line).ok()).collect();
    let first = ids(&first, ["auditID", "stage", "stageTimestamp"]);
    let hook = ids(&run.hook_events, ["audit_id", "stage", "stage_timestamp"]);
    (file as u64, first.intersection(&hook).count() as u64)
}

fn length<T>(list: &[T]) -> u64 {
    list.len() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kept::{SET_UPS, Scrape};
    use super::*;

    /// Events that came both ways, counted right after the first one.
    fn run(events: usize) -> Run {
        let name = |index: usize| format!("{index}");
        let logged = (0..events).map(|index| {
            json!({ "auditID": name(index), "stage": "s", "stageTimestamp": "t" }).to_string()
        });
        let found = (0..events).map(|index| {
            json!({ "audit_id": name(index), "stage": "s", "stage_timestamp": "t", "seq": index })
        });
        let source = |cluster| json!({ "cluster": cluster, "events": events });
        Run {
            set_up: SET_UPS[0],
            acts: Vec::new(),
            scrapes: vec![Scrape { counted: 1, logged: 1 }],
            logged: logged.collect(),
            log_files: 2,
            file: Vec::new(),
            hook: Vec::new(),
            plain: None,
            file_events: found.clone().collect(),
            hook_events: found.rev().collect(),
            status: json!({ "sources": [source(FILE), source(HOOK)] }),
            plain_status: Value::Null,
        }
    }

    #[test]
    fn everybody_counts_the_same() {
        assert_eq!(judge(&run(RUN_EVENTS_MIN)).faults, Vec::<String>::new());
        let few = judge(&run(RUN_EVENTS_MIN - 1)).faults;
        assert!(few.len() == 1 && few[0].contains("at least"), "{few:?}");
        assert_eq!(judge_all(&[run(1_000), run(999)]).len(), 1);
        assert!(judge_all(&[run(1_000), run(1_000)]).is_empty());
        let whole = Run { log_files: 1, ..run(2_000) };
        assert_eq!(judge_all(&[whole]), ["no log was rotated"]);
    }

    #[test]
    fn whoever_counts_otherwise_is_named() {
        let faults = |change: fn(&mut Run)| {
            let mut run = run(RUN_EVENTS_MIN);
            change(&mut run);
            judge(&run).faults
        };
        let late = faults(|run| run.scrapes = vec![Scrape { counted: 2, logged: 1 }]);
        assert!(late.len() == 1 && late[0].contains("scrapes that agree"), "{late:?}");
        let lost = faults(|run| drop(run.hook_events.pop()));
        assert!(lost.len() == 2 && lost[0].contains("of the webhook"), "{lost:?}");
        let twice = faults(|run| run.status["sources"][0]["duplicates"] = 1.into());
        assert!(twice.len() == 1 && twice[0].starts_with("duplicates of `file`"), "{twice:?}");
    }
}
