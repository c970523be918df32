//! Events that have their place: the columns of a few to some thousands of them, in memory, in the
//! same types as in a segment. A memtable is a run of chunks; segments are made from one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::concat_batches;
use whodid_event::time::Micros;

use crate::batch::{Batch, Bodies};
use crate::columns::{bodies_schema, events_schema, gather};
use crate::dedupe::Marks;
use crate::error::Result;

/// Chunks smaller than this are merged as more arrive.
const MERGE_ROWS: usize = 4_096;

/// A contiguous run of events of one cluster, all of one day.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The columns of `events`.
    pub events: RecordBatch,
    /// The columns of `bodies` for the same events, in the order of `seq`.
    pub bodies: RecordBatch,
    pub(crate) first_seq: u64,
    /// When its first event was taken in; all its events are of that day (UTC).
    pub(crate) received: Micros,
    /// The bytes it takes in memory.
    pub(crate) memory: usize,
    /// The bytes of bodies in it.
    pub(crate) body_bytes: usize,
}

impl Chunk {
    /// Gives the events of a batch their place.
    pub(crate) fn place(
        batch: Batch,
        first_seq: u64,
        received: Micros,
        marks: &[(u32, Marks)],
    ) -> Result<Self> {
        let rows = batch.rows;
        let all = Marked { rows, marks };
        let seqs: Int64Array =
            (0..rows as u64).map(|row| (first_seq + row).cast_signed()).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(seqs),
            Arc::new(constant_time(received, rows)),
            Arc::new(all.flags(|marks| marks.duplicate)),
            Arc::new(all.flags(|marks| marks.conflict)),
            Arc::new(all.twins()),
        ];
        columns.extend(batch.columns);
        let schema = events_schema();
        if let Some(time) = schema.column_with_name("time").and_then(|(i, _)| columns.get_mut(i)) {
            *time = or_received(time, received);
        }
        let body_bytes = batch.bodies.bytes;
        let bodies = place_bodies(batch.bodies, first_seq, received)?;
        let events = RecordBatch::try_new(schema, columns)?;
        Ok(Self::new(events, bodies, first_seq, received, body_bytes))
    }

    fn new(
        events: RecordBatch,
        bodies: RecordBatch,
        first_seq: u64,
        received: Micros,
        body_bytes: usize,
    ) -> Self {
        let memory = events.get_array_memory_size() + bodies.get_array_memory_size();
        Chunk { events, bodies, first_seq, received, memory, body_bytes }
    }

    /// How many events it holds.
    pub fn rows(&self) -> usize {
        self.events.num_rows()
    }

    /// The leaf index of its first event.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The leaf index behind its last event.
    pub fn end_seq(&self) -> u64 {
        self.first_seq + self.rows() as u64
    }

    fn merge(chunks: &[Chunk]) -> Result<Option<Chunk>> {
        let Some(first) = chunks.first() else { return Ok(None) };
        let events = concat_batches(&events_schema(), chunks.iter().map(|chunk| &chunk.events))?;
        let bodies = concat_batches(&bodies_schema(), chunks.iter().map(|chunk| &chunk.bodies))?;
        let body_bytes = chunks.iter().map(|chunk| chunk.body_bytes).sum();
        let (events, bodies) = (gather(events)?, gather(bodies)?);
        Ok(Some(Self::new(events, bodies, first.first_seq, first.received, body_bytes)))
    }
}

/// Adds a chunk to a run, merging small ones at its end, each row a few times at most, so that
/// events that arrive one by one do not stay in arrays of one row.
pub(crate) fn push_merging(run: &mut Vec<Chunk>, chunk: Chunk) -> Result<()> {
    if chunk.rows() == 0 {
        return Ok(());
    }
    run.push(chunk);
    let mut rows = 0;
    let mut from = run.len();
    while let Some(before) = from.checked_sub(1).and_then(|i| run.get(i)) {
        // Only chunks of about the same size or smaller, as in a log-structured merge.
        if before.rows() >= MERGE_ROWS || (rows > 0 && before.rows() > rows) {
            break;
        }
        rows += before.rows();
        from -= 1;
    }
    if run.len() - from >= 8 {
        let tail = run.split_off(from);
        run.extend(Chunk::merge(&tail)?);
    }
    Ok(())
}

struct Marked<'a> {
    rows: usize,
    marks: &'a [(u32, Marks)],
}

impl Marked<'_> {
    fn flags(&self, flag: impl Fn(&Marks) -> bool) -> BooleanArray {
        let mut flags = vec![false; self.rows];
        for (row, marks) in self.marks {
            if let Some(slot) = flags.get_mut(*row as usize) {
                *slot = flag(marks);
            }
        }
        flags.into()
    }

    fn twins(&self) -> Int64Array {
        let mut twins = vec![None; self.rows];
        for (row, marks) in self.marks {
            if let Some(slot) = twins.get_mut(*row as usize) {
                *slot = marks.twin.map(u64::cast_signed);
            }
        }
        twins.into()
    }
}

fn constant_time(time: Micros, rows: usize) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_value(time, rows).with_timezone("UTC")
}

/// Events without a time of their own happened when they were taken in, as far as one knows.
fn or_received(time: &ArrayRef, received: Micros) -> ArrayRef {
    let typed = time.as_any().downcast_ref::<TimestampMicrosecondArray>();
    match typed {
        Some(typed) if typed.null_count() > 0 => {
            let filled = typed.iter().map(|time| Some(time.unwrap_or(received)));
            Arc::new(filled.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        _ => Arc::clone(time),
    }
}

fn place_bodies(bodies: Bodies, first_seq: u64, received: Micros) -> Result<RecordBatch> {
    let rows = bodies.row.len();
    let seq = |row: &UInt32Array| -> Int64Array {
        row.values().iter().map(|row| (first_seq + u64::from(*row)).cast_signed()).collect()
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(seq(&bodies.row)),
        Arc::new(constant_time(received, rows)),
        Arc::new(bodies.member),
        Arc::new(bodies.json),
        // Known from the key as long as the value is there.
        Arc::new(BinaryArray::new_null(rows)),
    ];
    Ok(RecordBatch::try_new(bodies_schema(), columns)?)
}
