//! Rows taken in once more: columns, marks and leaf of every event are made again from its
//! original, by the code that made them at first.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use bytes::Bytes;
use whodid_event::redact::RuleSet;
use whodid_event::split::Oversized;
use whodid_event::{Event, NotAnEvent};
use whodid_tlog::Hash;

use crate::batch::{Batch, COMMITTED, Preparer};
use crate::columns::{View, events_schema, typed};
use crate::dedupe::{Fingerprint, Fingerprints, Marks, Window};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::flush::blocking;
use crate::keys::BlockKeys;
use crate::ledger::hash_rows;
use crate::rebuild::{decode, decode_range};
use crate::row::{self, Original};
use crate::segment::stats_of_events;
use crate::snapshot::{Rows, Table};
use crate::table::FileStats;
use crate::wal::record::{Kind, Record};

/// Columns that an event gets with its place, before those that are made from it.
const PLACE_COLUMNS: usize = 5;

/// Columns that cannot be made from the original alone: the leaf itself shows the source, and why
/// bytes are no event was said when they came.
const NOT_DERIVED: [&str; 2] = ["source", "raw_reason"];

/// Takes in the rows of one cluster once more.
#[derive(Clone)]
pub(super) struct Again {
    cluster: Arc<str>,
    preparer: Preparer,
    disk: Arc<dyn Disk>,
    /// The first leaf; those before it were pruned.
    begin: u64,
    /// Events that marks of later ones name.
    twins: HashSet<u64>,
    prints: HashMap<u64, Fingerprint>,
}

/// What a batch of rows came to.
#[derive(Default)]
pub(super) struct Checked {
    /// The hashes of its leaves, `None` where one cannot be made; the first stands at `first`.
    pub(super) first: u64,
    pub(super) hashes: Vec<Option<Hash>>,
    /// For each body that belongs to it, whose it is.
    pub(super) bodies: Vec<u64>,
    pub(super) findings: Vec<(u64, String)>,
}

/// What the rows of a file came to.
pub(super) struct CheckedFile {
    pub(super) batches: Vec<Checked>,
    pub(super) stats: FileStats,
    /// Leaves that have bodies which are not theirs, or one body twice.
    pub(super) strays: Vec<u64>,
}

impl Again {
    pub(super) fn new(cluster: &str, disk: &Arc<dyn Disk>, begin: u64) -> Self {
        let preparer =
            Preparer { rules: Arc::new(RuleSet::off()), fingerprints: Fingerprints::new() };
        Again {
            cluster: cluster.into(),
            preparer,
            disk: Arc::clone(disk),
            begin,
            twins: HashSet::new(),
            prints: HashMap::new(),
        }
    }

    /// Says which events marks name.
    pub(super) fn expect_twins(&mut self, twins: impl IntoIterator<Item = u64>) {
        self.twins.extend(twins);
    }

    /// Checks the rows of a file, with the files of bodies that may belong to them.
    pub(super) async fn file(
        mut self,
        events: Bytes,
        bodies: Vec<Bytes>,
        range: Range<u64>,
    ) -> Result<(Self, CheckedFile)> {
        blocking(move || {
            let mut all = Vec::new();
            for file in &bodies {
                all.extend(decode_range(Table::Bodies, file, &range)?);
            }
            let events = decode(Table::Events, &events)?;
            let mut batches = Vec::with_capacity(events.len());
            for batch in &events {
                batches.push(self.batch(batch, &all)?);
            }
            let strays = strays(&all, &batches)?;
            let stats = stats_of_events(&events)?;
            Ok((self, CheckedFile { batches, stats, strays }))
        })
        .await
    }

    /// Checks rows, with the bodies among which theirs are.
    pub(super) fn batch(
        &mut self,
        events: &RecordBatch,
        bodies: &[RecordBatch],
    ) -> Result<Checked> {
        let rows = Rows::new(events, bodies)?;
        let view = View::of(events)?;
        let mut checked = Checked { first: 0, ..Checked::default() };
        let mut builder = self.preparer.begin_replay(&self.cluster, "whodid/verify")?;
        let mut unreadable = HashSet::new();
        for row in 0..events.num_rows() {
            let seq = view.seq.value(row).cast_unsigned();
            if row == 0 {
                checked.first = seq;
            } else if seq != checked.first + row as u64 {
                return Err(Error::Invalid(format!(
                    "leaf {seq} stands where {} should",
                    checked.first + row as u64
                )));
            }
            if let Err(why) = again(&rows, &view, row, &mut builder) {
                checked.findings.push((seq, why.to_string()));
                unreadable.insert(row);
                builder.add_raw(b"", &NotAnEvent::Json(String::new()))?;
            }
        }
        let batch = builder.finish()?;
        let of = |row: &u32| checked.first + u64::from(*row);
        checked.bodies = batch.bodies.row.values().iter().map(of).collect();
        let mut keys = BlockKeys::new(Arc::clone(&self.disk));
        let hashes = hash_rows(&batch, &self.cluster, &mut keys, |row| {
            let source = row::text(view.source, row).unwrap_or_default();
            (view.seq.value(row).cast_unsigned(), source, view.received.value(row))
        })?;
        checked.hashes = hashes.into_iter().map(Some).collect();
        for row in &unreadable {
            if let Some(hash) = checked.hashes.get_mut(*row) {
                *hash = None;
            }
        }
        compare(events, &batch, &view, &unreadable, &mut checked)?;
        self.marks(events, &batch, &mut checked)?;
        Ok(checked)
    }

