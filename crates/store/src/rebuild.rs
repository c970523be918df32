//! What may arrive again, rebuilt when the writer starts: the events of the last minutes that are
//! in segments already, read back and fingerprinted anew.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use whodid_event::Event;
use whodid_event::time::Micros;

use crate::columns::{View, bodies_schema, events_schema};
use crate::dedupe::{Fingerprint, Fingerprints, Window};
use crate::error::{Error, Result};
use crate::flush::blocking;
use crate::memtable::Files;
use crate::object::DiskStore;
use crate::row::Original;
use crate::snapshot::{Rows, Table};
use crate::table::DataFile;

/// So many events of a cluster are read back: what arrives again after a start is what was on its
/// way when the writer ended. kube-apiserver sends at most ten batches of 400 a second, each for at
/// most 30 seconds.
const READ_BACK_MAX: u64 = 262_144;

/// Fills the windows with the newest events in segments that were taken in since `since`.
pub(crate) async fn windows(
    store: &DiskStore,
    files: &Files,
    fingerprints: &Fingerprints,
    since: Micros,
) -> Result<HashMap<String, Window>> {
    let mut windows: HashMap<String, Window> = HashMap::new();
    for file in newest(files, since) {
        let events = fetch(store, Table::Events, file).await?;
        let mut bodies = Vec::new();
        for body in files.bodies.iter().filter(|body| may_belong(body, file)) {
            bodies.push(fetch(store, Table::Bodies, body).await?);
        }
        let fingerprints = fingerprints.clone();
        let seen = blocking(move || prints(&events, &bodies, &fingerprints, since)).await?;
        let window = windows.entry(file.cluster.clone()).or_default();
        for (print, seq, received) in seen {
            // The mark was given when the event was taken in; only the memory of it is renewed.
            let _mark = window.next(print, seq, received);
        }
    }
    Ok(windows)
}

/// The files with the newest events of each cluster, in the order of its log.
fn newest(files: &Files, since: Micros) -> Vec<&DataFile> {
    let mut read_back: HashMap<&str, u64> = HashMap::new();
    let recent = files.events.iter().rev().filter(|file| file.stats.received.1 >= since);
    let mut newest: Vec<&DataFile> = recent
        .filter(|file| {
            let rows = read_back.entry(&file.cluster).or_default();
            let is_wanted = *rows < READ_BACK_MAX;
            *rows += file.stats.rows;
            is_wanted
        })
        .collect();
    newest.reverse();
    newest
}

/// Whether a file of bodies may hold some of a file of events.
fn may_belong(bodies: &DataFile, events: &DataFile) -> bool {
    let overlaps =
        bodies.stats.seq.0 <= events.stats.seq.1 && events.stats.seq.0 <= bodies.stats.seq.1;
    bodies.cluster == events.cluster && overlaps
}

/// Reads a whole file of a table.
pub(crate) async fn fetch(store: &DiskStore, table: Table, file: &DataFile) -> Result<Bytes> {
    let path = Path::from(format!("{}/{}", table.name(), file.path));
    let failed = |error| Error::table(table.name(), error);
    store.get(&path).await.map_err(failed)?.bytes().await.map_err(failed)
}

/// Decodes a whole file of a table into batches of the schema's types.
pub(crate) fn decode(table: Table, bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    batches(reader(table, bytes)?)
}

/// The rows of a piece of a file.
pub(crate) const PIECE_ROWS: usize = 4_096;

/// Decodes a file of a table piece by piece: what is made of one is out of the way before the next.
pub(crate) fn decode_each(
    table: Table,
    bytes: &Bytes,
    mut take: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    for batch in pieces(table, bytes, PIECE_ROWS)? {
        take(batch?)?;
    }
    Ok(())
}

/// Reads a file of a table so many rows at a time.
pub(crate) fn pieces(table: Table, bytes: &Bytes, rows: usize) -> Result<ParquetRecordBatchReader> {
    Ok(reader(table, bytes)?.with_batch_size(rows).build()?)
}

/// Decodes the rows whose `seq` is in a range.
pub(crate) fn decode_range(
    table: Table,
    bytes: &Bytes,
    range: &Range<u64>,
) -> Result<Vec<RecordBatch>> {
    let reader = reader(table, bytes)?;
    let range = range.start.cast_signed()..range.end.cast_signed();
    let seq = ProjectionMask::columns(reader.parquet_schema(), ["seq"]);
    let is_wanted = ArrowPredicateFn::new(seq, move |batch| {
        let seqs = batch.column(0).as_primitive_opt::<Int64Type>();
        let is_wanted = |seq: &i64| Some(range.contains(seq));
        Ok(seqs.into_iter().flat_map(|seqs| seqs.values().iter().map(is_wanted)).collect())
    });
    batches(reader.with_row_filter(RowFilter::new(vec![Box::new(is_wanted)])))
}

/// Decodes only some columns of a file.
pub(crate) fn decode_columns(
    table: Table,
    bytes: &Bytes,
    columns: &[&str],
) -> Result<Vec<RecordBatch>> {
    let reader = reader(table, bytes)?;
    let columns = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
    batches(reader.with_projection(columns))
}

fn reader(table: Table, bytes: &Bytes) -> Result<ParquetRecordBatchReaderBuilder<Bytes>> {
    // Few batches: what belongs to the rows of one is looked up anew for each.
    const BATCH_ROWS: usize = 65_536;
    let schema = match table {
        Table::Events => events_schema(),
        Table::Bodies => bodies_schema(),
    };
    let options = ArrowReaderOptions::new().with_schema(schema);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options)?;
    Ok(reader.with_batch_size(BATCH_ROWS))
}

fn batches(reader: ParquetRecordBatchReaderBuilder<Bytes>) -> Result<Vec<RecordBatch>> {
    Ok(reader.build()?.collect::<Result<Vec<_>, _>>()?)
}

fn prints(
    events: &Bytes,
    bodies: &[Bytes],
    fingerprints: &Fingerprints,
    since: Micros,
) -> Result<Vec<(Fingerprint, u64, Micros)>> {
    let mut body_batches = Vec::new();
    for file in bodies {
        body_batches.extend(decode(Table::Bodies, file)?);
    }
    let mut found = Vec::new();
    for batch in decode(Table::Events, events)? {
        let view = View::of(&batch)?;
        let rows = Rows::new(&batch, &body_batches)?;
        for row in 0..batch.num_rows() {
            let received = view.received.value(row);
            if received < since {
                continue;
            }
            // Nothing can be told to be the same as what is not whole any more.
            if rows.bodies(row).gone().next().is_some() {
                continue;
            }
            let print = if view.raw_sha256.is_null(row) {
                match rows.original(row) {
                    Ok(Original::Event(text)) => match Event::parse(text.as_bytes()) {
                        Ok(event) => fingerprints.of(&text, &event),
                        Err(_) => fingerprints.of_bytes(text.as_bytes()),
                    },
                    Ok(Original::Raw(bytes)) => fingerprints.of_bytes(&bytes),
                    Err(_) => continue,
                }
            } else {
                fingerprints.of_bytes(view.raw_sha256.value(row))
            };
            found.push((print, view.seq.value(row).cast_unsigned(), received));
        }
    }
    Ok(found)
}
