//! Receiving one body: it is read as a stream, event by event, and nothing of it is kept in memory
//! for longer than it takes to make a batch durable.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use whodid_event::split::Splitter;
use whodid_store::{Batch, BatchBuilder, Error, SourcePosition, Submitted, Writer};

use crate::budget::{Budget, Share};
use crate::decode::Encoding;
use crate::gather::Gather;

/// A body may have so many bytes once it is unpacked.
pub const DECODED_BYTES_MAX: u64 = 1 << 30;

/// Bytes are read and looked through this many at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A body of fewer bytes goes into one batch with others.
const SMALL_BYTES: u64 = 16 << 10;

/// A batch is closed once it has so many bytes; a body of kube-apiserver becomes one batch.
const BATCH_BYTES: usize = 4 << 20;

/// Events to expect: kube-apiserver sends at most so many together
/// (`--audit-webhook-batch-max-size`).
const BATCH_EVENTS: usize = 400;

/// One body never has more of itself in memory.
const WINDOW_BYTES: usize = 32 << 20;

/// So many batches of one body wait for the disk at once.
const IN_FLIGHT: usize = 4;

/// A sender that says nothing for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A body has to be there after this long: kube-apiserver gives up after 30 seconds.
const BODY_TIME_MAX: Duration = Duration::from_mins(2);

/// Who sends, as the server found out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sender {
    /// The cluster whose events these are.
    pub cluster: String,
    /// The name of this API server's backend, as `webhook/NAME`.
    pub source: String,
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many events, those that are none included.
    pub events: u64,
    /// How many of them are not events and were kept as they came.
    pub raw: u64,
    /// How many were in the record already.
    pub duplicates: u64,
    /// How many bytes they had, unpacked.
    pub bytes: u64,
}

/// Why a body was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too much is being received already.
    #[error("{taken} bytes of other requests are in flight, as much as may be; send it again")]
    Busy {
        /// How much is in flight.
        taken: usize,
    },
    /// The body is too long; what came before the limit is in the record.
    #[error("the body is longer than {DECODED_BYTES_MAX} bytes; send it in parts")]
    TooLong,
    /// The body did not come to its end.
    #[error("the body broke off: {0}")]
    Broken(io::Error),
    /// The body came too slowly.
    #[error("the body did not come in time")]
    Slow,
    /// The record cannot take it.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Room for one body.
#[derive(Debug)]
pub struct Admission {
    encoding: Encoding,
    share: Share,
}

/// Receives bodies into one record.
#[derive(Clone)]
pub struct Ingest {
    writer: Arc<Writer>,
    budget: Budget,
    gather: Gather,
    /// Reading events takes a processor. One is left to those who answer, refuse and accept: with
    /// dozens of long bodies at once they would wait for seconds for their turn.
    processors: Arc<Semaphore>,
}

impl Ingest {
    /// Receives into the record of `writer`.
    pub fn new(writer: Arc<Writer>, budget: Budget) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let processors = Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)));
        Ingest { gather: Gather::new(Arc::clone(&writer)), writer, budget, processors }
    }

    /// Why events cannot be taken in at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.writer.trouble()
    }

    /// Makes room for a body, before any of it is read.
    ///
    /// # Errors
    /// [`Refusal::Busy`].
    pub fn admit(&self, encoding: Encoding, length: Option<u64>) -> Result<Admission, Refusal> {
        // A packed body says nothing about its length.
        let known = length.filter(|_| encoding == Encoding::Identity);
        let first = known.map_or(BATCH_BYTES as u64, |length| length.min(WINDOW_BYTES as u64));
        let first = usize::try_from(first).unwrap_or(WINDOW_BYTES);
        let share = self.budget.take(first);
        let share = share.ok_or_else(|| Refusal::Busy { taken: self.budget.taken() })?;
        Ok(Admission { encoding, share })
    }

    /// How far sources of a cluster are taken in that begin with the item whose digest is `id`.
    pub fn positions(&self, cluster: &str, id: &[u8; 32]) -> Vec<SourcePosition> {
        self.writer.positions(cluster, id)
    }

    /// Takes a body in. When it returns `Ok`, its events are durable and searchable, and its source
    /// is taken in up to `position`, if it has one. A body that leads to where its source is taken
    /// in already was sent before, and is passed over.
    ///
    /// # Errors
    /// See [`Refusal`]; what came before an error may be in the record.
    pub async fn receive(
        &self,
        sender: &Sender,
        admission: Admission,
        position: Option<SourcePosition>,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<Taken, Refusal> {
        let Admission { encoding, share } = admission;
        let is_known = position.is_some_and(|position| {
            self.positions(&sender.cluster, &position.id).contains(&position)
        });
        let preparer = self.writer.preparer();
        let begin = || preparer.begin(&sender.cluster, &sender.source);
        let mut receiving = Receiving {
            ingest: self,
            share,
            splitter: Splitter::default(),
            position,
            builder: None,
            waiting: VecDeque::new(),
            taken: Taken::default(),
        };
        let mut reader = encoding.reader(body);
        let deadline = Instant::now() + BODY_TIME_MAX;
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            let read = timeout(SILENCE_MAX, reader.read_buf(&mut piece));
            let read = timeout_at(deadline, read).await.map_err(|_| Refusal::Slow)?;
            let length = read.map_err(|_| Refusal::Slow)?.map_err(Refusal::Broken)?;
            receiving.taken.bytes += length as u64;
            let is_end = length == 0;
            if is_known {
                piece.clear();
            }
            if is_end && receiving.taken.bytes < SMALL_BYTES && position.is_none() {
                return receiving.gather(&piece, sender).await;
            }
            if is_end || piece.len() >= PIECE_BYTES {
                receiving.look_through(&piece, is_end, begin).await?;
                piece.clear();
            }
            if receiving.taken.bytes > DECODED_BYTES_MAX {
                receiving.look_through(&[], true, begin).await?;
                receiving.settle_all().await?;
                return Err(Refusal::TooLong);
            }
            if is_end {
                receiving.settle_all().await?;
                return Ok(receiving.taken);
            }
            piece.reserve(PIECE_BYTES - piece.len().min(PIECE_BYTES));
        }
    }
}

