//! A cluster's log as files that never change, as c2sp.org/tlog-tiles lays them out, for programs
//! that others wrote. The record itself keeps no entry and no tile of leaves
//! (`docs/format/ledger.md`); they are made here.

use whodid_tlog::{Hash, Tile, tile};

use super::prove::{Signed, missing};
use super::tree::Tree;
use super::{log, meta};
use crate::error::{Error, Result};
use crate::reader::Reader;

const WIDTH: u64 = Tile::WIDTH as u64;

/// So many entries are in memory at once.
const STEP: u64 = 65_536;

impl Reader {
    /// Hands over each file of a cluster's log by its path, the checkpoint last; returns how many
    /// leaves it has, `None` if the log has not begun.
    ///
    /// # Errors
    /// Leaves of it were pruned, the record is not the one that was signed, or it cannot be read.
    pub async fn tlog_tiles<E: From<Error>>(
        &self,
        cluster: &str,
        mut put: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<Option<u64>, E> {
        let Some(signed) = Signed::read(&self.disk, cluster)? else { return Ok(None) };
        let snapshot = self.snapshot().await?;
        let head = signed.checkpoint.head;
        if let Some(pruned) = meta::standing(&*self.disk)?.pruned.get(cluster) {
            return Err(Error::Invalid(format!(
                "the first {pruned} leaves of {cluster} were pruned, and their entries are gone: \
                 what is left has no such layout"
            ))
            .into());
        }
        let mut tree = Tree::default();
        while tree.size() < head.size {
            let begin = tree.size();
            let end = head.size.min(begin + STEP);
            let entries = snapshot.entries(cluster, begin..end).await?;
            if entries.len() as u64 != end - begin {
                return Err(missing(cluster, begin + entries.len() as u64).into());
            }
            for (index, block) in (begin / WIDTH..).zip(entries.chunks(usize::from(Tile::WIDTH))) {
                let width = u16::try_from(block.len()).unwrap_or(Tile::WIDTH);
                let bundle = tile::bundle(block.iter().map(Vec::as_slice));
                let bundle = bundle.ok_or_else(|| {
                    Error::Invalid(format!("an entry of {cluster} is longer than one may be"))
                })?;
                put(&tile::bundle_path(index, width), &bundle)?;
                let leaves: Vec<Hash> = block.iter().map(|entry| Hash::of_leaf(entry)).collect();
                put(&Tile { level: 0, index, width }.to_string(), &bytes(&leaves))?;
                for leaf in leaves {
                    tree.append(leaf);
                }
            }
            for (tile, hashes) in tree.full_tiles() {
                put(&tile.to_string(), &bytes(hashes))?;
            }
            tree.written();
        }
        if tree.head() != head {
            return Err(Error::Format {
                path: log::path(cluster, log::CHECKPOINT),
                why: "the record is not the one that was signed; `whodid verify` says where".into(),
            }
            .into());
        }
        let is_partial = |tile: &Tile| tile.level > 0 && tile.width < Tile::WIDTH;
        for tile in Tile::of_tree(head.size).filter(is_partial) {
            put(&tile.to_string(), &bytes(tree.tile(tile).unwrap_or_default()))?;
        }
        put(log::CHECKPOINT, signed.note.to_string().as_bytes())?;
        Ok(Some(head.size))
    }
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}
