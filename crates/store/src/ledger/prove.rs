//! Proofs out of the record: that a log has an event, from the newest checkpoint, the tiles on disk
//! and the entries around it. Whether a proof holds is `whodid-tlog`'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use whodid_tlog::proof::Head;
use whodid_tlog::range::{Node, Nodes};
use whodid_tlog::{
    Checkpoint, CompactRange, Hash, Note, Policy, ProofFile, Tile, checkpoint, note, policy, proof,
    tile,
};

use super::tree::Tree;
use super::{log, meta};
use crate::disk::Disk;
use crate::entries::Disclosed;
use crate::error::{Error, Result};
use crate::snapshot::Snapshot;

/// Leaves of a tile of leaves.
const WIDTH: u64 = Tile::WIDTH as u64;

/// Blocks that are no farther apart are read together.
const NEAR: u64 = 65_536;

/// That a log has an event.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The leaf.
    pub leaf: Disclosed,
    /// That it is in the tree of the newest checkpoint (c2sp.org/tlog-proof).
    pub proof: ProofFile,
}

/// That a log has some events, and what is around them.
#[derive(Debug)]
pub struct Evidence {
    pub(crate) signed: Signed,
    pub(crate) snapshot: Snapshot,
    pub(crate) proven: Vec<Proven>,
}

impl Evidence {
    /// The events, in the order of the log.
    pub fn proven(&self) -> &[Proven] {
        &self.proven
    }

    /// The checkpoint that they are proved in.
    pub fn note(&self) -> &Note {
        &self.signed.note
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.signed.checkpoint
    }

    /// Whether others have signed a checkpoint of the log, too.
    pub fn is_cosigned(&self) -> bool {
        self.signed.cosigned.is_some()
    }

    /// Takes the newest checkpoint that a policy believes.
    ///
    /// # Errors
    /// It believes none.
    pub fn believe(&mut self, policy: &Policy) -> Result<()> {
        self.signed.believed(policy)?;
        if policy.open(&self.signed.note).is_err() {
            self.signed.prefer_cosigned(0);
        }
        Ok(())
    }

    /// The log's key (c2sp.org/tlog-policy). An auditor takes it from elsewhere.
    pub fn policy(&self) -> &str {
        &self.signed.policy
    }

    /// What shows how many leaves of a range are withheld, and that none is left out: the full
    /// subtrees before the range, the hashes of its leaves, and the full subtrees behind it.
    ///
    /// # Errors
    /// The checkpoint has no such range, or the record cannot be read.
    pub async fn range(&self, range: &Range<u64>) -> Result<[Vec<Hash>; 3]> {
        let (name, size) = (&self.signed.name, self.signed.checkpoint.head.size);
        if range.is_empty() || range.end > size {
            return Err(Error::Invalid(format!(
                "there is no range {} to {} in the {size} leaves of {name}",
                range.start, range.end
            )));
        }
        let (left, right) = self.signed.around(&self.snapshot, range).await?;
        let leaves = self.snapshot.leaf_hashes(name, range.clone()).await?;
        Ok([left, leaves, right])
    }

    /// The full subtrees up to so many leaves, and those behind: the first give the root that the
    /// tree had then, all of them that of the checkpoint.
    ///
    /// # Errors
    /// The checkpoint has fewer leaves, or the record cannot be read.
    pub async fn split_at(&self, size: u64) -> Result<(Vec<Hash>, Vec<Hash>)> {
        let all = self.checkpoint().head.size;
        if size > all {
            return Err(Error::Invalid(format!("{all} leaves do not follow from {size}")));
        }
        self.signed.around(&self.snapshot, &(size..size)).await
    }

    /// How the tree of the checkpoint follows from an earlier one of this size.
    ///
    /// # Errors
    /// The checkpoint has fewer leaves, or the record cannot be read.
    pub async fn consistency(&self, old: u64) -> Result<Vec<Hash>> {
        let size = self.checkpoint().head.size;
        if old > size {
            return Err(Error::Invalid(format!("{size} leaves do not follow from {old}")));
        }
        if old == 0 || old == size {
            return Ok(Vec::new());
        }
        let nodes = self.signed.nodes(&self.snapshot, &BTreeSet::from([old])).await?;
        proof::consistency(&nodes, old, size)
    }
}

/// A log as its files show it. What was signed is always in snapshots that are taken later.
#[derive(Debug)]
pub(crate) struct Signed {
    name: String,
    disk: Arc<dyn Disk>,
    pub(crate) policy: String,
    /// The checkpoint that proofs are in.
    pub(crate) note: Note,
    pub(crate) checkpoint: Checkpoint,
    /// The newest that others have signed, too.
    pub(crate) cosigned: Option<(Note, Checkpoint)>,
    edge: Tree,
    /// Whether the right edge is there and cannot be read; a start makes it again.
    pub(crate) is_edge_damaged: bool,
    /// The full tile above blocks that was read last.
    read: Mutex<(Option<u64>, Option<Vec<Hash>>)>,
}

