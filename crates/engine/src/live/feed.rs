//! What was added last, as all who follow the record look at it: with twenty readers of twenty
//! queries, new events are put together once and each event becomes JSON once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use whodid_store::columns::{bodies_schema, events_schema};
use whodid_store::{Chunk, Snapshot, Writer};

use super::Cursor;
use crate::error::Result;
use crate::row::RowBatch;
use crate::table::{events_table_schema, with_partitions};

/// Who is further behind than this many events reads from the record itself.
const ROWS_MAX: usize = 8_192;

/// Events of one cluster that follow one another.
pub(super) struct Block {
    pub(super) cluster: Arc<str>,
    first_seq: u64,
    /// As in the table `events`.
    pub(super) events: Arc<RowBatch>,
    pub(super) bodies: RecordBatch,
}

impl Block {
    /// All events of a chunk.
    pub(super) fn of(cluster: &str, chunk: &Chunk) -> Result<Self> {
        Self::new(cluster, chunk.first_seq(), &chunk.events, chunk.bodies.clone())
    }

    /// The events of chunks that follow one another, from a place on.
    fn join(cluster: &str, chunks: &[&Chunk], from: u64) -> Result<Self> {
        let new = |chunk: &&Chunk| {
            let seen = usize::try_from(from.saturating_sub(chunk.first_seq())).unwrap_or_default();
            let seen = seen.min(chunk.rows());
            chunk.events.slice(seen, chunk.rows() - seen)
        };
        let events: Vec<RecordBatch> = chunks.iter().map(new).collect();
        let events = concat_batches(&events_schema(), &events)?;
        let bodies = concat_batches(&bodies_schema(), chunks.iter().map(|chunk| &chunk.bodies))?;
        Self::new(cluster, from, &events, bodies)
    }

    fn new(
        cluster: &str,
        first_seq: u64,
        events: &RecordBatch,
        bodies: RecordBatch,
    ) -> Result<Self> {
        let events = with_partitions(&events_table_schema(), events, cluster)?;
        Ok(Block { cluster: cluster.into(), first_seq, events: RowBatch::new(events), bodies })
    }

    fn rows(&self) -> usize {
        self.events.columns().num_rows()
    }

    /// The leaf index behind its last event.
    pub(super) fn end_seq(&self) -> u64 {
        self.first_seq + self.rows() as u64
    }

    /// How many of its events lie before a place; `None` if all do.
    pub(super) fn seen_before(&self, next: u64) -> Option<usize> {
        let seen = usize::try_from(next.saturating_sub(self.first_seq)).unwrap_or(usize::MAX);
        (seen < self.rows()).then_some(seen)
    }
}

/// The newest events of a record, shared by all who follow it.
pub struct Feed {
    writer: Arc<Writer>,
    recent: Mutex<Recent>,
}

/// For each cluster, all events from a place on.
#[derive(Default)]
struct Recent {
    from: Cursor,
    end: Cursor,
    blocks: VecDeque<Arc<Block>>,
    rows: usize,
}

impl Feed {
    /// The newest events of what a writer writes.
    pub fn new(writer: Arc<Writer>) -> Self {
        Feed { writer, recent: Mutex::default() }
    }

    /// The blocks that hold what was added behind a cursor; `None` if it lies before them.
    pub(super) fn after(&self, cursor: &Cursor) -> Result<Option<Vec<Arc<Block>>>> {
        // A block that could not be made is not in there.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.writer.snapshot_after(recent.end.places());
        recent.catch_up(&snapshot)?;
        if cursor.distance_to(&recent.from) > 0 {
            return Ok(None);
        }
        let is_new = |block: &&Arc<Block>| block.end_seq() > cursor.next(&block.cluster);
        Ok(Some(recent.blocks.iter().filter(is_new).cloned().collect()))
    }
}

impl Recent {
    /// Adds what a snapshot has more.
    fn catch_up(&mut self, snapshot: &Snapshot) -> Result<()> {
        for (cluster, end) in snapshot.ends() {
            let known = self.end.next(&cluster);
            if end <= known {
                continue;
            }
            let of_cluster = snapshot.chunks().filter(|(of, _)| *of == cluster);
            let new = of_cluster.map(|(_, chunk)| chunk).filter(|chunk| chunk.end_seq() > known);
            let chunks: Vec<&Chunk> = new.collect();
            let is_whole = chunks.first().is_some_and(|chunk| chunk.first_seq() <= known);
            if is_whole && end - known <= ROWS_MAX as u64 {
                self.push(Block::join(&cluster, &chunks, known)?);
            } else {
                // Nobody has followed for a while.
                self.blocks.retain(|block| *block.cluster != *cluster);
                self.rows = self.blocks.iter().map(|block| block.rows()).sum();
                self.from.set(&cluster, end);
            }
            self.end.set(&cluster, end);
        }
        Ok(())
    }

    fn push(&mut self, block: Block) {
        self.rows += block.rows();
        self.blocks.push_back(Arc::new(block));
        while self.rows > ROWS_MAX
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.rows -= oldest.rows();
            self.from.set(&oldest.cluster, oldest.end_seq());
        }
    }
}
