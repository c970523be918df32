//! Freezing a log at its last head, and going on in another: after a restore of an older copy,
//! after damage, or when a key is no longer trusted. What was signed stays checkable; the new log
//! says what came before it. Deciding this is the user's; a start only refuses.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use whodid_event::split::Item;

use super::log::{self, FOLDER, Files};
use super::meta::{self, Record};
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::health::Health;
use crate::lock::Lock;
use crate::object::DiskStore;
use crate::writer::{Options, Writer};

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

/// Freezes the log of a cluster, or the meta log, and begins another with all events that the
/// record has now.
///
/// # Errors
/// There is no such log, another process writes to the store, or the disk refuses; it can be
/// repeated then.
pub async fn reopen_dir(dir: &Path, name: &str, reason: &str) -> Result<Reopened> {
    let lock = Lock::take(dir)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let (reopened, checkpoint) = freeze(&disk, name)?;
    drop(lock);
    let writer = Writer::open_dir(dir, Options::default()).await?;
    let Reopened { frozen, origin, .. } = &reopened;
    let (frozen, origin) = (frozen.clone(), origin.clone());
    let record = Record::Reopen { frozen, checkpoint, origin, reason: reason.to_owned() };
    if name != meta::NAME {
        let mut builder = writer.preparer().begin(name, SOURCE)?;
        builder.add(&Item::Value(&leaf(&record)?))?;
        writer.append(builder.finish()?).await?;
    }
    writer.record(record).await?;
    writer.close().await?;
    Ok(reopened)
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

/// Puts the files of a log aside, and makes the key of the next.
fn freeze(disk: &Arc<dyn Disk>, name: &str) -> Result<(Reopened, String)> {
    let store = DiskStore::new(Arc::clone(disk), Health::default());
    let files = Files { disk: Arc::clone(disk), store };
    let known = crate::descriptor::Descriptor::load(&**disk)?;
    let prefix = known.ok_or_else(|| Error::NoStore { dir: ".".into() })?.origin;
    let before = log::generation(&**disk, name)?;
    let frozen = log::origin(&prefix, name, before);
    let checkpoint = log::read(&**disk, name, log::CHECKPOINT)?.unwrap_or_default();
    let (from, kept) = (format!("{FOLDER}/{name}"), log::frozen(name, before));
    if disk.stat(&from).is_err() {
        return Err(Error::Invalid(format!("there is no log of {name}")));
    }
    disk.rename(&from, &kept)
        .map_err(|source| Error::Unavailable { path: kept.clone(), source })?;
    let origin = log::origin(&prefix, name, before + 1);
    log::create_key(&files, name, &origin)?;
    if name == meta::NAME {
        meta::copy(&files, &kept)?;
    }
    Ok((Reopened { frozen, kept, origin }, String::from_utf8_lossy(&checkpoint).into_owned()))
}
