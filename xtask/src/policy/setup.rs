//! `whodid init generic`, whose output starts an API server as it is: from the command to the first
//! event that can be searched; then `whodid policy mode investigation`, whose policy is in force
//! after the switch and a restart, and not before.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Place;
use crate::command;
use crate::product::Record;
use crate::testbed::{Options, Testbed};

/// The first event can be searched this long after the command.
const FIRST_MAX: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(200);

/// Events of so long are held against a policy, and none of another may be among them.
const QUIET: Duration = Duration::from_secs(6);

pub(super) fn run(place: &Place) -> anyhow::Result<()> {
    let folder = place.folder.join("init");
    let record = Record::of(place.program.clone(), &folder)?;
    let server = record.serve(&[])?;
    let out = folder.join("setup");
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a path");
    let (out_text, log) = (text(&out)?, text(&folder.join("log"))?);
    let begin = Instant::now();
    record.run(&[
        "init",
        "generic",
        "--cluster",
        "new",
        "--url",
        &server.url,
        "--out",
        &out_text,
        "--host-dir",
        &out_text,
        "--log-dir",
        &log,
    ])?;
    let flags = fs::read_to_string(out.join("flags.txt"))?;
    let flags: Vec<&str> = flags.lines().collect();
    let testbed = start(place, &folder.join("testbed"), &flags)?;
    let first = wait_for_more(&record, 0)?;
    let took = begin.elapsed();
    println!("init: the first event could be searched {:.1} s after it", took.as_secs_f64());
    let (_, found) = record.run(&["search", "cluster:new", "--limit", "1", "-o", "name"])?;
    ensure!(found.starts_with("event/new/"), "{found}");
    let (_, healthy) = record.run(&["doctor", "--cluster", "new"])?;
    println!("{healthy}");
    testbed.stop()?;
    ensure!(took < FIRST_MAX, "that took too long");
    let is_investigated = || agrees(&record, "investigation");
    ensure!(!is_investigated()?, "{first} events of a daily policy look like an investigation's");

    let switch = folder.join("switch");
    let switch_text = text(&switch)?;
    let mode = ["policy", "mode", "investigation", "--cluster", "new", "--for", "1h"];
    let place_of = ["--reason", "a test", "--host-dir", &out_text, "--out", &switch_text];
    record.run(&[&mode[..], &place_of].concat())?;
    let mut script = Command::new("sh");
    // Of this machine's systemd, nothing is to be asked.
    let idle = folder.join("idle");
    fs::create_dir(&idle)?;
    std::os::unix::fs::symlink("/bin/true", idle.join("systemd-run"))?;
    let path = format!("{}:/usr/bin:/bin", text(&idle)?);
    script.arg(switch.join("switch.sh")).arg("investigation").env("PATH", path);
    print!("{}", command::output(&mut script)?);
    // What was recorded before would agree with another policy.
    std::thread::sleep(QUIET);
    let before = count(&record)?;
    let testbed = start(place, &folder.join("switched"), &flags)?;
    let after = wait_for_more(&record, before)?;
    ensure!(is_investigated()?, "the policy of the investigation is not in force");
    println!("mode: {} events of the last seconds are the investigation's", after - before);
    testbed.stop()?;
    server.end()
}

/// Starts a control plane with an API server of these flags.
fn start(place: &Place, folder: &Path, flags: &[&str]) -> anyhow::Result<Testbed> {
    Testbed::start(&Options {
        programs: &place.programs,
        folder,
        api_servers: 1,
        audit_policies: &[],
        audit_log: None,
        webhook: None,
        api_server_args: flags,
    })
}

fn count(record: &Record) -> anyhow::Result<u64> {
    Ok(record.counts()?.get("new").copied().unwrap_or(0))
}

/// Waits for more events than there were; returns how many there are then.
fn wait_for_more(record: &Record, before: u64) -> anyhow::Result<u64> {
    let begin = Instant::now();
    loop {
        let now = count(record)?;
        if now > before {
            return Ok(now);
        }
        ensure!(begin.elapsed() < FIRST_MAX, "nothing came within {} s", FIRST_MAX.as_secs());
        std::thread::sleep(INTERVAL);
    }
}

/// Whether all events of the last seconds are as a profile would have recorded them.
fn agrees(record: &Record, profile: &str) -> anyhow::Result<bool> {
    let since = format!("{}s", QUIET.as_secs());
    // It ends with 1 if no policy that it knows agrees.
    let status =
        record.try_run(&["policy", "mode", "status", "--cluster", "new", "--since", &since])?;
    let line = status.lines().find(|line| line.starts_with(profile));
    let words: Vec<&str> = line.context("no line of that profile")?.split_whitespace().collect();
    println!("{}", words.join(" "));
    Ok(matches!(words.as_slice(), [_, agreeing, "of", all, ..] if agreeing == all))
}
