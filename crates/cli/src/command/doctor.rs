//! `whodid doctor`: whether everything that happens arrives. Each check passes, fails with what to
//! do, or says that it could not be made. What flags mean is `flags`', what metrics say `metrics`'.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use whodid_engine::sql::{Limits, sql, texts};
use whodid_engine::{Cache, ClusterStatus};
use whodid_policy::Flags;
use whodid_store::{Reader, Snapshot};

use super::{now, open, policy};
use crate::args::{DoctorArgs, PolicyFormat};
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{cell, duration, pretty, print, sentence};

mod flags;
mod metrics;

use metrics::Metrics;

/// A source that is silent for so long has most likely stopped: nodes and controllers never rest.
const SILENCE_MAX: i64 = 5 * 60;

/// Clocks may differ by so much, in seconds.
const SKEW_MAX: f64 = 2.0;

/// Events older than this when they arrive were waiting somewhere, in seconds.
const DELAY_MAX: f64 = 60.0;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    Fail,
    NotKnown,
}

/// A check, and what to do if it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    pub what: String,
    pub fix: Option<String>,
}

impl Check {
    pub fn pass(name: &'static str, what: impl Into<String>) -> Check {
        Check { name, outcome: Outcome::Pass, what: what.into(), fix: None }
    }

    pub fn fail(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, outcome: Outcome::Fail, what: what.into(), fix: Some(fix.into()) }
    }

    pub fn unknown(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check { name, outcome: Outcome::NotKnown, what: what.into(), fix: Some(fix.into()) }
    }
}

pub async fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let mut checks = vec![server(args)];
    let engine = open(&args.store).await?;
    let is_wanted =
        |found: &ClusterStatus| args.cluster.as_ref().is_none_or(|name| *name == found.cluster);
    let sources: Vec<ClusterStatus> =
        engine.status().await?.into_iter().filter(is_wanted).collect();
    checks.push(arriving(&sources));
    let snapshot = engine.snapshot();
    checks.extend(clocks(snapshot, args).await?);
    checks.extend(raw(snapshot, args).await?);
    checks.push(in_force(args).await?);
    checks.push(mode(args)?);
    let metrics = args.metrics.as_deref().map(read).transpose()?;
    let metrics = metrics.as_deref().map(Metrics::parse);
    let stored = sources.iter().map(|source| source.events - source.duplicates).sum();
    checks.extend(metrics::checks(metrics.as_ref(), stored));
    let found = args.flags.as_deref().map(read).transpose()?.map(|text| Flags::find(&text));
    let largest = largest(snapshot, args).await?;
    let version = args.version.kubernetes_version;
    checks.extend(flags::checks(found.as_ref(), largest, version));
    checks.push(flags::outage(found.as_ref(), args.log_dir.as_deref(), version));
    print(&match args.output {
        PolicyFormat::Text => text(&checks),
        PolicyFormat::Json => pretty(&json!({"checks": checks.iter().map(|check| json!({
            "name": check.name,
            "outcome": name(check.outcome),
            "what": check.what,
            "fix": check.fix,
        })).collect::<Vec<_>>()})),
    })?;
    match checks.iter().filter(|check| check.outcome == Outcome::Fail).count() {
        0 => Ok(()),
        1 => Err(Failure::Refuted("1 check failed".into())),
        count => Err(Failure::Refuted(format!("{count} checks failed"))),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "FAIL",
        Outcome::NotKnown => "not known",
    }
}

fn text(checks: &[Check]) -> String {
    let mut table = Table::new(["CHECK", "RESULT", "WHAT"].map(str::to_owned));
    for check in checks {
        let row = [check.name, name(check.outcome)].map(str::to_owned);
        table.row(row.into_iter().chain([sentence(&check.what)]).collect());
    }
    let mut text = table.print(true);
    let fixes = checks.iter().filter(|check| check.outcome != Outcome::Pass);
    for (check, fix) in fixes.filter_map(|check| Some((check, check.fix.as_ref()?))) {
        text.push_str(&format!("\n{}: {}\n", check.name, sentence(fix)));
    }
    text
}

