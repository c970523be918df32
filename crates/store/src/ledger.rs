//! The ledger: one transparency log for each cluster, whose leaves are its events, and the meta log
//! of what was done with the record. Events are hashed here after they were acknowledged, by one
//! thread of its own; every second a tree that grew is signed.
//!
//! Formats are `whodid-tlog`'s, entries `whodid-event`'s. What a checkpoint is worth depends on who
//! holds the key (`docs/adr/0010-ledger.md`).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::keys::BlockKeys;
use crate::memtable::Shared;

mod cosign;
mod layout;
mod leaves;
pub(crate) mod log;
pub(crate) mod meta;
mod open;
mod prove;
mod reopen;
pub(crate) mod stamps;
mod tree;

pub(crate) use leaves::{Leaves, hash_rows};
use log::Log;
pub(crate) use log::policy_of_all;
use meta::Meta;
pub use meta::{Hold, MetaEntry, Mode, Record, Seal};
pub(crate) use open::{Kept, descriptor, open};
pub(crate) use prove::Signed;
pub use prove::{Evidence, Proven};
pub use reopen::{Reopened, reopen_dir};
pub use stamps::Stamp;

/// A tree that grew is signed this long after it did, at the latest.
const SIGN_EVERY: Duration = Duration::from_secs(1);

/// So many batches may wait to be hashed; hashing is faster than taking in.
const WAITING_MAX: usize = 8;

/// What the ledger is asked to do.
enum Request {
    /// Hashes events that are durable.
    Append(Box<Leaves>),
    /// Makes the trees durable as far as they have grown.
    Cover(oneshot::Sender<Result<()>>),
    /// Adds records to the meta log.
    Record(Vec<Record>, oneshot::Sender<Result<()>>),
    /// Ends the thread.
    End,
}

/// The ledger of a store that is being written.
pub(crate) struct Ledger {
    logs: HashMap<Arc<str>, Log>,
    meta: Meta,
    /// Events that are durable and not hashed yet.
    waiting: VecDeque<Box<Leaves>>,
    keys: BlockKeys,
    files: log::Files,
    /// What the origin of every log begins with.
    prefix: String,
    shared: Shared,
    clock: Arc<dyn Clock>,
}

/// Asks the ledger; clones ask the same.
#[derive(Clone, Debug)]
pub(crate) struct Handle(SyncSender<Request>);

impl Handle {
    /// Hands over events that are durable; waits while too many wait.
    pub(crate) fn append(&self, leaves: Leaves) {
        // Only a writer that ends has no ledger; its next start hashes them.
        let _gone = self.0.send(Request::Append(Box::new(leaves)));
    }

    /// Makes the trees durable, with all events that were handed over before.
    pub(crate) async fn cover(&self) -> Result<()> {
        self.ask(Request::Cover).await
    }

    /// Adds records to the meta log; when it returns, they are durable and signed, and so are the
    /// events that were handed over before.
    pub(crate) async fn record(&self, records: Vec<Record>) -> Result<()> {
        self.ask(|reply| Request::Record(records, reply)).await
    }

    /// Ends the ledger.
    pub(crate) fn end(&self) {
        let _gone = self.0.send(Request::End);
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<()>>) -> Request,
    ) -> Result<()> {
        let ended = || Error::Stopped("its ledger has ended".into());
        let (reply, done) = oneshot::channel();
        let (request, to) = (request(reply), self.0.clone());
        // The channel makes its senders wait.
        let sent = tokio::task::spawn_blocking(move || to.send(request).is_ok()).await;
        if !sent.unwrap_or(false) {
            return Err(ended());
        }
        done.await.map_err(|_| ended())?
    }
}

impl Ledger {
    /// Runs the ledger on a thread of its own.
    pub(crate) fn start(self) -> Result<(Handle, JoinHandle<()>)> {
        let (sender, inbox) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || self.run(&inbox))
            .map_err(|source| Error::Unavailable { path: "ledger".into(), source })?;
        Ok((Handle(sender), thread))
    }

    #[expect(clippy::disallowed_methods, reason = "a pace, not a time that is kept")]
    fn run(mut self, inbox: &Receiver<Request>) {
        let mut due = Instant::now() + SIGN_EVERY;
        loop {
            let request = inbox.recv_timeout(due.saturating_duration_since(Instant::now()));
            let done = match request {
                Ok(Request::Append(leaves)) => {
                    self.waiting.push_back(leaves);
                    self.append_waiting()
                }
                Ok(Request::Cover(reply)) => self.answer(Self::cover, reply),
                Ok(Request::Record(records, reply)) => {
                    self.answer(|ledger| ledger.record(&records), reply)
                }
                Ok(Request::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => Ok(()),
            };
            self.note(done);
            if Instant::now() >= due {
                let signed = self.sign();
                self.note(signed);
                due = Instant::now() + SIGN_EVERY;
            }
        }
    }

    /// Does what somebody waits for.
    fn answer(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<()>,
        reply: oneshot::Sender<Result<()>>,
    ) -> Result<()> {
        let done = work(self);
        let repeated = done.as_ref().copied().map_err(Error::again);
        let _gone = reply.send(done);
        repeated
    }

    /// Notes what hinders the ledger, or that nothing does. After an error that no later try can
    /// mend the writer stops.
    fn note(&self, done: Result<()>) {
        let error = done.err().map(|error| self.files.store.judged(error));
        if let Some(error) = error.as_ref().filter(|error| !error.is_temporary()) {
            self.shared.stop(error);
        }
        self.shared.lock().ledger_trouble = error.map(|error| error.to_string());
    }

    /// Hashes what waits, in order; what the disk refuses for a while goes on waiting. It is never
    /// more than the memtable has, as without the ledger no segment is written.
    fn append_waiting(&mut self) -> Result<()> {
        while let Some(leaves) = self.waiting.pop_front() {
            if let Err(error) = self.append(&leaves) {
                self.waiting.push_front(leaves);
                return Err(error);
            }
        }
        Ok(())
    }

    fn append(&mut self, leaves: &Leaves) -> Result<()> {
        let hashes = leaves.hashes(&mut self.keys)?;
        let log = match self.logs.entry(Arc::clone(&leaves.cluster)) {
            Entry::Occupied(log) => log.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Log::open(&self.files, &leaves.cluster, &self.prefix)?)
            }
        };
        let (size, first) = (log.tree.size(), leaves.first_seq);
        if size != first {
            let why = format!("leaf {first} of {} came after leaf {size}", leaves.cluster);
            return Err(Error::Stopped(why));
        }
        log.extend(hashes);
        Ok(())
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Log> {
        self.logs.values_mut().chain([&mut self.meta.log])
    }

    fn sign(&mut self) -> Result<()> {
        self.shared.check()?;
        self.append_waiting()?;
        self.all().try_for_each(Log::sign)
    }

    fn cover(&mut self) -> Result<()> {
        self.shared.check()?;
        self.append_waiting()?;
        self.all().try_for_each(Log::cover)
    }

    /// What a segment lists is signed before, all of it: what is not was never this writer's.
    fn record(&mut self, records: &[Record]) -> Result<()> {
        let now = self.clock.now();
        records.iter().try_for_each(|record| self.meta.append(record, now))?;
        self.sign()
    }
}
