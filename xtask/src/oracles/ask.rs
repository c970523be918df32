//! Asking a program: requests go in as lines, verdicts come out as lines, in the same order.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use serde_json::Value;

use super::cases::Case;
use super::judge::Verdict;
use super::log::Keys;
use crate::command;

/// Longer than any program takes for all that it is asked.
const LIMIT: Duration = Duration::from_mins(10);

/// Asks about each case, and hands on what is said.
pub(super) fn ask<'c>(
    mut program: Command,
    keys: &Keys,
    cases: impl Iterator<Item = &'c Case> + Clone + Send,
    take: impl FnMut(&Case, Vec<Verdict>),
) -> anyhow::Result<()> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command::grouped(&mut program)?;
    let input = child.stdin.take().context("no stdin")?;
    let output = child.stdout.take().context("no stdout")?;
    let requests = cases.clone().map(|case| case.request.json(keys));
    let converse = || {
        thread::scope(|scope| {
            let writer = scope.spawn(move || write(input, requests));
            let read = read(output, cases, take);
            let written = writer.join().map_err(|_| anyhow!("the writer has panicked"))?;
            // That it stopped listening says less than what it said last.
            read.and(written.context("a request could not be written"))
        })
    };
    let (conversed, status) = command::watched(&program, child.id(), LIMIT, || {
        let conversed = converse();
        Ok((conversed, child.wait()?))
    })?;
    conversed.with_context(|| command::shown(&program))?;
    ensure!(status.success(), "{} failed: {status}", command::shown(&program));
    Ok(())
}

fn write(input: impl Write, requests: impl Iterator<Item = String>) -> io::Result<()> {
    let mut input = BufWriter::new(input);
    for request in requests {
        writeln!(input, "{request}")?;
    }
    input.flush()
}

fn read<'c>(
    output: impl Read,
    cases: impl Iterator<Item = &'c Case>,
    mut take: impl FnMut(&Case, Vec<Verdict>),
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(output).lines();
    for case in cases {
        let line = lines.next().with_context(|| format!("no answer about {case}"))??;
        let verdicts = verdicts(&line).with_context(|| format!("no verdicts: {line}"))?;
        take(case, verdicts);
    }
    ensure!(lines.next().is_none(), "more answers than questions");
    Ok(())
}

/// Reads `{"verdicts":[{"oracle":"...","accepted":true}]}`.
fn verdicts(line: &str) -> Option<Vec<Verdict>> {
    let answer: Value = serde_json::from_str(line).ok()?;
    let verdict = |verdict: &Value| {
        Some(Verdict {
            oracle: verdict.get("oracle")?.as_str()?.to_owned(),
            accepted: verdict.get("accepted")?.as_bool()?,
            why: verdict.get("why").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
    };
    answer.get("verdicts")?.as_array()?.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_no_verdict() {
        let good = r#"{"verdicts":[{"oracle":"a","accepted":false,"why":"no"}]}"#;
        let read = verdicts(good).unwrap();
        assert_eq!((&*read[0].oracle, read[0].accepted, &*read[0].why), ("a", false, "no"));
        for bad in ["", "{}", r#"{"verdicts":[{"oracle":"a"}]}"#, r#"{"verdicts":7}"#] {
            assert!(verdicts(bad).is_none(), "{bad}");
        }
    }
}
