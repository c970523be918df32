//! `whodid retention`: what may go by rules, oldest first, and letting it go; `whodid hold`: what
//! must not.

use whodid_event::time;
use whodid_server::Retained;
use whodid_store::{Hold, Options, Plan, Reader, UNIT_LEAVES, VACUUM_GRACE, Writer};

use super::now;
use crate::args::{HoldCommand, RetentionArgs};
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{cell, print};

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
        writer.let_go(plan, "retention, by command").await?;
    }
    writer.vacuum(VACUUM_GRACE).await?;
    writer.close().await?;
    print(&shown(&plans, "GONE")?)?;
    Ok(())
}

/// What goes, a cluster a line.
fn shown(plans: &[Plan], title: &'static str) -> Result<String, Failure> {
    if plans.is_empty() {
        return Err(Failure::NothingFound(format!(
            "nothing is past its retention; events go in units of {UNIT_LEAVES}, and the newest stay"
        )));
    }
    let columns = ["CLUSTER", "WHAT", title, "LEAVES", "TAKEN IN UNTIL", "BYTES", "HELD BY"];
    let mut table = Table::new(columns);
    for plan in plans {
        let Plan { cluster, table: what, from, to, last_received, bytes, held_by } = plan;
        let is_any = to > from;
        table.row(vec![
            cluster.clone(),
            what.name().to_owned(),
            if is_any { format!("{from}..{to}") } else { String::new() },
            (to - from).to_string(),
            if is_any { time::format(*last_received) } else { String::new() },
            bytes.to_string(),
            cell(held_by.as_deref().unwrap_or(NONE)),
        ]);
    }
    Ok(table.print(true))
}

pub async fn hold(command: HoldCommand) -> Result<(), Failure> {
    let (store, name, hold, reason) = match command {
        HoldCommand::List(store) => return list(&Reader::open_dir(&store.dir())?),
        HoldCommand::Release(args) => (args.store, args.name, None, args.reason),
        HoldCommand::Add(args) => {
            let hold = Hold { cluster: args.cluster, since: args.since, until: args.until };
            (args.store, args.name, Some(hold), args.reason)
        }
    };
    Reader::open_dir(&store.dir())?;
    let writer = Writer::open_dir(&store.dir(), Options::default()).await?;
    let said = if hold.is_some() { "held" } else { "released" };
    writer.hold(&name, hold, &reason).await?;
    writer.close().await?;
    print(&format!("{said}: {}\n", cell(&name)))?;
    Ok(())
}

fn list(reader: &Reader) -> Result<(), Failure> {
    let holds = reader.holds()?;
    if holds.is_empty() {
        return Err(Failure::NothingFound("nothing is held".into()));
    }
    let mut table = Table::new(["NAME", "CLUSTER", "SINCE", "UNTIL"]);
    for (name, Hold { cluster, since, until }) in holds {
        table.row(vec![cell(&name), cluster, since.unwrap_or_default(), until.unwrap_or_default()]);
    }
    print(&table.print(true))?;
    Ok(())
}
