//! One run: servers of the product, a testbed that logs to a file and sends to a webhook at once,
//! the script, and everything read back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use whodid_tlog::Verifier;

use super::kept::{self, Run, SetUp};
use super::perform::{self, Stage};
use crate::oracles::{self, fsck};
use crate::product::{Record, Server};
use crate::repository;
use crate::testbed::{Options, Testbed};

/// The clusters that the two ways of the same events are given.
pub(super) const FILE: &str = "file";
pub(super) const HOOK: &str = "hook";

/// The log goes on in a new file after one megabyte: several times in a run that records all.
const LOG_MAX: &str = "--audit-log-maxsize=1";

/// A log of a run has more leaves than this.
const LEAVES_MIN: u64 = 1_000;

/// Everything is stored this long after the API server has ended, or never.
const SETTLE_MAX: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(100);

/// Of a run, what took how long, in order.
pub(super) type Times = Vec<(&'static str, Duration)>;

/// Programs and folders of a run.
pub(super) struct Place {
    pub(super) testbed: PathBuf,
    pub(super) product: PathBuf,
    pub(super) folder: PathBuf,
}

/// The product as it is started for a run.
struct Product {
    record: Record,
    server: Server,
}

impl Product {
    /// Starts a server that follows the log.
    fn start(place: &Place, name: &str, log: &Path, redaction: &str) -> anyhow::Result<Product> {
        let record = Record::of(place.product.clone(), &place.folder.join(name))?;
        let tail = format!("{FILE}={}", log.display());
        let server = record.serve(&["--tail", &tail, "--redaction", redaction])?;
        Ok(Product { record, server })
    }

    fn status(&self) -> anyhow::Result<Value> {
        let (_, printed) = self.record.run(&["ingest", "status", "-o", "json"])?;
        Ok(serde_json::from_str(&printed)?)
    }

    /// Waits until so many events of each cluster are there; what is missing then, judges see.
    fn settle(&self, clusters: &[&str], events: u64) -> anyhow::Result<Value> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let status = self.status()?;
            let is_settled = |cluster: &&str| kept::counted(&status, cluster, "events") >= events;
            if clusters.iter().all(is_settled) || Instant::now() > deadline {
                return Ok(status);
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Every event of a cluster, of every stage and whether or not it is a duplicate.
    fn search(&self, cluster: &str, format: &str) -> anyhow::Result<Vec<String>> {
        let query = ["search", "stage:*", "duplicate:*", "--cluster", cluster];
        let (_, printed) =
            self.record.run(&[&query, &["--limit", "0", "-o", format][..]].concat())?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// Has the logs of both clusters read by a program that others wrote.
    fn read_as_log(&self, place: &Place) -> anyhow::Result<()> {
        let fsck = oracles::build_fsck()?;
        let (_, policy) = self.record.run(&["ledger", "policy"])?;
        let keys = policy.lines().filter_map(|line| line.strip_prefix("log "));
        let keys: Vec<Verifier> = keys.map(Verifier::parse).collect::<Result<_, _>>()?;
        for cluster in [FILE, HOOK] {
            let key = keys.iter().find(|key| key.name().ends_with(&format!("/{cluster}")));
            let key = key.with_context(|| format!("there is no key of {cluster}"))?;
            let out = place.folder.join(format!("{cluster}-tiles"));
            let path = out.to_str().context("the folder's name is no text")?;
            let args = ["--layout", "tlog-tiles", "--cluster", cluster, "--out", path];
            self.record.run(&[&["export"][..], &args].concat())?;
            let size = fsck::read(&fsck, &out, key)?;
            ensure!(size >= LEAVES_MIN, "the log of {cluster} has only {size} leaves");
            println!("fsck: the log of {cluster} read, {size} leaves");
        }
        Ok(())
    }

    fn events(&self, cluster: &str) -> anyhow::Result<Vec<Value>> {
        let lines = self.search(cluster, "jsonl")?;
        Ok(lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?)
    }
}

/// Runs a set-up from nothing.
pub(super) fn run(place: &Place, set_up: SetUp) -> anyhow::Result<(Run, Times)> {
    if place.folder.try_exists()? {
        fs::remove_dir_all(&place.folder)?;
    }
    let logs = place.folder.join("log");
    fs::create_dir_all(&logs)?;
    let mut watch = Watch::new();
    let log = logs.join("audit.log");
    let product = Product::start(place, "product", &log, set_up.redaction)?;
    // Where something is taken out, a second server shows that nothing else is different.
    let is_plain = set_up.redaction == "off";
    let plain = (!is_plain).then(|| Product::start(place, "plain", &log, "off")).transpose()?;
    let webhook = webhook(place, &product)?;
    watch.took("servers");
    let testbed = start(place, set_up, &log, &webhook)?;
    watch.took("testbed");
    let stage = Stage { testbed: &testbed, folder: place.folder.join("work"), logs: logs.clone() };
    let mut acts = stage.perform()?;
    watch.took("acts");
    let (scraping, scrapes) = stage.scrape()?;
    acts.extend(scraping);
    testbed.stop()?;
    watch.took("stop");
    let logged = perform::logged(&logs)?;
    let count = u64::try_from(logged.len())?;
    let status = product.settle(&[FILE, HOOK], count)?;
    let plain_status = plain.as_ref().map(|plain| plain.settle(&[FILE], count)).transpose()?;
    watch.took("settle");
    let run = Run {
        set_up,
        acts,
        scrapes,
        logged,
        log_files: u64::try_from(perform::log_files(&logs)?.len())?,
        file: product.search(FILE, "raw")?,
        hook: product.search(HOOK, "raw")?,
        plain: plain.as_ref().map(|plain| plain.search(FILE, "raw")).transpose()?,
        file_events: product.events(FILE)?,
        hook_events: product.events(HOOK)?,
        status,
        plain_status: plain_status.unwrap_or_default(),
    };
    product.read_as_log(place)?;
    product.server.end()?;
    plain.map(|plain| plain.server.end()).transpose()?;
    watch.took("reading");
    Ok((run, watch.0))
}

fn start(place: &Place, set_up: SetUp, log: &Path, webhook: &Path) -> anyhow::Result<Testbed> {
    let policy = format!("testdata/policies/{}.yaml", set_up.name);
    Testbed::start(&Options {
        programs: &place.testbed,
        folder: &place.folder.join("testbed"),
        api_servers: 1,
        audit_policies: &[repository::root().join(policy)],
        audit_log: Some(log),
        webhook: Some(webhook),
        api_server_args: &["--audit-webhook-batch-max-wait=1s", LOG_MAX],
    })
}

/// Writes the kubeconfig with which the API server finds the product. JSON is YAML.
fn webhook(place: &Place, product: &Product) -> anyhow::Result<PathBuf> {
    let (_, token) =
        product.record.run(&["ingest", "token", "create", HOOK, "--source", "cp-1"])?;
    let authority = product.record.authority();
    let authority = authority.to_str().context("the folder's name is no text")?;
    let server = format!("{}/ingest/{HOOK}", product.server.url);
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "whodid",
            "cluster": { "server": server, "certificate-authority": authority },
        }],
        "users": [{ "name": "cp-1", "user": { "token": token.trim_end() } }],
        "contexts": [{ "name": "whodid", "context": { "cluster": "whodid", "user": "cp-1" } }],
        "current-context": "whodid",
    });
    let path = place.folder.join("webhook.kubeconfig");
    fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}

/// Measures what follows what.
pub(super) struct Watch(Times, Instant);

impl Watch {
    pub(super) fn new() -> Watch {
        Watch(Vec::new(), Instant::now())
    }

    fn took(&mut self, what: &'static str) {
        self.0.push((what, self.1.elapsed()));
        self.1 = Instant::now();
    }
}
