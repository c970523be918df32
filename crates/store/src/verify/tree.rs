//! The tree that the record has now, block by block: held against the tiles on disk, so that a leaf
//! that differs is found to 256 leaves, and against what was signed.

use whodid_tlog::proof::Head;
use whodid_tlog::{CompactRange, Hash, Tile, tile};

use crate::error::Result;
use crate::ledger::Signed;

const WIDTH: u64 = Tile::WIDTH as u64;

/// A tree that is computed anew.
pub(super) struct Blocks<'a> {
    signed: Option<&'a Signed>,
    /// The whole blocks.
    range: CompactRange,
    /// The leaves behind them; `None` where one cannot be read.
    leaves: Vec<Option<Hash>>,
    /// By size.
    heads: Vec<Expected>,
}

/// A tree that there was.
struct Expected {
    head: Head,
    whence: &'static str,
    /// What the tree of this size is now, once it is known.
    found: Option<Hash>,
}

impl<'a> Blocks<'a> {
    /// Of stamped heads, those within the leaves before `begin`, which are gone, cannot be
    /// computed.
    pub(super) fn new(signed: Option<&'a Signed>, stamped: &[Head], begin: u64) -> Self {
        let expected = |head, whence| Expected { head, whence, found: None };
        let heads = signed.into_iter().flat_map(|signed| {
            let edge = expected(signed.edge_head(), "the tiles have another");
            signed.heads().map(|head| expected(head, "another was signed")).chain([edge])
        });
        let stamped = stamped.iter().filter(|head| head.size > begin);
        let stamped = stamped.map(|head| expected(*head, "a time stamp is of another"));
        let heads = heads.chain(stamped).filter(|expected| expected.head.size > 0);
        let mut heads: Vec<Expected> = heads.collect();
        heads.sort_by_key(|expected| expected.head.size);
        Blocks { signed, range: CompactRange::default(), leaves: Vec::new(), heads }
    }

    /// The leaf behind the last.
    pub(super) fn end(&self) -> u64 {
        self.range.end() + self.leaves.len() as u64
    }

    /// Adds a leaf, `None` if it cannot be read. A block that it completes and that is not the one
    /// on disk comes back: its first and its last leaf.
    ///
    /// # Errors
    /// A tile cannot be read.
    pub(super) fn push(&mut self, leaf: Option<Hash>) -> Result<Option<(u64, u64)>> {
        self.leaves.push(leaf);
        if self.leaves.len() as u64 == WIDTH { self.end_block() } else { Ok(None) }
    }

    fn end_block(&mut self) -> Result<Option<(u64, u64)>> {
        self.find_heads();
        let begin = self.range.end();
        let end = begin + WIDTH;
        let stored = self.signed.map(|signed| signed.block(begin / WIDTH)).transpose()?.flatten();
        let leaves: Option<Vec<Hash>> = self.leaves.drain(..).collect();
        let computed = leaves.map(|leaves| tile::root(&leaves));
        // A block that cannot be read is taken from the tiles, so that those behind it can be.
        let hash = computed.or(stored).unwrap_or(Hash::EMPTY);
        if let Some(block) = CompactRange::from_hashes(begin, end, vec![hash]) {
            self.range.extend(&block);
        }
        let is_other = computed.is_some_and(|hash| stored.is_some_and(|stored| stored != hash));
        Ok(is_other.then_some((begin, end - 1)))
    }

    /// Computes the heads whose last leaf is in the block at hand.
    fn find_heads(&mut self) {
        let (begin, end) = (self.range.end(), self.end());
        let (range, leaves) = (&self.range, &self.leaves);
        // There may be one for each hour of years.
        let first = self.heads.partition_point(|expected| expected.head.size <= begin);
        for expected in self.heads.iter_mut().skip(first) {
            if expected.head.size > end {
                break;
            }
            let mut range = range.clone();
            let count = usize::try_from(expected.head.size - begin).unwrap_or(usize::MAX);
            expected.found = leaves
                .iter()
                .take(count)
                .try_for_each(|leaf| {
                    range.append((*leaf)?, |_, _| {});
                    Some(())
                })
                .map(|()| range.root());
        }
    }

    /// What is wrong with the tree, when all leaves were added.
    pub(super) fn wrong(&mut self) -> Option<String> {
        self.find_heads();
        self.heads.iter().find_map(|Expected { head, whence, found }| {
            let Head { size, root } = head;
            match found {
                Some(found) if found == root => None,
                Some(found) => Some(format!(
                    "the first {size} leaves have the root {found}, and {whence}, {root}"
                )),
                None => Some(format!("the root of the first {size} leaves cannot be computed")),
            }
        })
    }
}
