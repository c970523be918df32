//! Entries out of the record: the leaves of a log made again from what tables and memory hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use whodid_event::entry::{self, BODY_NAMES, KeptSalts, Salt, Salts};
use whodid_tlog::Hash;

use crate::columns::typed;
use crate::error::{Error, Result};
use crate::flush::blocking;
use crate::keys::BlockKeys;
use crate::rebuild::{decode_range, fetch};
use crate::snapshot::{Rows, Snapshot, Table};
use crate::table::DataFile;

/// A leaf, whole, with what it takes to check the values that it only commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosed {
    /// The leaf's index.
    pub seq: u64,
    /// The leaf.
    pub entry: Vec<u8>,
    /// The bodies that it commits to.
    pub bodies: Vec<Disclosure>,
}

/// A value that a leaf commits to (`docs/format/entry.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// The member's name.
    pub member: &'static str,
    /// The salt of the commitment.
    pub salt: [u8; 16],
    /// The value, as JSON text.
    pub value: String,
}

impl Snapshot {
    /// The hashes of a cluster's leaves, in order.
    pub(crate) async fn leaf_hashes(&self, cluster: &str, range: Range<u64>) -> Result<Vec<Hash>> {
        let hash = |leaf: &Leaf<'_, '_>| Ok(Some(Hash::of_leaf(&leaf.entry()?)));
        self.leaves(cluster, range, hash).await
    }

    /// The bytes of a cluster's leaves, in order.
    pub(crate) async fn entries(&self, cluster: &str, range: Range<u64>) -> Result<Vec<Vec<u8>>> {
        self.leaves(cluster, range, |leaf: &Leaf<'_, '_>| leaf.entry().map(Some)).await
    }

    /// Some leaves of a cluster, in order, with their bodies.
    pub(crate) async fn disclosed(
        &self,
        cluster: &str,
        seqs: &BTreeSet<u64>,
    ) -> Result<Vec<Disclosed>> {
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(Vec::new()) };
        let (range, wanted) = (*first..last + 1, seqs.clone());
        let disclose = move |leaf: &Leaf<'_, '_>| {
            wanted.contains(&leaf.seq).then(|| leaf.disclosed()).transpose()
        };
        self.leaves(cluster, range, disclose).await
    }

    /// The salts of all commitments in a range of leaves but for those whose values are gone.
    pub(crate) async fn salts(&self, cluster: &str, range: Range<u64>) -> Result<KeptSalts> {
        let salts = |leaf: &Leaf<'_, '_>| Ok(Some((leaf.seq, leaf.salts_of_what_is_there()?)));
        Ok(self.leaves(cluster, range, salts).await?.into_iter().collect())
    }

    /// Makes something of the leaves of a range, in order.
    async fn leaves<T: Send + 'static>(
        &self,
        cluster: &str,
        range: Range<u64>,
        made: impl Fn(&Leaf<'_, '_>) -> Result<Option<T>> + Clone + Send + 'static,
    ) -> Result<Vec<T>> {
        let mut leaves = Vec::new();
        let files = self.files(Table::Events).iter();
        let mut files: Vec<&DataFile> =
            files.filter(|file| overlaps(file, cluster, &range)).collect();
        files.sort_by_key(|file| file.stats.seq);
        for file in files {
            leaves.extend(self.leaves_of_file(cluster, file, &range, made.clone()).await?);
        }
        let mut keys = BlockKeys::new(Arc::clone(&self.disk));
        for (_, chunk) in self.chunks().filter(|(of, _)| *of == cluster) {
            if chunk.first_seq() < range.end && range.start < chunk.end_seq() {
                let batch = (&chunk.events, std::slice::from_ref(&chunk.bodies));
                of_rows(batch, cluster, &mut keys, &range, &made, &mut leaves)?;
            }
        }
        Ok(leaves)
    }

    async fn leaves_of_file<T: Send + 'static>(
        &self,
        cluster: &str,
        file: &DataFile,
        range: &Range<u64>,
        made: impl Fn(&Leaf<'_, '_>) -> Result<Option<T>> + Send + 'static,
    ) -> Result<Vec<T>> {
        let (first, last) = file.stats.seq;
        let wanted = range.start.max(first)..range.end.min(last + 1);
        let mut bodies = Vec::new();
        let files = self.files(Table::Bodies).iter();
        for body in files.filter(|file| overlaps(file, cluster, &wanted)) {
            bodies.push(fetch(&self.store, Table::Bodies, body).await?);
        }
        let events = fetch(&self.store, Table::Events, file).await?;
        let (cluster, mut keys) = (cluster.to_owned(), BlockKeys::new(Arc::clone(&self.disk)));
        blocking(move || {
            let mut batches = Vec::new();
            for body in &bodies {
                batches.extend(decode_range(Table::Bodies, body, &wanted)?);
            }
            let mut leaves = Vec::new();
            for events in decode_range(Table::Events, &events, &wanted)? {
                let batch = (&events, batches.as_slice());
                of_rows(batch, &cluster, &mut keys, &wanted, &made, &mut leaves)?;
            }
            Ok(leaves)
        })
        .await
    }
}

