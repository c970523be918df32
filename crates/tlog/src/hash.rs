//! The hashes of a Merkle tree.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// The hash of a leaf, of a node, or of a whole tree: SHA-256. It is shown in base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; Self::BYTES]);

impl Hash {
    /// Bytes of a hash.
    pub const BYTES: usize = 32;

    /// The root of a tree without leaves: the hash of nothing (RFC 6962 §2.1).
    pub const EMPTY: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// The hash of a leaf: SHA-256(0x00 ‖ entry) (RFC 6962 §2.1).
    pub fn of_leaf(entry: &[u8]) -> Self {
        Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
    }

    /// The hash of a node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1).
    pub fn of_node(left: &Hash, right: &Hash) -> Self {
        let digest = Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0);
        Hash(digest.finalize().into())
    }

    /// Reads padded standard base64 (RFC 4648 §4); no other spelling of the same hash is one.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Hash(BASE64.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
