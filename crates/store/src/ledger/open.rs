//! Opening the ledger: the trees are made whole from what the record holds and held against the
//! checkpoints that were signed over them. A record that went back, or was altered, is refused.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use whodid_tlog::{Hash, Verifier};

use super::Ledger;
use super::log::{self, Files, Log, path};
use super::meta::{self, Meta};
use super::tree::Tree;
use crate::clock::Clock;
use crate::descriptor::Descriptor;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::keys::BlockKeys;
use crate::memtable::{Files as TableFiles, Shared};
use crate::object::DiskStore;
use crate::recover::{Recovered, Watermarks};
use crate::snapshot::Snapshot;

/// Where the leaves of a start come from.
pub(crate) struct Kept<'a> {
    /// Segments alone.
    pub(crate) segments: Snapshot,
    pub(crate) watermarks: &'a Watermarks,
    pub(crate) recovered: &'a Recovered,
}

/// What a new store will be; an interrupted start has begun its ledger already.
///
/// # Errors
/// A file of the ledger is damaged.
pub(crate) fn descriptor(disk: &dyn Disk) -> Result<Descriptor> {
    let begun = log::policy(disk, meta::NAME)?;
    let name = begun.as_ref().and_then(|(_, policy)| policy.logs().first()).map(Verifier::name);
    Ok(Descriptor::new(name.and_then(|name| name.strip_suffix("/meta"))))
}

/// Opens the ledger of a store.
///
/// # Errors
/// The record is not the one that was signed, or a file of the ledger is damaged; the message says
/// what to do.
pub(crate) async fn open(
    (disk, store): (&Arc<dyn Disk>, &DiskStore),
    descriptor: &Descriptor,
    record: &Kept<'_>,
    shared: &Shared,
    clock: &Arc<dyn Clock>,
) -> Result<Ledger> {
    let files = Files { disk: Arc::clone(disk), store: store.clone() };
    let prefix = &descriptor.origin;
    let mut logs = HashMap::new();
    for (cluster, end) in record.ends() {
        // The first seal is made after the log was begun, and before the first segment is listed.
        if record.watermarks.contains_key(&cluster)
            && log::read(&**disk, &cluster, log::KEY)?.is_none()
        {
            return Err(log::gone(&cluster, log::KEY));
        }
        let mut log = Log::open(&files, &cluster, prefix)?;
        if !record.extend(&mut log, end).await? {
            // The edge is only a shortcut: without it, the entries alone decide.
            if !log.forget_edge() || !record.extend(&mut log, end).await? {
                return Err(altered(&log));
            }
        }
        logs.insert(Arc::from(cluster), log);
    }
    vanished(&**disk, &logs)?;
    let mut meta = Log::open(&files, meta::NAME, prefix)?;
    if !extend_meta(&**disk, &mut meta)?
        && (!meta.forget_edge() || !extend_meta(&**disk, &mut meta)?)
    {
        return Err(altered(&meta));
    }
    let meta = Meta::open(meta)?;
    let keys = BlockKeys::new(Arc::clone(disk));
    let (shared, clock) = (shared.clone(), Arc::clone(clock));
    let waiting = VecDeque::new();
    Ok(Ledger { logs, meta, waiting, keys, files, prefix: prefix.clone(), shared, clock })
}

/// Adds all entries of the meta log to its tree; `false` if they are not those that were signed.
fn extend_meta(disk: &dyn Disk, log: &mut Log) -> Result<bool> {
    let entries = meta::entries_from(disk, log.tree.size())?;
    let is_signed = log.check_extend(entries.iter().map(|entry| Hash::of_leaf(entry)));
    Ok(is_signed && log.signed.is_none_or(|signed| signed.size <= log.tree.size()))
}

