//! A log in memory, for tests: entry `i` is `i` as a decimal.

use std::convert::Infallible;

use crate::proof::{self, Head};
use crate::range::{CompactRange, Node, Nodes};
use crate::{Checkpoint, Hash, Note, ProofFile, Signer, note::Kind};

/// The log's origin.
pub(crate) const ORIGIN: &str = "log.example/test";

pub(crate) struct Log {
    leaves: Vec<Hash>,
}

impl Log {
    pub(crate) fn of(size: u64) -> Self {
        Log { leaves: (0..size).map(|i| Hash::of_leaf(entry(i).as_bytes())).collect() }
    }

    pub(crate) fn head(&self, size: u64) -> Head {
        Head { size, root: CompactRange::read(self, 0, size).unwrap().root() }
    }

    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        proof::inclusion(self, index, size).unwrap()
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        proof::consistency(self, old, new).unwrap()
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Note {
        Checkpoint::new(ORIGIN, self.head(size)).sign(&key(), 0).unwrap()
    }

    pub(crate) fn file(&self, index: u64, size: u64) -> ProofFile {
        let (path, checkpoint) = (self.inclusion(index, size), self.checkpoint(size));
        ProofFile { extra: None, index, path, checkpoint }
    }
}

/// Hashes by the definition of RFC 6962 §2.1, as it stands there.
impl Nodes for Log {
    type Error = Infallible;

    fn node(&self, node: Node) -> Result<Hash, Infallible> {
        let begin = usize::try_from(node.index << node.level).unwrap();
        Ok(tree_hash(&self.leaves[begin..begin + (1 << node.level)]))
    }
}

/// MTH of RFC 6962 §2.1.
pub(crate) fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY,
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::of_node(&tree_hash(left), &tree_hash(right))
        }
    }
}

pub(crate) fn entry(index: u64) -> String {
    index.to_string()
}

/// The log's key.
pub(crate) fn key() -> Signer {
    Signer::new(ORIGIN, Kind::Ed25519, &[1; 32]).unwrap()
}

pub(crate) fn witness(number: u8) -> Signer {
    let name = format!("witness.example/{number}");
    Signer::new(&name, Kind::Cosignature, &[number; 32]).unwrap()
}
