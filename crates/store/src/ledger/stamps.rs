//! Checkpoints that a time-stamping authority has seen (RFC 3161), each beside its token. Asking
//! the authority, and what a token holds, is for others; that the record still begins with what
//! was stamped is `verify`'s to see.

use whodid_tlog::{Checkpoint, Note, Policy};

use super::log::{self, path};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::writer::Writer;

/// The folder of stamps in that of a log.
const FOLDER: &str = "stamps";

/// A file with the checkpoint, byte for byte what was stamped, and one with the answer.
const CHECKPOINT: &str = "checkpoint";
const TOKEN: &str = "tsr";

fn file(size: u64, what: &str) -> String {
    format!("{FOLDER}/{size:015}.{what}")
}

/// What a time-stamping authority has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// How many leaves the tree had.
    pub size: u64,
    /// The checkpoint, byte for byte what was stamped.
    pub checkpoint: Vec<u8>,
    /// The authority's answer (RFC 3161, `TimeStampResp`).
    pub answer: Vec<u8>,
}

impl Reader {
    /// The newest stamp of a log whose tree had at most so many leaves; `None` if there is none.
    ///
    /// # Errors
    /// A file of it cannot be read.
    pub fn stamp(&self, name: &str, size_max: u64) -> Result<Option<Stamp>> {
        let newest = sizes(&*self.disk, name)?.into_iter().rfind(|size| *size <= size_max);
        let Some(size) = newest.filter(|size| *size > 0) else { return Ok(None) };
        let read = |what| {
            let file = file(size, what);
            log::read(&*self.disk, name, &file)?.ok_or_else(|| log::gone(name, &file))
        };
        Ok(Some(Stamp { size, checkpoint: read(CHECKPOINT)?, answer: read(TOKEN)? }))
    }
}

impl Writer {
    /// How many leaves the newest checkpoint of a log has that is stamped; 0 if there is none.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn stamped(&self, name: &str) -> Result<u64> {
        Ok(sizes(&*self.disk, name)?.into_iter().max().unwrap_or(0))
    }

    /// Keeps a checkpoint and the authority's answer about it; when it returns, they are durable.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_stamp(&self, name: &str, size: u64, note: &Note, answer: Vec<u8>) -> Result<()> {
        let keep = |what, bytes| self.store.replace(&path(name, &file(size, what)), bytes);
        // Without its checkpoint, a token is of nothing.
        keep(CHECKPOINT, note.to_string().into_bytes())?;
        keep(TOKEN, answer)
    }
}

/// The sizes of the trees that were stamped.
fn sizes(disk: &dyn Disk, name: &str) -> Result<Vec<u64>> {
    let folder = path(name, FOLDER);
    let files = match disk.list(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(|source| Error::Read { path: folder, source })?,
    };
    let size = |name: &str| name.strip_suffix(TOKEN)?.strip_suffix('.')?.parse::<u64>().ok();
    let mut sizes: Vec<u64> = files.iter().filter_map(|file| size(&file.name)).collect();
    sizes.sort_unstable();
    Ok(sizes)
}

/// The checkpoints of a log that were stamped, in order, each with its path; an error where one is
/// not what the log's key has signed.
///
/// # Errors
/// The folder cannot be listed.
pub(crate) fn read(
    disk: &dyn Disk,
    name: &str,
    policy: &Policy,
) -> Result<Vec<(String, Result<Checkpoint>)>> {
    let stamp = |size| {
        let file = file(size, CHECKPOINT);
        let checkpoint = log::note(disk, name, &file, policy).and_then(|found| {
            let (_, checkpoint) = found.ok_or_else(|| log::gone(name, &file))?;
            let is_its = checkpoint.head.size == size;
            is_its.then_some(checkpoint).ok_or_else(|| {
                log::unbelieved(name, &file, &"it is of another size than its name says")
            })
        });
        (path(name, &file), checkpoint)
    };
    Ok(sizes(disk, name)?.into_iter().map(stamp).collect())
}
