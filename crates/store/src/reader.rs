//! Reading a store that another process may be writing to. A snapshot sees everything that was
//! acknowledged before it was taken: the log files are opened first, then `events`, then `bodies`,
//! so that nothing can slip from one into the other unseen.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use whodid_tlog::Signer;

use crate::dedupe::Fingerprints;
use crate::descriptor::Descriptor;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::health::Health;
use crate::ledger::{self, Evidence, Signed};
use crate::memtable::{Files, Run};
use crate::object::DiskStore;
use crate::recover;
use crate::snapshot::Snapshot;
use crate::wal::replay;
use crate::writer::{open_tables, watermarks};

/// A reader of a store.
#[derive(Debug)]
pub struct Reader {
    pub(crate) disk: Arc<dyn Disk>,
    store: DiskStore,
    descriptor: Descriptor,
}

impl Reader {
    /// Opens the store in a folder of this machine for reading.
    ///
    /// # Errors
    /// There is none, or it is of a format this program does not know.
    pub fn open_dir(dir: &Path) -> Result<Self> {
        match Self::open(Arc::new(RealDisk::new(dir))) {
            Err(Error::NoStore { .. }) => Err(Error::NoStore { dir: dir.display().to_string() }),
            opened => opened,
        }
    }

    /// Opens the store on a disk for reading.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir).
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self> {
        let descriptor = Descriptor::load(&*disk)?;
        let descriptor = descriptor.ok_or_else(|| Error::NoStore { dir: ".".into() })?;
        let store = DiskStore::new(Arc::clone(&disk), Health::default());
        Ok(Reader { disk, store, descriptor })
    }

    /// What the store is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Pins everything that was acknowledged before this call.
    ///
    /// # Errors
    /// The tables cannot be read. Damage to the write-ahead log is not an error here: what can be
    /// read is returned, with a warning.
    pub fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot>> {
        Box::pin(async move {
            let log = replay::open_all(&*self.disk)?;
            let tables = open_tables(&self.store).await?;
            let watermarks = watermarks(&tables, &*self.disk).await?;
            let recovered = recover::read(&log, &watermarks, &Fingerprints::new(), None)?;
            let mut files = tables.files();
            // Bodies above the watermark belong to events that are still in the log.
            files.bodies.retain(|file| {
                watermarks.get(&file.cluster).is_some_and(|last| file.stats.seq.1 <= *last)
            });
            let warnings = recovered.losses.iter().map(ToString::to_string).collect();
            let runs = recovered.frozen.into_iter().flat_map(|frozen| frozen.runs).collect();
            Ok(self.pin(files, runs, warnings))
        })
    }

    /// Proves that the log of a cluster has events; `None` if no checkpoint covers all of them yet.
    ///
    /// # Errors
    /// The record cannot be read, has no such event, or is not the one that was signed.
    pub fn prove<'a>(
        &'a self,
        cluster: &'a str,
        seqs: &'a BTreeSet<u64>,
    ) -> BoxFuture<'a, Result<Option<Evidence>>> {
        Box::pin(async move {
            let Some(mut signed) = Signed::read(&self.disk, cluster)? else { return Ok(None) };
            let pruned = ledger::meta::standing(&*self.disk)?.pruned.get(cluster).copied();
            if let Some(seq) =
                seqs.first().filter(|seq| pruned.is_some_and(|pruned| **seq < pruned))
            {
                return Err(Error::Invalid(format!(
                    "{cluster}/{seq} was pruned when its retention ended; a proof that was made \
                     before still holds: `whodid verify PROOF`"
                )));
            }
            signed.prefer_cosigned(seqs.last().copied().unwrap_or_default());
            let snapshot = self.snapshot().await?;
            let Some(proven) = signed.prove(&snapshot, seqs).await? else { return Ok(None) };
            Ok(Some(Evidence { signed, snapshot, proven }))
        })
    }

    /// The newest checkpoint of a log; `None` if the log has not begun.
    ///
    /// # Errors
    /// A file of the ledger is damaged, or the record cannot be read.
    pub async fn checkpoint(&self, name: &str) -> Result<Option<Evidence>> {
        let Some(signed) = Signed::read(&self.disk, name)? else { return Ok(None) };
        Ok(Some(Evidence { signed, snapshot: self.snapshot().await?, proven: Vec::new() }))
    }

    /// The key that exports of this record are signed with; it is no log's.
    ///
    /// # Errors
    /// It cannot be read, or not be made.
    pub fn export_signer(&self) -> Result<Signer> {
        let files = ledger::log::Files { disk: Arc::clone(&self.disk), store: self.store.clone() };
        ledger::log::export_signer(&files, &self.descriptor.origin)
    }

    /// The key that says to a signer elsewhere whose a checkpoint is.
    ///
    /// # Errors
    /// It cannot be read, or not be made.
    pub fn store_signer(&self) -> Result<Signer> {
        let files = ledger::log::Files { disk: Arc::clone(&self.disk), store: self.store.clone() };
        ledger::log::store_signer(&files, &self.descriptor.origin)
    }

    /// The keys of all logs, as the record names them (c2sp.org/tlog-policy): what auditors are
    /// given before they need it.
    ///
    /// # Errors
    /// A file of the ledger is damaged.
    pub fn policy(&self) -> Result<String> {
        ledger::policy_of_all(&*self.disk)
    }

    fn pin(&self, files: Files, runs: Vec<Run>, warnings: Vec<String>) -> Snapshot {
        Snapshot {
            files: Arc::new(files),
            runs,
            store: self.store.clone(),
            disk: Arc::clone(&self.disk),
            warnings,
        }
    }
}
