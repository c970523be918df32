//! The one thread that gives events their place in the log. Batches that arrive while the disk is
//! syncing wait and go together: one sync serves all of them (group commit), and no answer is
//! given before it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use whodid_event::time::Micros;

use crate::batch::Batch;
use crate::chunk::Chunk;
use crate::clock::Clock;
use crate::dedupe::{Marks, Window};
use crate::error::Result;
use crate::keys::Keys;
use crate::ledger::{Handle, Leaves};
use crate::memtable::{Limits, Shared};
use crate::wal::Log;
use crate::wal::frame::Frame;

/// A group commit takes batches up to this many bytes of frames.
const GROUP_BYTES: usize = 1 << 20;

/// How long a batch waits for room before it is refused.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// The place that a batch was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf index of its first event.
    pub first_seq: u64,
    /// How many events it held.
    pub rows: u64,
    /// How many of them the record had already.
    pub duplicates: u64,
    /// How many contradict an event that the record had already.
    pub conflicts: u64,
}

/// What the sequencer is asked to do.
pub(crate) enum Request {
    Append(Box<Batch>, oneshot::Sender<Result<Receipt>>),
    /// Makes a segment of what is in memory.
    Freeze(oneshot::Sender<Result<()>>),
}

/// The log of one cluster, as far as the next event needs it.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) next: u64,
    pub(crate) window: Window,
}

/// The sequencer's own state; nobody else places events.
pub(crate) struct Sequencer {
    pub(crate) log: Log,
    pub(crate) keys: Keys,
    pub(crate) ledger: Handle,
    pub(crate) sequences: HashMap<Arc<str>, Sequence>,
    pub(crate) last_received: Micros,
    pub(crate) shared: Shared,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A batch with its place, not yet durable.
struct Placed {
    batch: Box<Batch>,
    first_seq: u64,
    marks: Vec<(u32, Marks)>,
    reply: oneshot::Sender<Result<Receipt>>,
}

impl Sequencer {
    /// Serves requests until their senders are gone or the disk cannot be trusted any more.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut held = None;
        while let Some(request) = held.take().or_else(|| requests.blocking_recv()) {
            match request {
                Request::Freeze(reply) => {
                    let frozen = self.freeze();
                    let _gone = reply.send(frozen);
                }
                Request::Append(batch, reply) => {
                    held = self.append_group((batch, reply), &mut requests);
                }
            }
        }
    }