/// One body on its way.
struct Receiving<'a> {
    ingest: &'a Ingest,
    share: Share,
    splitter: Splitter,
    /// Becomes durable with the last event.
    position: Option<SourcePosition>,
    /// Boxed, as it has a builder for each column.
    builder: Option<Box<BatchBuilder>>,
    waiting: VecDeque<(Submitted, usize, u64)>,
    taken: Taken,
}

impl Receiving<'_> {
    /// Takes a small body in, together with others.
    async fn gather(self, body: &[u8], sender: &Sender) -> Result<Taken, Refusal> {
        let Receiving { ingest, share, mut splitter, mut taken, .. } = self;
        splitter.push(body);
        splitter.finish();
        let fill = |builder: &mut BatchBuilder| {
            let raws = builder.raws();
            while let Some(item) = splitter.next_item() {
                builder.add(&item)?;
                taken.events += 1;
            }
            taken.raw = (builder.raws() - raws) as u64;
            Ok(())
        };
        let duplicates = ingest.gather.add(sender, share, fill).await?;
        Ok(Taken { duplicates, ..taken })
    }

    /// Takes the events out of what came, and hands full batches over; at the end, all.
    async fn look_through(
        &mut self,
        piece: &[u8],
        is_end: bool,
        begin: impl Fn() -> Result<BatchBuilder, Error>,
    ) -> Result<(), Refusal> {
        self.splitter.push(piece);
        if is_end {
            self.splitter.finish();
        }
        // It is never closed.
        let turn = self.ingest.processors.acquire().await;
        let full = tokio::task::block_in_place(|| self.fill(is_end, begin))?;
        drop(turn);
        for batch in full {
            self.submit(batch).await?;
        }
        Ok(())
    }

    fn fill(
        &mut self,
        is_end: bool,
        begin: impl Fn() -> Result<BatchBuilder, Error>,
    ) -> Result<Vec<Batch>, Error> {
        let mut full = Vec::new();
        while let Some(item) = self.splitter.next_item() {
            let builder = match &mut self.builder {
                Some(builder) => builder,
                none => {
                    let mut builder = Box::new(begin()?);
                    builder.expect(BATCH_EVENTS, self.share.bytes().min(BATCH_BYTES));
                    none.insert(builder)
                }
            };
            builder.add(&item)?;
            // The last batch carries the position, so there has to be something in it.
            let is_full = builder.bytes() >= BATCH_BYTES && self.position.is_none();
            if is_full || !builder.has_room() {
                full.extend(self.builder.take());
            }
        }
        if is_end {
            full.extend(self.builder.take());
        }
        let batches = full.into_iter().map(|builder| builder.finish());
        let mut batches = batches.collect::<Result<Vec<Batch>, Error>>()?;
        if let Some((last, position)) = batches.last_mut().filter(|_| is_end).zip(self.position) {
            last.set_position(position);
        }
        Ok(batches)
    }

    async fn submit(&mut self, batch: Batch) -> Result<(), Refusal> {
        let bytes = BATCH_BYTES * (self.waiting.len() + 1);
        if self.waiting.len() >= IN_FLIGHT
            || bytes > self.share.bytes() && !self.share.grow(BATCH_BYTES)
        {
            self.settle_oldest().await?;
        }
        let (raw, events) = (batch.raws().len(), batch.rows() as u64);
        self.waiting.push_back((self.ingest.writer.submit(batch).await?, raw, events));
        Ok(())
    }

    /// Waits until the oldest batch is durable.
    async fn settle_oldest(&mut self) -> Result<(), Refusal> {
        let Some((submitted, raw, events)) = self.waiting.pop_front() else { return Ok(()) };
        let receipt = submitted.receipt().await?;
        self.taken.events += events;
        self.taken.raw += raw as u64;
        self.taken.duplicates += receipt.duplicates;
        Ok(())
    }

    async fn settle_all(&mut self) -> Result<(), Refusal> {
        while !self.waiting.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }
}
