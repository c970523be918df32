//! The one writer of a store: opening it, which includes recovery, and the handle that others
//! append with. The work is done by the sequencer and the flusher.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, mpsc, oneshot};
use whodid_event::redact::RuleSet;

use crate::batch::{Batch, Preparer};
use crate::clock::{Clock, SystemClock};
use crate::compact::GoesOn;
use crate::dedupe::{WINDOW_MICROS, Window};
use crate::descriptor::Descriptor;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::flush::{Flusher, Tables};
use crate::found::Found;
use crate::keys::{self, Keys};
use crate::ledger::{self, Handle, Record};
use crate::lock::Lock;
use crate::memtable::{Limits, Shared, State};
use crate::object::DiskStore;
use crate::positions::SourcePosition;
use crate::recover::{self, Recovered, Watermarks};
use crate::sequencer::{Receipt, Request, Sequence, Sequencer};
use crate::snapshot::Snapshot;
use crate::table::{BODIES, DeltaLog, EVENTS, TableLog};
use crate::{compact, rebuild, retention, segment};

/// How many requests may wait for the sequencer before their senders wait.
const REQUESTS_MAX: usize = 64;

/// How a store is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is taken out of events before they are written.
    pub rules: RuleSet,
    /// When segments are made.
    pub limits: Limits,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        let (limits, clock) = (Limits::default(), Arc::new(SystemClock));
        Options { rules: RuleSet::built_in(), limits, clock }
    }
}

/// The writer of a store. Dropping it stops it without losing anything that was acknowledged;
/// [`close`](Self::close) also makes segments of what is in memory.
pub struct Writer {
    shared: Shared,
    requests: mpsc::Sender<Request>,
    sequencer: Option<JoinHandle<()>>,
    flusher: tokio::task::JoinHandle<()>,
    ledger: Handle,
    ledger_thread: Option<JoinHandle<()>>,
    tables: Arc<Mutex<Tables>>,
    /// Whoever replaces files or lets them go holds it, so that nobody replaces what went.
    pub(crate) upkeep: Mutex<()>,
    clock: Arc<dyn Clock>,
    preparer: Preparer,
    pub(crate) descriptor: Descriptor,
    pub(crate) store: DiskStore,
    pub(crate) disk: Arc<dyn Disk>,
    lock: Option<Lock>,
}

impl Writer {
    /// Opens the store in a folder of this machine, making it if there is none.
    ///
    /// # Errors
    /// Another process writes to it, or what is there cannot be trusted; the message says what to
    /// do.
    pub async fn open_dir(dir: &Path, options: Options) -> Result<Self> {
        let real = RealDisk::new(dir);
        real.create_root()
            .map_err(|source| Error::Unavailable { path: dir.display().to_string(), source })?;
        let lock = Lock::take(dir)?;
        let mut writer = Self::open(Arc::new(real), options).await?;
        writer.lock = Some(lock);
        Ok(writer)
    }

    /// Opens the store on a disk that no one else writes to.
    ///
    /// # Errors
    /// As [`open_dir`](Self::open_dir).
    pub async fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self> {
        Self::start(disk, options, &[]).await
    }

    /// Opens a store whose logs of these names have just begun anew.
    pub(crate) async fn reopen(disk: Arc<dyn Disk>, lock: Lock, names: &[String]) -> Result<Self> {
        let mut writer = Self::start(disk, Options::default(), names).await?;
        writer.lock = Some(lock);
        Ok(writer)
    }

