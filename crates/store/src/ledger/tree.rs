//! The tree of one log, as far as it has to be in memory: its compact range, and the hashes of
//! tiles that are not full on disk yet. Pure; where they are kept is left to [`super::log`].

use whodid_tlog::proof::Head;
use whodid_tlog::range::{self, CompactRange, Node};
use whodid_tlog::{Hash, Tile, tile};

/// The file of a right edge begins with these bytes.
const MAGIC: [u8; 8] = *b"WdEdge01";

/// Levels of tiles that a tree of 2^64 leaves has.
const LEVELS: u32 = 8;

/// A tree that grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    range: CompactRange,
    levels: [Level; LEVELS as usize],
}

/// Hashes side by side at one level of tiles, from the beginning of a tile on.
#[derive(Clone, Debug, Default)]
struct Level {
    first: u64,
    hashes: Vec<Hash>,
}

impl Tree {
    /// How many leaves it has.
    pub(crate) fn size(&self) -> u64 {
        self.range.end()
    }

    pub(crate) fn head(&self) -> Head {
        Head { size: self.size(), root: self.range.root() }
    }

    /// Adds a leaf.
    pub(crate) fn append(&mut self, leaf: Hash) {
        self.range.append(leaf, |node, hash| keep(&mut self.levels, node, hash));
        let levels = &mut self.levels;
        // Tiles of leaves are made from entries; only the one at the edge is wanted.
        if let [leaves, ..] = levels
            && leaves.hashes.len() == usize::from(Tile::WIDTH)
        {
            leaves.first += u64::from(Tile::WIDTH);
            leaves.hashes.clear();
        }
    }

    /// Adds 256 leaves by the hash above them; the tree must end at a multiple of 256.
    pub(crate) fn append_block(&mut self, hash: Hash) {
        let levels = &mut self.levels;
        if self.range.append_full(LEVELS, hash, |node, hash| keep(levels, node, hash))
            && let [leaves, ..] = levels
        {
            leaves.first += u64::from(Tile::WIDTH);
        }
    }

    /// The hashes of a tile, as far as they are in memory.
    pub(crate) fn tile(&self, tile: Tile) -> Option<&[Hash]> {
        let level = self.levels.get(usize::from(tile.level))?;
        let begin = tile.index * u64::from(Tile::WIDTH);
        let from = usize::try_from(begin.checked_sub(level.first)?).ok()?;
        level.hashes.get(from..from + usize::from(tile.width))
    }

    /// The tiles above those of leaves that became full since [`written`](Self::written).
    pub(crate) fn full_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let width = u64::from(Tile::WIDTH);
        (0..).zip(&self.levels).skip(1).flat_map(move |(level, hashes)| {
            let (tiles, _) = hashes.hashes.as_chunks::<{ Tile::WIDTH as usize }>();
            (hashes.first / width..).zip(tiles).map(move |(index, tile)| {
                (Tile { level, index, width: Tile::WIDTH }, tile.as_slice())
            })
        })
    }

    /// Forgets full tiles, which are on disk.
    pub(crate) fn written(&mut self) {
        for level in &mut self.levels {
            let full = level.hashes.len() - level.hashes.len() % usize::from(Tile::WIDTH);
            level.hashes.drain(..full);
            level.first += full as u64;
        }
    }

    /// Its right edge: the tiles that are not full, and from which it can be made again
    /// (`docs/format/ledger.md`).
    pub(crate) fn edge(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.size().to_le_bytes());
        for level in &self.levels {
            let full = level.hashes.len() - level.hashes.len() % usize::from(Tile::WIDTH);
            for hash in level.hashes.get(full..).unwrap_or_default() {
                bytes.extend_from_slice(&hash.0);
            }
        }
        bytes
    }

    /// Reads what [`edge`](Self::edge) gave; `None` if it is something else.
    pub(crate) fn from_edge(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.strip_prefix(&MAGIC)?.split_first_chunk()?;
        let size = u64::from_le_bytes(*size);
        let (mut hashes, rest) = rest.as_chunks::<{ Hash::BYTES }>();
        let mut levels: [Level; LEVELS as usize] = Default::default();
        for (i, level) in (0..).zip(&mut levels) {
            let count = size >> (LEVELS * i);
            let width = count % u64::from(Tile::WIDTH);
            let (own, above) = hashes.split_at_checked(usize::try_from(width).ok()?)?;
            level.first = count - width;
            level.hashes = own.iter().copied().map(Hash).collect();
            hashes = above;
        }
        let nodes = range::nodes(0, size).map(|node| {
            let (tile, part) = Tile::of_node(node, size)?;
            Some(tile::root(levels.get(usize::from(tile.level))?.hashes.get(part)?))
        });
        let range = CompactRange::from_hashes(0, size, nodes.collect::<Option<_>>()?)?;
        (hashes.is_empty() && rest.is_empty()).then_some(Tree { range, levels })
    }
}