fn server(args: &DoctorArgs) -> Check {
    let dir = args.store.dir();
    let socket = dir.join("whodid.sock");
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        return Check::pass("server", format!("one writes to {}", dir.display()));
    }
    let what = format!("none writes to {}", dir.display());
    let fix = format!("start it: `whodid serve --data-dir {}`", dir.display());
    Check::fail("server", what, fix)
}

/// Whether every source still sends.
fn arriving(sources: &[ClusterStatus]) -> Check {
    const NAME: &str = "arriving";
    let live = sources.iter().filter(|source| !source.source.starts_with("import/"));
    let age = |source: &ClusterStatus| (now() - source.last_received).div_euclid(1_000_000);
    let mut silent = Vec::new();
    let mut count = 0;
    for source in live {
        count += 1;
        if age(source) > SILENCE_MAX {
            let (cluster, from) = (&source.cluster, cell(&source.source));
            silent.push(format!("{cluster} {from} since {}", duration::human(age(source))));
        }
    }
    let fix = "ask kube-apiserver's log for `audit plugin`; see that it reaches the address in its \
               webhook.yaml, that the certificate is good for that name, and that the token is not \
               revoked (`whodid ingest token list`)";
    match (count, silent.is_empty()) {
        (0, _) => Check::fail(NAME, "no API server has sent anything yet", fix),
        (count, true) => Check::pass(NAME, format!("{count} sources send")),
        (_, false) => Check::fail(NAME, format!("silent: {}", silent.join(", ")), fix),
    }
}

/// The cells of the first row of an answer.
async fn ask(snapshot: &Snapshot, statement: &str) -> Result<Vec<Option<String>>, Failure> {
    let limits = Limits { rows: Some(1), time: Duration::from_mins(5), memory: 1 << 30 };
    let mut answer = sql(snapshot, &Cache::default(), statement, limits).await?;
    let Some(batch) = answer.batch().await? else { return Ok(Vec::new()) };
    Ok(texts(&batch)?.into_iter().next().unwrap_or_default())
}

fn of_cluster(args: &DoctorArgs) -> String {
    match &args.cluster {
        Some(cluster) => format!("cluster = '{}'", cluster.replace('\'', "''")),
        None => "true".to_owned(),
    }
}

/// How far the API servers' clocks are from ours, and how long events take.
async fn clocks(snapshot: &Snapshot, args: &DoctorArgs) -> Result<Vec<Check>, Failure> {
    let lag = "(extract(epoch FROM received) - extract(epoch FROM stage_timestamp))";
    let statement = format!(
        "SELECT CAST(min({lag}) AS double), CAST(approx_percentile_cont(0.5) WITHIN GROUP (ORDER \
         BY {lag}) AS double) FROM (SELECT received, stage_timestamp FROM events WHERE source LIKE \
         'webhook/%' AND stage_timestamp IS NOT NULL AND {} AND received >= \
         to_timestamp_micros({})) AS recent",
        of_cluster(args),
        now() - 3_600 * 1_000_000,
    );
    let row = ask(snapshot, &statement).await?;
    let mut numbers = row.into_iter().map(|cell| cell.and_then(|text| text.parse::<f64>().ok()));
    let (least, usual) = (numbers.next().flatten(), numbers.next().flatten());
    let (Some(least), Some(usual)) = (least, usual) else {
        let what = "no webhook sent anything in the last hour";
        return Ok(vec![Check::unknown("clocks", what, "ask again when one has")]);
    };
    let skew = if least < -SKEW_MAX {
        Check::fail(
            "clocks",
            format!("an API server's clock is {:.1} s ahead of this machine's", -least),
            "synchronise both (chrony, systemd-timesyncd): whodid orders by what events say",
        )
    } else {
        Check::pass("clocks", format!("no event comes from the future (nearest: {least:.1} s ago)"))
    };
    let delay = if usual > DELAY_MAX {
        Check::fail(
            "delay",
            format!("half of the events of the last hour took longer than {usual:.0} s to arrive"),
            "set --audit-webhook-batch-max-wait=1s; if it is, the API server is sending what has \
             waited, or its clock is behind",
        )
    } else {
        Check::pass("delay", format!("half of the events arrive within {usual:.1} s"))
    };
    Ok(vec![skew, delay])
}

