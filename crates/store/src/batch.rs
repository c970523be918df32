//! Events on their way in: everything about a batch that can be computed before its events have
//! their place in the log, so that it is done on the caller's thread. Bytes are read, redacted,
//! understood and put into columns here; the sequencer ([`crate::writer`]) adds the rest.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, StringViewBuilder, UInt32Array};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use whodid_event::encode::{Form, Written};
use whodid_event::entry::{self, Drafts, RAW_BYTES_MAX};
use whodid_event::redact::{Finding, RuleSet, redact};
use whodid_event::split::{EVENT_BYTES_MAX, Item, Oversized};
use whodid_event::{Event, NotAnEvent, cloud};

use crate::columns::{Builders, shrink};
use crate::dedupe::{Fingerprint, Fingerprints};
use crate::error::{Error, Result};
use crate::ledger::{log, meta};
use crate::positions::SourcePosition;
use crate::row;
use crate::wal::record::{Kind, Record, UNPACKED_BYTES_MAX};

/// Stands in `request_object` and `response_object` for a body that is in the table `bodies`.
pub(crate) const COMMITTED: &str = "$c";

/// A `source` is at most this long, so that every entry has room for it.
pub const SOURCE_BYTES_MAX: usize = 512;

/// One batch takes at most this many events and bytes of them.
pub const BATCH_ROWS_MAX: usize = 65_536;
/// See [`BATCH_ROWS_MAX`].
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Checks a cluster's name: a DNS label (RFC 1123 §2.1), as it becomes part of paths.
///
/// # Errors
/// It is none.
pub fn check_cluster(name: &str) -> Result<()> {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if name == meta::NAME || name == log::EXPORT {
        return Err(Error::Invalid(format!(
            "{name:?} cannot name a cluster: the record has a key of this name for itself"
        )));
    }
    if fits {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{name:?} cannot name a cluster: use 1 to 63 lower-case letters, digits and `-`"
    )))
}

/// Events of one cluster and source, ready to be given their place.
pub struct Batch {
    pub(crate) cluster: Arc<str>,
    pub(crate) position: Option<SourcePosition>,
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) bodies: Bodies,
    pub(crate) drafts: Drafts,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) rows: usize,
    /// The records for the write-ahead log, packed, and their length when unpacked.
    pub(crate) payload: Vec<u8>,
    pub(crate) unpacked: u32,
    pub(crate) source: Arc<str>,
    findings: Vec<(usize, Finding)>,
    raws: Vec<(usize, String)>,
}

/// The bodies of a batch; `row` counts within the batch.
#[derive(Clone)]
pub(crate) struct Bodies {
    pub(crate) row: UInt32Array,
    pub(crate) member: StringViewArray,
    pub(crate) json: StringViewArray,
    /// The length of all of them.
    pub(crate) bytes: usize,
}

impl Batch {
    /// How many events it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What was taken out of its events: the event's number within the batch, and the finding.
    pub fn findings(&self) -> &[(usize, Finding)] {
        &self.findings
    }

    /// Which of its items are not events, by number within the batch, and why.
    pub fn raws(&self) -> &[(usize, String)] {
        &self.raws
    }

    /// Notes how far its source is taken in with this batch.
    pub fn set_position(&mut self, position: SourcePosition) {
        self.position = Some(position);
    }
}

/// Makes batches: holds what all of them share.
#[derive(Clone)]
pub struct Preparer {
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) fingerprints: Fingerprints,
}

impl Preparer {
    /// Begins a batch.
    ///
    /// # Errors
    /// The cluster or the source has an impossible name.
    pub fn begin(&self, cluster: &str, source: &str) -> Result<BatchBuilder> {
        check_cluster(cluster)?;
        if source.is_empty() || source.len() > SOURCE_BYTES_MAX {
            let message =
                format!("a source has 1 to {SOURCE_BYTES_MAX} bytes, not {}", source.len());
            return Err(Error::Invalid(message));
        }
        Ok(BatchBuilder {
            is_logged: true,
            preparer: self.clone(),
            cluster: cluster.into(),
            source: source.into(),
            builders: Builders::new(0),
            bodies: BodyBuilders::default(),
            drafts: Drafts::default(),
            fingerprints: Vec::new(),
            records: Vec::new(),
            shell: String::new(),
            rows: 0,
            findings: Vec::new(),
            raws: Vec::new(),
        })
    }

    /// Begins a batch of events that are in the write-ahead log already.
    pub(crate) fn begin_replay(&self, cluster: &str, source: &str) -> Result<BatchBuilder> {
        Ok(BatchBuilder { is_logged: false, ..self.begin(cluster, source)? })
    }
}

#[derive(Default)]
struct BodyBuilders {
    rows: Vec<u32>,
    members: StringViewBuilder,
    texts: StringViewBuilder,
    bytes: usize,
}

impl BodyBuilders {
    fn add(&mut self, row: usize, member: &str, json: &str) {
        self.rows.push(u32::try_from(row).unwrap_or(u32::MAX));
        self.members.append_value(member);
        self.texts.append_value(json);
        self.bytes += json.len();
    }

