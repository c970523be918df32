//! What is left of an event that is too long to keep: its beginning, its length and its hash.

use sha2::{Digest, Sha256};

/// How much is kept of an event that is too long.
pub const HEAD_BYTES: usize = 64 << 10;

/// What is kept of an event that is too long to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversized {
    /// Its first [`HEAD_BYTES`] bytes.
    pub head: Vec<u8>,
    /// Its length in bytes.
    pub bytes: u64,
    /// The SHA-256 of all of it.
    pub sha256: [u8; 32],
}

/// The part of an oversized item that is already gone from the buffer.
#[derive(Debug, Default)]
pub(super) struct Tail {
    head: Vec<u8>,
    bytes: u64,
    hash: Sha256,
}

impl Tail {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES - self.head.len();
        self.head.extend(bytes.iter().take(room));
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    pub(super) fn end(mut self, last: &[u8]) -> Oversized {
        self.add(last);
        Oversized { head: self.head, bytes: self.bytes, sha256: self.hash.finalize().into() }
    }
}
