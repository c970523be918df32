//! `cargo xtask test`: every part in order, none left out because an earlier one failed, and a
//! table at the end.

use std::process::ExitCode;
use std::time::Instant;

use clap::builder::PossibleValuesParser;

use crate::command::Missing;
use crate::testbed::build::MINORS;
use crate::{e2e, oracles, policy, readers};

mod deny;
mod fmt;
mod fuzzing;
mod layers;
mod lint;
mod once;
mod testbed;
mod tidy;
mod tools;
mod unit;
mod vectors;
mod wasm;

struct Part {
    name: &'static str,
    run: fn(&Args) -> anyhow::Result<()>,
}

const PARTS: [Part; 16] = [
    Part { name: "fmt", run: |_| fmt::run() },
    Part { name: "tidy", run: |_| tidy::run() },
    Part { name: "layers", run: |_| layers::run() },
    Part { name: "lint", run: |_| lint::run() },
    Part { name: "deny", run: |_| deny::run() },
    Part { name: "vectors", run: |_| vectors::run() },
    Part { name: "wasm", run: |_| wasm::run() },
    Part { name: "fuzzing", run: |_| fuzzing::run() },
    Part { name: "oracles", run: |_| oracles::run(&oracles::Args::default()) },
    Part { name: "tools", run: |_| tools::run() },
    Part { name: "unit", run: |_| unit::run() },
    Part { name: "readers", run: |_| readers::run(&readers::Args::default()) },
    Part { name: "testbed", run: |args| testbed::run(&args.kubernetes) },
    Part { name: "e2e", run: |args| e2e::run(&e2e::Args::of(&args.kubernetes)) },
    Part { name: "setup", run: |_| policy::run(&policy::Args::init()) },
    Part { name: "once", run: |_| once::run() },
];

/// Run everything that has to be green before a commit.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where a part cannot run because a tool is missing, skip it instead of failing.
    #[arg(long, value_name = "PART", value_parser = names())]
    allow_skip: Vec<String>,
    /// Run only this part.
    #[arg(long, value_name = "PART", value_parser = names())]
    only: Vec<String>,
    /// The release of Kubernetes that the end-to-end test runs.
    #[arg(long, value_name = "MINOR", default_value = MINORS[0],
          value_parser = PossibleValuesParser::new(MINORS))]
    kubernetes: String,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(PARTS.map(|part| part.name))
}

/// How a part ended.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Outcome {
    fn of(result: anyhow::Result<()>, may_skip: bool) -> Outcome {
        match result {
            Ok(()) => Outcome::Passed,
            Err(error) if may_skip && error.is::<Missing>() => {
                Outcome::Skipped(format!("{error:#}"))
            }
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }
}

/// What the table says about a part.
struct Row {
    name: &'static str,
    outcome: Outcome,
    seconds: f64,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let is_wanted = |part: &&Part| args.only.is_empty() || args.only.iter().any(|n| n == part.name);
    let mut rows = Vec::new();
    for part in PARTS.iter().filter(is_wanted) {
        println!("==> {}", part.name);
        let begin = Instant::now();
        let result = (part.run)(args);
        let outcome = Outcome::of(result, args.allow_skip.iter().any(|name| name == part.name));
        rows.push(Row { name: part.name, outcome, seconds: begin.elapsed().as_secs_f64() });
    }
    println!("\n{}", table(&rows));
    let is_red = rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)));
    if is_red { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The table, a line for everything that is not green, and the counts as the last line.
fn table(rows: &[Row]) -> String {
    let mut lines = vec!["part     result  seconds".to_owned()];
    let mut reasons = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for Row { name, outcome, seconds } in rows {
        let (count, result, reason) = match outcome {
            Outcome::Passed => (&mut passed, "passed", None),
            Outcome::Failed(reason) => (&mut failed, "FAILED", Some(reason)),
            Outcome::Skipped(reason) => (&mut skipped, "skipped", Some(reason)),
        };
        *count += 1;
        lines.push(format!("{name:8} {result:7} {seconds:7.1}"));
        reasons.extend(reason.map(|reason| format!("{name}: {reason}")));
    }
    lines.append(&mut reasons);
    let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
    lines.push(format!("{passed} passed, {failed} failed{skipped}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_may_be_skipped() {
        let missing = || Err(Missing("`x` is not installed".into()).into());
        let broken = || Err(anyhow::anyhow!("3 findings"));
        assert!(matches!(Outcome::of(missing(), true), Outcome::Skipped(_)));
        assert!(matches!(Outcome::of(missing(), false), Outcome::Failed(_)));
        assert!(matches!(Outcome::of(broken(), true), Outcome::Failed(_)));
        assert!(matches!(Outcome::of(Ok(()), true), Outcome::Passed));
    }

    #[test]
    fn the_table_ends_with_the_counts() {
        let row = |name, outcome| Row { name, outcome, seconds: 1.25 };
        let rows = [
            row("fmt", Outcome::Passed),
            row("tidy", Outcome::Failed("3 findings".into())),
            row("deny", Outcome::Skipped("no network".into())),
        ];
        let expected = "part     result  seconds\n\
                        fmt      passed      1.2\n\
                        tidy     FAILED      1.2\n\
                        deny     skipped     1.2\n\
                        tidy: 3 findings\n\
                        deny: no network\n\
                        1 passed, 1 failed, 1 skipped";
        assert_eq!(table(&rows), expected);
        assert!(table(&rows[..1]).ends_with("\n1 passed, 0 failed"));
    }
}
