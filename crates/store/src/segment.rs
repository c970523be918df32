//! Segments: Parquet files made from chunks. Events stay in the order of the log; bodies are
//! sorted by what they are about, which halves their size. `docs/format/segment.md` has the
//! layout.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::interleave_record_batch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use whodid_event::time::{self, Micros};

use crate::chunk::Chunk;
use crate::columns::{bodies_schema, events_schema, typed};
use crate::error::Result;
use crate::snapshot::Table;
use crate::table::{FileStats, NewFile};
use crate::words::{self, WordIndex};

/// A row group holds this many leaves,
pub(crate) const ROW_GROUP_LEAVES: usize = 65_536;

/// and in a file that compaction wrote as many as the file.
pub(crate) const SETTLED_LEAVES_MAX: usize = 4 * ROW_GROUP_LEAVES;

/// Compression when a segment is first written; compaction uses [`SETTLED_LEVEL`].
pub(crate) const FIRST_LEVEL: i32 = 3;
/// Compression of segments that compaction wrote.
pub(crate) const SETTLED_LEVEL: i32 = 9;
/// How the names of files end that compaction wrote.
pub(crate) const SETTLED_SUFFIX: &str = ".settled.parquet";
/// How the names of files of bodies end in which no request and no response is left.
pub(crate) const ERASED_SUFFIX: &str = ".erased.parquet";

/// The columns of events by which their bodies are ordered, before their place in the log.
pub(crate) const ORDER_COLUMNS: [&str; 4] = ["resource", "verb", "namespace", "name"];

const PAGE_BYTES: usize = 1 << 20;

/// A page of events has at most this many rows: whoever wants one reads no more than that.
const PAGE_ROWS: usize = 4_096;

/// What a dictionary may take before values stand as they are.
const DICTIONARY_BYTES: usize = 8 << 20;

/// Columns of numbers that grow: their differences are small.
const GROWING: [&str; 5] =
    ["seq", "received", "time", "request_received_timestamp", "stage_timestamp"];

/// Columns whose row groups get a Bloom filter, with the number of values to expect in one.
const BLOOMED: [(&str, u64); 4] =
    [("audit_id", 65_536), ("name", 8_192), ("object_uid", 8_192), ("username", 1_024)];

/// The name of a segment's file: where it belongs, what it holds, and a number of its own.
fn file_path(cluster: &str, stats: &FileStats, suffix: &str) -> String {
    let (day, (first, last)) = (day_text(stats.received.0), stats.seq);
    let unique = uuid::Uuid::new_v4().simple();
    format!("cluster={cluster}/day={day}/{first:015}-{last:015}-{unique}{suffix}")
}

/// The UTC date of an instant, `2026-01-02`.
pub(crate) fn day_text(instant: Micros) -> String {
    time::format(instant).chars().take(10).collect()
}

