//! `cargo xtask load`: a server under the load of API servers and readers, and then under more than
//! it can take. It fails if an answer, a refusal or an event comes too late, if memory grows, or if
//! anything is missing. The load itself is `crates/api/examples/load`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::calibration::Calibration;
use crate::product::Record;
use crate::{cache, command, corpus};

/// The calibration works on so many events.
const SAMPLE_EVENTS: u64 = 10_000;

/// Put a server under load and judge how soon it answers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the steady load lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Events in a second, in bodies of 400.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Events in a second, in bodies of one.
    #[arg(long, default_value_t = 5_000)]
    singles_rate: u64,
    /// Readers that follow the record, each with a query of its own.
    #[arg(long, default_value_t = 20)]
    tails: usize,
    /// 99 of 100 answers have to be there within so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    require_answer_ms: f64,
    /// 99 of 100 events have to be in a tail so many milliseconds after their answer.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    require_visible_ms: f64,
    /// What is refused has to be refused within so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    require_refusal_ms: f64,
    /// Resident memory of the server under steady load.
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    require_resident_mib: u64,
    /// Resident memory of the server under overload.
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    require_overload_mib: u64,
    /// Only this: batches, singles or overload.
    #[arg(long)]
    only: Option<String>,
    /// The negative control: one event in 10,000 is lost on the way. It has to end in red.
    #[arg(long = "break")]
    is_broken: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = cache::folder()?.join("load");
    let build = ["build", "--release", "--locked", "--workspace", "--example", "load"];
    command::run(command::cargo().args(build))?;
    let mut faults = Vec::new();
    for mode in ["batches", "singles", "overload"] {
        if args.only.as_deref().is_none_or(|only| only == mode) {
            let found = measure(args, mode, &folder).with_context(|| mode.to_owned())?;
            faults.extend(found.into_iter().map(|fault| format!("{mode}: {fault}")));
        }
    }
    std::fs::remove_dir_all(&folder)?;
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Runs one load; returns what was not as it has to be.
fn measure(args: &Args, mode: &str, folder: &Path) -> anyhow::Result<Vec<String>> {
    let record = Record::fresh(folder)?;
    let sample = folder.join("sample.jsonl");
    corpus::write(&sample, 1, SAMPLE_EVENTS, false)?;
    println!("\n{mode}; {}", Calibration::measure(&sample, folder)?);
    let server = record.serve(&[])?;
    let (_, token) = record.run(&["ingest", "token", "create", "load", "--source", "load"])?;
    let rate = if mode == "singles" { args.singles_rate } else { args.rate };
    let mut load = Command::new(std::env::current_exe()?.with_file_name("examples").join("load"));
    load.args(["--url", &server.url, "--token", token.trim_end(), "--mode", mode])
        .args(["--read-token", &server.read_token])
        .args(["--seconds", &args.seconds.to_string(), "--rate", &rate.to_string()])
        .args(["--tails", &args.tails.to_string()])
        .arg("--ca")
        .arg(record.authority());
    if args.is_broken {
        load.arg("--lose");
    }
    let printed = command::output(&mut load)?;
    let peak_mib = server.peak_bytes()? >> 20;
    println!("{printed}resident: {peak_mib} MiB at most");
    server.end()?;
    let figures: Value = serde_json::from_str(&printed)?;
    let stored = record.counts()?.get("load").copied().unwrap_or_default();
    Ok(judge(args, mode, &figures, peak_mib, stored))
}

fn judge(args: &Args, mode: &str, figures: &Value, peak_mib: u64, stored: u64) -> Vec<String> {
    let mut faults = Vec::new();
    let number = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64);
    // What is not there is too much.
    let mut at_most = |what: &str, pointer: &str, most: f64| {
        let found = number(pointer).unwrap_or(f64::INFINITY);
        if found > most {
            faults.push(format!("{what}: {found}, at most {most} is asked for"));
        }
    };
    let memory = if mode == "overload" {
        at_most("slowest refusal, ms", "/refused_ms/max", args.require_refusal_ms);
        args.require_overload_mib
    } else {
        at_most("99 % of answers, ms", "/answer_ms/p99", args.require_answer_ms);
        at_most("99 % of events visible, ms", "/visible_ms/p99", args.require_visible_ms);
        args.require_resident_mib
    };
    if peak_mib > memory {
        faults.push(format!("{peak_mib} MiB resident, at most {memory} are asked for"));
    }
    for wrong in figures.get("wrong_tails").and_then(Value::as_array).into_iter().flatten() {
        faults.push(format!("a tail: {wrong}"));
    }
    let sent = figures.get("events").and_then(Value::as_u64).unwrap_or_default();
    if stored != sent || sent == 0 {
        faults.push(format!("{stored} events stored, {sent} sent"));
    }
    if number("/delivered") != number("/senders") {
        faults.push("not every sender could deliver".into());
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args() -> Args {
        Args {
            seconds: 1,
            rate: 1,
            singles_rate: 1,
            tails: 1,
            require_answer_ms: 50.0,
            require_visible_ms: 100.0,
            require_refusal_ms: 100.0,
            require_resident_mib: 512,
            require_overload_mib: 1_024,
            only: None,
            is_broken: false,
        }
    }

    #[test]
    fn whatever_is_not_as_it_has_to_be_is_named() {
        let good = json!({
            "events": 7, "answer_ms": { "p99": 49.9 }, "visible_ms": { "p99": 100.0 },
            "wrong_tails": [],
        });
        assert!(judge(&args(), "batches", &good, 512, 7).is_empty());
        let slow = json!({
            "events": 7, "answer_ms": { "p99": 50.1 }, "wrong_tails": ["\"verb:get\" showed 1 of 2"],
        });
        let faults = judge(&args(), "singles", &slow, 513, 6);
        assert_eq!(faults.len(), 5, "{faults:#?}");
        let refused = json!({
            "events": 7, "senders": 2, "delivered": 2, "refused_ms": { "max": 99.0 },
        });
        assert!(judge(&args(), "overload", &refused, 1_000, 7).is_empty());
        let none = json!({ "events": 7, "senders": 2, "delivered": 1, "refused_ms": {} });
        assert_eq!(judge(&args(), "overload", &none, 1_000, 7).len(), 2);
    }
}
