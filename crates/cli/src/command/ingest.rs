//! `whodid ingest`: what came in, from where, and what was wrong with it.

use serde_json::json;
use whodid_engine::{ClusterStatus, RawLeaf, waiting};

use super::{credential, now, open};
use crate::args::{IngestArgs, IngestCommand, StatusArgs, StatusFormat, StoreArgs};
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{Color, Look, cell, duration, pretty, print, sentence, yaml};

/// So many of the newest raw leaves are listed.
const RAW_SHOWN: usize = 10;

pub async fn run(args: IngestArgs) -> Result<(), Failure> {
    match args.command {
        IngestCommand::Status(args) => status(args).await,
        IngestCommand::Repair(args) => repair(args).await,
        IngestCommand::Token(command) => credential::token(command),
        IngestCommand::Certificate(command) => credential::certificate(command),
    }
}

async fn repair(args: StoreArgs) -> Result<(), Failure> {
    let found = whodid_store::repair_dir(&args.dir()).await?;
    let mut out = String::new();
    for lost in &found.lost {
        let whodid_store::Lost { cluster, from, to } = lost;
        out.push_str(&format!(
            "lost: {cluster}/{from} to {cluster}/{to}; a leaf in the place of each says so\n"
        ));
    }
    for (path, offset) in &found.damage {
        out.push_str(&format!("damaged: {path} at byte {offset}\n"));
    }
    for cluster in &found.uncertain {
        out.push_str(&format!(
            "uncertain: {cluster} may have lost more, as nothing of it stands behind the damage; a leaf at the end of its log says so\n"
        ));
    }
    for kept in &found.kept {
        out.push_str(&format!("kept: {kept}, as it was found\n"));
    }
    if out.is_empty() {
        out.push_str("nothing to repair\n");
    }
    print(&out)?;
    Ok(())
}

async fn status(args: StatusArgs) -> Result<(), Failure> {
    let engine = open(&args.store).await?;
    let sources = engine.status().await?;
    let raw = engine.raw_leaves(RAW_SHOWN).await?;
    let waiting = waiting(engine.snapshot());
    match args.output {
        StatusFormat::Table => {
            let look = Look::new(&args.look);
            print(&sources_table(&sources, &look).print(look.has_headers))?;
            print(&remarks(&sources, &raw, waiting))?;
        }
        StatusFormat::Json => print(&pretty(&document(&sources, &raw, waiting)))?,
        StatusFormat::Yaml => print(&yaml(&document(&sources, &raw, waiting)))?,
    }
    Ok(())
}

fn sources_table(sources: &[ClusterStatus], look: &Look) -> Table {
    let mut table = Table::new([
        "CLUSTER",
        "SOURCE",
        "EVENTS",
        "DUPLICATES",
        "CONFLICTS",
        "RAW",
        "REDACTED",
        "LAST",
    ]);
    let seconds = |micros: i64| (now() - micros).div_euclid(1_000_000);
    for source in sources {
        let suspicious = |count: u64| match count {
            0 => "0".to_owned(),
            count => look.paint(&count.to_string(), Color::Yellow),
        };
        table.row(vec![
            source.cluster.clone(),
            cell(&source.source),
            source.events.to_string(),
            source.duplicates.to_string(),
            suspicious(source.conflicts),
            suspicious(source.raw),
            source.redacted.to_string(),
            duration::human(seconds(source.last_received)),
        ]);
    }
    table
}

fn remarks(sources: &[ClusterStatus], raw: &[RawLeaf], waiting: usize) -> String {
    let mut out = String::new();
    if waiting > 0 {
        out.push_str(&format!(
            "\n{waiting} events are in the write-ahead log and not in a segment yet.\n"
        ));
    }
    let raw_total: u64 = sources.iter().map(|source| source.raw).sum();
    if raw_total > 0 {
        out.push_str(&format!(
            "\n{raw_total} items are not audit events and were kept as they came:\n"
        ));
        for leaf in raw {
            out.push_str(&format!(
                "  {}   {}   {}\n",
                leaf.id,
                cell(&leaf.source),
                sentence(&leaf.reason)
            ));
        }
        let more = raw_total.saturating_sub(raw.len() as u64);
        if more > 0 {
            out.push_str(&format!("  and {more} more; `whodid search raw:true` lists them\n"));
        }
    }
    out
}

fn document(sources: &[ClusterStatus], raw: &[RawLeaf], waiting: usize) -> serde_json::Value {
    let time = whodid_event::time::format;
    let sources = sources.iter().map(|source| {
        json!({
            "cluster": source.cluster, "source": source.source, "events": source.events,
            "duplicates": source.duplicates, "conflicts": source.conflicts, "raw": source.raw,
            "redacted": source.redacted, "first_received": time(source.first_received),
            "last_received": time(source.last_received),
        })
    });
    let raw = raw.iter().map(|leaf| {
        json!({
            "id": leaf.id.to_string(), "source": leaf.source, "received": time(leaf.received),
            "reason": leaf.reason,
        })
    });
    json!({
        "apiVersion": whodid_engine::API_VERSION,
        "kind": "IngestStatus",
        "sources": sources.collect::<Vec<_>>(),
        "raw": raw.collect::<Vec<_>>(),
        "waiting": waiting,
    })
}
