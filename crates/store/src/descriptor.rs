//! `store.json`: what a data directory is, written once when it is made. A store of a newer format
//! is refused; one of an older format is for `whodid upgrade`.

use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::object::DiskStore;

/// The file's name.
pub(crate) const FILE: &str = "store.json";

/// The format this program reads and writes.
pub const FORMAT: u32 = 1;

/// What origins begin with, before the identifier of the store.
const ORIGIN: &str = "whodid.invalid/";

const FILE_BYTES_MAX: u64 = 64 << 10;

/// What a data directory is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The format of everything in it.
    pub format: u32,
    /// A random identifier of this store.
    pub id: String,
    /// What the origin of every log of this store begins with (C2SP tlog-checkpoint).
    pub origin: String,
}

impl Descriptor {
    /// Reads the descriptor; `None` if the directory holds no store.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>> {
        let bytes = match disk::read(disk, FILE, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| Error::Read { path: FILE.into(), source })?,
        };
        let wrong = |why: String| Error::Format { path: FILE.into(), why };
        let found: Descriptor = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("{error}; put the file back from a copy")))?;
        if found.format > FORMAT {
            return Err(wrong(format!(
                "the store is of format {}, this program knows up to {FORMAT}; use a newer whodid",
                found.format
            )));
        }
        if found.format < FORMAT {
            return Err(wrong(format!(
                "the store is of format {}, older than this program can read",
                found.format
            )));
        }
        Ok(Some(found))
    }

    /// What a new store is, whose logs have these origins already or any.
    pub(crate) fn new(origin: Option<&str>) -> Self {
        let id = origin.and_then(|origin| origin.strip_prefix(ORIGIN));
        let id = id.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        Descriptor { format: FORMAT, origin: format!("{ORIGIN}{id}"), id }
    }

    /// Makes a new store.
    pub(crate) fn create(self, store: &DiskStore) -> Result<Self> {
        store.create(FILE, self.text())?;
        Ok(self)
    }

    /// The file's bytes.
    fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Holds the file against the origin that the logs were signed under, which has the identifier,
    /// too: every byte is as it was written.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub(crate) fn check(disk: &dyn Disk, origin: &str) -> Result<()> {
        let found = disk::read(disk, FILE, FILE_BYTES_MAX);
        let found = found.map_err(|source| Error::Read { path: FILE.into(), source })?;
        if found == Descriptor::new(Some(origin)).text() {
            return Ok(());
        }
        let why = format!("it is not what was written for {origin}; put the file back from a copy");
        Err(Error::Format { path: FILE.into(), why })
    }
}
