//! The peers of the bench, and ourselves: how each takes the corpus in, settles, and is asked. What
//! they are asked is in `bench/`, in Python; what comes of it is the table's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::questions;
use crate::measure::{self, Usage};
use crate::product::Record;
use crate::{cache, command, corpus, repository};

/// What the peers in Python are made of.
const PYTHON: [&str; 3] = ["chdb==4.4.0", "chdb-core==26.9.0", "duckdb==2.0.1"];

/// Each question is asked so often, of who has loaded the corpus; the first time is cold.
const RUNS: &str = "21";

/// Who takes part beside us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    VictoriaLogs,
    Clickhouse,
    /// DuckDB on the file as it came.
    Duckdb,
    /// The file compressed, and `grep`.
    Zstd,
}

/// The figures of one.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) import: Usage,
    pub(super) imported_bytes: u64,
    pub(super) settle: Usage,
    pub(super) settled_bytes: u64,
    pub(super) answers: Vec<Option<Answer>>,
    /// Of us alone.
    pub(super) verify: Option<Usage>,
    /// Of us alone: a program that is started for the question, in milliseconds.
    pub(super) started: Vec<f64>,
    /// Of us alone: the same events over the webhook.
    pub(super) webhook: Option<Webhook>,
}

/// What the webhook took: of the server, until it has ended; of time, until the last event was
/// found.
#[derive(Clone, Copy)]
pub(super) struct Webhook {
    pub(super) usage: Usage,
    /// 99 of 100 answers came sooner, in milliseconds.
    pub(super) answer_p99: f64,
}

/// What one said to a question.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// How long it took each time.
    pub(super) millis: Vec<f64>,
    /// Lines, in order.
    pub(super) answer: Vec<String>,
}

