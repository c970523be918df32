//! Checkpoints: notes that say what a log's tree was.

use std::fmt;

use crate::Hash;
use crate::lines::{decimal, line};
use crate::note::{self, Kind, Note, Signer, Verifier};
use crate::proof::Head;

/// What a checkpoint says (tlog-checkpoint, Note text). It is shown exactly as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: never empty, without a newline.
    pub origin: String,
    /// Its tree.
    pub head: Head,
    /// Lines that other logs add, each with its end; ours never do.
    pub extension: String,
}

/// Why a note is not the checkpoint that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no checkpoint.
    #[error("no checkpoint: {0}")]
    Malformed(&'static str),
    /// It is another log's.
    #[error("a checkpoint of {found}, not of {wanted}")]
    Origin {
        /// What it should be of.
        wanted: String,
        /// What it is of.
        found: String,
    },
    /// It is no note, or not signed as it should be.
    #[error(transparent)]
    Note(#[from] note::Error),
}

impl Checkpoint {
    /// What is to be said of a log.
    pub fn new(origin: impl Into<String>, head: Head) -> Self {
        Checkpoint { origin: origin.into(), head, extension: String::new() }
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// It is no checkpoint.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut rest = text;
        let mut next = || line(&mut rest).ok_or(Error::Malformed("it has fewer than three lines"));
        let (origin, size, root) = (next()?, next()?, next()?);
        if origin.is_empty() {
            return Err(Error::Malformed("it has no origin"));
        }
        let size = decimal(size).ok_or(Error::Malformed("its size is no decimal"))?;
        let root = Hash::parse(root).ok_or(Error::Malformed("its root is no hash"))?;
        let has_empty_line = rest.starts_with('\n') || rest.contains("\n\n");
        if has_empty_line || (!rest.is_empty() && !rest.ends_with('\n')) {
            return Err(Error::Malformed("it has an empty line, or half of one"));
        }
        let head = Head { size, root };
        Ok(Checkpoint { origin: origin.to_owned(), head, extension: rest.to_owned() })
    }

    /// Reads a log's checkpoint that its key has signed: the key's name is the log's origin.
    ///
    /// # Errors
    /// It is none, is another log's, or is not signed by that key.
    pub fn open(note: &Note, log: &Verifier) -> Result<Self, Error> {
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != log.name() {
            let (wanted, found) = (log.name().to_owned(), checkpoint.origin);
            return Err(Error::Origin { wanted, found });
        }
        if log.kind() != Kind::Ed25519 {
            return Err(note::Error::Key("a log's key is no cosigner's").into());
        }
        note.verify(log)?;
        Ok(checkpoint)
    }

    /// Signs it. The time, in seconds since 1970, is said only by cosigners' keys.
    ///
    /// # Errors
    /// Its origin has control characters.
    pub fn sign(&self, signer: &Signer, time: u64) -> Result<Note, note::Error> {
        let mut note = Note::new(self.to_string())?;
        note.add(signer.sign(note.text(), time));
        Ok(note)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { size, root } = self.head;
        write!(f, "{}\n{size}\n{root}\n{}", self.origin, self.extension)
    }
}