    fn finish(mut self) -> Bodies {
        let (mut member, mut json) = (self.members.finish(), self.texts.finish());
        member.shrink_to_fit();
        json.shrink_to_fit();
        Bodies { row: self.rows.into(), member, json, bytes: self.bytes }
    }
}

/// A batch being filled.
pub struct BatchBuilder {
    /// Whether records for the write-ahead log are wanted.
    is_logged: bool,
    preparer: Preparer,
    cluster: Arc<str>,
    source: Arc<str>,
    builders: Builders,
    bodies: BodyBuilders,
    drafts: Drafts,
    fingerprints: Vec<Fingerprint>,
    records: Vec<u8>,
    /// Where events are written, to see whether their text comes out.
    shell: String,
    rows: usize,
    findings: Vec<(usize, Finding)>,
    raws: Vec<(usize, String)>,
}

impl BatchBuilder {
    /// How many events it holds so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many of its items so far are not events.
    pub fn raws(&self) -> usize {
        self.raws.len()
    }

    /// How many bytes of events it holds so far.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Makes room for so many events and bytes of them, before the first.
    pub fn expect(&mut self, events: usize, bytes: usize) {
        if self.rows == 0 {
            self.builders = Builders::new(events.min(BATCH_ROWS_MAX));
        }
        let bytes = bytes.min(BATCH_BYTES_MAX);
        // Each record has a head.
        self.records.reserve(if self.is_logged { bytes + bytes / 16 } else { 0 });
        self.drafts.expect(bytes);
    }

    /// Whether another item may still be added.
    pub fn has_room(&self) -> bool {
        self.rows < BATCH_ROWS_MAX && self.records.len() < BATCH_BYTES_MAX
    }

    /// Adds what a splitter found: an event, or what is to be kept although it is none.
    ///
    /// # Errors
    /// Only columns that cannot be built, which is a defect.
    pub fn add(&mut self, item: &Item<'_>) -> Result<()> {
        let bytes = match item {
            Item::Value(bytes) | Item::Broken(bytes) => bytes,
            Item::Oversized(oversized) => return self.add_oversized(oversized),
        };
        match Event::parse(bytes) {
            Ok(event) => self.add_parsed(bytes, &event),
            // What is in the record already is taken in again as it was.
            Err(reason) => match self.is_logged.then(|| cloud::unwrap(bytes)).flatten() {
                Some(events) => events.iter().try_for_each(|event| self.add_unwrapped(event)),
                None => self.add_raw(bytes, &reason),
            },
        }
    }

    /// Adds an event that was in a wrapping; what is none, as it stood there.
    fn add_unwrapped(&mut self, text: &str) -> Result<()> {
        match Event::parse(text.as_bytes()) {
            Ok(event) => self.add_parsed(text.as_bytes(), &event),
            Err(reason) => self.add_raw(text.as_bytes(), &reason),
        }
    }

