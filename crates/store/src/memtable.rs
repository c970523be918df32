//! What is searchable now: the events that are not in a segment yet, and the list of the files
//! that hold the others. The sequencer adds events, the flusher moves them into segments, and
//! readers take pins; one lock makes each of these steps happen at once for all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use whodid_event::time::{Micros, day};

use crate::chunk::{Chunk, push_merging};
use crate::error::{Error, Result};
use crate::positions::Positions;
use crate::table::DataFile;

/// When a memtable becomes a segment, and how much may wait for that.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After this many events,
    pub segment_leaves: usize,
    /// this many bytes of bodies,
    pub segment_body_bytes: usize,
    /// this many bytes of memory,
    pub segment_memory: usize,
    /// or this many microseconds, whichever comes first.
    pub segment_age: i64,
    /// No more than this many bytes of memory may wait to be written.
    pub waiting_memory: usize,
    /// A log file stays for this many microseconds after the commit that covers it, for readers
    /// that listed it and have not opened it yet.
    pub wal_grace: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            segment_leaves: 1_000_000,
            segment_body_bytes: 64 << 20,
            segment_memory: 64 << 20,
            segment_age: 10 * 60 * 1_000_000,
            waiting_memory: 256 << 20,
            wal_grace: 60 * 1_000_000,
        }
    }
}

/// A contiguous run of events of one cluster and one day (UTC): what becomes one segment.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) cluster: Arc<str>,
    pub(crate) chunks: Vec<Chunk>,
}

/// A memtable that takes no more events: those of one log file.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    /// The newest log file that may be deleted once these events are in segments.
    pub(crate) wal_number: u64,
    pub(crate) runs: Vec<Run>,
    pub(crate) memory: usize,
}

/// The memtable that takes events.
#[derive(Debug, Default)]
pub(crate) struct Active {
    runs: BTreeMap<Arc<str>, Vec<Chunk>>,
    leaves: usize,
    body_bytes: usize,
    /// When its first event was taken in.
    since: Option<Micros>,
}

impl Active {
    /// Adds events that are durable.
    pub(crate) fn push(&mut self, cluster: &Arc<str>, chunk: Chunk) -> Result<()> {
        if chunk.rows() == 0 {
            return Ok(());
        }
        self.leaves += chunk.rows();
        self.body_bytes += chunk.body_bytes;
        self.since.get_or_insert(chunk.received);
        push_merging(self.runs.entry(Arc::clone(cluster)).or_default(), chunk)
    }

    /// The memory it takes; merging chunks makes it less.
    pub(crate) fn memory(&self) -> usize {
        self.runs.values().flatten().map(|chunk| chunk.memory).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// Whether it is time to make a segment of it.
    pub(crate) fn is_full(&self, limits: &Limits, now: Micros) -> bool {
        let Some(since) = self.since else { return false };
        self.leaves >= limits.segment_leaves
            || self.body_bytes >= limits.segment_body_bytes
            || self.memory() >= limits.segment_memory
            || now.saturating_sub(since) >= limits.segment_age
            || self.is_of_another_day(now)
    }

    /// Whether its events were taken in on another day than `now`; a segment is of one day.
    pub(crate) fn is_of_another_day(&self, now: Micros) -> bool {
        self.since.is_some_and(|since| day(since) != day(now))
    }

    /// Takes everything out.
    pub(crate) fn freeze(&mut self, wal_number: u64) -> Frozen {
        let memory = self.memory();
        let taken = std::mem::take(self);
        let runs = taken.runs.into_iter().map(|(cluster, chunks)| Run { cluster, chunks });
        Frozen { wal_number, runs: runs.collect(), memory }
    }
}

/// The live files of both tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) events: Vec<DataFile>,
    pub(crate) bodies: Vec<DataFile>,
}

/// Everything that is searchable, and what hangs together with it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) active: Active,
    pub(crate) frozen: VecDeque<Arc<Frozen>>,
    pub(crate) files: Arc<Files>,
    pub(crate) positions: Positions,
    /// Log files whose events are in segments, and not in a tree that is durable.
    pub(crate) uncovered: usize,
    /// Why segments cannot be written at the moment.
    pub(crate) flush_trouble: Option<String>,
    /// Why trees cannot be signed at the moment.
    pub(crate) ledger_trouble: Option<String>,
    /// Why the writer has stopped for good.
    pub(crate) fatal: Option<Arc<Error>>,
    pub(crate) is_closing: bool,
}

impl State {
    /// The memory of all events that are not in a segment.
    pub(crate) fn memory(&self) -> usize {
        self.active.memory() + self.frozen.iter().map(|frozen| frozen.memory).sum::<usize>()
    }

    /// The events that are not in a segment, oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.runs_after(|_| 0)
    }

    /// The same, without chunks that end before a place of their cluster.
    pub(crate) fn runs_after(&self, place: impl Fn(&str) -> u64) -> Vec<Run> {
        let after = |cluster: &Arc<str>, chunks: &[Chunk]| {
            let place = place(cluster);
            let chunks = chunks.iter().filter(|chunk| chunk.end_seq() > place).cloned().collect();
            Run { cluster: Arc::clone(cluster), chunks }
        };
        let frozen = self.frozen.iter().flat_map(|frozen| frozen.runs.iter());
        let frozen = frozen.map(|run| after(&run.cluster, &run.chunks));
        let active = self.active.runs.iter().map(|(cluster, chunks)| after(cluster, chunks));
        frozen.chain(active).collect()
    }
}

/// The state, shared by sequencer, flusher and readers of one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Wakes the flusher: there is something to flush, or the writer closes.
    work: Notify,
    /// Wakes whoever follows the record.
    appended: Notify,
    /// Wakes whoever waits for the flusher or for the end.
    progress: Notify,
    /// Wakes the sequencer when memory was freed.
    room: Condvar,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before anything that could panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn work(&self) -> &Notify {
        &self.0.work
    }

    pub(crate) fn appended(&self) -> &Notify {
        &self.0.appended
    }

    pub(crate) fn progress(&self) -> &Notify {
        &self.0.progress
    }

    /// Tells everybody who waits that something moved on.
    pub(crate) fn moved_on(&self) {
        self.0.room.notify_all();
        self.0.progress.notify_waiters();
    }

    /// Waits until fewer than `max` bytes of events are in memory.
    ///
    /// # Errors
    /// [`Error::Overloaded`] after `patience`, or at once where segments cannot be written.
    pub(crate) fn wait_for_room(&self, max: usize, patience: Duration) -> Result<()> {
        let is_stuck = |state: &mut State| {
            state.memory() >= max && state.flush_trouble.is_none() && state.fatal.is_none()
        };
        let (state, _) = self
            .0
            .room
            .wait_timeout_while(self.lock(), patience, is_stuck)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &state.fatal {
            return Err(error.again());
        }
        let bytes = state.memory();
        if bytes < max {
            return Ok(());
        }
        let slow = || "the disk is slower than the events".to_owned();
        Err(Error::Overloaded { bytes, why: state.flush_trouble.clone().unwrap_or_else(slow) })
    }

    /// Stops the writer for good; the first reason stays.
    pub(crate) fn stop(&self, error: &Error) {
        self.lock().fatal.get_or_insert_with(|| Arc::new(error.again()));
        self.0.work.notify_one();
        self.moved_on();
    }

    /// Refuses once the writer has stopped.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.lock().fatal {
            Some(error) => Err(error.again()),
            None => Ok(()),
        }
    }
}
