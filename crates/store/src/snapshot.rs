//! What a query sees: the files of both tables and the events that are not in one, pinned at one
//! moment. Nothing that happens afterwards changes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, Int64Array, RecordBatch, StringViewArray};
use object_store::ObjectStore;
use whodid_event::entry::{self, Body, Content, Place, Salts};

use crate::chunk::Chunk;
use crate::columns::{View, typed};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::keys;
use crate::memtable::{Files, Run};
use crate::object::DiskStore;
use crate::row::{self, Original, Rebuilt, RowBodies};
use crate::table::{BODIES, DataFile, EVENTS};

/// A pinned view of the record.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) files: Arc<Files>,
    pub(crate) runs: Vec<Run>,
    pub(crate) store: DiskStore,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) warnings: Vec<String>,
}

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Envelopes and derived fields.
    Events,
    /// What requests and responses held.
    Bodies,
}

impl Table {
    /// Its name, which is also its folder.
    pub fn name(self) -> &'static str {
        match self {
            Table::Events => EVENTS,
            Table::Bodies => BODIES,
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks: usize = self.runs.iter().map(|run| run.chunks.len()).sum();
        f.debug_struct("Snapshot")
            .field("events_files", &self.files.events.len())
            .field("bodies_files", &self.files.bodies.len())
            .field("chunks", &chunks)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The live files of a table; paths are relative to the table's folder.
    pub fn files(&self, table: Table) -> &[DataFile] {
        match table {
            Table::Events => &self.files.events,
            Table::Bodies => &self.files.bodies,
        }
    }

    /// The events that are in no file, by cluster, in the order of the log.
    pub fn chunks(&self) -> impl Iterator<Item = (&str, &Chunk)> {
        self.runs.iter().flat_map(|run| run.chunks.iter().map(|chunk| (&*run.cluster, chunk)))
    }

    /// The leaf index behind the last event of each cluster.
    pub fn ends(&self) -> BTreeMap<String, u64> {
        let mut ends = self.segment_ends();
        for (cluster, chunk) in self.chunks() {
            let end = ends.entry(cluster).or_default();
            *end = chunk.end_seq().max(*end);
        }
        ends.into_iter().map(|(cluster, end)| (cluster.to_owned(), end)).collect()
    }

    /// The leaf index behind the last event of each cluster that is in a file.
    pub(crate) fn segment_ends(&self) -> BTreeMap<&str, u64> {
        let mut ends = BTreeMap::new();
        for file in &self.files.events {
            let end = ends.entry(&*file.cluster).or_default();
            *end = (file.stats.seq.1 + 1).max(*end);
        }
        ends
    }

    /// Where the files can be read; the tables are folders at its root.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.store.clone())
    }

    /// What could not be read although it was acknowledged, in sentences for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The clusters that have events.
    pub fn clusters(&self) -> Result<Vec<String>> {
        keys::clusters(&*self.disk)
    }
}

/// Rows of `events` with all columns and the rows of `bodies` that belong to them, ready to give
/// back what came in.
pub struct Rows<'a> {
    view: View<'a>,
    bodies: Cow<'a, BodiesBySeq<'a>>,
    /// Where in these the bodies of each row are.
    places: Vec<Option<usize>>,
    /// What a row has that has none.
    none: RowBodies<&'a str>,
}

impl<'a> Rows<'a> {
    /// `bodies` may hold rows of other events too.
    ///
    /// # Errors
    /// A batch lacks columns.
    pub fn new(events: &'a RecordBatch, bodies: &'a [RecordBatch]) -> Result<Self> {
        let view = View::of(events)?;
        let seqs = view.seq.values().iter().copied();
        let wanted = seqs.clone().min().unwrap_or(0)..=seqs.max().unwrap_or(-1);
        Ok(Self::of(view, Cow::Owned(bodies_by_seq(bodies, |seq| wanted.contains(&seq))?)))
    }

    /// The same, with bodies that were found before.
    pub(crate) fn with(events: &'a RecordBatch, bodies: &'a BodiesBySeq<'a>) -> Result<Self> {
        Ok(Self::of(View::of(events)?, Cow::Borrowed(bodies)))
    }

    fn of(view: View<'a>, bodies: Cow<'a, BodiesBySeq<'a>>) -> Self {
        let places = view.seq.values().iter().map(|seq| bodies.at.get(seq).copied()).collect();
        Rows { view, bodies, places, none: RowBodies::default() }
    }

