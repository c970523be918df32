//! The write-ahead log: what is in it after [`Log::append`] returned survives any crash. One log
//! serves all clusters; its files are numbered, and a new one begins with every segment, so that
//! whole files can go once their events are in segments. `docs/format/wal.md` specifies it.

use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::health::Health;

pub(crate) mod frame;
pub(crate) mod record;
pub(crate) mod replay;

/// The folder of the log.
pub(crate) const FOLDER: &str = "wal";

/// Every file begins with these bytes.
pub(crate) const FILE_MAGIC: [u8; 8] = *b"WdWal001";

/// Returns the path of a log file.
pub(crate) fn path(number: u64) -> String {
    format!("{FOLDER}/{number:020}.wal")
}

/// The log file that is being written.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    health: Health,
    file: Box<dyn DiskFile>,
    number: u64,
    path: String,
    /// Up to here the file is durable; what stands behind was never acknowledged.
    durable: u64,
    /// A failed write may have left bytes behind `durable`, and if they were cut off, no sync has
    /// made that durable yet.
    is_dirty: bool,
}

impl Log {
    /// Begins a file. It is durable, with its name, before the first frame goes into it.
    ///
    /// # Errors
    /// The disk refuses; nothing is left behind that matters.
    pub(crate) fn create(disk: &Arc<dyn Disk>, health: &Health, number: u64) -> Result<Self> {
        health.check()?;
        let path = path(number);
        let unavailable = |source| Error::Unavailable { path: path.clone(), source };
        let mut file = disk.create(&path).map_err(unavailable)?;
        if let Err(error) = file.append(&FILE_MAGIC) {
            let _removed = disk.remove(&path);
            return Err(unavailable(error));
        }
        health.synced(&path, file.sync())?;
        health.synced(FOLDER, disk.sync_dir(FOLDER))?;
        let durable = FILE_MAGIC.len() as u64;
        let (disk, health) = (Arc::clone(disk), health.clone());
        Ok(Log { disk, health, file, number, path, durable, is_dirty: false })
    }

    /// The number of the file.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Up to where the file is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Appends frames; when it returns `Ok` they are durable.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing was appended, and the same call may succeed later.
    /// [`Error::SyncFailed`]: the process must not go on.
    pub(crate) fn append(&mut self, frames: &[u8]) -> Result<()> {
        self.health.check()?;
        let unavailable = |source| Error::Unavailable { path: self.path.clone(), source };
        if self.is_dirty {
            self.file.truncate(self.durable).map_err(unavailable)?;
        }
        self.is_dirty = true;
        if let Err(error) = self.file.append(frames) {
            // Room for others at once; if this fails too, the next append tries again.
            let _cut = self.file.truncate(self.durable);
            return Err(unavailable(error));
        }
        self.health.synced(&self.path, self.file.sync())?;
        self.is_dirty = false;
        self.durable += frames.len() as u64;
        Ok(())
    }

    /// Goes on in a new file.
    ///
    /// # Errors
    /// As [`create`](Self::create); the old file stays in use.
    pub(crate) fn rotate(&mut self) -> Result<()> {
        // Only the newest file may end in a torn write.
        if self.is_dirty {
            let unavailable = |source| Error::Unavailable { path: self.path.clone(), source };
            self.file.truncate(self.durable).map_err(unavailable)?;
            self.health.synced(&self.path, self.file.sync())?;
            self.is_dirty = false;
        }
        *self = Log::create(&self.disk, &self.health, self.number + 1)?;
        Ok(())
    }
}
