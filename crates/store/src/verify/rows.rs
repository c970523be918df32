//! Rows taken in once more: columns, marks and leaf of every event are made again from its
//! original, by the code that made them at first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringViewArray};
use bytes::Bytes;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use whodid_event::encode::encode;
use whodid_event::entry::BODY_NAMES;
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
use crate::ledger::meta::Standing;
use crate::rebuild::{PIECE_ROWS, decode_range, pieces};
use crate::row::{self, Rebuilt, RowBodies};
use crate::segment::{join, stats_of_events};
use crate::snapshot::{Rows, Table, bodies_by_seq};
use crate::table::FileStats;
use crate::wal::record::{Kind, Record};
use crate::words::{self, Indexer};

/// Columns that an event gets with its place, before those that are made from it.
const PLACE_COLUMNS: usize = 5;

/// Columns that cannot be made from the original alone: the leaf itself shows the source, and why
/// bytes are no event was said when they came.
const NOT_DERIVED: [&str; 2] = ["source", "raw_reason"];

/// Columns that what was in a body may decide: once it is gone, nothing but the seal of their file
/// speaks for them.
const FROM_BODIES: [&str; 5] = ["request_object", "response_object", "action", "dry_run", "object"];

/// Takes in the rows of one cluster once more.
pub(super) struct Again {
    taking: Taking,
    /// The first leaf; those before it were pruned.
    begin: u64,
    /// Events whose bodies are gone: nothing can be told to be the same as they.
    gone: HashSet<u64>,
    /// Of events that marks of later ones name.
    prints: HashMap<u64, Fingerprint>,
}

/// What it takes to make columns and leaves of rows anew, whichever came before them.
#[derive(Clone)]
struct Taking {
    cluster: Arc<str>,
    preparer: Preparer,
    disk: Arc<dyn Disk>,
    /// The first leaf whose bodies have not expired.
    expired: u64,
    /// The bodies that were redacted, by leaf.
    redacted: Arc<BTreeMap<u64, BTreeSet<String>>>,
    /// Events that marks of later ones name.
    twins: Arc<HashSet<u64>>,
}

/// What a batch of rows came to.
#[derive(Default)]
pub(super) struct Checked {
    /// The hashes of its leaves, `None` where one cannot be made; the first stands at `first`.
    pub(super) first: u64,
    pub(super) hashes: Vec<Option<Hash>>,
    /// For each body that belongs to it, whose it is.
    pub(super) bodies: Vec<u64>,
    /// How many bodies have left only their commitments.
    pub(super) gone: u64,
    pub(super) findings: Vec<(u64, String)>,
    /// Events that have lost a body.
    lost: Vec<u64>,
    /// Events that have marks, or that marks name.
    marked: Vec<(u64, Fingerprint, Marks)>,
}

impl Checked {
    /// The leaf behind its last.
    fn end(&self) -> u64 {
        self.first + self.hashes.len() as u64
    }
}

/// What the rows of a file came to.
pub(super) struct CheckedFile {
    pub(super) batches: Vec<Checked>,
    pub(super) stats: FileStats,
    /// Leaves that have bodies which are not theirs, or one body twice.
    pub(super) strays: Vec<u64>,
    /// Whether its index, if it has one, is what the rows give.
    pub(super) is_indexed: bool,
}

impl Again {
    /// `twins` are the events that marks name.
    pub(super) fn new(
        cluster: &str,
        disk: &Arc<dyn Disk>,
        begin: u64,
        standing: &Standing,
        twins: HashSet<u64>,
    ) -> Self {
        let preparer =
            Preparer { rules: Arc::new(RuleSet::off()), fingerprints: Fingerprints::new() };
        let taking = Taking {
            cluster: cluster.into(),
            preparer,
            disk: Arc::clone(disk),
            expired: standing.expired.get(cluster).copied().unwrap_or(0),
            redacted: Arc::new(standing.redacted.get(cluster).cloned().unwrap_or_default()),
            twins: Arc::new(twins),
        };
        Again { taking, begin, gone: HashSet::new(), prints: HashMap::new() }
    }

