//! How many bytes an event takes of corpora that the generator did not make: the captures as they
//! are, and each half of their templates. What else the bench measures is the other files'.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;
use whodid_testkit::captures;

use super::peers::{self, fresh};
use crate::product::Record;

/// The corpora have at least so many events.
const EVENTS_MIN: usize = 1_000;

/// The sizes of one corpus, in bytes.
pub(super) struct Sizes {
    name: &'static str,
    events: usize,
    json: usize,
    zstd: usize,
    ours: u64,
    victorialogs: u64,
}

/// Takes each corpus in and lets it settle, here and in VictoriaLogs.
pub(super) fn measure(program: &Path, folder: &Path) -> anyhow::Result<Vec<Sizes>> {
    let (typical, broad) = (captures::typical(), captures::broad());
    let (one, other): (Vec<_>, Vec<_>) =
        typical.iter().chain(&broad).cloned().partition(|line| is_of_first_half(line));
    let corpora = [
        ("capture, typical policy", typical),
        ("capture, everything at every stage", broad),
        ("half of the templates of both", one),
        ("the other half", other),
    ];
    corpora.into_iter().map(|(name, lines)| sizes(program, folder, name, &lines)).collect()
}

/// A template is what a program does with a kind of objects. Which half one is in is the same in
/// every run.
fn is_of_first_half(line: &str) -> bool {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |path| event.pointer(path).and_then(Value::as_str);
    let agent = text("/userAgent").and_then(|agent| agent.split(['/', ' ']).next());
    let mut hasher = DefaultHasher::new();
    (text("/verb"), text("/objectRef/resource"), text("/objectRef/subresource"), agent)
        .hash(&mut hasher);
    hasher.finish().is_multiple_of(2)
}

fn sizes(
    program: &Path,
    folder: &Path,
    name: &'static str,
    lines: &[String],
) -> anyhow::Result<Sizes> {
    let events = lines.len();
    ensure!(events >= EVENTS_MIN, "{name}: {events} events, at least {EVENTS_MIN} are asked for");
    let text = lines.join("\n") + "\n";
    let (file, own) = (folder.join("corpus.jsonl"), fresh(folder, "corpus")?);
    fs::write(&file, &text).with_context(|| file.display().to_string())?;
    let record = Record::of(program.to_owned(), &own)?;
    record.import(&file, "default")?;
    record.run(&["compact"])?;
    let stored = record.counts()?.get("default").copied();
    ensure!(stored == Some(events as u64), "{name}: {stored:?} of {events} events are stored");
    let ours = record.settled_bytes()?;
    let victorialogs = peers::victorialogs_bytes(&file, folder)?;
    fs::remove_dir_all(&own)?;
    fs::remove_file(&file)?;
    let zstd = zstd::bulk::compress(text.as_bytes(), 3)?.len();
    Ok(Sizes { name, events, json: text.len(), zstd, ours, victorialogs })
}

/// A row of each corpus.
pub(super) fn table(all: &[Sizes]) -> String {
    let mut lines = vec![
        "| bytes per event | events | JSON | zstd -3 | whodid | VictoriaLogs |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for it in all {
        let each = |total: u64| super::ratio(total, it.events as u64);
        let [json, zstd] = [it.json, it.zstd].map(|total| each(total as u64));
        let (name, ours, theirs) = (it.name, each(it.ours), each(it.victorialogs));
        lines.push(format!("| {name} | {} | {json} | {zstd} | {ours} | {theirs} |", it.events));
    }
    lines.join("\n")
}