impl Signed {
    /// Reads a log as the record itself names its key; `None` if it has not begun yet.
    ///
    /// # Errors
    /// A file is damaged or gone, or a checkpoint is not signed by that key.
    pub(crate) fn read(disk: &Arc<dyn Disk>, name: &str) -> Result<Option<Self>> {
        if !log::has_begun(&**disk, name)? {
            return Ok(None);
        }
        // The checkpoint is never behind the edge that was there before.
        let edge = log::edge(&**disk, name)?;
        let is_edge_damaged = edge.is_none() && log::read(&**disk, name, log::EDGE)?.is_some();
        let edge = edge.unwrap_or_default();
        let own = log::policy(&**disk, name)?;
        let (policy, own) = own.ok_or_else(|| log::gone(name, log::POLICY))?;
        let cosigned = log::cosigned(&**disk, name, &own)?;
        let (note, checkpoint) = log::checkpoint(&**disk, name, &own)?;
        let of_cosigned = cosigned.as_ref().map(|(_, cosigned)| cosigned.head.size);
        log::check_size(name, checkpoint.head.size, &edge, of_cosigned)?;
        let (name, disk) = (name.to_owned(), Arc::clone(disk));
        let read = Mutex::default();
        Ok(Some(Signed {
            name,
            disk,
            policy,
            note,
            checkpoint,
            cosigned,
            edge,
            is_edge_damaged,
            read,
        }))
    }

    /// Takes the checkpoint that others have signed, too, if it covers all leaves to this one.
    pub(crate) fn prefer_cosigned(&mut self, last: u64) {
        let covers = |(_, cosigned): &mut (Note, Checkpoint)| last < cosigned.head.size;
        if let Some((note, checkpoint)) = self.cosigned.take_if(covers) {
            (self.note, self.checkpoint) = (note, checkpoint);
        }
    }

    /// The newest of its checkpoints that a policy believes.
    ///
    /// # Errors
    /// It believes none.
    pub(crate) fn believed(&self, policy: &Policy) -> Result<&Checkpoint> {
        let own = policy.open(&self.note).map(|_| &self.checkpoint);
        let cosigned = self.cosigned.as_ref();
        let cosigned = cosigned.map(|(note, cosigned)| policy.open(note).map(|_| cosigned));
        own.or_else(|why| cosigned.unwrap_or(Err(why))).map_err(|error| {
            let file = if self.cosigned.is_some() { log::COSIGNED } else { log::CHECKPOINT };
            let why = match &error {
                policy::Error::Log(checkpoint::Error::Origin { .. }) => format!(
                    "the policy does not name {}; a log that began since is in a newer policy: ask \
                     who gave you this one",
                    self.checkpoint.origin
                ),
                policy::Error::Log(checkpoint::Error::Note(note::Error::Unsigned(_))) => {
                    "nobody whom the policy names has signed it: a signer elsewhere has not yet, \
                     or the policy is of other keys"
                        .to_owned()
                }
                policy::Error::Quorum(_) => {
                    format!("{error}: too few witnesses have seen it yet, or others than these")
                }
                _ => return log::unbelieved(&self.name, file, &error),
            };
            Error::Format { path: log::path(&self.name, file), why }
        })
    }