    /// Checks the rows of a file, with the bodies that are only its, and the files in which more
    /// may be.
    pub(super) async fn file(
        &mut self,
        events: Bytes,
        bodies: (Vec<RecordBatch>, Vec<Bytes>),
        range: Range<u64>,
    ) -> Result<CheckedFile> {
        let taking = self.taking.clone();
        let mut file = blocking(move || taking.file(&events, bodies, &range)).await?;
        file.batches.iter_mut().for_each(|checked| self.marks(checked));
        Ok(file)
    }

    /// Checks rows, with the bodies among which theirs are.
    pub(super) fn batch(
        &mut self,
        events: &RecordBatch,
        bodies: &[RecordBatch],
    ) -> Result<Checked> {
        let mut checked = self.taking.rows(&Rows::new(events, bodies)?, events)?;
        self.marks(&mut checked);
        Ok(checked)
    }

    /// Holds marks against the events that they name.
    fn marks(&mut self, checked: &mut Checked) {
        self.gone.extend(&checked.lost);
        for (seq, print, marks) in checked.marked.drain(..) {
            if self.gone.contains(&seq) {
                continue;
            }
            if self.taking.twins.contains(&seq) {
                self.prints.insert(seq, print);
            }
            if marks != Marks::default() && !self.is_right(print, marks) {
                checked.findings.push((seq, "its mark is not what the two events are".into()));
            }
        }
    }

    /// Whether an event is to its twin what a mark says.
    fn is_right(&self, print: Fingerprint, marks: Marks) -> bool {
        if marks.twin.is_some_and(|twin| twin < self.begin || self.gone.contains(&twin)) {
            return true;
        }
        let twin = marks.twin.and_then(|twin| Some((twin, *self.prints.get(&twin)?)));
        let Some((twin, of_twin)) = twin else { return false };
        let mut two = Window::default();
        let _first = two.next(of_twin, twin, 0);
        two.next(print, twin + 1, 0) == marks
    }
}

impl Taking {
    /// Takes in the rows of a file, some pieces at a time on all processors.
    fn file(
        &self,
        events: &Bytes,
        (mut bodies, parts): (Vec<RecordBatch>, Vec<Bytes>),
        range: &Range<u64>,
    ) -> Result<CheckedFile> {
        for file in &parts {
            bodies.extend(decode_range(Table::Bodies, file, range)?);
        }
        let by_seq = bodies_by_seq(&bodies, |_| true)?;
        let (mut batches, mut stats) = (Vec::<Checked>::new(), None);
        let index = words::of_file(Table::Events, events)?;
        let mut indexer = index.as_ref().map(|_| Indexer::new(Table::Events));
        let mut pieces = pieces(Table::Events, events, PIECE_ROWS)?;
        let mut next = || -> Result<Vec<RecordBatch>> {
            let some = pieces.by_ref().take(2 * rayon::current_num_threads());
            let some = some.collect::<std::result::Result<Vec<_>, _>>()?;
            for batch in &some {
                let of_batch = stats_of_events(std::slice::from_ref(batch))?;
                stats = Some(stats.map_or(of_batch, |before| join(before, of_batch)));
                indexer.as_mut().map_or(Ok(()), |indexer| indexer.add(batch))?;
            }
            Ok(some)
        };
        let again = |batch: &RecordBatch| self.rows(&Rows::with(batch, &by_seq)?, batch);
        let mut some = next()?;
        while !some.is_empty() {
            let all = || some.par_iter().map(again).collect::<Result<Vec<_>>>();
            let (checked, following) = rayon::join(all, &mut next);
            for checked in checked? {
                let end = batches.last().map_or(checked.first, Checked::end);
                if checked.first != end {
                    return Err(misplaced(checked.first, end));
                }
                batches.push(checked);
            }
            some = following?;
        }
        let strays = strays(&bodies, &batches)?;
        let stats = stats.map_or_else(|| stats_of_events(&[]), Ok)?;
        let is_indexed = indexer.map(Indexer::finish).transpose()? == index;
        Ok(CheckedFile { batches, stats, strays, is_indexed })
    }

