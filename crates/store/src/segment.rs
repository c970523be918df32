//! Segments: Parquet files made from chunks. Events stay in the order of the log; bodies are
//! sorted by what they are about, which halves their size. `docs/format/segment.md` has the
//! layout.

use std::slice;

use arrow::array::{Array, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::interleave_record_batch;
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
use crate::words::{self, Indexer};

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

/// A page has about so many bytes before they are compressed,
const PAGE_BYTES: usize = 1 << 20;

/// and fewer in a segment as it is first written: of many of these, a page each is in memory when
/// they are merged.
const FIRST_PAGE_BYTES: usize = 256 << 10;

/// Audit IDs are what is read of rows that stand all over a file: a page for each of them.
const ID_PAGE_BYTES: usize = 16 << 10;

/// A page of events has at most this many rows: whoever wants one reads no more than that.
const PAGE_ROWS: usize = 4_096;

/// What a dictionary may take before values stand as they are.
const DICTIONARY_BYTES: usize = 8 << 20;

/// Columns of numbers that grow: their differences are small.
const GROWING: [&str; 5] =
    ["seq", "received", "time", "request_received_timestamp", "stage_timestamp"];

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

/// A segment's file being made, of rows that come in its order.
pub(crate) struct Making {
    table: Table,
    level: i32,
    writer: ArrowWriter<Vec<u8>>,
    /// Files that compaction will replace soon are read whole until then.
    indexer: Option<Indexer>,
    stats: Option<FileStats>,
    /// Whether no request and no response is left in it.
    is_erased: bool,
}

impl Making {
    pub(crate) fn begin(table: Table, level: i32) -> Result<Self> {
        let (schema, properties) = match table {
            Table::Events => (events_schema(), of_events(level)?),
            Table::Bodies => (bodies_schema(), of_bodies(level)?),
        };
        // Without Arrow's own schema in the file, every reader sees plain Parquet types.
        let options = ArrowWriterOptions::new()
            .with_properties(properties.build())
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
        let indexer = (level == SETTLED_LEVEL).then(|| Indexer::new(table));
        let is_erased = table == Table::Bodies;
        Ok(Making { table, level, writer, indexer, stats: None, is_erased })
    }

    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.writer.write(rows)?;
        if let Some(indexer) = &mut self.indexer {
            indexer.add(rows)?;
        }
        let rows = slice::from_ref(rows);
        let stats = match self.table {
            Table::Events => stats_of_events(rows)?,
            Table::Bodies => stats_of_bodies(rows)?,
        };
        self.stats = Some(self.stats.map_or(stats, |before| join(before, stats)));
        self.is_erased = self.is_erased && is_erased(rows)?;
        Ok(())
    }

    pub(crate) fn finish(mut self, cluster: &str) -> Result<NewFile> {
        if let Some(indexer) = self.indexer {
            let index = indexer.finish()?;
            self.writer.flush()?;
            let offset = self.writer.bytes_written();
            self.writer.write_all(index.bytes()).map_err(parquet::errors::ParquetError::from)?;
            self.writer.append_key_value_metadata(words::noted(offset, &index));
        }
        let bytes = self.writer.into_inner()?.into();
        let stats = self.stats.map_or_else(|| stats_of_bodies(&[]), Ok)?;
        let suffix = if self.is_erased { ERASED_SUFFIX } else { suffix(self.level) };
        let path = file_path(cluster, &stats, suffix);
        Ok(NewFile { path, cluster: cluster.to_owned(), bytes, stats })
    }
}

/// Makes the file of rows that are in its order.
pub(crate) fn file(
    table: Table,
    cluster: &str,
    batches: &[RecordBatch],
    level: i32,
) -> Result<NewFile> {
    let mut making = Making::begin(table, level)?;
    batches.iter().try_for_each(|rows| making.add(rows))?;
    making.finish(cluster)
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
    sorted.map(|sorted| file(Table::Bodies, cluster, &[sorted], level)).transpose()
}

fn of_events(level: i32) -> Result<WriterPropertiesBuilder> {
    // A dictionary for each row group: many take much room, so that settled files have one.
    let group = if level == SETTLED_LEVEL { SETTLED_LEAVES_MAX } else { ROW_GROUP_LEAVES };
    let mut properties = properties(level)?
        .set_max_row_group_row_count(Some(group))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS);
    properties = growing(properties, &GROWING);
    // Random bytes neither repeat nor compress; their lengths do.
    let audit_id = ColumnPath::from("audit_id");
    properties = properties
        .set_column_dictionary_enabled(audit_id.clone(), false)
        .set_column_encoding(audit_id.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_data_page_size_limit(audit_id.clone(), ID_PAGE_BYTES)
        .set_column_compression(audit_id, Compression::UNCOMPRESSED);
    for column in ["text", "raw"] {
        let column = ColumnPath::from(column);
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    Ok(properties)
}

fn of_bodies(level: i32) -> Result<WriterPropertiesBuilder> {
    let json = ColumnPath::from("json");
    Ok(growing(properties(level)?, &["seq", "received"])
        .set_column_dictionary_enabled(json.clone(), false)
        .set_column_encoding(json.clone(), Encoding::PLAIN)
        .set_column_statistics_enabled(json, EnabledStatistics::None))
}

/// Numbers that grow are kept by their differences.
fn growing(properties: WriterPropertiesBuilder, columns: &[&str]) -> WriterPropertiesBuilder {
    columns.iter().fold(properties, |properties, column| {
        let column = ColumnPath::from(*column);
        properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
    })
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
    let page_bytes = if level == SETTLED_LEVEL { PAGE_BYTES } else { FIRST_PAGE_BYTES };
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level)?))
        .set_data_page_size_limit(page_bytes)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("whodid ", env!("CARGO_PKG_VERSION")).to_owned()))
}

/// What bodies are about, as far as they are ordered by it.
pub(crate) struct About<'a>(Vec<Part<'a>>);

/// Some of the events that bodies are about, in the order of the log.
struct Part<'a> {
    seqs: &'a [i64],
    columns: [&'a StringViewArray; 4],
}

impl<'a> About<'a> {
    /// By the events of some bodies, in the order of the log.
    pub(crate) fn of(events: &'a [RecordBatch]) -> Result<Self> {
        let part = |events: &'a RecordBatch| {
            let [resource, verb, namespace, name] = ORDER_COLUMNS.map(|name| typed(events, name));
            let columns = [resource?, verb?, namespace?, name?];
            Ok(Part { seqs: typed::<Int64Array>(events, "seq")?.values(), columns })
        };
        Ok(About(events.iter().map(part).collect::<Result<_>>()?))
    }

    /// By what the bodies of an event are ordered.
    pub(crate) fn key(&self, seq: i64) -> [Option<&'a str>; 4] {
        let behind = self.0.partition_point(|part| part.seqs.first().is_some_and(|at| *at <= seq));
        let part = behind.checked_sub(1).and_then(|part| self.0.get(part));
        let row = part.and_then(|part| Some((part, part.seqs.binary_search(&seq).ok()?)));
        let Some((part, row)) = row else { return [None; 4] };
        part.columns.map(|column| column.is_valid(row).then(|| column.value(row)))
    }
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
        let about = About::of(slice::from_ref(events))?;
        let members = typed::<StringViewArray>(bodies, "member")?;
        for (row, seq) in typed::<Int64Array>(bodies, "seq")?.values().iter().enumerate() {
            if written.is_some_and(|written| seq.cast_unsigned() <= written) {
                continue;
            }
            let key = about.key(*seq);
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
