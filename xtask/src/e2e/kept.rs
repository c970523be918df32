//! What a run leaves behind for its judges: what API server and product said, and when each act
//! took place. It is kept in the cache, so that a negative control need not run anything again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::expected::Expected;

/// Rows of tables tell the runs apart by these; each is also the name of a policy in
/// `testdata/policies`.
pub(super) const SET_UPS: [SetUp; 2] = [
    SetUp { name: "broad", redaction: "default", stages: Stages::All },
    SetUp { name: "typical", redaction: "off", stages: Stages::NotReceived },
];

/// A policy of the API server, and how the product is started for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetUp {
    pub(super) name: &'static str,
    pub(super) redaction: &'static str,
    pub(super) stages: Stages,
}

/// Which stages a policy records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stages {
    All,
    NotReceived,
}

/// An act that took place, with the time that it took, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) who: String,
    pub(super) command: String,
    pub(super) expected: Vec<Expected>,
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// A look at the API server's own count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scrape {
    /// `apiserver_audit_event_total`, from the start of the API server on.
    pub(super) counted: u64,
    /// So many lines of the log stand before the one that completes the scrape itself.
    pub(super) logged: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) set_up: SetUp,
    pub(super) acts: Vec<Done>,
    pub(super) scrapes: Vec<Scrape>,
    /// The lines of the audit log, as the API server wrote them.
    pub(super) logged: Vec<String>,
    /// The files that they are in: more than one if the log was rotated.
    pub(super) log_files: u64,
    /// What the product gave back, byte for byte, of the log and of the webhook.
    pub(super) file: Vec<String>,
    pub(super) hook: Vec<String>,
    /// The same of the log, from a second server that takes nothing out; where there was one.
    pub(super) plain: Option<Vec<String>>,
    /// The events of the log, and of the webhook, as the product shows them.
    pub(super) file_events: Vec<Value>,
    pub(super) hook_events: Vec<Value>,
    /// `whodid ingest status`, of both servers.
    pub(super) status: Value,
    pub(super) plain_status: Value,
}

/// Where the run of a set-up is kept.
pub(super) fn folder(cache: &Path, kubernetes: &str, set_up: &SetUp) -> PathBuf {
    cache.join("e2e").join(kubernetes).join(set_up.name).join("kept")
}

impl Run {
    pub(super) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let lines = |name: &str, lines: &[String]| {
            let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            fs::write(folder.join(name), text)
        };
        lines("logged.jsonl", &self.logged)?;
        lines("file.jsonl", &self.file)?;
        lines("hook.jsonl", &self.hook)?;
        lines("plain.jsonl", self.plain.as_deref().unwrap_or_default())?;
        let events = |events: &[Value]| events.iter().map(Value::to_string).collect::<Vec<_>>();
        lines("file-events.jsonl", &events(&self.file_events))?;
        lines("hook-events.jsonl", &events(&self.hook_events))?;
        let acts = self.acts.iter().map(|act| {
            let expected = act.expected.iter().map(|expected| &expected.text);
            json!({
                "who": act.who, "command": act.command, "begin": act.begin, "end": act.end,
                "expected": expected.collect::<Vec<_>>(),
            })
        });
        let scrapes = self.scrapes.iter().map(|scrape| json!([scrape.counted, scrape.logged]));
        let run = json!({
            "acts": acts.collect::<Vec<_>>(), "scrapes": scrapes.collect::<Vec<_>>(),
            "status": self.status, "plain_status": self.plain_status,
            "is_plain": self.plain.is_some(), "log_files": self.log_files,
        });
        // Last: without it nothing is kept.
        fs::write(folder.join("run.json"), run.to_string())?;
        Ok(())
    }

    /// The run that is kept in a folder.
    pub(super) fn load(folder: &Path, set_up: SetUp) -> anyhow::Result<Run> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let lines = |name: &str| anyhow::Ok(text(name)?.lines().map(str::to_owned).collect());
        let events = |name: &str| {
            let parsed: Result<_, serde_json::Error> =
                text(name)?.lines().map(serde_json::from_str).collect();
            anyhow::Ok(parsed?)
        };
        let run: Value = serde_json::from_str(&text("run.json")?)?;
        let list = |name: &str| run.get(name).and_then(Value::as_array).into_iter().flatten();
        let is_plain = run.get("is_plain") == Some(&Value::Bool(true));
        Ok(Run {
            set_up,
            acts: list("acts").map(done).collect::<anyhow::Result<_>>()?,
            scrapes: list("scrapes").map(scrape).collect(),
            logged: lines("logged.jsonl")?,
            log_files: run.get("log_files").and_then(Value::as_u64).unwrap_or_default(),
            file: lines("file.jsonl")?,
            hook: lines("hook.jsonl")?,
            plain: if is_plain { Some(lines("plain.jsonl")?) } else { None },
            file_events: events("file-events.jsonl")?,
            hook_events: events("hook-events.jsonl")?,
            status: run.get("status").cloned().unwrap_or_default(),
            plain_status: run.get("plain_status").cloned().unwrap_or_default(),
        })
    }
}

fn done(act: &Value) -> anyhow::Result<Done> {
    let text = |name: &str| act.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| act.get(name).and_then(Value::as_u64).unwrap_or_default();
    let lines = act.get("expected").and_then(Value::as_array).into_iter().flatten();
    let expected = lines.map(|line| Expected::parse(line.as_str().unwrap_or_default()));
    Ok(Done {
        who: text("who"),
        command: text("command"),
        expected: expected.collect::<anyhow::Result<_>>()?,
        begin: number("begin"),
        end: number("end"),
    })
}

fn scrape(pair: &Value) -> Scrape {
    let number = |index: usize| pair.get(index).and_then(Value::as_u64).unwrap_or_default();
    Scrape { counted: number(0), logged: number(1) }
}

/// Events in one source or another of a cluster, as `whodid ingest status` counts them.
pub(super) fn counted(status: &Value, cluster: &str, what: &str) -> u64 {
    let sources = status.get("sources").and_then(Value::as_array).into_iter().flatten();
    let of_cluster =
        sources.filter(|source| source.get("cluster").and_then(Value::as_str) == Some(cluster));
    of_cluster.filter_map(|source| source.get(what).and_then(Value::as_u64)).sum()
}
