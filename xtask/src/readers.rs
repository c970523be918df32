//! `cargo xtask readers`, and a part of the tests: DuckDB and Spark read the Delta tables of a
//! record, of several segments, some of them compacted, and answer as `whodid sql` does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::command::{self, Missing};
use crate::product::Record;
use crate::{cache, corpus, repository};

/// DuckDB's extension has to be of its own version, Spark's jars of one that fits.
const PACKAGES: [&str; 4] =
    ["duckdb==1.5.5", "duckdb-extension-delta==1.5.5", "pyspark==3.5.8", "py4j==0.10.9.9"];

/// Jars of Maven Central: where, and their SHA-256.
const JARS: [(&str, &str); 2] = [
    (
        "io/delta/delta-spark_2.12/3.3.2/delta-spark_2.12-3.3.2.jar",
        "4e92085d5d794cf949c50bb665b91384857cad58680c2d0bfc9c7ad353e98e85",
    ),
    (
        "io/delta/delta-storage/3.3.2/delta-storage-3.3.2.jar",
        "c096975a2ca97ccc9b4005aa5cce16c9ac3903139d340da6665b66ace67d7c36",
    ),
];

const MAVEN: &str = "https://repo1.maven.org/maven2";

/// Events of each import, and where they go: after the second, what is there is compacted.
const IMPORTS: [(&str, u64); 3] = [("a", 20_000), ("a", 10_000), ("b", 10_000)];

/// Fewer answers would mean that nothing was compared.
const ANSWERS_MIN: usize = 24;

/// Have others read the tables of a record.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// The negative control: one row is hidden from each reader. It has to end in red.
    #[arg(long = "break")]
    is_broken: bool,
    /// The program to test, instead of one that is built.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    command::require("java", "install Java 17, for example the package default-jre-headless")?;
    let python = cache::python("readers-python", &PACKAGES)?;
    let jars = jars(&python)?;
    let program = args.program.clone().map_or_else(Record::build, Ok)?;
    let folder = cache::folder()?.join("readers");
    let record = Record::of(program, &folder)?;
    for (number, (cluster, events)) in IMPORTS.into_iter().enumerate() {
        let file = folder.join("events.jsonl");
        corpus::write(&file, number as u64 + 1, events, false)?;
        record.import(&file, cluster)?;
        if number == 1 {
            record.run(&["compact"])?;
        }
    }
    let script = repository::root().join("testbed/readers/readers.py");
    let mut faults = Vec::new();
    let mut compared = 0;
    let mut own = BTreeMap::new();
    for reader in ["duckdb", "spark"] {
        let mut command = Command::new(&python);
        command.arg("-B").arg(&script).arg(reader).arg(record.tables()).env("JARS", &jars);
        command.args(args.is_broken.then_some("--hide"));
        for line in command::output(&mut command)?.lines() {
            let answer: Value = serde_json::from_str(line)?;
            let text = |name| answer.get(name).and_then(Value::as_str).map(str::to_owned);
            let question = text("question").context("no question")?;
            let sql = text("sql").context("no statement")?;
            if !own.contains_key(&question) {
                own.insert(question.clone(), ours(&record, &sql)?);
            }
            let theirs = rows(answer.get("answer"));
            compared += 1;
            if own.get(&question) != Some(&theirs) {
                faults.push(format!("{reader}, {question}: {theirs:?}, ours: {own:?}"));
            }
        }
    }
    println!("{compared} answers of DuckDB and Spark compared, {} differ", faults.len());
    ensure!(compared >= ANSWERS_MIN, "only {compared} answers");
    let events: u64 = IMPORTS.iter().map(|(_, events)| events).sum();
    ensure!(own.get("events") == Some(&vec![vec![events.to_string()]]), "{:?}", own.get("events"));
    ensure!(faults.is_empty(), "{} answers differ, the first: {}", faults.len(), faults.join("\n"));
    Ok(())
}

/// What `whodid sql` answers.
fn ours(record: &Record, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let (_, printed) = record.run(&["sql", sql, "--limit", "0", "-o", "csv"])?;
    // The first line has the names of the columns.
    let rows = printed.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect());
    let mut rows: Vec<Vec<String>> = rows.collect();
    rows.sort();
    Ok(rows)
}

/// The rows of an answer, in an order that does not depend on where nothing stands.
fn rows(answer: Option<&Value>) -> Vec<Vec<String>> {
    let cell = |cell: &Value| match cell.as_str() {
        None | Some("None") => String::new(),
        Some(text) => text.to_owned(),
    };
    let row = |row: &Value| row.as_array().into_iter().flatten().map(cell).collect();
    let rows = answer.and_then(Value::as_array);
    let mut rows: Vec<Vec<String>> = rows.into_iter().flatten().map(row).collect();
    rows.sort();
    rows
}

/// The jars in the cache, with colons between.
fn jars(python: &Path) -> anyhow::Result<String> {
    let folder = cache::folder()?.join("jars");
    fs::create_dir_all(&folder)?;
    let mut paths = Vec::new();
    for (path, sum) in JARS {
        let file = folder.join(path.rsplit('/').next().unwrap_or(path));
        if !is_it(&file, sum) {
            let mut fetch = Command::new(python);
            let program =
                "import sys, urllib.request as r; r.urlretrieve(sys.argv[1], sys.argv[2])";
            fetch.args(["-c", program, &format!("{MAVEN}/{path}")]).arg(&file);
            command::run(&mut fetch).map_err(|error| Missing(format!("{path}: {error:#}")))?;
            ensure!(is_it(&file, sum), "{path} is not the file that it was");
        }
        paths.push(file.to_str().context("the folder's name is no text")?.to_owned());
    }
    Ok(paths.join(":"))
}

fn is_it(file: &Path, sum: &str) -> bool {
    let hex = |bytes: Vec<u8>| -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    fs::read(file).is_ok_and(|bytes| hex(bytes) == sum)
}
