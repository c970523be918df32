//! `whodid redact`: what one request or response held goes for good.

use std::collections::BTreeSet;

use whodid_engine::EventId;
use whodid_store::redact_dir;

use super::open;
use super::show::Source;
use crate::args::RedactArgs;
use crate::failure::Failure;
use crate::output::{print, say};

pub async fn run(args: RedactArgs) -> Result<(), Failure> {
    let engine = open(&args.store).await?;
    let source = Source::Record(Box::new(engine));
    let id = source.find(&args.id).await?;
    // It must not read on from files that go.
    drop(source);
    let named = [(args.request, "requestObject"), (args.response, "responseObject")];
    let members: BTreeSet<String> =
        named.into_iter().filter(|(is_named, _)| *is_named).map(|(_, name)| name.into()).collect();
    let redacted =
        redact_dir(&args.store.dir(), (&id.cluster, id.seq), &members, &args.reason).await?;
    let redacted: Vec<String> = redacted.into_iter().collect();
    print(&format!("redacted: {id} {}\n", redacted.join(" ")))?;
    let others = others(&args, &id).await?;
    if !others.is_empty() {
        say!(
            "other events of this audit ID may hold the same: {}; look at them, and redact them, too",
            others.join(" ")
        );
    }
    Ok(())
}

/// Other events with the audit ID of one that was redacted, and with bodies: other stages of the
/// request, and events that were sent again.
async fn others(args: &RedactArgs, id: &EventId) -> Result<Vec<String>, Failure> {
    let engine = open(&args.store).await?;
    let rows = engine.fetch(std::slice::from_ref(id)).await?;
    let audit_id =
        rows.first().and_then(|row| engine.json(row).get("audit_id")?.as_str().map(str::to_owned));
    let Some(audit_id) = audit_id else { return Ok(Vec::new()) };
    let mut others: Vec<EventId> =
        engine.with_audit_id(&audit_id).await?.iter().map(whodid_engine::Row::id).collect();
    others.retain(|other| other != id);
    let originals = engine.originals(&others).await?;
    let has_body = |original: &Result<(_, whodid_store::RowBodies), _>| {
        original
            .as_ref()
            .is_ok_and(|(_, bodies)| bodies.request.is_some() || bodies.response.is_some())
    };
    let others = others.iter().zip(&originals).filter(|(_, original)| has_body(original));
    Ok(others.map(|(other, _)| other.to_string()).collect())
}
