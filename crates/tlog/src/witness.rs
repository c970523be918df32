//! What a log sends to a witness, and what a witness makes of it. Carrying it there, and keeping
//! what was cosigned, is left to others.

use std::fmt;

use crate::Hash;
use crate::checkpoint::{self, Checkpoint};
use crate::lines::{decimal, line};
use crate::note::{self, Note, Verifier};
use crate::proof::{self, HASHES_MAX, Head};

/// The body of `add-checkpoint`: a checkpoint, and how it follows from an earlier one. It is shown
/// exactly as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is thought to have seen last; 0 for none.
    pub old: u64,
    /// The consistency proof, empty where `old` is 0.
    pub path: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: Note,
}

/// Why a witness does not cosign, with the answer that HTTP has for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: it cannot be read, or goes backwards in itself.
    #[error("{0}")]
    Malformed(String),
    /// 403: the log's key has not signed it.
    #[error("{0}")]
    Unsigned(checkpoint::Error),
    /// 409: the witness has seen another size, which is the answer.
    #[error("size {0} was cosigned last")]
    Size(u64),
    /// 409: the witness has seen another tree of this size.
    #[error("another tree of size {0} was cosigned")]
    Fork(u64),
    /// 422: the proof does not hold.
    #[error("it does not follow from size {old}: {error}")]
    Inconsistent {
        /// The size it should follow from.
        old: u64,
        /// Why it does not.
        error: proof::Error,
    },
}

impl Refusal {
    /// The status of the answer (tlog-witness, add-checkpoint).
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::Unsigned(_) => 403,
            Refusal::Size(_) | Refusal::Fork(_) => 409,
            Refusal::Inconsistent { .. } => 422,
        }
    }
}

impl AddCheckpoint {
    /// A body is at most so long.
    pub const BYTES_MAX: usize = note::NOTE_BYTES_MAX + 4_096;

    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        let malformed = |why: &str| Refusal::Malformed(why.to_owned());
        let mut rest = body;
        let old = line(&mut rest).and_then(|line| decimal(line.strip_prefix("old ")?));
        let old = old.ok_or_else(|| malformed("the first line is not `old SIZE`"))?;
        let mut path = Vec::new();
        loop {
            let line = line(&mut rest).ok_or_else(|| malformed("the empty line is missing"))?;
            if line.is_empty() {
                break;
            }
            let hash = Hash::parse(line).filter(|_| path.len() < HASHES_MAX);
            path.push(hash.ok_or_else(|| malformed("a line is no hash, or one too many"))?);
        }
        let checkpoint = Note::parse(rest).map_err(|error| malformed(&error.to_string()))?;
        Ok(AddCheckpoint { old, path, checkpoint })
    }

    /// Which log it is of.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn origin(&self) -> Result<String, Refusal> {
        let checkpoint = Checkpoint::parse(self.checkpoint.text());
        Ok(checkpoint.map_err(|error| Refusal::Malformed(error.to_string()))?.origin)
    }

    /// Decides whether it may be cosigned, after `last` was; returns the tree to be kept, durable
    /// before the cosignature is given away. Deciding and keeping has to be one step.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, last: Option<Head>, log: &Verifier) -> Result<Head, Refusal> {
        let head = match Checkpoint::open(&self.checkpoint, log) {
            Ok(checkpoint) => checkpoint.head,
            Err(error @ checkpoint::Error::Note(_)) => return Err(Refusal::Unsigned(error)),
            Err(error) => return Err(Refusal::Malformed(error.to_string())),
        };
        self.follow(last, head)
    }

    /// As [`check`](Self::check), of a tree that somebody vouches for already.
    ///
    /// # Errors
    /// It may not be cosigned.
    pub fn follow(&self, last: Option<Head>, new: Head) -> Result<Head, Refusal> {
        if self.old > new.size {
            return Err(Refusal::Malformed(format!("{} is less than {}", new.size, self.old)));
        }
        let seen = last.map_or(0, |last| last.size);
        if self.old != seen {
            return Err(Refusal::Size(seen));
        }
        let error = match last {
            // From nothing follows everything, without a proof.
            None | Some(Head { size: 0, .. }) if self.path.is_empty() => return Ok(new),
            None | Some(Head { size: 0, .. }) => proof::Error::Length,
            Some(last) if last.size == new.size && last.root != new.root => {
                return Err(Refusal::Fork(last.size));
            }
            Some(last) => match proof::verify_consistency(last, new, &self.path) {
                Ok(()) => return Ok(new),
                Err(error) => error,
            },
        };
        Err(Refusal::Inconsistent { old: self.old, error })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