/// Keeps the hash of a subtree that tiles have.
fn keep(levels: &mut [Level; LEVELS as usize], node: Node, hash: Hash) {
    if node.level.is_multiple_of(LEVELS)
        && let Some(level) = levels.get_mut((node.level / LEVELS) as usize)
    {
        level.hashes.push(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_make_the_same_tree_as_their_leaves() {
        let (mut of_leaves, mut of_blocks) = (Tree::default(), Tree::default());
        for block in 0..600 {
            let leaves: Vec<Hash> = (block * 256..(block + 1) * 256).map(leaf).collect();
            of_blocks.append_block(tile::root(&leaves));
            for leaf in leaves {
                of_leaves.append(leaf);
            }
        }
        for i in 0..300 {
            of_leaves.append(leaf(i));
            of_blocks.append(leaf(i));
        }
        assert_eq!(of_leaves.head(), of_blocks.head());
        of_leaves.written();
        of_blocks.written();
        assert_eq!(of_leaves.edge(), of_blocks.edge());
    }

    fn leaf(i: u64) -> Hash {
        Hash::of_leaf(&i.to_le_bytes())
    }

    #[test]
    fn it_is_made_again_from_its_edge() {
        let sizes = [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000];
        let mut tree = Tree::default();
        for size in sizes {
            while tree.size() < size {
                tree.append(leaf(tree.size()));
            }
            let mut again = Tree::from_edge(&tree.edge()).unwrap();
            assert_eq!(again.head(), tree.head(), "{size}");
            let mut grown = tree.clone();
            for i in size..size + 300 {
                again.append(leaf(i));
                grown.append(leaf(i));
            }
            assert_eq!(again.head(), grown.head(), "{size}");
            assert_eq!(again.edge(), grown.edge(), "{size}");
            let edge = tree.edge();
            assert!(Tree::from_edge(&edge[..edge.len() - 1]).is_none());
            assert!(Tree::from_edge(&[edge.as_slice(), &[0; 32]].concat()).is_none());
        }
    }

    #[test]
    fn full_tiles_are_shown_until_they_are_written() {
        let mut tree = Tree::default();
        let mut seen = Vec::new();
        for i in 0..200_000 {
            tree.append(leaf(i));
            if i % 70_000 == 69_999 {
                seen.extend(tree.full_tiles().map(|(tile, hashes)| (tile, hashes.to_vec())));
                tree.written();
            }
        }
        seen.extend(tree.full_tiles().map(|(tile, hashes)| (tile, hashes.to_vec())));
        let of_tree = Tile::of_tree(200_000);
        let wanted = of_tree.filter(|tile| tile.level > 0 && tile.width == Tile::WIDTH);
        assert_eq!(
            seen.iter().map(|(tile, _)| *tile).collect::<Vec<_>>(),
            wanted.collect::<Vec<_>>()
        );
        for (tile, hashes) in seen {
            let of_node = |i: u64| {
                let leaves: Vec<Hash> = (i * 256..(i + 1) * 256).map(leaf).collect();
                tile::root(&leaves)
            };
            let own: Vec<Hash> = (tile.index * 256..(tile.index + 1) * 256).map(of_node).collect();
            assert_eq!(own, hashes, "{tile}");
        }
    }
}