impl Answer {
    /// Reads what a script printed.
    fn read(line: &str) -> anyhow::Result<Self> {
        let printed: Value = serde_json::from_str(line)?;
        let list = |name: &str| printed.get(name).and_then(Value::as_array);
        let (millis, answer) = list("millis").zip(list("answer")).context("no answer")?;
        Ok(Answer {
            millis: millis.iter().filter_map(Value::as_f64).collect(),
            answer: answer.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }

    pub(super) fn cold(&self) -> f64 {
        self.millis.first().copied().unwrap_or_default()
    }

    /// The median of all but the first time.
    pub(super) fn warm(&self) -> f64 {
        let mut warm = self.millis.get(1..).unwrap_or_default().to_vec();
        warm.sort_by(f64::total_cmp);
        warm.get(warm.len() / 2).copied().unwrap_or_else(|| self.cold())
    }
}

/// What a peer is given.
pub(super) struct Task<'a> {
    /// A folder of its own.
    pub(super) folder: &'a Path,
    pub(super) file: &'a Path,
    /// What is asked about, as JSON.
    pub(super) literals: &'a str,
    /// One event in so many is lost on its way over the webhook; 0 for none.
    pub(super) lose: u64,
}

pub(super) fn run(peer: Peer, task: &Task<'_>) -> anyhow::Result<Figures> {
    match peer {
        Peer::VictoriaLogs => victorialogs(task),
        Peer::Clickhouse => clickhouse(task),
        Peer::Duckdb => duckdb(task),
        Peer::Zstd => zstd(task),
    }
}

/// The product: `import`, `compact`, then a server that is asked over HTTP.
pub(super) fn ours(
    record: &Record,
    task: &Task<'_>,
    corpus: corpus::Corpus,
) -> anyhow::Result<Figures> {
    let import = record.import(task.file, "default")?;
    let imported_bytes = record.settled_bytes()?;
    let (settle, _) = record.run(&["compact"])?;
    let settled_bytes = record.settled_bytes()?;
    let (found, rare) = record.search("default")?;
    ensure!(found == corpus.found, "{found} of {} requests found", corpus.found);
    let (word, _) = record.run(&["search", "body:hostPID", "--limit", "0", "-o", "name"])?;
    let started = [rare, word.wall].map(|time| 1_000.0 * time.as_secs_f64()).to_vec();
    let (verify, verified) = record.run(&["verify"])?;
    ensure!(verified.contains(&format!("read {} events", corpus.events)), "{verified}");
    let server = record.serve(&["--insecure-http"])?;
    let python = cache::python("python", &PYTHON)?;
    let mut ask = script(&python, "whodid.py");
    ask.args([&server.url, &server.read_token, RUNS, task.literals]);
    let answers = answers(&mut ask, task.folder)?;
    server.end()?;
    let webhook = webhook(record.program(), task, corpus.events)?;
    let (name, verify, webhook) = ("whodid", Some(verify), Some(webhook));
    Ok(Figures {
        name,
        import,
        imported_bytes,
        settle,
        settled_bytes,
        answers,
        verify,
        started,
        webhook,
    })
}

/// The same events in lists of 400 over TLS, into a record of their own.
fn webhook(program: &Path, task: &Task<'_>, events: u64) -> anyhow::Result<Webhook> {
    let folder = fresh(task.folder, "webhook")?;
    let record = Record::of(program.to_owned(), &folder)?;
    let server = record.serve(&[])?;
    let create = ["ingest", "token", "create", "default", "--source", "bench"];
    let (_, token) = record.run(&create)?;
    let python = cache::python("python", &PYTHON)?;
    let mut send = script(&python, "webhook.py");
    send.arg(&server.url).arg(record.authority());
    send.args([token.trim_end(), &server.read_token, &task.lose.to_string()]).arg(task.file);
    let (_, printed) = measure::run(&mut send, task.folder)?;
    print!("webhook: {printed}");
    let usage = server.end_measured()?;
    let stored = record.counts()?.get("default").copied().unwrap_or_default();
    ensure!(stored == events, "webhook: {stored} of {events} events are stored");
    fs::remove_dir_all(&folder)?;
    let printed: Value = serde_json::from_str(&printed)?;
    let number = |pointer| printed.pointer(pointer).and_then(Value::as_f64);
    let (seconds, answer_p99) =
        number("/seconds").zip(number("/answer_ms/p99")).context("webhook.py said nothing")?;
    let usage = Usage { wall: Duration::from_secs_f64(seconds), ..usage };
    Ok(Webhook { usage, answer_p99 })
}

fn clickhouse(task: &Task<'_>) -> anyhow::Result<Figures> {
    let python = cache::python("python", &PYTHON)?;
    let data = fresh(task.folder, "clickhouse")?;
    let run = |action: &str, more: &[&str]| {
        let mut command = script(&python, "clickhouse.py");
        command.arg(action).arg(&data).args(more);
        command
    };
    let file = task.file.to_string_lossy();
    let (import, imported) = measure::run(&mut run("load", &[&file]), task.folder)?;
    let (settle, settled) = measure::run(&mut run("settle", &[]), task.folder)?;
    let answers = answers(&mut run("ask", &[RUNS, task.literals]), task.folder)?;
    fs::remove_dir_all(&data)?;
    let (imported_bytes, settled_bytes) = (bytes(&imported)?, bytes(&settled)?);
    let name = "ClickHouse (chdb)";
    Ok(Figures {
        name,
        import,
        imported_bytes,
        settle,
        settled_bytes,
        answers,
        ..Figures::default()
    })
}

fn victorialogs(task: &Task<'_>) -> anyhow::Result<Figures> {
    let program = build_victorialogs()?;
    let python = cache::python("python", &PYTHON)?;
    let data = fresh(task.folder, "victorialogs")?;
    let run = |action: &str, more: &[&str]| {
        let mut command = script(&python, "victorialogs.py");
        command.arg(action).arg(&program).arg(&data).args(more);
        command
    };
    let file = task.file.to_string_lossy();
    let (import, imported) = measure::run(&mut run("load", &[&file]), task.folder)?;
    let (settle, settled) = measure::run(&mut run("settle", &[]), task.folder)?;
    let answers = answers(&mut run("ask", &[RUNS, task.literals]), task.folder)?;
    fs::remove_dir_all(&data)?;
    let (imported_bytes, settled_bytes) = (bytes(&imported)?, bytes(&settled)?);
    let name = "VictoriaLogs";
    Ok(Figures {
        name,
        import,
        imported_bytes,
        settle,
        settled_bytes,
        answers,
        ..Figures::default()
    })
}

/// Builds it by the ordinary Go client, as its module file says.
fn build_victorialogs() -> anyhow::Result<PathBuf> {
    const PACKAGE: &str = "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs";
    command::require("go", "install Go 1.26 or newer from https://go.dev/dl")?;
    let folder = cache::folder()?.join("bench");
    fs::create_dir_all(&folder)?;
    let program = folder.join("victoria-logs");
    let mut go = Command::new("go");
    go.current_dir(repository::root().join("bench/victorialogs"));
    command::run(
        go.args(["build", "-trimpath", "-mod=readonly", "-o"]).arg(&program).arg(PACKAGE),
    )?;
    Ok(program)
}

fn duckdb(task: &Task<'_>) -> anyhow::Result<Figures> {
    let python = cache::python("python", &PYTHON)?;
    let mut ask = script(&python, "json_file.py");
    // It reads the whole file for every question.
    ask.arg("ask").arg(task.file).args(["1", task.literals]);
    let settled_bytes = fs::metadata(task.file)?.len();
    let (name, answers) = ("DuckDB, JSON file", answers(&mut ask, task.folder)?);
    Ok(Figures {
        name,
        imported_bytes: settled_bytes,
        settled_bytes,
        answers,
        ..Figures::default()
    })
}

fn zstd(task: &Task<'_>) -> anyhow::Result<Figures> {
    command::require("zstd", "install the package `zstd`")?;
    let packed = task.folder.join("events.zst");
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", "-f", "-3", "-T1"]).arg(task.file).arg("-o").arg(&packed);
    let (import, _) = measure::run(&mut zstd, task.folder)?;
    let settled_bytes = fs::metadata(&packed)?.len();
    let literals: Value = serde_json::from_str(task.literals)?;
    let mut answers = vec![None; questions::COUNT];
    for (question, name) in [(5, "word"), (10, "absent"), (11, "audit_id")] {
        let word = literals.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut grep = Command::new("sh");
        // Words that it does not find are an answer, too.
        grep.args(["-c", "zstd -dcq \"$1\" | grep -ciw -e \"$2\" || true", "sh"]);
        let (usage, _) = measure::run(grep.arg(&packed).arg(word), task.folder)?;
        let millis = vec![1_000.0 * usage.wall.as_secs_f64()];
        if let Some(answer) = answers.get_mut(question) {
            // Lines, and no requests: there is nothing to compare.
            *answer = Some(Answer { millis, answer: Vec::new() });
        }
    }
    fs::remove_file(&packed)?;
    let name = "zstd -3, grep";
    Ok(Figures {
        name,
        import,
        imported_bytes: settled_bytes,
        settled_bytes,
        answers,
        ..Figures::default()
    })
}

/// What a corpus takes in VictoriaLogs once it has settled.
pub(super) fn victorialogs_bytes(file: &Path, folder: &Path) -> anyhow::Result<u64> {
    let program = build_victorialogs()?;
    let python = cache::python("python", &PYTHON)?;
    let data = fresh(folder, "victorialogs")?;
    let mut settled = String::new();
    for (action, more) in [("load", Some(file)), ("settle", None)] {
        let mut run = script(&python, "victorialogs.py");
        run.arg(action).arg(&program).arg(&data).args(more);
        (_, settled) = measure::run(&mut run, folder)?;
    }
    fs::remove_dir_all(&data)?;
    bytes(&settled)
}

pub(super) fn fresh(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let data = folder.join(name);
    if data.try_exists()? {
        fs::remove_dir_all(&data)?;
    }
    Ok(data)
}

fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(repository::root().join("bench").join(name));
    command
}

fn bytes(printed: &str) -> anyhow::Result<u64> {
    printed.trim().parse().context("a peer printed no number")
}

fn answers(ask: &mut Command, folder: &Path) -> anyhow::Result<Vec<Option<Answer>>> {
    let (_, printed) = measure::run(ask, folder)?;
    let answers = printed.lines().map(|line| Answer::read(line).map(Some));
    let answers = answers.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(answers.len() == questions::COUNT, "{} of {} answers", answers.len(), questions::COUNT);
    Ok(answers)
}
