//! Transparency logs as C2SP and RFC 6962 describe them: Merkle trees, proofs, tiles, signed notes,
//! checkpoints, cosignatures, proof files and what is sent to witnesses.
//!
//! It has no I/O, no clock and no randomness, and keeps nothing: what a leaf holds, where hashes
//! are stored, and whose keys are trusted is left to others. Parsers accept exactly one spelling of
//! everything, so that a file with any bit changed is another file or none.
//!
//! | module | source |
//! |---|---|
//! | [`hash`], [`range`], [`proof`] | RFC 6962 §2.1, RFC 9162 §2.1 |
//! | [`tile`] | <https://c2sp.org/tlog-tiles@v0.1.0> |
//! | [`note`] | <https://c2sp.org/signed-note@v1.0.0>, <https://c2sp.org/tlog-cosignature> |
//! | [`checkpoint`] | <https://c2sp.org/tlog-checkpoint@v1.0.0> |
//! | [`file`](mod@file) | <https://c2sp.org/tlog-proof> |
//! | [`policy`] | <https://c2sp.org/tlog-policy> |
//! | [`witness`] | <https://c2sp.org/tlog-witness@v1.0.0> |

pub mod checkpoint;
pub mod file;
pub mod hash;
mod lines;
pub mod note;
pub mod policy;
pub mod proof;
pub mod range;
#[cfg(test)]
mod testlog;
pub mod tile;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use file::ProofFile;
pub use hash::Hash;
pub use note::{Note, Signer, Verifier};
pub use policy::Policy;
pub use range::CompactRange;
pub use tile::Tile;
pub use witness::{AddCheckpoint, Refusal};
