//! The logs that oracles are asked about: one of 70,000 entries, with all that it has to show of
//! itself at any earlier size; and trees far larger than any that can be kept.
//!
//! Everything is made by `whodid_tlog`, from entries and keys that never change.

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use anyhow::Context;
use whodid_testkit::generate::Random;
use whodid_tlog::note::Kind;
use whodid_tlog::proof::{self, Head};
use whodid_tlog::range::{CompactRange, Node, Nodes};
use whodid_tlog::tile::{self, Tile};
use whodid_tlog::{Checkpoint, Hash, Note, ProofFile, Signer, Verifier};

/// The log's origin, and so the name of its key.
pub(super) const ORIGIN: &str = "log.example/prod";

/// An entry is its index between these.
pub(super) const BEFORE: &str = r#"{"v":1,"seq":"#;
pub(super) const BEHIND: &str = r#","cluster":"prod","source":"webhook/a","received":"2026-01-02T03:04:05.678900Z","event":{"level":"Metadata","auditID":"a","verb":"get"}}"#;

/// Sizes around those where tiles are full, and the one that tlog-tiles explains itself with.
const SIZES: [u64; 5] = [1, 255, 256, 257, 70_000];

/// So many more have many bits set: subtrees then share tiles.
const RANDOM_SIZES: usize = 10;
const BITS_MIN: u32 = 10;

/// When witnesses say that they have seen a checkpoint.
const TIME: u64 = 1_700_000_000;