/// Makes the events file of a run of chunks.
pub(crate) fn events_file(cluster: &str, batches: &[RecordBatch], level: i32) -> Result<NewFile> {
    let stats = Stats(stats_of_events(batches)?);
    // A dictionary for each row group: many take much room, so that settled files have one.
    let group = if level == SETTLED_LEVEL { SETTLED_LEAVES_MAX } else { ROW_GROUP_LEAVES };
    let mut properties = properties(level)?
        .set_max_row_group_row_count(Some(group))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES);
    // Settled files have an index, which says more.
    let bloomed = if level == SETTLED_LEVEL { &[][..] } else { &BLOOMED[..] };
    properties = properties.set_data_page_row_count_limit(PAGE_ROWS);
    for (column, values) in bloomed {
        let column = ColumnPath::from(*column);
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), 0.01)
            .set_column_bloom_filter_max_ndv(column, *values);
    }
    for column in GROWING {
        let column = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    // Random bytes neither repeat nor compress; their lengths do.
    let audit_id = ColumnPath::from("audit_id");
    properties = properties
        .set_column_dictionary_enabled(audit_id.clone(), false)
        .set_column_encoding(audit_id.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_compression(audit_id, Compression::UNCOMPRESSED);
    for column in ["text", "raw"] {
        let column = ColumnPath::from(column);
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    // Files that compaction will replace soon are read whole until then.
    let index = (level == SETTLED_LEVEL).then(|| WordIndex::of(Table::Events, batches));
    let index = index.transpose()?;
    let bytes = write(&events_schema(), batches, properties.build(), index.as_ref())?;
    Ok(stats.file(cluster, bytes, suffix(level)))
}

/// Makes the bodies file of a run of chunks, but for bodies at or below `written`; `None` if none
/// is left.
pub(crate) fn bodies_file(
    cluster: &str,
    events: &[RecordBatch],
    bodies: &[RecordBatch],
    written: Option<u64>,
    level: i32,
) -> Result<Option<NewFile>> {
    let sorted = sorted_bodies(events, bodies, written)?;
    sorted.map(|sorted| sorted_file(cluster, &[sorted], level)).transpose()
}

/// Makes a bodies file of rows that are in its order.
pub(crate) fn sorted_file(cluster: &str, sorted: &[RecordBatch], level: i32) -> Result<NewFile> {
    let stats = Stats(stats_of_bodies(sorted)?);
    let mut properties = properties(level)?;
    for column in ["seq", "received"] {
        let column = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    let json = ColumnPath::from("json");
    properties = properties
        .set_column_dictionary_enabled(json.clone(), false)
        .set_column_encoding(json.clone(), Encoding::PLAIN)
        .set_column_statistics_enabled(json, EnabledStatistics::None);
    let index = (level == SETTLED_LEVEL).then(|| WordIndex::of(Table::Bodies, sorted));
    let index = index.transpose()?;
    let bytes = write(&bodies_schema(), sorted, properties.build(), index.as_ref())?;
    let suffix = if is_erased(sorted)? { ERASED_SUFFIX } else { suffix(level) };
    Ok(stats.file(cluster, bytes, suffix))
}

fn suffix(level: i32) -> &'static str {
    if level == SETTLED_LEVEL { SETTLED_SUFFIX } else { ".parquet" }
}

/// Whether no request and no response is left in rows of bodies.
fn is_erased(batches: &[RecordBatch]) -> Result<bool> {
    for batch in batches {
        let members: &StringViewArray = typed(batch, "member")?;
        let values: &StringViewArray = typed(batch, "json")?;
        if (0..batch.num_rows()).any(|row| values.is_valid(row) && members.value(row) != "raw") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn properties(level: i32) -> Result<WriterPropertiesBuilder> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("whodid ", env!("CARGO_PKG_VERSION")).to_owned()))
}

fn write(
    schema: &arrow::datatypes::SchemaRef,
    batches: &[RecordBatch],
    properties: WriterProperties,
    index: Option<&WordIndex>,
) -> Result<Bytes> {
    // Without Arrow's own schema in the file, every reader sees plain Parquet types.
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    if let Some(index) = index {
        writer.flush()?;
        let offset = writer.bytes_written();
        writer.write_all(index.bytes()).map_err(parquet::errors::ParquetError::from)?;
        writer.append_key_value_metadata(words::noted(offset, index));
    }
    Ok(writer.into_inner()?.into())
}

/// The bodies in the order of what they are about: resource, verb, namespace, name, then the log.
/// Alike bodies stand next to each other and compress against each other.
fn sorted_bodies(
    events: &[RecordBatch],
    bodies: &[RecordBatch],
    written: Option<u64>,
) -> Result<Option<RecordBatch>> {
    let mut rows = Vec::new();
    for (i, (events, bodies)) in events.iter().zip(bodies).enumerate() {
        let columns = ORDER_COLUMNS.map(|name| typed::<StringViewArray>(events, name));
        let [resource, verb, namespace, name] = columns;
        let about = [resource?, verb?, namespace?, name?];
        let event_seqs = typed::<Int64Array>(events, "seq")?;
        let members = typed::<StringViewArray>(bodies, "member")?;
        for (row, seq) in typed::<Int64Array>(bodies, "seq")?.values().iter().enumerate() {
            if written.is_some_and(|written| seq.cast_unsigned() <= written) {
                continue;
            }
            let event = event_seqs.values().binary_search(seq).unwrap_or(usize::MAX);
            let key = about.map(|column| {
                (event < column.len() && column.is_valid(event)).then(|| column.value(event))
            });
            rows.push((key, members.value(row), *seq, (i, row)));
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort_unstable();
    let order: Vec<(usize, usize)> = rows.into_iter().map(|(.., at)| at).collect();
    let batches: Vec<&RecordBatch> = bodies.iter().collect();
    Ok(Some(interleave_record_batch(&batches, &order)?))
}

/// What a table's log says about a file, gathered while it is made.
struct Stats(FileStats);

impl Stats {
    fn file(self, cluster: &str, bytes: Bytes, suffix: &str) -> NewFile {
        let stats = self.0;
        let path = file_path(cluster, &stats, suffix);
        NewFile { path, cluster: cluster.to_owned(), bytes, stats }
    }
}

/// What is known of the rows of a file of events.
pub(crate) fn stats_of_events(batches: &[RecordBatch]) -> Result<FileStats> {
    let mut stats = stats_of_bodies(batches)?;
    let mut times = Range::default();
    for batch in batches {
        let column: &arrow::array::TimestampMicrosecondArray = typed(batch, "time")?;
        column.values().iter().for_each(|time| times.add(*time));
        stats.twins += (batch.num_rows() - typed::<Int64Array>(batch, "twin")?.null_count()) as u64;
    }
    stats.time = Some(times.0.unwrap_or_default());
    Ok(stats)
}

/// What is known of the rows of a file of bodies.
pub(crate) fn stats_of_bodies(batches: &[RecordBatch]) -> Result<FileStats> {
    let (mut seqs, mut received, mut rows) = (Range::default(), Range::default(), 0);
    for batch in batches {
        rows += batch.num_rows() as u64;
        typed::<Int64Array>(batch, "seq")?.values().iter().for_each(|seq| seqs.add(*seq));
        let column: &arrow::array::TimestampMicrosecondArray = typed(batch, "received")?;
        column.values().iter().for_each(|time| received.add(*time));
    }
    let (first, last) = seqs.0.unwrap_or_default();
    Ok(FileStats {
        rows,
        seq: (first.cast_unsigned(), last.cast_unsigned()),
        received: received.0.unwrap_or_default(),
        time: None,
        twins: 0,
    })
}

/// What is known of the rows of two parts of a file.
pub(crate) fn join(one: FileStats, other: FileStats) -> FileStats {
    let wider = |a: (i64, i64), b: (i64, i64)| (a.0.min(b.0), a.1.max(b.1));
    FileStats {
        rows: one.rows + other.rows,
        seq: (one.seq.0.min(other.seq.0), one.seq.1.max(other.seq.1)),
        received: wider(one.received, other.received),
        time: one.time.zip(other.time).map(|(a, b)| wider(a, b)),
        twins: one.twins + other.twins,
    }
}

/// The least and the greatest of some numbers.
#[derive(Default)]
struct Range(Option<(i64, i64)>);

impl Range {
    fn add(&mut self, value: i64) {
        let (low, high) = self.0.get_or_insert((value, value));
        *low = value.min(*low);
        *high = value.max(*high);
    }
}

/// The columns of a run of chunks, ready to become files.
pub(crate) fn batches(chunks: &[Chunk]) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    chunks.iter().map(|chunk| (chunk.events.clone(), chunk.bodies.clone())).unzip()
}