/// What came and is no event: gaps in followed logs, and what was not understood.
async fn raw(snapshot: &Snapshot, args: &DoctorArgs) -> Result<[Check; 2], Failure> {
    let statement = format!(
        "SELECT count(*), count(*) FILTER (WHERE raw_reason LIKE 'a gap:%') FROM events \
          WHERE raw_reason IS NOT NULL AND {}",
        of_cluster(args)
    );
    let row = ask(snapshot, &statement).await?;
    let mut counts = row.into_iter().map(|cell| cell.and_then(|text| text.parse::<u64>().ok()));
    let mut count = || counts.next().flatten().unwrap_or(0);
    let (all, gaps) = (count(), count());
    let understood = match all - gaps {
        0 => Check::pass("understood", "everything that came is an audit event"),
        raw => Check::fail(
            "understood",
            format!("{raw} items are no audit events, and were kept as they came"),
            "`whodid ingest status` tells why and where from",
        ),
    };
    let gaps = match gaps {
        0 => Check::pass("gaps", "no followed log lost lines"),
        gaps => Check::fail(
            "gaps",
            format!("{gaps} times a log was rotated away before it was read"),
            "raise --audit-log-maxbackup and --audit-log-maxsize (`whodid plan storage`)",
        ),
    };
    Ok([understood, gaps])
}

/// Which policy the newest events agree with.
async fn in_force(args: &DoctorArgs) -> Result<Check, Failure> {
    let found = policy::in_force(&args.store, args.cluster.as_deref()).await?;
    Ok(match found {
        None => Check::unknown(
            "policy",
            "no event came in the last hour",
            "ask again when one has, or `whodid policy mode status --since 7d`",
        ),
        Some((name, agreeing, all)) if agreeing == all => {
            Check::pass("policy", format!("the last hour agrees with the profile {name}"))
        }
        Some((name, agreeing, all)) => Check::unknown(
            "policy",
            format!("it is none of the profiles; nearest is {name}, {agreeing} of {all} events"),
            "`whodid policy mode status POLICY` compares with your own",
        ),
    })
}

/// Whether a mode that was to end did.
fn mode(args: &DoctorArgs) -> Result<Check, Failure> {
    const NAME: &str = "mode";
    let modes = Reader::open_dir(&args.store.dir())?.modes()?;
    let is_wanted = |cluster: &String| args.cluster.as_ref().is_none_or(|name| name == cluster);
    let over = modes.iter().filter(|(name, mode)| is_wanted(name) && policy::is_over(mode, now()));
    let over: Vec<String> =
        over.map(|(cluster, mode)| format!("{cluster} in mode {}", mode.name)).collect();
    if over.is_empty() {
        return Ok(Check::pass(NAME, "none lasts longer than it was to"));
    }
    let fix = "`sh switch.sh daily` on its control plane, then `whodid policy mode daily`";
    Ok(Check::fail(NAME, format!("was to end: {}", over.join(", ")), fix))
}

/// About how long the longest event of the last week is, in bytes.
async fn largest(snapshot: &Snapshot, args: &DoctorArgs) -> Result<u64, Failure> {
    let statement = format!(
        "SELECT max(octet_length(json)) FROM bodies WHERE {} AND received >= \
         to_timestamp_micros({})",
        of_cluster(args),
        now() - 7 * 86_400 * 1_000_000
    );
    let longest = ask(snapshot, &statement).await?.into_iter().next().flatten();
    Ok(longest.and_then(|text| text.parse().ok()).unwrap_or(0))
}