    fn add_parsed(&mut self, bytes: &[u8], event: &Event<'_>) -> Result<()> {
        // Checked by the parse; a slice of it cannot fail.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let Some(redacted) = redact(text, event, &self.preparer.rules) else {
            let record = Record { kind: Kind::Event, redacted: 0, request: false, response: false };
            return self.add_event(text, event, record);
        };
        let record = Record {
            kind: Kind::Event,
            redacted: u32::try_from(redacted.findings.len()).unwrap_or(u32::MAX),
            request: redacted.is_request_whole,
            response: redacted.is_response_whole,
        };
        let row = self.rows;
        self.findings.extend(redacted.findings.into_iter().map(|finding| (row, finding)));
        match Event::parse(redacted.text.as_bytes()) {
            Ok(event) => self.add_event(&redacted.text, &event, record),
            // The placeholders made it longer than an event may be: keep nothing of the original.
            Err(reason) => self.add_raw(redacted.text.as_bytes(), &reason),
        }
    }

    /// Adds an event of the record that writing gives back, to see what it becomes once more: it
    /// gets no fingerprint, and its bodies stay where they are.
    pub(crate) fn add_encoded(
        &mut self,
        event: &Event<'_>,
        form: Form,
        record: Record,
    ) -> Result<()> {
        row::fill(&mut self.builders, event)?;
        let committed = self.mark_bodies(event, [record.request, record.response]);
        self.drafts.push_encoded(event, form, committed.map(|body| body.is_some()));
        self.builders.form.append_value(row::form_name(form));
        self.end_event(record)
    }

    /// Adds an event whose text is final.
    pub(crate) fn add_event(
        &mut self,
        text: &str,
        event: &Event<'_>,
        record: Record,
    ) -> Result<()> {
        if self.is_logged {
            record.append(&mut self.records, text.as_bytes());
        }
        let written = Written::of(text, event, &mut self.shell);
        let form = written.map(|written| written.form);
        let print = self.preparer.fingerprints.of_written(text, event, written);
        self.fingerprints.push(print);
        row::fill(&mut self.builders, event)?;
        let committed = self.add_bodies(event, [record.request, record.response]);
        self.drafts.push_event(text, committed);
        let committed = committed.map(|body| body.is_some());
        if let Some(form) = form {
            self.builders.form.append_value(row::form_name(form));
        } else {
            // Parsed as an event, so its bodies can be found.
            let cut = entry::without_bodies(text, committed).unwrap_or_default();
            self.builders.text.append_value(cut);
        }
        self.end_event(record)
    }

    fn end_event(&mut self, record: Record) -> Result<()> {
        if record.redacted > 0 {
            let count = i32::try_from(record.redacted).unwrap_or(i32::MAX);
            self.builders.redacted.append_value(count);
        }
        self.end_row()
    }

    /// Puts bodies aside; what returns are those that went.
    fn add_bodies<'e>(&mut self, event: &Event<'e>, as_it_is: [bool; 2]) -> [Option<&'e str>; 2] {
        let committed = self.mark_bodies(event, as_it_is);
        for (name, body) in entry::BODY_NAMES.into_iter().zip(committed) {
            if let Some(body) = body {
                self.bodies.add(self.rows, name, body);
            }
        }
        committed
    }

    /// Says in the columns of bodies where each is; what returns are those that are committed to.
    fn mark_bodies<'e>(&mut self, event: &Event<'e>, as_it_is: [bool; 2]) -> [Option<&'e str>; 2] {
        let columns = [&mut self.builders.request_object, &mut self.builders.response_object];
        let mut committed = [event.request_object, event.response_object];
        for ((column, body), is_as_it_is) in columns.into_iter().zip(&mut committed).zip(as_it_is) {
            if is_as_it_is {
                column.append_option(body.take());
            } else if body.is_some() {
                column.append_value(COMMITTED);
            }
        }
        committed
    }

    /// Adds bytes that are not an event.
    pub(crate) fn add_raw(&mut self, bytes: &[u8], reason: &NotAnEvent) -> Result<()> {
        if self.is_logged {
            let record = Record { kind: Kind::Raw, ..Record::default() };
            record.append(&mut self.records, bytes);
        }
        self.fingerprints.push(self.preparer.fingerprints.of_bytes(bytes));
        self.drafts.push_raw(bytes);
        self.add_raw_row(bytes, reason.to_string())
    }

    /// Adds what is left of an event that was too long.
    pub(crate) fn add_oversized(&mut self, oversized: &Oversized) -> Result<()> {
        if self.is_logged {
            let record = Record { kind: Kind::Oversized, ..Record::default() };
            record.append_oversized(&mut self.records, oversized);
        }
        self.fingerprints.push(self.preparer.fingerprints.of_bytes(&oversized.sha256));
        self.drafts.push_oversized(oversized);
        self.builders.raw_size.append_value(oversized.bytes.cast_signed());
        self.builders.raw_sha256.append_value(oversized.sha256);
        let limit = EVENT_BYTES_MAX >> 20;
        let reason = format!("{} bytes long; an event is kept up to {limit} MiB", oversized.bytes);
        self.add_raw_row(&oversized.head, reason)
    }

    fn add_raw_row(&mut self, bytes: &[u8], reason: String) -> Result<()> {
        self.builders.raw_reason.append_value(&reason);
        self.raws.push((self.rows, reason));
        if bytes.len() > RAW_BYTES_MAX {
            self.bodies.add(self.rows, "raw", &format!("\"{}\"", BASE64.encode(bytes)));
        } else {
            self.builders.raw.append_value(bytes);
        }
        self.end_row()
    }

    fn end_row(&mut self) -> Result<()> {
        self.rows += 1;
        self.builders.end_row(self.rows)
    }

    /// Finishes the batch.
    ///
    /// # Errors
    /// It holds more than [`BATCH_ROWS_MAX`] events, or more bytes than a frame may have: ask
    /// [`has_room`](Self::has_room) before each item.
    pub fn finish(mut self) -> Result<Batch> {
        if self.rows > BATCH_ROWS_MAX || self.records.len() > UNPACKED_BYTES_MAX {
            let message = format!(
                "{} events of {} bytes do not fit into one batch",
                self.rows,
                self.records.len()
            );
            return Err(Error::Invalid(message));
        }
        let source = std::iter::repeat_n(Some(&*self.source), self.rows);
        let source: ArrayRef = Arc::new(source.collect::<StringViewArray>());
        let mut columns = self.builders.finish();
        if let Some(first) = columns.first_mut() {
            *first = source;
        }
        shrink(&mut columns);
        let packed = crate::wal::record::pack(&self.records);
        let payload = packed.map_err(|error| Error::Invalid(format!("cannot pack: {error}")))?;
        Ok(Batch {
            cluster: self.cluster,
            source: self.source,
            position: None,
            columns,
            bodies: self.bodies.finish(),
            drafts: self.drafts,
            fingerprints: self.fingerprints,
            rows: self.rows,
            payload,
            unpacked: u32::try_from(self.records.len()).unwrap_or(u32::MAX),
            findings: self.findings,
            raws: self.raws,
        })
    }
}