    /// Boxed here, so that it is compiled once and not wherever a store is opened.
    fn start(
        disk: Arc<dyn Disk>,
        options: Options,
        reopening: &[String],
    ) -> BoxFuture<'_, Result<Self>> {
        Box::pin(Self::found(disk, options, reopening))
    }

    async fn found(disk: Arc<dyn Disk>, options: Options, reopening: &[String]) -> Result<Self> {
        let found = Found::read(&disk).await?;
        let Found { store, known, tables, watermarks, fingerprints, recovered, retired, log } =
            found;
        let preparer = Preparer { rules: Arc::new(options.rules.clone()), fingerprints };
        let live = Arc::new(tables.files());
        let since = options.clock.now().max(recovered.last_received) - WINDOW_MICROS;
        let windows = rebuild::windows(&store, &live, &preparer.fingerprints, since);
        let newest = live.events.iter().map(|file| file.stats.received.1);
        let last_received = newest.fold(recovered.last_received, i64::max);
        let sequences = sequences(windows.await?, &watermarks, &recovered);
        let shared = Shared::default();
        let segments = ledger::Kept::segments(&live, &store, &disk);
        let record =
            ledger::Kept { segments, watermarks: &watermarks, recovered: &recovered, reopening };
        let made = known.clone().map_or_else(|| ledger::descriptor(&*disk), Ok)?;
        let ledger = ledger::open((&disk, &store), &made, &record, &shared, &options.clock).await?;
        retention::finish(&*disk, &live)?;
        // Written when all the rest is there: from then on, what is missing was taken away.
        let descriptor = known.map_or_else(|| made.create(&store), Ok)?;
        *shared.lock() = State {
            positions: recover::positions(&*disk, &recovered)?,
            frozen: recovered.frozen.into_iter().map(Arc::new).collect(),
            files: live,
            ..State::default()
        };
        let (ledger, ledger_thread) = ledger.start()?;
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let sequencer = Sequencer {
            log,
            keys: Keys::new(Arc::clone(&disk), store.clone()),
            ledger: ledger.clone(),
            sequences,
            last_received,
            shared: shared.clone(),
            limits: options.limits,
            clock: Arc::clone(&options.clock),
        };
        let tables = Arc::new(Mutex::new(tables));
        let flusher = Flusher {
            shared: shared.clone(),
            tables: Arc::clone(&tables),
            store: store.clone(),
            disk: Arc::clone(&disk),
            limits: options.limits,
            clock: Arc::clone(&options.clock),
            ledger: ledger.clone(),
            requests: requests.downgrade(),
            uncovered: None,
            retired,
        };
        Ok(Writer {
            shared,
            requests,
            sequencer: Some(run(sequencer, inbox)?),
            flusher: tokio::spawn(flusher.run()),
            ledger,
            ledger_thread: Some(ledger_thread),
            tables,
            upkeep: Mutex::default(),
            clock: options.clock,
            preparer,
            descriptor,
            store,
            disk,
            lock: None,
        })
    }

    /// What the store is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Makes batches for this writer; clones may be used on other threads.
    pub fn preparer(&self) -> Preparer {
        self.preparer.clone()
    }

    /// Hands a batch over. What comes back resolves when its events are durable and searchable.
    /// Batches take their places in the order of these calls.
    ///
    /// # Errors
    /// The writer has stopped.
    pub async fn submit(&self, batch: Batch) -> Result<Submitted> {
        self.shared.check()?;
        let (reply, done) = oneshot::channel();
        let request = Request::Append(Box::new(batch), reply);
        self.requests.send(request).await.map_err(|_| self.stopped())?;
        Ok(Submitted { done, shared: self.shared.clone() })
    }

    /// Appends a batch; when it returns, its events are durable and searchable.
    ///
    /// # Errors
    /// See [`Error::is_temporary`] and [`Error::is_fatal`].
    pub async fn append(&self, batch: Batch) -> Result<Receipt> {
        self.submit(batch).await?.receipt().await
    }

    /// How far sources are taken in that begin with the item whose SHA-256 is `id`.
    pub fn positions(&self, cluster: &str, id: &[u8; 32]) -> Vec<SourcePosition> {
        self.shared.lock().positions.of(cluster, id)
    }

    /// Pins what is searchable now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.lock();
        Snapshot {
            files: Arc::clone(&state.files),
            runs: state.runs(),
            store: self.store.clone(),
            disk: Arc::clone(&self.disk),
            warnings: Vec::new(),
        }
    }

    /// Pins what is searchable now, without the events in memory before these places.
    pub fn snapshot_after(&self, places: &BTreeMap<String, u64>) -> Snapshot {
        let state = self.shared.lock();
        let runs = state.runs_after(|cluster| places.get(cluster).copied().unwrap_or(0));
        Snapshot {
            files: Arc::clone(&state.files),
            runs,
            store: self.store.clone(),
            disk: Arc::clone(&self.disk),
            warnings: Vec::new(),
        }
    }

    /// Waits until events have been added after this call.
    pub fn appended(&self) -> Notified<'_> {
        self.shared.appended().notified()
    }

    /// Makes segments of everything that is in memory.
    ///
    /// # Errors
    /// The disk refuses; the events stay in the write-ahead log.
    pub fn flush(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            self.requests.send(Request::Freeze(reply)).await.map_err(|_| self.stopped())?;
            done.await.map_err(|_| self.stopped())??;
            loop {
                let moved = self.shared.progress().notified();
                tokio::pin!(moved);
                // From here on no progress is missed.
                moved.as_mut().enable();
                {
                    let state = self.shared.lock();
                    if let Some(error) = &state.fatal {
                        return Err(error.again());
                    }
                    if state.frozen.is_empty() && state.uncovered == 0 {
                        return Ok(());
                    }
                    if let Some(why) = &state.flush_trouble {
                        return Err(Error::Stopped(why.clone()));
                    }
                }
                moved.await;
            }
        })
    }

    /// Merges small segments into larger ones and compresses them better. Answers stay the same.
    ///
    /// # Errors
    /// The disk refuses; what was merged so far stays merged.
    pub async fn compact(&self) -> Result<compact::Report> {
        let _alone = self.upkeep.lock().await;
        compact::run(self.writing(), &compact::Which::All, &mut |_| Box::pin(ready(true))).await
    }

    /// Merges segments to which no more will come soon: what a server does beside its work. After
    /// each merge, `goes_on` is told how long it took, and decides.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub async fn compact_settling(&self, goes_on: &mut GoesOn<'_>) -> Result<compact::Report> {
        let _alone = self.upkeep.lock().await;
        let today = segment::day_text(self.clock.now());
        compact::run(self.writing(), &compact::Which::Settling { today }, goes_on).await
    }

    pub(crate) fn writing(&self) -> compact::Writing<'_> {
        let Writer { shared, tables, store, ledger, disk, .. } = self;
        compact::Writing { shared, tables, store, ledger, disk }
    }

    /// Adds records to the meta log; when it returns, they are durable and signed.
    pub(crate) async fn record(&self, records: Vec<Record>) -> Result<()> {
        self.ledger.record(records).await
    }

    /// Why events cannot be taken in, or segments not be written, at the moment.
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        let fatal = state.fatal.as_ref().map(ToString::to_string);
        let trouble = fatal.or_else(|| state.flush_trouble.clone());
        trouble.or_else(|| state.ledger_trouble.clone())
    }

    /// Waits until the writer has stopped because a disk cannot be trusted any more.
    pub async fn failed(&self) -> Error {
        loop {
            let moved = self.shared.progress().notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Err(error) = self.shared.check() {
                return error;
            }
            moved.await;
        }
    }

    /// Makes segments of what is in memory and stops.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); the events are in the write-ahead log all the same.
    pub fn close(mut self) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let flushed = self.flush().await;
            self.shared.lock().is_closing = true;
            if flushed.is_err() {
                self.flusher.abort();
            }
            self.shared.work().notify_one();
            let (closed, _) = mpsc::channel(1);
            drop(std::mem::replace(&mut self.requests, closed));
            let sequencer = self.sequencer.take();
            // Both end by themselves now; a panic of theirs has been reported where it happened.
            let _ended = tokio::task::spawn_blocking(move || sequencer.map(JoinHandle::join)).await;
            let _ended = (&mut self.flusher).await;
            let covered = self.ledger.cover().await;
            flushed.and(covered)
        })
    }

    fn stopped(&self) -> Error {
        match self.shared.check() {
            Err(error) => error,
            Ok(()) => Error::Stopped("its sequencer has ended".into()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flusher.abort();
        // Before the lock is given up, nobody may write to the ledger any more.
        self.ledger.end();
        let _ended = self.ledger_thread.take().map(JoinHandle::join);
    }
}

/// A batch on its way to the disk.
#[derive(Debug)]
pub struct Submitted {
    done: oneshot::Receiver<Result<Receipt>>,
    shared: Shared,
}

impl Submitted {
    /// Waits until the batch is durable and searchable.
    ///
    /// # Errors
    /// See [`Error::is_temporary`] and [`Error::is_fatal`].
    pub async fn receipt(self) -> Result<Receipt> {
        if let Ok(receipt) = self.done.await {
            return receipt;
        }
        self.shared.check()?;
        Err(Error::Stopped("its sequencer has ended".into()))
    }
}

/// Runs the sequencer on a thread of its own, as it waits for the disk.
fn run(sequencer: Sequencer, inbox: mpsc::Receiver<Request>) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("sequencer".into())
        .spawn(move || sequencer.run(inbox))
        .map_err(|source| Error::Unavailable { path: "sequencer".into(), source })
}

