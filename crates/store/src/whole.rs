//! Whether all parts of a store are there. What was taken away is put back by a person; beginning
//! anew in its place is what a writer must never do.

use crate::descriptor::FILE;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ledger::{log, meta};
use crate::recover::Watermarks;
use crate::wal::replay::WalFile;
use crate::{keys, wal};

/// Refuses a store of which a part was taken away: going on would give places in the log away a
/// second time.
pub(crate) fn check(disk: &dyn Disk, is_known: bool, files: &[WalFile]) -> Result<()> {
    let gone = |path: &str, why: &str| Err(Error::Format { path: path.into(), why: why.into() });
    if is_known && files.is_empty() {
        return gone(
            wal::FOLDER,
            "the write-ahead log is gone; put it back from a copy, or run `whodid ingest repair` \
             to go on with the loss on record",
        );
    }
    if is_known && log::read(disk, meta::NAME, "key")?.is_none() {
        return gone(
            "ledger/meta/key",
            "the ledger is gone; put the folder `ledger` back from a copy",
        );
    }
    if !is_known && !keys::clusters(disk)?.is_empty() && !files.is_empty() {
        return gone(
            FILE,
            "it is gone, although the folder holds a record; put it back from a copy",
        );
    }
    Ok(())
}

/// Refuses a store whose keys were taken away: new ones would not fit what was committed to.
pub(crate) fn check_keys(disk: &dyn Disk, watermarks: &Watermarks) -> Result<()> {
    let kept = keys::clusters(disk)?;
    match watermarks.keys().find(|cluster| !kept.contains(cluster)) {
        None => Ok(()),
        Some(cluster) => Err(Error::Format {
            path: format!("{}/{cluster}", keys::FOLDER),
            why: "the keys are gone; put the folder back from a copy".into(),
        }),
    }
}
