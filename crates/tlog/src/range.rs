//! Runs of leaves, hashed: the fewest full subtrees that cover them. A tree's root, and every part
//! of a proof, is such a run.

use std::num::NonZeroU64;

use crate::Hash;

/// A full subtree: `2^level` leaves from `index × 2^level` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its height: 0 for a leaf, at most 63.
    pub level: u32,
    /// Which one of its height, from 0.
    pub index: u64,
}

impl Node {
    fn begin(self) -> u64 {
        self.index << self.level
    }
}

/// The fewest full subtrees that cover the leaves from `begin` up to `end`, left to right. The
/// levels rise, then fall.
pub fn nodes(begin: u64, end: u64) -> impl Iterator<Item = Node> {
    let mut at = begin;
    std::iter::from_fn(move || {
        let rest = NonZeroU64::new(end.saturating_sub(at))?;
        // A subtree begins at a multiple of its length; 0 is one of every length.
        let level = NonZeroU64::new(at).map_or(63, NonZeroU64::trailing_zeros).min(rest.ilog2());
        let node = Node { level, index: at >> level };
        at += 1 << level;
        Some(node)
    })
}

/// Where the hashes of full subtrees come from.
pub trait Nodes {
    /// Why there is none.
    type Error;

    /// The hash of a full subtree.
    ///
    /// # Errors
    /// It cannot be had.
    fn node(&self, node: Node) -> Result<Hash, Self::Error>;
}

/// A run of leaves as the hashes of [`nodes`]: at most 126 of them. It grows at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    begin: u64,
    end: u64,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// No leaves, before the leaf `begin`.
    pub fn empty(begin: u64) -> Self {
        CompactRange { begin, end: begin, hashes: Vec::new() }
    }

    /// The leaves from `begin` up to `end`, of which the hashes of [`nodes`] are known. `None` if
    /// these are more or fewer.
    pub fn from_hashes(begin: u64, end: u64, hashes: Vec<Hash>) -> Option<Self> {
        let is_right = begin <= end && nodes(begin, end).count() == hashes.len();
        is_right.then_some(CompactRange { begin, end, hashes })
    }

    /// The leaves from `begin` up to `end`.
    ///
    /// # Errors
    /// A hash cannot be had.
    pub fn read<N: Nodes>(source: &N, begin: u64, end: u64) -> Result<Self, N::Error> {
        let hashes = nodes(begin, end).map(|node| source.node(node)).collect::<Result<_, _>>()?;
        Ok(CompactRange { begin, end: begin.max(end), hashes })
    }

    /// The first leaf.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// The leaf behind the last.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The hashes of [`nodes`].
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Adds a leaf by its hash, and shows every full subtree that it completes, itself first.
    pub fn append(&mut self, leaf: Hash, completed: impl FnMut(Node, Hash)) {
        self.push(Node { level: 0, index: self.end }, leaf, completed);
    }

    /// Adds the leaves of another range that begins where this one ends. `false`, and nothing
    /// added, if it begins elsewhere.
    pub fn extend(&mut self, other: &CompactRange) -> bool {
        if other.begin != self.end {
            return false;
        }
        for (node, hash) in nodes(other.begin, other.end).zip(&other.hashes) {
            self.push(node, *hash, |_, _| {});
        }
        true
    }

    /// Adds a full subtree by its hash, and shows every one that it completes, itself first.
    /// `false`, and nothing added, unless the range ends where one of this height can begin.
    pub fn append_full(
        &mut self,
        level: u32,
        hash: Hash,
        completed: impl FnMut(Node, Hash),
    ) -> bool {
        let index = self.end.checked_shr(level).filter(|index| index << level == self.end);
        let Some(index) = index else { return false };
        self.push(Node { level, index }, hash, completed);
        true
    }

    fn push(&mut self, mut node: Node, mut hash: Hash, mut completed: impl FnMut(Node, Hash)) {
        self.end = node.begin() + (1 << node.level);
        completed(node, hash);
        // A right child whose left sibling is within the range makes its parent full.
        while node.index % 2 == 1 && (node.index - 1) << node.level >= self.begin {
            let Some(left) = self.hashes.pop() else { break };
            hash = Hash::of_node(&left, &hash);
            node = Node { level: node.level + 1, index: node.index / 2 };
            completed(node, hash);
        }
        self.hashes.push(hash);
    }

    /// The Merkle tree hash of these leaves alone (RFC 6962 §2.1); the root of the tree if they
    /// begin at leaf 0. It is a hash of the tree only where the tree has such a subtree: at the
    /// left of its right edge, and at full subtrees.
    pub fn root(&self) -> Hash {
        let fold = |right: Hash, left: &Hash| Hash::of_node(left, &right);
        let mut hashes = self.hashes.iter().rev();
        hashes.next().map_or(Hash::EMPTY, |last| hashes.fold(*last, fold))
    }
}
