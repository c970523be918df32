//! The meta log: what was done with the record itself, as leaves of a log of their own. It is
//! small, so its entries are kept as tlog-tiles lays them out: full bundles in files that never
//! change, and those of the unfinished bundle in one file that is replaced.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use whodid_event::time::{self, Micros};
use whodid_tlog::{Hash, Tile, tile};

use super::log::{self, Log, path};
use crate::disk::Disk;
use crate::error::{Error, Result};

/// The name of the meta log; no cluster may have it.
pub(crate) const NAME: &str = "meta";

/// The entries of the unfinished bundle.
const UNFINISHED: &str = "entries";

/// What was done with the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Record {
    /// A file of a table is about to be listed: it has these bytes and will not change.
    Seal(Seal),
    /// A log was frozen at its last head, and another goes on.
    Reopen {
        /// The origin of the frozen log.
        frozen: String,
        /// Its last checkpoint.
        checkpoint: String,
        /// The origin of the log that goes on.
        origin: String,
        /// Why, in its user's words.
        reason: String,
    },
}

/// A file of a table, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// Its path in the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// An entry of the meta log, as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MetaEntry {
    /// The leaf's index.
    pub seq: u64,
    /// When it was written (RFC 3339, UTC).
    pub received: String,
    /// What was done.
    pub record: Record,
}

/// The meta log, being written.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) log: Log,
    unfinished: Vec<Vec<u8>>,
    received: Micros,
}

impl Meta {
    /// Goes on with a log whose tree is whole.
    ///
    /// # Errors
    /// A file is damaged.
    pub(super) fn open(log: Log) -> Result<Self> {
        let size = log.tree.size();
        let begin = size - size % u64::from(Tile::WIDTH);
        let newest = newest(&*log.files.disk)?.filter(|(at, _)| *at == begin);
        Ok(Meta {
            log,
            unfinished: newest.map(|(_, entries)| entries).unwrap_or_default(),
            received: 0,
        })
    }

    /// Adds a record; when it returns, it is durable.
    ///
    /// # Errors
    /// The disk refuses, and nothing was added.
    pub(super) fn append(&mut self, record: &Record, now: Micros) -> Result<()> {
        self.received = self.received.max(now);
        let seq = self.log.tree.size();
        let entry = entry(seq, self.received, record)?;
        let hash = Hash::of_leaf(&entry);
        self.unfinished.push(entry);
        if let Err(error) = self.write(seq) {
            self.unfinished.pop();
            return Err(error);
        }
        if self.unfinished.len() == usize::from(Tile::WIDTH) {
            self.unfinished.clear();
        }
        self.log.extend([hash]);
        Ok(())
    }

    fn write(&self, seq: u64) -> Result<()> {
        let entries = self.unfinished.iter().map(Vec::as_slice);
        let bundle = tile::bundle(entries).ok_or_else(|| too_long(seq))?;
        let is_full = self.unfinished.len() == usize::from(Tile::WIDTH);
        let file = if is_full {
            tile::bundle_path(seq / u64::from(Tile::WIDTH), Tile::WIDTH)
        } else {
            UNFINISHED.to_owned()
        };
        // A full bundle that a crash left is replaced by one that begins with the same entries.
        self.log.files.store.replace(&path(NAME, &file), bundle)
    }
}

fn too_long(seq: u64) -> Error {
    Error::Invalid(format!("record {seq} of the meta log is longer than an entry may be"))
}

/// Takes the entries of a frozen meta log over into the one that goes on.
///
/// # Errors
/// The disk refuses.
pub(super) fn copy(files: &log::Files, kept: &str) -> Result<()> {
    let read = |file: &str| {
        let path = format!("{kept}/{file}");
        match crate::disk::read(&*files.disk, &path, log::FILE_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|source| Error::Read { path, source }),
        }
    };
    let mut bundle = 0;
    while let Some(bytes) = read(&tile::bundle_path(bundle, Tile::WIDTH))? {
        files.store.replace(&path(NAME, &tile::bundle_path(bundle, Tile::WIDTH)), bytes)?;
        bundle += 1;
    }
    match read(UNFINISHED)? {
        Some(bytes) => files.store.replace(&path(NAME, UNFINISHED), bytes),
        None => Ok(()),
    }
}

/// The bytes of a leaf.
fn entry(seq: u64, received: Micros, record: &Record) -> Result<Vec<u8>> {
    let record =
        serde_json::to_string(record).map_err(|error| Error::Invalid(error.to_string()))?;
    let received = time::format(received);
    let mut entry = String::new();
    // Writing to a String cannot fail.
    let _written = write!(
        entry,
        r#"{{"v":1,"seq":{seq},"cluster":"{NAME}","source":"whodid","received":"{received}","record":{record}}}"#
    );
    Ok(entry.into_bytes())
}

/// The entries of the meta log from a leaf on.
///
/// # Errors
/// A file is damaged, or gone.
pub(crate) fn entries_from(disk: &dyn Disk, from: u64) -> Result<Vec<Vec<u8>>> {
    let width = u64::from(Tile::WIDTH);
    let mut entries = Vec::new();
    let mut bundle = from / width;
    while let Some(full) = read(disk, &tile::bundle_path(bundle, Tile::WIDTH))? {
        if full.len() != usize::from(Tile::WIDTH) {
            return Err(damaged(&tile::bundle_path(bundle, Tile::WIDTH)));
        }
        entries.extend(full);
        bundle += 1;
    }
    // One that was replaced by a full bundle is left over.
    if let Some((at, unfinished)) = newest(disk)?
        && at == bundle * width
    {
        entries.extend(unfinished);
    }
    let skipped = usize::try_from(from % width).unwrap_or(0);
    if entries.len() < skipped {
        return Err(damaged(UNFINISHED));
    }
    entries.drain(..skipped);
    Ok(entries)
}

/// The unfinished bundle, and the leaf that it begins with.
fn newest(disk: &dyn Disk) -> Result<Option<(u64, Vec<Vec<u8>>)>> {
    #[derive(Deserialize)]
    struct Place {
        seq: u64,
    }
    let Some(entries) = read(disk, UNFINISHED)? else { return Ok(None) };
    let Some(first) = entries.first() else { return Err(damaged(UNFINISHED)) };
    let place: Place = serde_json::from_slice(first).map_err(|_| damaged(UNFINISHED))?;
    Ok(Some((place.seq, entries)))
}

fn read(disk: &dyn Disk, file: &str) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(bytes) = log::read(disk, NAME, file)? else { return Ok(None) };
    let entries = tile::entries(&bytes).ok_or_else(|| damaged(file))?;
    Ok(Some(entries.into_iter().map(<[u8]>::to_vec).collect()))
}

fn damaged(file: &str) -> Error {
    Error::Format {
        path: path(NAME, file),
        why:
            "the entries of the meta log are not all there, or are damaged; put the file back from \
              a copy, or run `whodid ledger reopen meta` to go on with this on record"
                .into(),
    }
}
