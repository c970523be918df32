//! `whodid init generic`, whose output starts an API server as it is: from the command to the first
//! event that can be searched.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Place;
use crate::product::Record;
use crate::testbed::{Options, Testbed};

/// The first event can be searched this long after the command.
const FIRST_MAX: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(200);

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
    let testbed = Testbed::start(&Options {
        programs: &place.programs,
        folder: &folder.join("testbed"),
        api_servers: 1,
        audit_policies: &[],
        audit_log: None,
        webhook: None,
        api_server_args: &flags,
    })?;
    let first = loop {
        let (_, status) = record.run(&["ingest", "status", "-o", "json"])?;
        if status.contains("\"new\"") {
            let (_, found) =
                record.run(&["search", "cluster:new", "--limit", "1", "-o", "name"])?;
            ensure!(found.starts_with("event/new/"), "{found}");
            break begin.elapsed();
        }
        ensure!(begin.elapsed() < FIRST_MAX, "nothing came within {} s", FIRST_MAX.as_secs());
        std::thread::sleep(INTERVAL);
    };
    println!("init: the first event could be searched {:.1} s after it", first.as_secs_f64());
    let (_, healthy) = record.run(&["doctor", "--cluster", "new"])?;
    println!("{healthy}");
    testbed.stop()?;
    server.end()?;
    ensure!(first < FIRST_MAX, "that took too long");
    Ok(())
}
