//! What a tail knows of the files it has seen, kept in a small file of its own, so that a later
//! start notices that one of them went away unread. How far files are taken in the record itself
//! knows, and where the two differ, the record is right. Without this file nothing is taken in
//! twice and nothing is missed; only a loss would go unnoticed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use whodid_event::Micros;

/// It never has more than some hundred files.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Where it was when it was last seen.
    pub(super) path: PathBuf,
    /// How far it was taken in.
    pub(super) taken: u64,
    /// How far it was known to reach.
    pub(super) seen: u64,
    /// Whether it was the log itself, to which lines are added.
    pub(super) is_log: bool,
    /// Whether it was taken in whole, and nothing more was written to it.
    pub(super) is_done: bool,
    /// When it was last looked at, in microseconds since 1970.
    pub(super) looked: Micros,
}

impl Note {
    fn what(&self) -> (&Path, u64, u64, bool, bool) {
        (&self.path, self.taken, self.seen, self.is_log, self.is_done)
    }

    /// What is missing of the file if it has gone, given how far it was taken in. Nobody knows how
    /// far a log went on; what rotation had made of one was at its end.
    pub(super) fn gap(&self, taken: u64) -> Option<(u64, Option<u64>)> {
        if self.is_log {
            return Some((taken, None));
        }
        (self.seen > taken).then_some((taken, Some(self.seen)))
    }
}

/// The notes of one log, by the identity of its files.
#[derive(Debug)]
pub(super) struct Notes {
    file: PathBuf,
    known: BTreeMap<String, Note>,
    is_changed: bool,
}

impl Notes {
    /// Reads the notes of an earlier run, if there are any.
    pub(super) fn load(file: PathBuf) -> io::Result<Self> {
        let known = match read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            read => serde_json::from_slice(&read?).unwrap_or_else(|error| {
                tracing::warn!(file = %file.display(), %error, "notes are begun anew");
                BTreeMap::new()
            }),
        };
        Ok(Notes { file, known, is_changed: false })
    }

    pub(super) fn get(&self, id: &[u8; 32]) -> Option<&Note> {
        self.known.get(&whodid_store::hex(id))
    }

    pub(super) fn set(&mut self, id: &[u8; 32], note: Note) {
        let id = whodid_store::hex(id);
        // The time alone is written with the next change that matters.
        let is_same = self.known.get(&id).is_some_and(|before| before.what() == note.what());
        self.is_changed |= !is_same;
        self.known.insert(id, note);
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.is_changed |= self.known.remove(id).is_some();
    }

    /// All of them, with the files' identities.
    pub(super) fn all(&self) -> Vec<(String, Note)> {
        self.known.iter().map(|(id, note)| (id.clone(), note.clone())).collect()
    }

    /// Writes what has changed.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        let temporary = self.file.with_extension("tmp");
        write(&temporary, &serde_json::to_vec(&self.known)?)?;
        rename(&temporary, &self.file)?;
        self.is_changed = false;
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "it lies beside the log or with its tail")]
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "it lies beside the log or with its tail")]
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(file)?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[expect(clippy::disallowed_methods, reason = "it lies beside the log or with its tail")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}
