//! A part of the record: some events, or that it has grown from what it once was.

use std::ops::Range;
use std::path::Path;

use whodid_engine::EventId;
use whodid_store::{Evidence, Reader};
use whodid_tlog::note::{self, Note};
use whodid_tlog::{CompactRange, Policy, proof};

use super::proof::{read_policy, text};
use crate::args::VerifyArgs;
use crate::command::export::parse_range;
use crate::failure::Failure;
use crate::output::print;

/// A record, and whose signatures are believed.
struct Record {
    reader: Reader,
    policy: Policy,
}

impl Record {
    fn open(args: &VerifyArgs) -> Result<Self, Failure> {
        let reader = Reader::open_dir(&args.store.dir())?;
        let policy = match &args.policy {
            Some(path) => read_policy(path)?,
            None => Policy::parse(&reader.policy()?)
                .map_err(|error| Failure::Unavailable(error.to_string()))?,
        };
        Ok(Record { reader, policy })
    }

    /// The newest checkpoint of a log that is believed.
    async fn newest(&self, name: &str) -> Result<Evidence, Failure> {
        let newest = self.reader.checkpoint(name).await?;
        let mut newest =
            newest.ok_or_else(|| Failure::NothingFound(format!("there is no log of {name}")))?;
        newest.believe(&self.policy).map_err(|error| Failure::Refuted(error.to_string()))?;
        Ok(newest)
    }
}

/// Verifies that the log has these events.
pub async fn events(args: &VerifyArgs, wanted: &str) -> Result<(), Failure> {
    let (cluster, range) = parse(wanted)?;
    let record = Record::open(args)?;
    let evidence = record.newest(&cluster).await?;
    let (size, end) = (evidence.checkpoint().head.size, range.end);
    if end > size {
        return Err(Failure::NothingFound(format!(
            "{} has {size} signed events; {wanted} ends behind them",
            evidence.checkpoint().origin
        )));
    }
    let [left, leaves, right] = evidence.range(&range).await?;
    let root = CompactRange::from_hashes(0, range.start, left).and_then(|mut whole| {
        for leaf in &leaves {
            whole.append(*leaf, |_, _| {});
        }
        whole.extend(&CompactRange::from_hashes(end, size, right)?).then(|| whole.root())
    });
    if root != Some(evidence.checkpoint().head.root) {
        return Err(Failure::Refuted(format!(
            "the events of {wanted}, or the tree around them, are not those that were signed; \
             `whodid verify` says where"
        )));
    }
    print(&format!(
        "verified: {} events of {}, in its tree of {size} leaves\n",
        leaves.len(),
        evidence.checkpoint().origin
    ))?;
    Ok(())
}

/// Reads `CLUSTER/SEQ` or `CLUSTER/FROM..TO`.
fn parse(text: &str) -> Result<(String, Range<u64>), Failure> {
    if let Some(range) = parse_range(text) {
        return Ok(range);
    }
    let id: EventId = text.parse().map_err(|_| {
        Failure::Usage(format!(
            "--events {text}: write CLUSTER/SEQ or CLUSTER/FROM..TO, for example prod/1000..2000"
        ))
    })?;
    Ok((id.cluster, id.seq..id.seq + 1))
}

/// Verifies that the record has grown from a checkpoint that was kept elsewhere.
pub async fn grown(args: &VerifyArgs, kept: &Path) -> Result<(), Failure> {
    let record = Record::open(args)?;
    let refuted =
        |why: &dyn std::fmt::Display| Failure::Refuted(format!("{}: {why}", kept.display()));
    let note = Note::parse(&text(kept, note::NOTE_BYTES_MAX)?).map_err(|error| refuted(&error))?;
    let old = record.policy.open(&note).map_err(|error| refuted(&error))?;
    let prefix = &record.reader.descriptor().origin;
    let name = old.origin.strip_prefix(prefix).and_then(|name| name.split('/').nth(1));
    let name = name.ok_or_else(|| refuted(&format!("{} is no log of this record", old.origin)))?;
    let newest = record.newest(name).await?;
    let new = newest.checkpoint();
    if new.origin != old.origin {
        return Err(refuted(&format!(
            "it was signed over {} leaves of {}, which was frozen, and {} goes on; `whodid verify` \
             says at how many leaves, and why",
            old.head.size, old.origin, new.origin
        )));
    }
    if old.head.size > new.head.size {
        return Err(refuted(&format!(
            "it was signed over {} leaves, and the record has {}: it was put back to an older state",
            old.head.size, new.head.size
        )));
    }
    let path = newest.consistency(old.head.size).await?;
    let grown = match old.head.size {
        0 => Ok(()),
        _ => proof::verify_consistency(old.head, new.head, &path),
    };
    grown.map_err(|error| {
        refuted(&format!("the record did not grow from it, it was rewritten ({error})"))
    })?;
    print(&format!(
        "verified: {} has grown from {} leaves to {}\n",
        new.origin, old.head.size, new.head.size
    ))?;
    Ok(())
}