/// Opens the tables of a store, which must be there.
pub(crate) async fn open_tables(store: &DiskStore) -> Result<Tables> {
    let gone = |name: &str| Error::Format {
        path: name.into(),
        why: "the table is gone; put its folder back from a copy".into(),
    };
    let events = DeltaLog::open(EVENTS, store).await?.ok_or_else(|| gone(EVENTS))?;
    let bodies = DeltaLog::open(BODIES, store).await?.ok_or_else(|| gone(BODIES))?;
    Ok(Tables { events, bodies })
}

/// The last `seq` in a segment of each cluster.
pub(crate) async fn watermarks(tables: &Tables, disk: &dyn Disk) -> Result<Watermarks> {
    let mut watermarks = Watermarks::new();
    let mut clusters: BTreeSet<String> = keys::clusters(disk)?.into_iter().collect();
    // What has segments has a watermark, whatever became of its keys.
    clusters.extend(tables.events.files().into_iter().map(|file| file.cluster));
    for cluster in clusters {
        if let Some(seq) = tables.events.watermark(&cluster).await? {
            watermarks.insert(cluster, seq);
        }
    }
    Ok(watermarks)
}

/// Where each cluster's log goes on, and what may arrive again.
fn sequences(
    mut windows: HashMap<String, Window>,
    watermarks: &Watermarks,
    recovered: &Recovered,
) -> HashMap<Arc<str>, Sequence> {
    for (cluster, print, seq, received) in &recovered.prints {
        let window = windows.entry(cluster.to_string()).or_default();
        // The mark was given when the event was taken in; only the memory of it is renewed.
        let _mark = window.next(*print, *seq, *received);
    }
    let mut ends: HashMap<String, u64> =
        watermarks.iter().map(|(cluster, last)| (cluster.clone(), last + 1)).collect();
    ends.extend(recovered.ends.iter().map(|(cluster, end)| (cluster.to_string(), *end)));
    ends.into_iter()
        .map(|(cluster, next)| {
            let window = windows.remove(&cluster).unwrap_or_default();
            (Arc::from(cluster), Sequence { next, window })
        })
        .collect()
}