impl Kept<'_> {
    /// What is in segments.
    pub(crate) fn segments(
        files: &Arc<TableFiles>,
        store: &DiskStore,
        disk: &Arc<dyn Disk>,
    ) -> Snapshot {
        Snapshot {
            files: Arc::clone(files),
            runs: Vec::new(),
            store: store.clone(),
            disk: Arc::clone(disk),
            warnings: Vec::new(),
        }
    }

    /// The leaf index behind the last event of each cluster.
    fn ends(&self) -> BTreeMap<String, u64> {
        let segments = self.watermarks.iter().map(|(cluster, last)| (cluster.clone(), last + 1));
        let mut ends: BTreeMap<String, u64> = segments.collect();
        ends.extend(self.recovered.ends.iter().map(|(cluster, end)| (cluster.to_string(), *end)));
        ends
    }

    /// Adds all leaves of the record to a tree; `false` if they are not those that were signed.
    async fn extend(&self, log: &mut Log, end: u64) -> Result<bool> {
        if let Some(signed) = log.signed.filter(|signed| signed.size > end) {
            return Err(Error::Format {
                path: path(&log.name, log::CHECKPOINT),
                why: format!(
                    "it was signed over {} leaves, and the record of {} has {end}: it was put back \
                     to an older state, or its newest files were taken away. Put the missing files \
                     back from a copy, or run `whodid ledger reopen` to go on with this on record",
                    signed.size, log.name
                ),
            });
        }
        let in_segments = self.watermarks.get(&*log.name).map_or(0, |last| last + 1);
        if log.tree.size() < in_segments {
            let range = log.tree.size()..in_segments;
            let hashes = self.segments.leaf_hashes(&log.name, range).await?;
            if !log.check_extend(hashes) {
                return Ok(false);
            }
        }
        for (first, hashes) in self.recovered.leaves.get(&log.name).into_iter().flatten() {
            let known = usize::try_from(log.tree.size().saturating_sub(*first));
            let rest = hashes.get(known.unwrap_or(usize::MAX)..).unwrap_or_default();
            if !log.check_extend(rest.iter().copied()) {
                return Ok(false);
            }
        }
        Ok(log.is_signed_tree() && log.tree.size() == end)
    }
}

impl Log {
    /// Begins the tree anew; `false` if it was not begun from an edge.
    fn forget_edge(&mut self) -> bool {
        self.tree = Tree::default();
        std::mem::take(&mut self.covered) > 0
    }

    /// Adds leaves; `false` if the tree is not the one that was signed where it comes by its size.
    fn check_extend(&mut self, leaves: impl IntoIterator<Item = Hash>) -> bool {
        leaves.into_iter().all(|leaf| {
            self.tree.append(leaf);
            self.is_signed_tree()
        })
    }

    /// Whether the tree is of another size than the one that was signed, or is the same.
    fn is_signed_tree(&self) -> bool {
        let is_same = |signed| signed == self.tree.head();
        self.signed.filter(|signed| signed.size == self.tree.size()).is_none_or(is_same)
    }
}

fn altered(log: &Log) -> Error {
    let size = log.signed.map_or(0, |head| head.size);
    Error::Format {
        path: path(&log.name, log::CHECKPOINT),
        why: format!(
            "the first {size} leaves of {} are not those that it was signed over: the record was \
             altered. `whodid verify` finds the first leaf that differs; put the files back from a \
             copy, or run `whodid ledger reopen` to go on with this on record",
            log.name
        ),
    }
}

/// Refuses when a whole cluster is gone whose log was signed.
fn vanished(disk: &dyn Disk, logs: &HashMap<Arc<str>, Log>) -> Result<()> {
    for name in log::names(disk)? {
        let is_known = name == meta::NAME || logs.contains_key(&*name);
        if is_known || log::read(disk, &name, log::CHECKPOINT)?.is_none() {
            continue;
        }
        return Err(Error::Format {
            path: path(&name, log::CHECKPOINT),
            why: format!(
                "there is a signed log of {name}, and not one event of it in the record; put the \
                 missing files back from a copy"
            ),
        });
    }
    Ok(())
}
