//! `whodid retention`: what may go by rules, oldest first, and letting it go; `whodid hold`: what
//! must not.

use serde_json::Value;
use whodid_server::{Retained, plan_json};
use whodid_store::{Hold, Reader, UNIT_LEAVES};

use super::keeper::Keeper;
use super::now;
use crate::args::{HoldCommand, RetentionArgs};
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{cell, print};

pub async fn run(args: RetentionArgs) -> Result<(), Failure> {
    let dir = args.store.dir();
    let rules: Result<Vec<Retained>, String> =
        args.retain.iter().map(|rule| rule.parse()).collect();
    let rules = rules.map_err(Failure::Usage)?;
    if args.apply {
        let gone = Keeper::of(&dir).await?.let_go(&args.retain, &rules).await?;
        return Ok(print(&shown(&gone, "GONE")?)?);
    }
    let rule = |cluster: &str| Retained::rule(&rules, cluster);
    let plans = Reader::open_dir(&dir)?.retention(rule, now()).await?;
    let plans: Vec<Value> = plans.iter().map(plan_json).collect();
    Ok(print(&shown(&plans, "MAY GO")?)?)
}

/// What goes, a cluster a line.
fn shown(plans: &[Value], title: &'static str) -> Result<String, Failure> {
    if plans.is_empty() {
        return Err(Failure::NothingFound(format!(
            "nothing is past its retention; events go in units of {UNIT_LEAVES}, and the newest stay"
        )));
    }
    let columns = ["CLUSTER", "WHAT", title, "LEAVES", "TAKEN IN UNTIL", "BYTES", "HELD BY"];
    let mut table = Table::new(columns);
    for plan in plans {
        let text = |name: &str| plan[name].as_str().unwrap_or_default();
        let number = |name: &str| plan[name].as_u64().unwrap_or_default();
        let (from, to) = (number("from"), number("to"));
        table.row(vec![
            cell(text("cluster")),
            text("table").to_owned(),
            if to > from { format!("{from}..{to}") } else { String::new() },
            to.saturating_sub(from).to_string(),
            text("last_received").to_owned(),
            number("bytes").to_string(),
            cell(plan["held_by"].as_str().unwrap_or(NONE)),
        ]);
    }
    Ok(table.print(true))
}

pub async fn hold(command: HoldCommand) -> Result<(), Failure> {
    let (said, name) = match command {
        HoldCommand::List(store) => return list(&Reader::open_dir(&store.dir())?),
        HoldCommand::Release(args) => {
            Keeper::of(&args.store.dir()).await?.release(&args.name, &args.reason).await?;
            ("released", args.name)
        }
        HoldCommand::Add(args) => {
            let hold = Hold { cluster: args.cluster, since: args.since, until: args.until };
            Keeper::of(&args.store.dir()).await?.hold(&args.name, hold, &args.reason).await?;
            ("held", args.name)
        }
    };
    Ok(print(&format!("{said}: {}\n", cell(&name)))?)
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
