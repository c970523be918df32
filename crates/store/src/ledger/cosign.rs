//! Checkpoints on their way to others who sign them, and back: a signer elsewhere, and witnesses.
//! Carrying them is for others.

use std::sync::Arc;

use whodid_tlog::note::{Note, Signer};

use super::log::{self, Files};
use super::prove::{Evidence, Signed};
use crate::error::Result;
use crate::writer::Writer;

impl Writer {
    /// The names of all logs: the clusters, and `meta`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn logs(&self) -> Result<Vec<String>> {
        log::names(&*self.disk)
    }

    /// The newest checkpoint of a log; `None` if the log has not begun.
    ///
    /// # Errors
    /// A file of the ledger is damaged.
    pub fn checkpoint(&self, name: &str) -> Result<Option<Evidence>> {
        let Some(signed) = Signed::read(&self.disk, name)? else { return Ok(None) };
        Ok(Some(Evidence { signed, snapshot: self.snapshot(), proven: Vec::new() }))
    }

    /// Keeps a checkpoint that others have signed, too; when it returns, it is durable.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_cosigned(&self, name: &str, note: &Note) -> Result<()> {
        self.store.replace(&log::path(name, log::COSIGNED), note.to_string().into_bytes())
    }

    /// The key that says to a signer elsewhere whose a checkpoint is.
    ///
    /// # Errors
    /// It cannot be read, or not be made.
    pub fn store_signer(&self) -> Result<Signer> {
        let files = Files { disk: Arc::clone(&self.disk), store: self.store.clone() };
        log::store_signer(&files, &self.descriptor.origin)
    }
}