    /// Holds marks against the events that they name.
    fn marks(&mut self, events: &RecordBatch, batch: &Batch, checked: &mut Checked) -> Result<()> {
        let flag = |name| typed::<arrow::array::BooleanArray>(events, name);
        let (duplicate, conflict) = (flag("duplicate")?, flag("conflict")?);
        let twins = typed::<Int64Array>(events, "twin")?;
        for (row, print) in batch.fingerprints.iter().enumerate() {
            let seq = checked.first + row as u64;
            if self.twins.contains(&seq) {
                self.prints.insert(seq, *print);
            }
            let twin = twins.is_valid(row).then(|| twins.value(row).cast_unsigned());
            let marks =
                Marks { duplicate: duplicate.value(row), conflict: conflict.value(row), twin };
            if marks != Marks::default() && !self.is_right(*print, marks) {
                checked.findings.push((seq, "its mark is not what the two events are".into()));
            }
        }
        Ok(())
    }

    /// Whether an event is to its twin what a mark says.
    fn is_right(&self, print: Fingerprint, marks: Marks) -> bool {
        if marks.twin.is_some_and(|twin| twin < self.begin) {
            return true;
        }
        let twin = marks.twin.and_then(|twin| Some((twin, *self.prints.get(&twin)?)));
        let Some((twin, of_twin)) = twin else { return false };
        let mut two = Window::default();
        let _first = two.next(of_twin, twin, 0);
        two.next(print, twin + 1, 0) == marks
    }
}

/// Leaves for which there are more bodies than they have.
fn strays(bodies: &[RecordBatch], batches: &[Checked]) -> Result<Vec<u64>> {
    let mut spare: HashMap<u64, i64> = HashMap::new();
    for batch in bodies {
        let values = typed::<StringViewArray>(batch, "json")?;
        for (row, seq) in typed::<Int64Array>(batch, "seq")?.values().iter().enumerate() {
            *spare.entry(seq.cast_unsigned()).or_default() += i64::from(values.is_valid(row));
        }
    }
    for seq in batches.iter().flat_map(|batch| &batch.bodies) {
        *spare.entry(*seq).or_default() -= 1;
    }
    let mut strays: Vec<u64> =
        spare.into_iter().filter(|(_, spare)| *spare > 0).map(|(seq, _)| seq).collect();
    strays.sort_unstable();
    Ok(strays)
}

/// Which events the marks of these rows name.
pub(super) fn twins(events: &RecordBatch) -> Result<Vec<u64>> {
    let twins = typed::<Int64Array>(events, "twin")?;
    Ok(twins.iter().flatten().map(i64::cast_unsigned).collect())
}

/// Takes one row in once more.
fn again(
    rows: &Rows<'_>,
    view: &View<'_>,
    row: usize,
    builder: &mut crate::batch::BatchBuilder,
) -> Result<()> {
    let is_placeholder = |column| row::text(column, row).is_some_and(|text| text != COMMITTED);
    match rows.original(row)? {
        Original::Event(text) => {
            let event = Event::parse(text.as_bytes())
                .map_err(|why| Error::Invalid(format!("it is no event: {why}")))?;
            let redacted = if view.redacted.is_null(row) { 0 } else { view.redacted.value(row) };
            let record = Record {
                kind: Kind::Event,
                redacted: u32::try_from(redacted).unwrap_or(0),
                request: is_placeholder(view.request_object),
                response: is_placeholder(view.response_object),
            };
            builder.add_event(&text, &event, record)
        }
        Original::Raw(head) if !view.raw_size.is_null(row) => builder.add_oversized(&Oversized {
            head,
            bytes: view.raw_size.value(row).cast_unsigned(),
            sha256: view.raw_sha256.value(row).try_into().unwrap_or_default(),
        }),
        Original::Raw(bytes) => builder.add_raw(&bytes, &NotAnEvent::Json(String::new())),
    }
}

/// Holds the columns of rows against those made anew.
fn compare(
    events: &RecordBatch,
    batch: &Batch,
    view: &View<'_>,
    unreadable: &HashSet<usize>,
    checked: &mut Checked,
) -> Result<()> {
    let schema = events_schema();
    let fields = schema.fields().iter().skip(PLACE_COLUMNS);
    for (field, made) in fields.zip(&batch.columns) {
        if NOT_DERIVED.contains(&field.name().as_str()) {
            continue;
        }
        let stored = events.column_by_name(field.name());
        let stored = stored.ok_or_else(|| Error::Invalid(format!("{} is gone", field.name())))?;
        if stored == made {
            continue;
        }
        for row in (0..events.num_rows()).filter(|row| !unreadable.contains(row)) {
            if is_same(field.name(), stored, made, view, row) {
                continue;
            }
            let seq = checked.first + row as u64;
            let name = field.name();
            checked.findings.push((seq, format!("its column {name} is not what the event says")));
        }
    }
    Ok(())
}

fn is_same(name: &str, stored: &ArrayRef, made: &ArrayRef, view: &View<'_>, row: usize) -> bool {
    if stored.slice(row, 1) == made.slice(row, 1) {
        return true;
    }
    // An event without a time of its own happened when it was taken in.
    name == "time" && made.is_null(row) && view.time.value(row) == view.received.value(row)
}