    /// Takes a batch and those that wait behind it; what comes back is a request of another kind
    /// that was found among them.
    fn append_group(
        &mut self,
        first: (Box<Batch>, oneshot::Sender<Result<Receipt>>),
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<Request> {
        let mut group = vec![first];
        let mut bytes = 0;
        let mut other = None;
        while bytes < GROUP_BYTES {
            bytes += group.last().map_or(0, |(batch, _)| batch.payload.len());
            match requests.try_recv() {
                Ok(Request::Append(batch, reply)) => group.push((batch, reply)),
                Ok(request) => {
                    other = Some(request);
                    break;
                }
                Err(_) => break,
            }
        }
        if let Err(error) = self.make_room() {
            for (_, reply) in group {
                let _gone = reply.send(Err(error.again()));
            }
            return other;
        }
        self.commit_group(group);
        other
    }

    /// Waits until events may be added, and begins a new segment where the day is over.
    fn make_room(&mut self) -> Result<()> {
        self.shared.check()?;
        let now = self.clock.now().max(self.last_received);
        let is_another_day = self.shared.lock().active.is_of_another_day(now);
        if is_another_day {
            self.freeze()?;
        }
        self.last_received = now;
        self.shared.wait_for_room(self.limits.waiting_memory, ROOM_WAIT)
    }

    fn commit_group(&mut self, group: Vec<(Box<Batch>, oneshot::Sender<Result<Receipt>>)>) {
        let mut frames = Vec::new();
        let mut placed = Vec::with_capacity(group.len());
        for (mut batch, reply) in group {
            match self.place(&mut batch, &mut frames) {
                Ok((first_seq, marks)) => placed.push(Placed { batch, first_seq, marks, reply }),
                Err(error) => {
                    if error.is_fatal() {
                        self.shared.stop(&error);
                    }
                    let _gone = reply.send(Err(error));
                }
            }
        }
        if let Err(error) = self.log.append(&frames) {
            self.take_back(&placed);
            if error.is_fatal() {
                self.shared.stop(&error);
            }
            for Placed { reply, .. } in placed {
                let _gone = reply.send(Err(error.again()));
            }
            return;
        }
        for placed in placed {
            self.publish(placed);
        }
        self.shared.appended().notify_waiters();
        self.freeze_if_full();
    }

    /// Gives a batch its place and writes its frame.
    fn place(
        &mut self,
        batch: &mut Batch,
        frames: &mut Vec<u8>,
    ) -> Result<(u64, Vec<(u32, Marks)>)> {
        let sequence = self.sequences.entry(Arc::clone(&batch.cluster)).or_default();
        let first_seq = sequence.next;
        let end = first_seq + batch.rows as u64;
        self.keys.ensure(&batch.cluster, first_seq, end)?;
        let mut marks = Vec::new();
        for (row, print) in (0_u32..).zip(&batch.fingerprints) {
            let found =
                sequence.window.next(*print, first_seq + u64::from(row), self.last_received);
            if found != Marks::default() {
                marks.push((row, found));
            }
        }
        sequence.next = end;
        let frame = Frame {
            cluster: Arc::clone(&batch.cluster),
            source: Arc::clone(&batch.source),
            first_seq,
            count: u32::try_from(batch.rows).unwrap_or(u32::MAX),
            received: self.last_received,
            durable: self.log.durable(),
            position: batch.position,
            marks,
            unpacked: batch.unpacked,
            payload: std::mem::take(&mut batch.payload),
        };
        frame.encode(frames);
        Ok((first_seq, frame.marks))
    }

    /// Forgets the places of batches that did not become durable.
    fn take_back(&mut self, placed: &[Placed]) {
        for Placed { batch, first_seq, .. } in placed.iter().rev() {
            if let Some(sequence) = self.sequences.get_mut(&batch.cluster) {
                sequence.window.take_back(*first_seq);
                sequence.next = *first_seq;
            }
        }
    }

    /// Makes a durable batch searchable, and answers.
    fn publish(&mut self, placed: Placed) {
        let Placed { mut batch, first_seq, marks, reply } = placed;
        let receipt = Receipt {
            first_seq,
            rows: batch.rows as u64,
            duplicates: marks.iter().filter(|(_, marks)| marks.duplicate).count() as u64,
            conflicts: marks.iter().filter(|(_, marks)| marks.conflict).count() as u64,
        };
        let (cluster, position) = (Arc::clone(&batch.cluster), batch.position);
        let leaves = Leaves {
            cluster: Arc::clone(&cluster),
            source: Arc::clone(&batch.source),
            first_seq,
            received: self.last_received,
            drafts: std::mem::take(&mut batch.drafts),
            bodies: batch.bodies.clone(),
        };
        let published =
            Chunk::place(*batch, first_seq, self.last_received, &marks).and_then(|chunk| {
                let mut state = self.shared.lock();
                if let Some(position) = position {
                    state.positions.set(&cluster, position);
                }
                state.active.push(&cluster, chunk)
            });
        // The events are durable but cannot be shown: only a new start can make them searchable.
        if let Err(error) = &published {
            self.shared.stop(error);
        }
        let _gone = reply.send(published.map(|()| receipt));
        self.ledger.append(leaves);
    }

    fn freeze_if_full(&mut self) {
        let is_full = self.shared.lock().active.is_full(&self.limits, self.clock.now());
        if is_full {
            // If the disk refuses a new log file now, the next batch tries again.
            if let Err(error) = self.freeze() {
                self.shared.lock().flush_trouble = Some(error.to_string());
            }
        }
    }

    /// Begins a new log file, and hands what was in the old one to the flusher.
    fn freeze(&mut self) -> Result<()> {
        if self.shared.lock().active.is_empty() {
            return Ok(());
        }
        let wal_number = self.log.number();
        if let Err(error) = self.log.rotate() {
            if error.is_fatal() {
                self.shared.stop(&error);
            }
            return Err(error);
        }
        let mut state = self.shared.lock();
        let frozen = state.active.freeze(wal_number);
        state.frozen.push_back(Arc::new(frozen));
        drop(state);
        self.shared.work().notify_one();
        Ok(())
    }
}