    fn rows(&self, rows: &Rows<'_>, events: &RecordBatch) -> Result<Checked> {
        let view = View::of(events)?;
        let mut checked = Checked { first: 0, ..Checked::default() };
        let mut builder = self.preparer.begin_replay(&self.cluster, "whodid/verify")?;
        // Without their bodies, events take about half a kilobyte.
        builder.expect(events.num_rows(), events.num_rows() << 9);
        let marks = MarkColumns::new(events)?;
        let mut unreadable = HashSet::new();
        for row in 0..events.num_rows() {
            let seq = view.seq.value(row).cast_unsigned();
            if row == 0 {
                checked.first = seq;
            } else if seq != checked.first + row as u64 {
                return Err(misplaced(seq, checked.first + row as u64));
            }
            self.bodies_gone(rows.bodies(row), seq, &view, row, &mut checked);
            let marks = marks.of(row);
            let is_compared = self.twins.contains(&seq) || marks != Marks::default();
            let fingerprints = is_compared.then_some(&self.preparer.fingerprints);
            match again(rows, &view, row, &mut builder, fingerprints) {
                Ok(print) => {
                    checked.marked.extend(print.map(|print| (seq, print, marks)));
                    checked.bodies.extend(committed(rows, &view, row).map(|_| seq));
                }
                Err(why) => {
                    checked.findings.push((seq, why.to_string()));
                    unreadable.insert(row);
                    builder.add_raw(b"", &NotAnEvent::Json(String::new()))?;
                }
            }
        }
        let batch = builder.finish()?;
        let place = |row| {
            let source = row::text(view.source, row).unwrap_or_default();
            (view.seq.value(row).cast_unsigned(), source, view.received.value(row))
        };
        let (drafts, bodies) = (&batch.drafts, |row| rows.bodies(row));
        let mut keys = BlockKeys::new(Arc::clone(&self.disk));
        let hashes = hash_rows(drafts, &self.cluster, &mut keys, place, bodies)?;
        checked.hashes = hashes.into_iter().map(Some).collect();
        for row in &unreadable {
            if let Some(hash) = checked.hashes.get_mut(*row) {
                *hash = None;
            }
        }
        let is_gone = |row: usize| rows.bodies(row).gone().next().is_some();
        compare(events, &batch, &view, (&unreadable, &is_gone), &mut checked)?;
        Ok(checked)
    }

    /// Holds what is left of bodies against what the meta log says that went.
    fn bodies_gone(
        &self,
        bodies: &RowBodies<&str>,
        seq: u64,
        view: &View<'_>,
        row: usize,
        checked: &mut Checked,
    ) {
        let redacted = self.redacted.get(&seq);
        let is_redacted = |member: &str| redacted.is_some_and(|members| members.contains(member));
        let mut found = |member: &str, what| {
            checked.findings.push((seq, format!("its {member} {what}")));
        };
        for member in bodies.gone() {
            checked.gone += 1;
            checked.lost.push(seq);
            if seq >= self.expired && !is_redacted(member) {
                found(member, "is gone, and no record says that it was to go");
            }
        }
        let [request, response] = BODY_NAMES;
        let columns = [(request, view.request_object), (response, view.response_object)];
        for (member, column) in columns.into_iter().filter(|(member, _)| is_redacted(member)) {
            let is_there = row::text(column, row) == Some(COMMITTED);
            if is_there && bodies.gone().all(|gone| gone != member) {
                found(member, "was redacted, and is still there: run `whodid redact` again");
            }
        }
    }
}

fn misplaced(seq: u64, expected: u64) -> Error {
    Error::Invalid(format!("leaf {seq} stands where {expected} should"))
}

