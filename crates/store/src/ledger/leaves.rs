//! The hashes of a batch's leaves: entries are made from drafts, the bodies that they commit to,
//! and the keys of their blocks.

use std::ops::Range;
use std::sync::Arc;

use whodid_event::entry::{BODY_NAMES, Drafts, Received};
use whodid_event::time::Micros;
use whodid_tlog::Hash;

use crate::batch::Bodies;
use crate::error::{Error, Result};
use crate::keys::BlockKeys;
use crate::row::RowBodies;

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
        let mut hashing = Hashing { cluster: &self.cluster, keys, entry: Vec::new() };
        let mut bodies = self.bodies.by_row();
        (0..self.drafts.len())
            .zip(self.first_seq..)
            .map(|(row, seq)| hashing.row(&received, row, seq, &bodies(row)))
            .collect()
    }
}

impl Bodies {
    /// Finds the values of rows that are asked for in order.
    pub(crate) fn by_row<'b>(&'b self) -> impl FnMut(usize) -> RowValues<'b> {
        let mut next = 0;
        move |row| {
            let begin = next;
            let is_its = |of: &u32| *of as usize == row;
            while self.row.values().get(next).is_some_and(is_its) {
                next += 1;
            }
            RowValues { bodies: self, range: begin..next }
        }
    }
}

/// What a leaf commits to, by the member's name.
pub(crate) trait Values<'v> {
    /// The value of a member; nothing where it has none.
    fn value(&self, member: &str) -> &'v str;
}

/// The bodies of one row of a batch.
pub(crate) struct RowValues<'b> {
    bodies: &'b Bodies,
    range: Range<usize>,
}

impl<'b> Values<'b> for RowValues<'b> {
    fn value(&self, member: &str) -> &'b str {
        let at = self.range.clone().find(|i| self.bodies.member.value(*i) == member);
        at.map_or("", |at| self.bodies.json.value(at))
    }
}

impl<'v> Values<'v> for &RowBodies<&'v str> {
    fn value(&self, member: &str) -> &'v str {
        let [request, response] = BODY_NAMES;
        let value = match member {
            name if name == request => self.request,
            name if name == response => self.response,
            _ => self.raw,
        };
        value.unwrap_or_default()
    }
}

/// The hashes of drafts that came from several sources at several times: `place` tells index,
/// source and time of each, `values` what it commits to; both are asked in order.
pub(crate) fn hash_rows<'s, 'v, V: Values<'v>>(
    drafts: &Drafts,
    cluster: &str,
    keys: &mut BlockKeys,
    place: impl Fn(usize) -> (u64, &'s str, Micros),
    mut values: impl FnMut(usize) -> V,
) -> Result<Vec<Hash>> {
    let mut hashing = Hashing { cluster, keys, entry: Vec::new() };
    let mut hashes = Vec::with_capacity(drafts.len());
    let mut row = 0;
    while row < drafts.len() {
        let (_, source, received) = place(row);
        let of_run = drafts.received(cluster, source, received);
        while row < drafts.len() {
            let (seq, other, at) = place(row);
            if (other, at) != (source, received) {
                break;
            }
            hashes.push(hashing.row(&of_run, row, seq, &values(row))?);
            row += 1;
        }
    }
    Ok(hashes)
}

/// Hashes row after row.
struct Hashing<'a> {
    cluster: &'a str,
    keys: &'a mut BlockKeys,
    entry: Vec<u8>,
}

impl Hashing<'_> {
    fn row<'v>(
        &mut self,
        received: &Received<'_>,
        row: usize,
        seq: u64,
        values: &impl Values<'v>,
    ) -> Result<Hash> {
        let salts = self.keys.of(self.cluster, seq)?;
        received
            .entry(row, seq, salts, |member| values.value(member), &mut self.entry)
            .map_err(|error| Error::Invalid(format!("event {seq} is no entry: {error}")))?;
        Ok(Hash::of_leaf(&self.entry))
    }
}
