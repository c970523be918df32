//! `whodid retention`: what may go by rules, oldest first, and letting it go; `whodid hold`: what
//! must not.

use whodid_event::time;
use whodid_server::Retained;
use whodid_store::{Hold, Options, Plan, Reader, VACUUM_GRACE, Writer, check_cluster};

use super::now;
use crate::args::{HoldCommand, RetentionArgs};
use crate::failure::Failure;
use crate::output::print;
use crate::output::table::Table;

pub async fn run(args: RetentionArgs) -> Result<(), Failure> {
    let dir = args.store.dir();
    let rule = |cluster: &str| Retained::rule(&args.retain, cluster);
    if !args.apply {
        let plans = Reader::open_dir(&dir)?.retention(rule, now()).await?;
        print(&shown(&plans, "MAY GO")?)?;
        return Ok(());
    }
    // Nothing is made where nothing is.
    Reader::open_dir(&dir)?;
    let writer = Writer::open_dir(&dir, Options::default()).await?;
    let plans = writer.retention(rule, now())?;
    for plan in plans.iter().filter(|plan| plan.to > plan.from) {
        writer.prune(plan, "retention, by command").await?;
    }
    writer.vacuum(VACUUM_GRACE).await?;
    writer.close().await?;
    print(&shown(&plans, "GONE")?)?;
    Ok(())
}

/// What goes, a cluster a line.
fn shown(plans: &[Plan], title: &'static str) -> Result<String, Failure> {
    if plans.is_empty() {
        return Err(Failure::NothingFound("nothing is past its retention".into()));
    }
    let mut table = Table::new(["CLUSTER", title, "EVENTS", "TAKEN IN UNTIL", "BYTES", "HELD BY"]);
    for plan in plans {
        let Plan { cluster, from, to, last_received, bytes, held_by } = plan;
        let is_any = to > from;
        table.row(vec![
            cluster.clone(),
            if is_any { format!("{from}..{to}") } else { String::new() },
            (to - from).to_string(),
            if is_any { time::format(*last_received) } else { String::new() },
            bytes.to_string(),
            held_by.clone().unwrap_or_default(),
        ]);
    }
    Ok(table.print(true))
}

pub async fn hold(command: HoldCommand) -> Result<(), Failure> {
    let (store, name, hold, reason) = match command {
        HoldCommand::List(store) => return list(&Reader::open_dir(&store.dir())?),
        HoldCommand::Release(args) => (args.store, args.name, None, args.reason),
        HoldCommand::Add(args) => {
            check_cluster(&args.cluster)?;
            for instant in [&args.since, &args.until].into_iter().flatten() {
                time::parse(instant).ok_or_else(|| {
                    Failure::Usage(format!("{instant:?} is no time; write 2026-01-31T00:00:00Z"))
                })?;
            }
            let hold = Hold { cluster: args.cluster, since: args.since, until: args.until };
            (args.store, args.name, Some(hold), args.reason)
        }
    };
    Reader::open_dir(&store.dir())?;
    let writer = Writer::open_dir(&store.dir(), Options::default()).await?;
    writer.hold(&name, hold, &reason).await?;
    writer.close().await?;
    Ok(())
}

fn list(reader: &Reader) -> Result<(), Failure> {
    let holds = reader.holds()?;
    if holds.is_empty() {
        return Err(Failure::NothingFound("nothing is held".into()));
    }
    let mut table = Table::new(["NAME", "CLUSTER", "SINCE", "UNTIL"]);
    for (name, Hold { cluster, since, until }) in holds {
        table.row(vec![name, cluster, since.unwrap_or_default(), until.unwrap_or_default()]);
    }
    print(&table.print(true))?;
    Ok(())
}