/// The values that a row commits to and that are at hand.
fn committed<'a>(rows: &'a Rows<'_>, view: &View<'_>, row: usize) -> impl Iterator<Item = &'a str> {
    let bodies = rows.bodies(row);
    let is_event = view.raw_reason.is_null(row);
    let of = |column, value: Option<&'a str>| {
        value.filter(|_| is_event && row::text(column, row) == Some(COMMITTED))
    };
    let raw = bodies.raw.filter(|_| !is_event && view.raw.is_null(row));
    let request = of(view.request_object, bodies.request);
    [request, of(view.response_object, bodies.response), raw].into_iter().flatten()
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

/// The columns in which marks are.
struct MarkColumns<'a> {
    duplicate: &'a BooleanArray,
    conflict: &'a BooleanArray,
    twin: &'a Int64Array,
}

impl<'a> MarkColumns<'a> {
    fn new(events: &'a RecordBatch) -> Result<Self> {
        let flag = |name| typed(events, name);
        let (duplicate, conflict) = (flag("duplicate")?, flag("conflict")?);
        Ok(MarkColumns { duplicate, conflict, twin: typed(events, "twin")? })
    }

    fn of(&self, row: usize) -> Marks {
        let twin = self.twin.is_valid(row).then(|| self.twin.value(row).cast_unsigned());
        Marks { duplicate: self.duplicate.value(row), conflict: self.conflict.value(row), twin }
    }
}

/// Takes one row in once more; what comes back is its fingerprint, if it is wanted.
fn again(
    rows: &Rows<'_>,
    view: &View<'_>,
    row: usize,
    builder: &mut crate::batch::BatchBuilder,
    fingerprints: Option<&Fingerprints>,
) -> Result<Option<Fingerprint>> {
    let is_as_it_is = |column, name: &str| {
        let is_placeholder = row::text(column, row).is_some_and(|text| text != COMMITTED);
        is_placeholder || rows.bodies(row).gone().any(|gone| gone == name)
    };
    let [request, response] = BODY_NAMES;
    let record = || {
        let redacted = if view.redacted.is_null(row) { 0 } else { view.redacted.value(row) };
        Record {
            kind: Kind::Event,
            redacted: u32::try_from(redacted).unwrap_or(0),
            request: is_as_it_is(view.request_object, request),
            response: is_as_it_is(view.response_object, response),
        }
    };
    Ok(match rows.rebuilt(row)? {
        Rebuilt::Encoded(mut event, form) => {
            read_back(&mut event);
            builder.add_encoded(&event, form, record())?;
            fingerprints.map(|prints| prints.of(&encode(&event, form), &event))
        }
        Rebuilt::Text(text) => {
            let event = Event::parse(text.as_bytes())
                .map_err(|why| Error::Invalid(format!("it is no event: {why}")))?;
            builder.add_event(&text, &event, record())?;
            fingerprints.map(|prints| prints.of(&text, &event))
        }
        Rebuilt::Raw(head) if !view.raw_size.is_null(row) => {
            let bytes = view.raw_size.value(row).cast_unsigned();
            let sha256 = view.raw_sha256.value(row).try_into().unwrap_or_default();
            builder.add_oversized(&Oversized { head, bytes, sha256 })?;
            fingerprints.map(|prints| prints.of_bytes(&sha256))
        }
        Rebuilt::Raw(bytes) => {
            builder.add_raw(&bytes, &NotAnEvent::Json(String::new()))?;
            fingerprints.map(|prints| prints.of_bytes(&bytes))
        }
    })
}

/// Makes of an event what reading the text that it is written as would give, without reading it:
/// members that always stand there are never missing.
fn read_back(event: &mut Event<'_>) {
    let always = [
        &mut event.level,
        &mut event.audit_id,
        &mut event.stage_text,
        &mut event.request_uri,
        &mut event.verb,
    ];
    for member in always {
        member.get_or_insert_with(|| "".into());
    }
}

/// Holds the columns of rows against those made anew.
fn compare(
    events: &RecordBatch,
    batch: &Batch,
    view: &View<'_>,
    (unreadable, is_gone): (&HashSet<usize>, &dyn Fn(usize) -> bool),
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
            let is_from_body = FROM_BODIES.contains(&field.name().as_str());
            if is_from_body && is_gone(row) || is_same(field.name(), stored, made, view, row) {
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
