//! Opening the ledger: the trees are made whole from what the record holds and held against the
//! checkpoints that were signed over them. A record that went back, or was altered, is refused.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use whodid_tlog::{Hash, Tile, Verifier};

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
use crate::retention::UNIT_LEAVES;
use crate::snapshot::Snapshot;

/// Where the leaves of a start come from.
pub(crate) struct Kept<'a> {
    /// Segments alone.
    pub(crate) segments: Snapshot,
    pub(crate) watermarks: &'a Watermarks,
    pub(crate) recovered: &'a Recovered,
    /// Logs that were just begun for leaves that there are already.
    pub(crate) reopening: &'a [String],
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
    let standing = meta::standing(&**disk)?;
    let mut logs = HashMap::new();
    for (cluster, end) in record.ends() {
        // A segment is listed when its leaves are signed.
        if record.watermarks.contains_key(&cluster) && !log::has_begun(&**disk, &cluster)? {
            return Err(log::gone(&cluster, log::KEY));
        }
        let mut log = Log::open(&files, &cluster, prefix)?;
        record.check_size(&log, end)?;
        let pruned = standing.pruned.get(&cluster).copied().unwrap_or(0);
        let has_edge = log.covered > 0;
        // The edge is only a shortcut: without it, the entries alone decide.
        let is_signed = has_edge && record.extend(&mut log, end).await?;
        if !is_signed {
            log.begin_behind(pruned)?;
            if !record.extend(&mut log, end).await? {
                return Err(altered(&log));
            }
        }
        logs.insert(Arc::from(cluster), log);
    }
    vanished(&**disk, &logs)?;
    let mut meta = Log::open(&files, meta::NAME, prefix)?;
    if !extend_meta(&**disk, &mut meta)? {
        meta.begin_behind(0)?;
        if !extend_meta(&**disk, &mut meta)? {
            return Err(altered(&meta));
        }
    }
    let meta = Meta::open(meta)?;
    let keys = BlockKeys::new(Arc::clone(disk));
    let (shared, clock) = (shared.clone(), Arc::clone(clock));
    let waiting = VecDeque::new();
    Ok(Ledger { logs, meta, waiting, keys, files, prefix: prefix.clone(), shared, clock })
}

/// Adds the entries of the meta log that were signed to its tree; `false` if they are not those.
/// What was never signed was never relied on, and is nobody's word.
fn extend_meta(disk: &dyn Disk, log: &mut Log) -> Result<bool> {
    let behind_edge = log.signed.size - log.tree.size();
    let entries = meta::entries_from(disk, log.tree.size())?;
    let signed = entries.iter().take(usize::try_from(behind_edge).unwrap_or(usize::MAX));
    log.extend(signed.map(|entry| Hash::of_leaf(entry)));
    Ok(log.tree.head() == log.signed)
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

    /// How many leaves of a cluster are in segments.
    fn in_segments(&self, cluster: &str) -> u64 {
        self.watermarks.get(cluster).map_or(0, |last| last + 1)
    }

    /// Refuses a checkpoint over more leaves than there are, or over fewer than are in segments.
    fn check_size(&self, log: &Log, end: u64) -> Result<()> {
        let (name, signed) = (&*log.name, log.signed.size);
        if signed > end {
            return Err(Error::Format {
                path: path(name, log::CHECKPOINT),
                why: format!(
                    "it was signed over {signed} leaves, and the record of {name} has {end}: it \
                     was put back to an older state, or its newest files were taken away. Put the \
                     missing files back from a copy, or run `whodid ledger reopen` to go on with \
                     this on record"
                ),
            });
        }
        let in_segments = self.in_segments(name);
        if signed < in_segments && !self.reopening.iter().any(|reopening| reopening == name) {
            let what = format!("what is in segments, {in_segments} leaves,");
            return Err(log::behind(name, signed, &what));
        }
        Ok(())
    }

    /// Adds all leaves of the record to a tree; `false` if they are not those that were signed.
    async fn extend(&self, log: &mut Log, end: u64) -> Result<bool> {
        let in_segments = self.in_segments(&log.name);
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
    /// Begins the tree anew, from the tiles above what was pruned, without the edge.
    fn begin_behind(&mut self, pruned: u64) -> Result<()> {
        (self.tree, self.covered) = (Tree::default(), 0);
        for index in 0..pruned / UNIT_LEAVES {
            let tile = Tile { level: 1, index, width: Tile::WIDTH };
            let hashes = log::full_tile(&*self.files.disk, &self.name, tile)?;
            let hashes = hashes.ok_or_else(|| log::gone(&self.name, &tile.to_string()))?;
            for hash in hashes {
                self.tree.append_block(hash);
            }
            self.tree.written();
        }
        Ok(())
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
        self.tree.size() != self.signed.size || self.tree.head() == self.signed
    }
}

fn altered(log: &Log) -> Error {
    let size = log.signed.size;
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

/// Refuses when a whole cluster is gone whose log was begun.
fn vanished(disk: &dyn Disk, logs: &HashMap<Arc<str>, Log>) -> Result<()> {
    for name in log::names(disk)? {
        let is_known = name == meta::NAME || logs.contains_key(&*name);
        if is_known || !log::has_begun(disk, &name)? {
            continue;
        }
        return Err(Error::Format {
            path: path(&name, log::CHECKPOINT),
            why: format!(
                "there is a log of {name}, and not one event of it in the record; put the \
                 missing files back from a copy"
            ),
        });
    }
    Ok(())
}
