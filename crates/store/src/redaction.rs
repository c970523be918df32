//! Redaction of what is in the record already: a body of one event goes for good, from the tables,
//! from the write-ahead log, and with the key that could tell a guess of it. Its commitment stays,
//! and with it the leaf and every proof. What is redacted before it is written is
//! `whodid_event::redact`'s.
//!
//! Nobody else may write meanwhile: the key of its block may be the one that the next event needs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use futures::future::BoxFuture;
use whodid_event::entry::{self, BLOCK_LEAVES, BODY_NAMES};

use crate::entries::overlaps;
use crate::erase::erase;
use crate::error::{Error, Result};
use crate::keys;
use crate::ledger::{Record, meta};
use crate::memtable::Limits;
use crate::retention::{check_line, holding};
use crate::snapshot::{Snapshot, Table};
use crate::wal::replay;
use crate::writer::{Options, Writer};

/// Redacts bodies of one event, all that it has if `members` is empty; those that went come back.
/// Other processes that read the record lose their place in it.
///
/// # Errors
/// There is no such event or it has no such body, a hold forbids it, another process writes to the
/// store, or the disk refuses; it can be repeated then.
pub async fn redact_dir(
    dir: &Path,
    (cluster, seq): (&str, u64),
    members: &BTreeSet<String>,
    reason: &str,
) -> Result<BTreeSet<String>> {
    check_line("reason", reason)?;
    // The write-ahead log has what was taken in, too.
    let limits = Limits { wal_grace: 0, ..Limits::default() };
    let writer = Writer::open_dir(dir, Options { limits, ..Options::default() }).await?;
    let redacted = redact(&writer, (cluster, seq), members, reason).await;
    let disk = Arc::clone(&writer.disk);
    writer.close().await?;
    let redacted = redacted?;
    replay::is_empty(&*disk)?.then_some(redacted).ok_or_else(|| Error::Format {
        path: "wal".into(),
        why: "events are left in it, and the value may be among them; redact it again".into(),
    })
}

fn redact<'a>(
    writer: &'a Writer,
    (cluster, seq): (&'a str, u64),
    members: &'a BTreeSet<String>,
    reason: &'a str,
) -> BoxFuture<'a, Result<BTreeSet<String>>> {
    Box::pin(async move {
        writer.flush().await?;
        let snapshot = writer.snapshot();
        let members = going(&snapshot, (cluster, seq), members).await?;
        check_holds(writer, &snapshot, (cluster, seq))?;
        let record = Record::Redact {
            cluster: cluster.to_owned(),
            seq,
            members: members.clone(),
            reason: reason.to_owned(),
        };
        writer.record(vec![record]).await?;
        let going = members.clone();
        let is_going = move |of: u64, member: &str| of == seq && going.contains(member);
        let leaf = seq..seq + 1;
        erase(&writer.writing(), |file| overlaps(file, cluster, &leaf), is_going).await?;
        let begin = seq - seq % BLOCK_LEAVES;
        let all = snapshot.ends().get(cluster).copied().unwrap_or(0);
        let end = all.min(begin + BLOCK_LEAVES);
        let kept = writer.snapshot().salts(cluster, begin..end).await?;
        keys::destroy(&*writer.disk, &writer.store, (cluster, seq, end), kept)?;
        writer.vacuum(TimeDelta::zero()).await?;
        Ok(members)
    })
}

/// Which bodies of an event go: those asked for, or all that it has.
async fn going(
    snapshot: &Snapshot,
    (cluster, seq): (&str, u64),
    members: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let leaf = snapshot.disclosed(cluster, &[seq].into()).await?.pop();
    let leaf = leaf.ok_or_else(|| {
        Error::Invalid(format!("there is no event {cluster}/{seq} in the record"))
    })?;
    let committed = entry::committed(&leaf.entry);
    let committed = committed.map_err(|error| Error::Invalid(error.to_string()))?;
    let is_body = |name: &String| BODY_NAMES.contains(&name.as_str());
    let has: BTreeSet<String> = committed.into_iter().filter(is_body).collect();
    let missing = members.iter().find(|member| !has.contains(*member));
    match missing {
        Some(member) => {
            Err(Error::Invalid(format!("the event {cluster}/{seq} has no {member} in the record")))
        }
        None if has.is_empty() => Err(Error::Invalid(format!(
            "the event {cluster}/{seq} has neither {} in the record: what stands in the leaf \
             itself cannot be redacted",
            BODY_NAMES.join(" nor ")
        ))),
        None if members.is_empty() => Ok(has),
        None => Ok(members.clone()),
    }
}

fn check_holds(writer: &Writer, snapshot: &Snapshot, (cluster, seq): (&str, u64)) -> Result<()> {
    let holds = meta::standing(&*writer.disk)?.holds;
    let leaf = seq..seq + 1;
    let mut files = snapshot.files(Table::Events).iter();
    let file = files.find(|file| overlaps(file, cluster, &leaf));
    match file.and_then(|file| holding(&holds, file)) {
        None => Ok(()),
        Some(name) => Err(Error::Invalid(format!(
            "the hold {name:?} forbids to redact anything of {cluster} from then; release it first"
        ))),
    }
}
