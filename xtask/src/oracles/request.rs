//! What an oracle is asked, as `testbed/oracle/README.md` has it, and the bytes of it that may be
//! flipped. What the answer has to be is left to `judge`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use whodid_tlog::Hash;
use whodid_tlog::proof::Head;

use super::log::{BEFORE, BEHIND, Keys};

/// A question, and all that is needed to answer it.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// Whether a file proves that an entry is in the log.
    Proof { file: Vec<u8>, entry: Vec<u8> },
    /// Whether the log and its witnesses have signed a checkpoint.
    Checkpoint { note: Vec<u8> },
    /// Whether a tree has an entry.
    Inclusion { head: Head, index: u64, entry: Vec<u8>, path: Vec<Hash> },
    /// Whether a tree begins with all of another.
    Consistency { old: Head, new: Head, path: Vec<Hash> },
    /// Whether a client finds an entry in the tiles of a folder, of which one may be replaced.
    Tiles { folder: String, head: Head, index: u64, instead: Option<(String, Vec<u8>)> },
    /// Whether these entries have this root.
    Root { entries: Vec<Vec<u8>>, root: Hash },
    /// Whether the first entries of the log have this root.
    RootOfNumbers { head: Head },
}

/// The kinds of requests, by which oracles know whether they can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Proof,
    Checkpoint,
    Inclusion,
    Consistency,
    Tiles,
    Root,
}

impl Request {
    pub(super) fn check(&self) -> Check {
        match self {
            Request::Proof { .. } => Check::Proof,
            Request::Checkpoint { .. } => Check::Checkpoint,
            Request::Inclusion { .. } => Check::Inclusion,
            Request::Consistency { .. } => Check::Consistency,
            Request::Tiles { .. } => Check::Tiles,
            Request::Root { .. } | Request::RootOfNumbers { .. } => Check::Root,
        }
    }

    /// What may be flipped in it.
    fn parts(&mut self) -> Vec<&mut [u8]> {
        let hashes = |path| <[Hash]>::iter_mut(path).map(|hash| &mut hash.0[..]);
        match self {
            Request::Proof { file, entry } => vec![file, entry],
            Request::Checkpoint { note } => vec![note],
            Request::Inclusion { head, entry, path, .. } => {
                [&mut head.root.0[..], entry].into_iter().chain(hashes(path)).collect()
            }
            Request::Consistency { old, new, path } => {
                [&mut old.root.0[..], &mut new.root.0].into_iter().chain(hashes(path)).collect()
            }
            Request::Tiles { instead, .. } => {
                instead.iter_mut().map(|(_, bytes)| &mut bytes[..]).collect()
            }
            Request::Root { entries, root } => {
                entries.iter_mut().map(Vec::as_mut_slice).chain([&mut root.0[..]]).collect()
            }
            Request::RootOfNumbers { head } => vec![&mut head.root.0],
        }
    }

    /// How many bytes may be flipped.
    pub(super) fn bytes(&self) -> usize {
        self.clone().parts().iter().map(|part| part.len()).sum()
    }

    /// The same with one bit flipped.
    pub(super) fn flipped(&self, mut at: usize, bit: usize) -> Request {
        let mut flipped = self.clone();
        for part in flipped.parts() {
            if let Some(byte) = part.get_mut(at) {
                *byte ^= 1 << bit;
                break;
            }
            at -= part.len();
        }
        flipped
    }

    /// The line that asks it.
    pub(super) fn json(&self, keys: &Keys) -> String {
        let log = || keys.log().to_string();
        let witnesses = || keys.witnesses().map(ToString::to_string).collect::<Vec<_>>();
        let asked = match self {
            Request::Proof { file, entry } => json!({
                "check": "proof", "file": base64(file), "entry": base64(entry),
                "log": log(), "witnesses": witnesses(),
            }),
            Request::Checkpoint { note } => json!({
                "check": "checkpoint", "note": base64(note),
                "log": log(), "witnesses": witnesses(),
            }),
            Request::Inclusion { head, index, entry, path } => json!({
                "check": "inclusion", "size": head.size, "root": base64(&head.root.0),
                "index": index, "entry": base64(entry), "path": hashes(path),
            }),
            Request::Consistency { old, new, path } => json!({
                "check": "consistency", "old": old.size, "old_root": base64(&old.root.0),
                "new": new.size, "new_root": base64(&new.root.0), "path": hashes(path),
            }),
            Request::Tiles { folder, head, index, instead } => {
                let instead = instead.iter().map(|(path, bytes)| (path, base64(bytes)));
                let entry = super::log::entry(*index);
                json!({
                    "check": "tiles", "folder": folder, "size": head.size,
                    "root": base64(&head.root.0), "index": index, "entry": base64(&entry),
                    "instead": instead.collect::<BTreeMap<_, _>>(),
                })
            }
            Request::Root { entries, root } => {
                let entries = entries.iter().map(|entry| base64(entry)).collect::<Vec<_>>();
                json!({ "check": "root", "entries": entries, "root": base64(&root.0) })
            }
            Request::RootOfNumbers { head } => json!({
                "check": "root-of-numbers", "size": head.size, "root": base64(&head.root.0),
                "before": BEFORE, "behind": BEHIND,
            }),
        };
        asked.to_string()
    }
}

fn base64(bytes: &[u8]) -> Value {
    BASE64.encode(bytes).into()
}

fn hashes(path: &[Hash]) -> Value {
    path.iter().map(|hash| base64(&hash.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_flipped_once() {
        let head = Head { size: 2, root: Hash::EMPTY };
        let path = vec![Hash::EMPTY; 3];
        let request = Request::Inclusion { head, index: 1, entry: b"entry".to_vec(), path };
        let all = |mut request: Request| -> Vec<u8> { request.parts().concat() };
        let before = all(request.clone());
        assert_eq!(before.len(), request.bytes());
        assert_eq!(before.len(), 32 + 5 + 3 * 32);
        for at in 0..before.len() {
            let after = all(request.flipped(at, 7));
            let differing = before.iter().zip(&after).map(|(a, b)| a ^ b).enumerate();
            let differing: Vec<_> = differing.filter(|(_, bits)| *bits != 0).collect();
            assert_eq!(differing, [(at, 0x80)]);
        }
    }
}
