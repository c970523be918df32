//! The hashes of a batch's leaves: entries are made from drafts, the bodies that they commit to,
//! and the keys of their blocks.

use std::sync::Arc;

use whodid_event::entry::{Drafts, Received};
use whodid_event::time::Micros;
use whodid_tlog::Hash;

use crate::batch::{Batch, Bodies};
use crate::error::{Error, Result};
use crate::keys::BlockKeys;

/// A batch with its place, ready to be hashed.
pub(crate) struct Leaves {
    pub(crate) cluster: Arc<str>,
    pub(crate) source: Arc<str>,
    pub(crate) first_seq: u64,
    pub(crate) received: Micros,
    pub(crate) drafts: Drafts,
    pub(crate) bodies: Bodies,
}

impl Leaves {
    /// Their hashes, in order.
    ///
    /// # Errors
    /// A key cannot be read.
    pub(crate) fn hashes(&self, keys: &mut BlockKeys) -> Result<Vec<Hash>> {
        let received = self.drafts.received(&self.cluster, &self.source, self.received);
        let mut hashing = Hashing::new(&self.cluster, &self.bodies, keys);
        (0..self.drafts.len())
            .zip(self.first_seq..)
            .map(|(row, seq)| hashing.row(&received, row, seq))
            .collect()
    }
}

/// The hashes of a batch's leaves that came from several sources at several times: `place` tells
/// index, source and time of each.
pub(crate) fn hash_rows<'s>(
    batch: &Batch,
    cluster: &str,
    keys: &mut BlockKeys,
    place: impl Fn(usize) -> (u64, &'s str, Micros),
) -> Result<Vec<Hash>> {
    let mut hashing = Hashing::new(cluster, &batch.bodies, keys);
    let mut hashes = Vec::with_capacity(batch.drafts.len());
    let mut row = 0;
    while row < batch.drafts.len() {
        let (_, source, received) = place(row);
        let of_run = batch.drafts.received(cluster, source, received);
        while row < batch.drafts.len() {
            let (seq, other, at) = place(row);
            if (other, at) != (source, received) {
                break;
            }
            hashes.push(hashing.row(&of_run, row, seq)?);
            row += 1;
        }
    }
    Ok(hashes)
}

/// Hashes row after row; bodies are found on the way.
struct Hashing<'a> {
    cluster: &'a str,
    bodies: &'a Bodies,
    keys: &'a mut BlockKeys,
    next_body: usize,
    entry: Vec<u8>,
}

impl<'a> Hashing<'a> {
    fn new(cluster: &'a str, bodies: &'a Bodies, keys: &'a mut BlockKeys) -> Self {
        Hashing { cluster, bodies, keys, next_body: 0, entry: Vec::new() }
    }

    fn row(&mut self, received: &Received<'_>, row: usize, seq: u64) -> Result<Hash> {
        let begin = self.next_body;
        let is_its = |of: &u32| *of as usize == row;
        while self.bodies.row.values().get(self.next_body).is_some_and(is_its) {
            self.next_body += 1;
        }
        let (bodies, of_row) = (self.bodies, begin..self.next_body);
        let value = |member: &str| {
            let at = of_row.clone().find(|i| bodies.member.value(*i) == member);
            at.map_or("", |at| bodies.json.value(at))
        };
        let salts = self.keys.of(self.cluster, seq)?;
        received
            .entry(row, seq, salts, value, &mut self.entry)
            .map_err(|error| Error::Invalid(format!("event {seq} is no entry: {error}")))?;
        Ok(Hash::of_leaf(&self.entry))
    }
}