    /// All heads that were signed.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Head> {
        let cosigned = self.cosigned.iter().map(|(_, cosigned)| cosigned.head);
        [self.checkpoint.head].into_iter().chain(cosigned)
    }

    /// The tree that the tiles on disk are of.
    pub(crate) fn edge_head(&self) -> Head {
        self.edge.head()
    }

    /// The hash of a block of 256 leaves as the tiles on disk have it; `None` if they have none.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub(crate) fn block(&self, index: u64) -> Result<Option<Hash>> {
        let tile = Tile { level: 1, index: index / WIDTH, width: Tile::WIDTH };
        let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        if index >= self.edge.size() / WIDTH {
            return Ok(None);
        }
        let one = Tile { width: 1, ..tile };
        if self.edge.tile(one).is_some() {
            let width = u16::try_from(at + 1).unwrap_or(Tile::WIDTH);
            return Ok(self
                .edge
                .tile(Tile { width, ..tile })
                .and_then(|hashes| hashes.last().copied()));
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != Some(tile.index) {
            *read = (Some(tile.index), log::full_tile(&*self.disk, &self.name, tile)?);
        }
        Ok(read.1.as_ref().and_then(|hashes| hashes.get(at).copied()))
    }

    /// Proves leaves, in order; `None` if no checkpoint covers all of them yet.
    ///
    /// # Errors
    /// One is not in the record, or the record is not the one that was signed.
    pub(crate) async fn prove(
        &self,
        snapshot: &Snapshot,
        seqs: &BTreeSet<u64>,
    ) -> Result<Option<Vec<Proven>>> {
        let size = self.checkpoint.head.size;
        if seqs.last().is_some_and(|last| *last >= size) {
            return Ok(None);
        }
        let nodes = self.nodes(snapshot, seqs).await?;
        let mut leaves = self.disclosed(snapshot, seqs).await?.into_iter();
        let mut proven = Vec::with_capacity(seqs.len());
        for seq in seqs.iter().copied() {
            let leaf = leaves.next().filter(|leaf| leaf.seq == seq);
            let leaf = leaf.ok_or_else(|| missing(&self.name, seq))?;
            let path = proof::inclusion(&nodes, seq, size)?;
            let checkpoint = self.note.clone();
            let proof = ProofFile { extra: None, index: seq, path, checkpoint };
            // What does not hold is no proof: the record was altered since.
            proof.verify_in(&leaf.entry, &self.checkpoint).map_err(|error| Error::Format {
                path: log::path(&self.name, log::CHECKPOINT),
                why: format!(
                    "{}/{seq} is not the event that it was signed over ({error}): the record was \
                     altered; `whodid verify` says where",
                    self.name
                ),
            })?;
            proven.push(Proven { leaf, proof });
        }
        Ok(Some(proven))
    }

    /// The hashes around a range of leaves, from which those within and these give the root: the
    /// full subtrees before it, and behind it.
    pub(crate) async fn around(
        &self,
        snapshot: &Snapshot,
        range: &Range<u64>,
    ) -> Result<(Vec<Hash>, Vec<Hash>)> {
        let size = self.checkpoint.head.size;
        let nodes = self.nodes(snapshot, &[range.start, range.end].into()).await?;
        let left = CompactRange::read(&nodes, 0, range.start)?;
        let right = CompactRange::read(&nodes, range.end, size)?;
        Ok((left.hashes().to_vec(), right.hashes().to_vec()))
    }

    /// The hashes of leaves of this log, from what holds them.
    async fn leaf_hashes(&self, snapshot: &Snapshot, range: Range<u64>) -> Result<Vec<Hash>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if self.name != meta::NAME {
            return snapshot.leaf_hashes(&self.name, range).await;
        }
        let entries = meta::entries_from(&*self.disk, range.start)?;
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        Ok(entries.iter().take(count).map(|entry| Hash::of_leaf(entry)).collect())
    }

    /// Leaves of this log, with what they commit to, from what holds them.
    async fn disclosed(&self, snapshot: &Snapshot, seqs: &BTreeSet<u64>) -> Result<Vec<Disclosed>> {
        if self.name != meta::NAME {
            return snapshot.disclosed(&self.name, seqs).await;
        }
        let Some(first) = seqs.first() else { return Ok(Vec::new()) };
        let entries = (*first..).zip(meta::entries_from(&*self.disk, *first)?);
        let wanted = entries.filter(|(seq, _)| seqs.contains(seq));
        Ok(wanted.map(|(seq, entry)| Disclosed { seq, entry, bodies: Vec::new() }).collect())
    }

    /// What proofs of these leaves are made of.
    async fn nodes(&self, snapshot: &Snapshot, leaves: &BTreeSet<u64>) -> Result<Stored<'_>> {
        let size = self.checkpoint.head.size;
        let mut tree = self.edge.clone();
        let behind_edge = self.leaf_hashes(snapshot, tree.size()..size).await?;
        for hash in behind_edge {
            tree.append(hash);
        }
        let blocks = leaves.iter().chain([&size]).map(|leaf| leaf - leaf % WIDTH);
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for begin in blocks.collect::<BTreeSet<u64>>().into_iter().filter(|begin| *begin < size) {
            let end = (begin + WIDTH).min(size);
            match wanted.last_mut() {
                // A file is read as a whole in any case.
                Some(before) if begin - before.end <= NEAR => before.end = end,
                _ => wanted.push(begin..end),
            }
        }
        let mut read = BTreeMap::new();
        for range in wanted {
            read.insert(range.start, self.leaf_hashes(snapshot, range).await?);
        }
        Ok(Stored { log: self, tree, read })
    }
}

pub(super) fn missing(name: &str, seq: u64) -> Error {
    Error::Invalid(format!("{name}/{seq} is not in the record"))
}

/// The nodes of a log: those above tiles of leaves from its files, and those of some blocks of
/// leaves.
struct Stored<'a> {
    log: &'a Signed,
    tree: Tree,
    /// The hashes of leaves that were read, by the first of each run.
    read: BTreeMap<u64, Vec<Hash>>,
}

impl Nodes for Stored<'_> {
    type Error = Error;

    fn node(&self, node: Node) -> Result<Hash> {
        let wrong = || Error::Format {
            path: log::path(&self.log.name, "tile"),
            why: "a hash of the tree is not there; `whodid verify` says what is wrong".into(),
        };
        let size = self.log.checkpoint.head.size;
        let (tile, range) = Tile::of_node(node, size).ok_or_else(wrong)?;
        if tile.level == 0 {
            let (first, hashes) = self.read.range(..=tile.begin()).next_back().ok_or_else(wrong)?;
            let begin = usize::try_from(tile.begin() - first).map_err(|_| wrong())?;
            let hashes = hashes.get(begin + range.start..begin + range.end);
            return hashes.map(tile::root).ok_or_else(wrong);
        }
        if let Some(hashes) = self.tree.tile(tile) {
            return hashes.get(range).map(tile::root).ok_or_else(wrong);
        }
        let hashes = log::full_tile(&*self.log.disk, &self.log.name, tile)?.ok_or_else(wrong)?;
        hashes.get(range).map(tile::root).ok_or_else(wrong)
    }
}
