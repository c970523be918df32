//! Proof files: an event's place in a log, the way from there to a root, and the checkpoint that
//! has that root. With the entry and the keys somebody trusts, nothing else is needed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::Hash;
use crate::checkpoint::{self, Checkpoint};
use crate::lines::{decimal, line};
use crate::note::{self, Note, Verifier};
use crate::proof::{self, HASHES_MAX};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A file is at most so long: a note, and what stands before it.
pub const FILE_BYTES_MAX: usize = note::NOTE_BYTES_MAX + (1 << 20);

/// What a proof file holds. It is shown exactly as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// What nobody vouches for.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub path: Vec<Hash>,
    /// The log's checkpoint.
    pub checkpoint: Note,
}

/// Why a proof file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is none.
    #[error("no proof file: {0}")]
    Malformed(&'static str),
    /// Its checkpoint is none, or not the log's.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The entry is not in the tree.
    #[error("the entry is not in the log: {0}")]
    Proof(#[from] proof::Error),
}

impl ProofFile {
    /// Reads a proof file. Nothing of it is checked.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(file: &str) -> Result<Self, Error> {
        if file.len() > FILE_BYTES_MAX {
            return Err(Error::Malformed("it is longer than 2 MiB"));
        }
        let mut rest = file;
        let mut next = || line(&mut rest).ok_or(Error::Malformed("it ends too early"));
        if next()? != HEADER {
            return Err(Error::Malformed("its first line is another"));
        }
        let mut current = next()?;
        let mut extra = None;
        if let Some(base64) = current.strip_prefix("extra ") {
            let bytes = BASE64.decode(base64);
            extra = Some(bytes.map_err(|_| Error::Malformed("its extra data is no base64"))?);
            current = next()?;
        }
        let index = current.strip_prefix("index ").and_then(decimal);
        let index = index.ok_or(Error::Malformed("it has no index"))?;
        let mut path = Vec::new();
        loop {
            let current = next()?;
            if current.is_empty() {
                break;
            }
            let hash = Hash::parse(current).filter(|_| path.len() < HASHES_MAX);
            path.push(hash.ok_or(Error::Malformed("a line is no hash, or one too many"))?);
        }
        let checkpoint = Note::parse(rest).map_err(checkpoint::Error::from)?;
        Ok(ProofFile { extra, index, path, checkpoint })
    }

    /// Checks that a log has an entry at this place, and returns the checkpoint that says so.
    ///
    /// # Errors
    /// The log's key has not signed the checkpoint, or the entry is not in its tree.
    pub fn verify(&self, entry: &[u8], log: &Verifier) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint::open(&self.checkpoint, log)?;
        self.verify_in(entry, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Checks that the tree of a checkpoint, whose signatures were checked, has an entry at this
    /// place.
    ///
    /// # Errors
    /// It has not.
    pub fn verify_in(&self, entry: &[u8], checkpoint: &Checkpoint) -> Result<(), proof::Error> {
        proof::verify_inclusion(checkpoint.head, self.index, Hash::of_leaf(entry), &self.path)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
