//! Tiles: a tree's hashes in pieces of 256, of which every eighth level is kept; and bundles, the
//! entries of 256 leaves. Where they are kept is left to others.

use std::fmt;
use std::ops::Range;

use crate::Hash;
use crate::lines::decimal;
use crate::range::{CompactRange, Node, Nodes};

/// Levels of the tree in one tile.
const HEIGHT: u32 = 8;

/// A tile: hashes that stand side by side at level 8 × `level` of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// 0 for hashes of leaves, at most 7: a tree of 2^64 leaves needs no more.
    pub level: u8,
    /// Which one of its level, from 0.
    pub index: u64,
    /// How many hashes it has, from 1 to 256; fewer than 256 only at the right edge.
    pub width: u16,
}

impl Tile {
    /// Hashes of a full tile, and entries of a full bundle.
    pub const WIDTH: u16 = 1 << HEIGHT;

    /// All tiles of a tree, lowest level first, left to right.
    pub fn of_tree(size: u64) -> impl Iterator<Item = Tile> {
        let levels = (0..8u8).map(move |level| (level, size >> (HEIGHT * u32::from(level))));
        levels.flat_map(|(level, hashes)| {
            let full = hashes / u64::from(Self::WIDTH);
            let full_tiles = (0..full).map(move |index| Tile { level, index, width: Self::WIDTH });
            let tile = Tile::at(level, full, hashes);
            full_tiles.chain(tile)
        })
    }

    /// The tile with an index, of a level of so many hashes in all; `None` if it has none.
    fn at(level: u8, index: u64, hashes: u64) -> Option<Self> {
        let rest = hashes.checked_sub(index.checked_mul(u64::from(Self::WIDTH))?)?;
        let width = u16::try_from(rest).unwrap_or(Self::WIDTH).min(Self::WIDTH);
        (width > 0).then_some(Tile { level, index, width })
    }

    /// The tile of a tree that has a node, and which of its hashes that node covers. `None` if the
    /// tree has no such full subtree.
    pub fn of_node(node: Node, size: u64) -> Option<(Self, Range<usize>)> {
        let (level, above) = (u8::try_from(node.level / HEIGHT).ok()?, node.level % HEIGHT);
        let first = node.index.checked_mul(1 << above)?;
        let width = u64::from(Self::WIDTH);
        let hashes = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
        let tile = Tile::at(level, first / width, hashes)?;
        let from = usize::try_from(first % width).ok()?;
        let range = from..from + (1 << above);
        (range.end <= usize::from(tile.width)).then_some((tile, range))
    }

    /// The first leaf that it covers.
    pub fn begin(&self) -> u64 {
        self.index << (HEIGHT * (u32::from(self.level) + 1)).min(63)
    }

    /// Reads the path that [`Tile`] is shown as.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = u8::try_from(decimal(level)?).ok().filter(|level| *level < 8)?;
        let (index, width) = parse_place(place)?;
        Some(Tile { level, index, width })
    }
}

/// Its path: `tile/LEVEL/INDEX`, and `.p/WIDTH` if it is partial.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}", self.level, place(self.index, self.width))
    }
}

/// The path of the entries that a tile of level 0 has the hashes of.
pub fn bundle_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", place(index, width))
}

/// Reads what [`bundle_path`] gives.
pub fn parse_bundle_path(path: &str) -> Option<(u64, u16)> {
    parse_place(path.strip_prefix("tile/entries/")?)
}

/// An index in groups of three digits, all but the last behind an `x`, so that a folder never has
/// the name of a file.
fn place(index: u64, width: u16) -> String {
    let mut text = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        text.insert_str(0, &format!("x{:03}/", rest % 1_000));
        rest /= 1_000;
    }
    if width < Tile::WIDTH {
        text.push_str(&format!(".p/{width}"));
    }
    text
}

fn parse_place(text: &str) -> Option<(u64, u16)> {
    let (groups, width) = match text.split_once(".p/") {
        None => (text, Tile::WIDTH),
        Some((groups, width)) => {
            let width = u16::try_from(decimal(width)?).ok()?;
            (groups, Some(width).filter(|width| (1..Tile::WIDTH).contains(width))?)
        }
    };
    let index = groups.split('/').try_fold(0u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let number = digits.parse::<u16>().ok()?;
        index.checked_mul(1_000)?.checked_add(number.into())
    })?;
    // Whatever is spelt otherwise is no path.
    (place(index, width) == text).then_some((index, width))
}

/// A tree of `size` leaves whose tiles `fetch` brings, as [`Nodes`]. What it brings is not compared
/// with anything: a proof made of it is to be checked.
pub struct Tiles<F> {
    /// Leaves of the tree.
    pub size: u64,
    /// Brings the hashes of a tile, as many as it is wide.
    pub fetch: F,
}

/// Why a node cannot be read from tiles.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// The tree has no such full subtree.
    #[error("the tree has no such node")]
    NoNode,
    /// A tile has fewer hashes than it should.
    #[error("{0} has fewer hashes than it should")]
    Short(Tile),
    /// A tile cannot be had.
    #[error(transparent)]
    Fetch(E),
}

impl<E, F: Fn(Tile) -> Result<Vec<Hash>, E>> Nodes for Tiles<F> {
    type Error = Error<E>;

    fn node(&self, node: Node) -> Result<Hash, Error<E>> {
        let (tile, range) = Tile::of_node(node, self.size).ok_or(Error::NoNode)?;
        let hashes = (self.fetch)(tile).map_err(Error::Fetch)?;
        Ok(root(hashes.get(range).ok_or(Error::Short(tile))?))
    }
}

/// The hash of the subtree above hashes that stand side by side; of all those of a full tile, the
/// tile's own hash in the tile above.
pub fn root(hashes: &[Hash]) -> Hash {
    let mut range = CompactRange::default();
    for hash in hashes {
        range.append(*hash, |_, _| {});
    }
    range.root()
}

/// Entries as tlog-tiles bundles them: each behind its length in two bytes, big-endian. `None` if
/// one is longer than 65,535 bytes.
pub fn bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for entry in entries {
        out.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Some(out)
}

/// Takes a bundle apart; `None` if it ends within an entry.
pub fn entries(bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, mut entries) = (bundle, Vec::new());
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk()?;
        let (entry, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        rest = behind;
    }
    Some(entries)
}

#[cfg(test)]
mod tests;
