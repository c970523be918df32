//! The oracles that are asked without a program: the crate `ct-merkle`, and `whodid_tlog` itself,
//! which reads what it wrote as anybody's files.

use std::collections::BTreeMap;

use anyhow::ensure;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::Sha256;
use whodid_tlog::proof::{self, Head};
use whodid_tlog::{Hash, Note, Policy, ProofFile};

use super::judge::{Oracle, Verdict};
use super::log::{Keys, Log, entry};
use super::request::Request;

/// An error is why something is refused.
type Answer = anyhow::Result<()>;

pub(super) const ORACLES: [Oracle; 2] = [Oracle::Whodid, Oracle::CtMerkle];

pub(super) struct Native {
    policy: Policy,
    /// The log's, by size, as `ct-merkle` found them.
    roots: BTreeMap<u64, Hash>,
}

impl Native {
    pub(super) fn new(log: &Log) -> anyhow::Result<Self> {
        let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut roots = BTreeMap::new();
        for size in &log.sizes {
            (tree.len()..*size).for_each(|index| tree.push(entry(index)));
            roots.insert(*size, root_of(&tree));
        }
        Ok(Native { policy: Policy::parse(&policy(&log.keys))?, roots })
    }

    pub(super) fn ask(&self, request: &Request) -> Vec<Verdict> {
        let verdict = |oracle: Oracle, answer: Answer| Verdict {
            oracle: oracle.name().to_owned(),
            accepted: answer.is_ok(),
            why: answer.err().map(|error| format!("{error:#}")).unwrap_or_default(),
        };
        let whodid = self.whodid(request).map(|answer| verdict(Oracle::Whodid, answer));
        let ct_merkle = self.ct_merkle(request).map(|answer| verdict(Oracle::CtMerkle, answer));
        whodid.into_iter().chain(ct_merkle).collect()
    }

    /// What it cannot be asked, it does not answer.
    fn whodid(&self, request: &Request) -> Option<Answer> {
        Some(match request {
            Request::Proof { file, entry } => self.proof(file, entry),
            Request::Checkpoint { note } => self.checkpoint(note),
            Request::Inclusion { head, index, entry, path } => {
                proof::verify_inclusion(*head, *index, Hash::of_leaf(entry), path)
                    .map_err(Into::into)
            }
            Request::Consistency { old, new, path } => {
                proof::verify_consistency(*old, *new, path).map_err(Into::into)
            }
            Request::Tiles { .. } | Request::Root { .. } | Request::RootOfNumbers { .. } => {
                return None;
            }
        })
    }

    fn proof(&self, file: &[u8], entry: &[u8]) -> Answer {
        let file = ProofFile::parse(std::str::from_utf8(file)?)?;
        let checkpoint = self.policy.open(&file.checkpoint)?;
        Ok(file.verify_in(entry, &checkpoint)?)
    }

    fn checkpoint(&self, note: &[u8]) -> Answer {
        self.policy.open(&Note::parse(std::str::from_utf8(note)?)?)?;
        Ok(())
    }

    fn ct_merkle(&self, request: &Request) -> Option<Answer> {
        let compare = |found: Option<&Hash>, root: &Hash| {
            ensure!(found == Some(root), "the leaves have another root");
            Ok(())
        };
        Some(match request {
            Request::Inclusion { head, index, entry, path } => {
                let verify = |proof| theirs(*head).verify_inclusion(entry, *index, &proof);
                let proof = InclusionProof::try_from_bytes(bytes(path));
                proof.and_then(verify).map_err(Into::into)
            }
            Request::Consistency { old, new, path } => {
                let verify = |proof| theirs(*new).verify_consistency(&theirs(*old), &proof);
                let proof = ConsistencyProof::try_from_bytes(bytes(path));
                proof.and_then(verify).map_err(Into::into)
            }
            Request::Root { entries, root } => {
                let mut tree = MemoryBackedTree::<Sha256, &[u8]>::new();
                for entry in entries {
                    tree.push(entry);
                }
                compare(Some(&root_of(&tree)), root)
            }
            Request::RootOfNumbers { head } => compare(self.roots.get(&head.size), &head.root),
            Request::Proof { .. } | Request::Checkpoint { .. } | Request::Tiles { .. } => {
                return None;
            }
        })
    }
}

/// A policy that wants everybody's signature.
fn policy(keys: &Keys) -> String {
    let mut policy = format!("log {}\n", keys.log());
    let mut names = String::new();
    for (number, witness) in keys.witnesses().enumerate() {
        policy.push_str(&format!("witness w{number} {witness}\n"));
        names.push_str(&format!(" w{number}"));
    }
    policy + &format!("group everybody all{names}\nquorum everybody\n")
}

fn theirs(head: Head) -> RootHash<Sha256> {
    RootHash::new(head.root.0.into(), head.size)
}

fn root_of<T: ct_merkle::HashableLeaf>(tree: &MemoryBackedTree<Sha256, T>) -> Hash {
    Hash((*tree.root().as_bytes()).into())
}

fn bytes(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| hash.0).collect()
}