    /// The bodies of one row, as far as they are at hand.
    pub fn bodies(&self, row: usize) -> &RowBodies<&'a str> {
        let at = self.places.get(row).copied().flatten();
        at.and_then(|at| self.bodies.all.get(at)).unwrap_or(&self.none)
    }

    /// Gives back what came in as one row.
    ///
    /// # Errors
    /// A body is no longer in the record, or the row is not of this store's making.
    pub fn original(&self, row: usize) -> Result<Original> {
        row::original(&self.view, row, self.bodies(row))
    }

    /// What came in as one row, not written yet.
    pub(crate) fn rebuilt(&self, row: usize) -> Result<Rebuilt<'_>> {
        row::rebuilt(&self.view, row, self.bodies(row))
    }

    /// The bytes of the leaf of one row.
    ///
    /// # Errors
    /// As [`original`](Self::original).
    pub fn entry(&self, row: usize, cluster: &str, salts: Salts<'_>) -> Result<Vec<u8>> {
        let view = &self.view;
        let source = row::text(view.source, row).unwrap_or_default();
        let place = Place {
            seq: view.seq.value(row).cast_unsigned(),
            cluster,
            source,
            received: view.received.value(row),
        };
        let bodies = self.bodies(row);
        let original = row::original(view, row, bodies)?;
        let [request_gone, response_gone] = &bodies.gone;
        let oversized;
        let content = match &original {
            Original::Event(text) => Content::Event {
                text,
                bodies: entry::Bodies {
                    request: body(view.request_object, row, request_gone.as_ref()),
                    response: body(view.response_object, row, response_gone.as_ref()),
                },
            },
            Original::Raw(bytes) if view.raw_size.is_null(row) => Content::Raw(bytes),
            Original::Raw(head) => {
                oversized = whodid_event::split::Oversized {
                    head: head.clone(),
                    bytes: view.raw_size.value(row).cast_unsigned(),
                    sha256: view.raw_sha256.value(row).try_into().unwrap_or_default(),
                };
                Content::Oversized(&oversized)
            }
        };
        entry::entry(&place, content, salts)
            .map_err(|error| Error::Invalid(format!("the event cannot become an entry: {error}")))
    }
}

/// The bodies of events, by their leaves.
#[derive(Clone, Default)]
pub(crate) struct BodiesBySeq<'a> {
    all: Vec<RowBodies<&'a str>>,
    at: HashMap<i64, usize>,
}

/// Finds the bodies in rows of `bodies` whose leaves are wanted.
pub(crate) fn bodies_by_seq(
    bodies: &[RecordBatch],
    is_wanted: impl Fn(i64) -> bool,
) -> Result<BodiesBySeq<'_>> {
    let mut found = BodiesBySeq::default();
    for batch in bodies {
        let members: &StringViewArray = typed(batch, "member")?;
        let values: &StringViewArray = typed(batch, "json")?;
        let commitments: &BinaryArray = typed(batch, "commitment")?;
        for (row, seq) in typed::<Int64Array>(batch, "seq")?.values().iter().enumerate() {
            if !is_wanted(*seq) {
                continue;
            }
            let at = *found.at.entry(*seq).or_insert(found.all.len());
            if at == found.all.len() {
                found.all.push(RowBodies::default());
            }
            let Some(entry) = found.all.get_mut(at) else { continue };
            let value = row::text(values, row);
            let commitment = commitments.is_valid(row).then(|| commitments.value(row));
            let shown = commitment.filter(|_| value.is_none()).map(shown).transpose()?;
            let [request_gone, response_gone] = &mut entry.gone;
            match members.value(row) {
                "requestObject" => (entry.request, *request_gone) = (value, shown),
                "responseObject" => (entry.response, *response_gone) = (value, shown),
                _ => entry.raw = value,
            }
        }
    }
    Ok(found)
}

fn body(column: &StringViewArray, row: usize, gone: Option<&String>) -> Body {
    match row::text(column, row) {
        None => Body::Committed,
        Some(crate::batch::COMMITTED) if gone.is_none() => Body::Committed,
        Some(_) => Body::AsItIs,
    }
}

/// How a commitment stands in a leaf.
fn shown(commitment: &[u8]) -> Result<String> {
    let commitment = commitment.try_into().map_err(|_| {
        Error::Invalid(format!("a commitment has 32 bytes, and one has {}", commitment.len()))
    })?;
    Ok(entry::shown(commitment))
}