/// Whether a file may hold something of leaves of a cluster.
pub(crate) fn overlaps(file: &DataFile, cluster: &str, range: &Range<u64>) -> bool {
    let (first, last) = file.stats.seq;
    file.cluster == cluster && first < range.end && range.start <= last
}

/// A row whose leaf can be made.
struct Leaf<'a, 'r> {
    rows: &'a Rows<'r>,
    row: usize,
    seq: u64,
    cluster: &'a str,
    salts: Salts<'a>,
}

impl Leaf<'_, '_> {
    fn entry(&self) -> Result<Vec<u8>> {
        self.rows.entry(self.row, self.cluster, self.salts)
    }

    fn disclosed(&self) -> Result<Disclosed> {
        let bodies = self.rows.bodies(self.row);
        let [request, response] = BODY_NAMES;
        let values = [(request, bodies.request), (response, bodies.response), ("raw", bodies.raw)];
        let disclosure = |(member, value): (&'static str, Option<&str>)| {
            let (salt, value) = (self.salts.of(self.seq, member)?, value?.to_owned());
            Some(Disclosure { member, salt, value })
        };
        let bodies = values.into_iter().filter_map(disclosure).collect();
        Ok(Disclosed { seq: self.seq, entry: self.entry()?, bodies })
    }

    fn salts_of_what_is_there(&self) -> Result<BTreeMap<String, Salt>> {
        let committed = entry::committed(&self.entry()?);
        let committed = committed.map_err(|error| Error::Invalid(error.to_string()))?;
        let bodies = self.rows.bodies(self.row);
        let is_there = |name: &String| bodies.gone().all(|gone| gone != name);
        let salt = |name: String| Some((self.salts.of(self.seq, &name)?, name));
        let salts = committed.into_iter().filter(is_there).filter_map(salt);
        Ok(salts.map(|(salt, name)| (name, salt)).collect())
    }
}

/// Makes something of those rows that are in a range.
fn of_rows<T>(
    (events, bodies): (&RecordBatch, &[RecordBatch]),
    cluster: &str,
    keys: &mut BlockKeys,
    range: &Range<u64>,
    made: &impl Fn(&Leaf<'_, '_>) -> Result<Option<T>>,
    leaves: &mut Vec<T>,
) -> Result<()> {
    let rows = &Rows::new(events, bodies)?;
    for (row, seq) in typed::<Int64Array>(events, "seq")?.values().iter().enumerate() {
        let seq = seq.cast_unsigned();
        if range.contains(&seq) {
            let salts = keys.of(cluster, seq)?;
            leaves.extend(made(&Leaf { rows, row, seq, cluster, salts })?);
        }
    }
    Ok(())
}