/// Sizes to ask about, from small to large.
pub(super) fn sizes(random: &mut Random) -> Vec<u64> {
    let mut sizes = SIZES.to_vec();
    while sizes.len() < SIZES.len() + RANDOM_SIZES {
        let size = random.below(1 << 16) as u64;
        if size.count_ones() >= BITS_MIN && !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    sizes.sort_unstable();
    sizes
}

/// The entry of a leaf.
pub(super) fn entry(index: u64) -> Vec<u8> {
    format!("{BEFORE}{index}{BEHIND}").into_bytes()
}

/// Who signs checkpoints.
pub(super) struct Keys {
    log: Signer,
    witnesses: [Signer; 2],
    stranger: Signer,
}

impl Keys {
    fn new() -> anyhow::Result<Self> {
        let witness = |name, seed| Signer::new(name, Kind::Cosignature, &[seed; 32]);
        Ok(Keys {
            log: Signer::new(ORIGIN, Kind::Ed25519, &[1; 32])?,
            witnesses: [witness("witness.example/1", 2)?, witness("witness.example/2", 3)?],
            // No bit turns one of its letters into DEL, which only we refuse in a name.
            stranger: witness("third.test", 4)?,
        })
    }

    pub(super) fn log(&self) -> &Verifier {
        self.log.verifier()
    }

    pub(super) fn witnesses(&self) -> impl Iterator<Item = &Verifier> {
        self.witnesses.iter().map(Signer::verifier)
    }

    /// Signs with everybody's keys.
    fn sign(&self, head: Head) -> anyhow::Result<Note> {
        let mut note = Checkpoint::new(ORIGIN, head).sign(&self.log, TIME)?;
        for witness in &self.witnesses {
            note.add(witness.sign(note.text(), TIME));
        }
        Ok(note)
    }
}

/// The log: the hashes of all its full subtrees, by level.
pub(super) struct Log {
    pub(super) keys: Keys,
    pub(super) sizes: Vec<u64>,
    levels: Vec<Vec<Hash>>,
}

impl Log {
    pub(super) fn new(random: &mut Random) -> anyhow::Result<Self> {
        let sizes = sizes(random);
        let mut levels = Vec::new();
        let mut range = CompactRange::default();
        for index in 0..*sizes.last().context("there are sizes")? {
            range.append(Hash::of_leaf(&entry(index)), |node, hash| {
                let level = node.level as usize;
                levels.resize_with(levels.len().max(level + 1), Vec::new);
                if let Some(hashes) = levels.get_mut(level) {
                    hashes.push(hash);
                }
            });
        }
        Ok(Log { keys: Keys::new()?, sizes, levels })
    }

    /// Its tree when it had so many leaves.
    pub(super) fn head(&self, size: u64) -> anyhow::Result<Head> {
        head(self, size)
    }

    pub(super) fn checkpoint(&self, size: u64) -> anyhow::Result<Note> {
        self.keys.sign(self.head(size)?)
    }

    pub(super) fn proof_file(&self, index: u64, size: u64) -> anyhow::Result<ProofFile> {
        let path = proof::inclusion(self, index, size)?;
        Ok(ProofFile { extra: None, index, path, checkpoint: self.checkpoint(size)? })
    }

    /// A proof file that says more than anybody vouches for.
    pub(super) fn talkative_file(&self, index: u64, size: u64) -> anyhow::Result<ProofFile> {
        let mut file = self.proof_file(index, size)?;
        // Neither one nor two bytes are left over, so that its last character has no spare bits.
        file.extra = Some(b"seen in passing".to_vec());
        let signature = self.keys.stranger.sign(file.checkpoint.text(), TIME);
        file.checkpoint.add(signature);
        Ok(file)
    }

    /// A tile's hashes, as its file has them.
    pub(super) fn tile(&self, tile: Tile) -> anyhow::Result<Vec<u8>> {
        let from = usize::try_from(tile.index * u64::from(Tile::WIDTH))?;
        let hashes = self.levels.get(usize::from(tile.level) * 8);
        let hashes = hashes.and_then(|all| all.get(from..from + usize::from(tile.width)));
        let hashes = hashes.with_context(|| format!("the log has no {tile}"))?;
        Ok(hashes.iter().flat_map(|hash| hash.0).collect())
    }

    /// Writes it as tlog-tiles lays it out, without a checkpoint; with the partial tiles of every
    /// size that it once had, as a log that grew has them.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        if folder.try_exists()? {
            fs::remove_dir_all(folder)?;
        }
        for size in &self.sizes {
            for tile in Tile::of_tree(*size) {
                put(folder, &tile.to_string(), || self.tile(tile))?;
                if tile.level == 0 {
                    let from = tile.begin();
                    let entries: Vec<_> = (from..from + u64::from(tile.width)).map(entry).collect();
                    let bundle = || {
                        let bundle = tile::bundle(entries.iter().map(Vec::as_slice));
                        bundle.context("an entry is too long")
                    };
                    put(folder, &tile::bundle_path(tile.index, tile.width), bundle)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes a file unless it is there.
fn put(
    folder: &Path,
    path: &str,
    bytes: impl FnOnce() -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let path = folder.join(path);
    if !path.try_exists()? {
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, bytes()?)?;
    }
    Ok(())
}

impl Nodes for Log {
    type Error = anyhow::Error;

    fn node(&self, node: Node) -> anyhow::Result<Hash> {
        let level = self.levels.get(node.level as usize);
        let hash = level.and_then(|hashes| hashes.get(usize::try_from(node.index).ok()?));
        hash.copied().with_context(|| format!("the log has no {node:?}"))
    }
}

/// A tree of which one leaf is an entry, and all others are alike: it may have any size.
pub(super) struct Vast {
    /// Where the entry is that it has.
    index: u64,
    entry: Hash,
    /// Of subtrees without it, by level.
    alike: Vec<Hash>,
}

impl Vast {
    pub(super) fn new(index: u64) -> Self {
        let parent = |hash: &Hash| Some(Hash::of_node(hash, hash));
        let alike = std::iter::successors(Some(Hash::of_leaf(b"alike")), parent);
        Vast { index, entry: Hash::of_leaf(&entry(index)), alike: alike.take(64).collect() }
    }

    pub(super) fn head(&self, size: u64) -> anyhow::Result<Head> {
        Ok(head(self, size)?)
    }
}

impl Nodes for Vast {
    type Error = Infallible;

    fn node(&self, node: Node) -> Result<Hash, Infallible> {
        let below = self.alike.iter().take(node.level as usize).enumerate();
        let has_entry = self.index >> node.level == node.index;
        let hash = has_entry.then(|| {
            below.fold(self.entry, |hash, (level, sibling)| match self.index >> level & 1 {
                0 => Hash::of_node(&hash, sibling),
                _ => Hash::of_node(sibling, &hash),
            })
        });
        // No level is higher than those that are known.
        let alike = self.alike.get(node.level as usize).copied();
        Ok(hash.or(alike).unwrap_or(Hash::EMPTY))
    }
}

/// The head of a tree.
pub(super) fn head<N: Nodes>(nodes: &N, size: u64) -> Result<Head, N::Error> {
    Ok(Head { size, root: CompactRange::read(nodes, 0, size)?.root() })
}
