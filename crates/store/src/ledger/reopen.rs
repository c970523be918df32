//! Freezing a log at its last head, and going on in another: after a restore of an older copy,
//! after damage, or when a key is no longer trusted. What was signed stays checkable; the new log
//! says what came before it. Deciding this is the user's; a start only refuses.
//!
//! A meta log begins anew with what was pruned, the holds, and the seals of all files as they are
//! now: what the frozen one says of them may be what was damaged.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use whodid_event::split::Item;

use super::log::{self, FOLDER, Files, Log};
use super::meta::{self, Record};
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::flush::seal;
use crate::health::Health;
use crate::lock::Lock;
use crate::object::DiskStore;
use crate::rebuild::fetch;
use crate::snapshot::Table;
use crate::writer::Writer;

/// The source of the leaf that begins what was added under the new log.
const SOURCE: &str = "whodid/ledger";

/// A log that was frozen, and the one that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// The origin of the frozen log.
    pub frozen: String,
    /// Where its files are now, relative to the data directory.
    pub kept: String,
    /// The origin of the log that goes on.
    pub origin: String,
}

/// Freezes the logs of clusters, or the meta log, and begins others with all events that the record
/// has now.
///
/// # Errors
/// There is no such log, another process writes to the store, or the disk refuses; it can be
/// repeated then.
pub fn reopen_dir<'a>(
    dir: &'a Path,
    names: &'a [String],
    reason: &'a str,
) -> BoxFuture<'a, Result<Vec<Reopened>>> {
    Box::pin(async move {
        let lock = Lock::take(dir)?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
        // What a damaged log says of it is lost; that it was there stays in its files.
        let standing = meta::standing(&*disk).unwrap_or_default();
        let frozen: Vec<_> = names.iter().map(|name| freeze(&disk, name)).collect::<Result<_>>()?;
        let writer = Writer::reopen(disk, lock, names).await?;
        let mut reopened = Vec::with_capacity(frozen.len());
        for (name, (log, checkpoint)) in names.iter().zip(frozen) {
            let (frozen, origin) = (log.frozen.clone(), log.origin.clone());
            let record = Record::Reopen { frozen, checkpoint, origin, reason: reason.to_owned() };
            if name != meta::NAME {
                let mut builder = writer.preparer().begin(name, SOURCE)?;
                builder.add(&Item::Value(&leaf(&record)?))?;
                writer.append(builder.finish()?).await?;
            }
            writer.record(vec![record]).await?;
            if name == meta::NAME {
                let carried = standing.records("carried over from the frozen log");
                writer.record(carried).await?;
                seal_all(&writer).await?;
            }
            reopened.push(log);
        }
        writer.close().await?;
        Ok(reopened)
    })
}

/// Seals the files of both tables as they are now.
async fn seal_all(writer: &Writer) -> Result<()> {
    let snapshot = writer.snapshot();
    for table in [Table::Events, Table::Bodies] {
        for file in snapshot.files(table) {
            let bytes = fetch(&snapshot.store, table, file).await?;
            let path = format!("{}/{}", table.name(), file.path);
            writer.record(vec![seal(path, &bytes)]).await?;
        }
    }
    Ok(())
}

/// The record as it stands among the events, as gaps do.
fn leaf(record: &Record) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned<'a> {
        api_version: &'static str,
        #[serde(flatten)]
        record: &'a Record,
    }
    serde_json::to_vec(&Versioned { api_version: "whodid/v1", record })
        .map_err(|error| Error::Invalid(error.to_string()))
}

/// Puts the files of a log aside, and begins the next.
fn freeze(disk: &Arc<dyn Disk>, name: &str) -> Result<(Reopened, String)> {
    let store = DiskStore::new(Arc::clone(disk), Health::default());
    let files = Files { disk: Arc::clone(disk), store };
    let known = crate::descriptor::Descriptor::load(&**disk)?;
    let prefix = known.ok_or_else(|| Error::NoStore { dir: ".".into() })?.origin;
    let from = format!("{FOLDER}/{name}");
    if disk.stat(&from).is_ok() {
        let kept = log::frozen(name, log::generation(&**disk, name)?);
        disk.rename(&from, &kept).map_err(|source| Error::Unavailable { path: kept, source })?;
    }
    // One that was frozen just before a crash has no successor yet.
    let next = log::generation(&**disk, name)?;
    let before = next - 1;
    if before == 0 {
        return Err(Error::Invalid(format!("there is no log of {name}")));
    }
    let kept = log::frozen(name, before);
    let (of, checkpoint) = (kept.trim_start_matches(&format!("{FOLDER}/")), log::CHECKPOINT);
    let checkpoint = log::read(&**disk, of, checkpoint)?.unwrap_or_default();
    let (frozen, origin) = (log::origin(&prefix, name, before), log::origin(&prefix, name, next));
    Log::begin(&files, name, &origin)?;
    Ok((Reopened { frozen, kept, origin }, String::from_utf8_lossy(&checkpoint).into_owned()))
}
