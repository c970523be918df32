//! The flusher: moves frozen memtables into segments, in the one order that survives a crash at
//! any step, and deletes log files whose events are safe there. One per writer, in the background.
//!
//! Order: bodies file, its seal, bodies commit, events file, its seal, positions, events commit,
//! tiles. With a seal everything is signed that there is. The commit of `events` is the only
//! watermark; bodies that were committed before a crash are not written again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStore, PutMode, PutOptions, PutPayload, path::Path};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, mpsc, oneshot};
use whodid_event::time::Micros;

use crate::background::{Pace, in_background};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ledger::{Handle, Record, Seal};
use crate::memtable::{Files, Frozen, Limits, Run, Shared};
use crate::object::DiskStore;
use crate::positions::hex;
use crate::segment;
use crate::sequencer::Request;
use crate::snapshot::Table;
use crate::table::{BODIES, Commit, DeltaLog, EVENTS, NewFile, TableLog};
use crate::wal;

/// How often the flusher looks whether something has become due.
const TICK: Duration = Duration::from_secs(1);

/// Both tables; whoever holds them may commit.
pub(crate) struct Tables {
    pub(crate) events: DeltaLog,
    pub(crate) bodies: DeltaLog,
}

impl Tables {
    pub(crate) fn files(&self) -> Files {
        Files { events: self.events.files(), bodies: self.bodies.files() }
    }
}

/// A log file whose events are in segments since some time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retired {
    pub(crate) number: u64,
    pub(crate) since: Micros,
}

pub(crate) struct Flusher {
    pub(crate) shared: Shared,
    pub(crate) tables: Arc<Mutex<Tables>>,
    pub(crate) store: DiskStore,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ledger: Handle,
    pub(crate) requests: mpsc::WeakSender<Request>,
    /// The newest log file whose events are in segments, and not in a tree that is durable.
    pub(crate) uncovered: Option<u64>,
    pub(crate) retired: VecDeque<Retired>,
}

impl Flusher {
    /// Works until the writer closes and nothing is left to flush, or a disk fails for good.
    pub(crate) async fn run(mut self) {
        loop {
            if self.shared.check().is_err() {
                return;
            }
            let has_flushed = match self.flush_oldest().await {
                Ok(has_flushed) => has_flushed,
                Err(error) => {
                    self.trouble(error).await;
                    false
                }
            };
            if let Err(error) = self.cover().await {
                self.trouble(error).await;
            }
            if let Err(error) = self.delete_retired() {
                self.trouble(error).await;
            }
            if has_flushed {
                continue;
            }
            let (is_closing, is_idle) = {
                let state = self.shared.lock();
                (state.is_closing, state.frozen.is_empty() && state.uncovered == 0)
            };
            if is_closing && is_idle {
                self.shared.moved_on();
                return;
            }
            // Whether it was woken or not, there is the same to do.
            let _elapsed = tokio::time::timeout(TICK, self.shared.work().notified()).await;
            self.freeze_if_due().await;
        }
    }

    async fn trouble(&self, error: Error) {
        let error = self.store.judged(error);
        if error.is_fatal() {
            return self.shared.stop(&error);
        }
        self.shared.lock().flush_trouble = Some(error.to_string());
        self.shared.moved_on();
        tokio::time::sleep(TICK).await;
    }

    /// Makes a segment of events that have been in memory for long enough.
    async fn freeze_if_due(&self) {
        let is_due = self.shared.lock().active.is_full(&self.limits, self.clock.now());
        let Some(requests) = self.requests.upgrade().filter(|_| is_due) else { return };
        let (reply, done) = oneshot::channel();
        if requests.send(Request::Freeze(reply)).await.is_ok() {
            let _answered = done.await;
        }
    }

    /// Writes the oldest frozen memtable into segments; `false` if there is none.
    async fn flush_oldest(&mut self) -> Result<bool> {
        let Some(frozen) = self.shared.lock().frozen.front().cloned() else { return Ok(false) };
        let mut tables = self.tables.lock().await;
        let watermarks = watermarks(&frozen);

        let written = bodies_watermarks(&tables, &frozen).await?;
        let runs = Arc::clone(&frozen);
        let bodies = in_background(Pace::Soon, move || build_bodies(&runs, &written)).await?;
        self.put(BODIES, &bodies).await?;
        let is_committed = is_covered(&tables.bodies, &watermarks).await?;
        if !is_committed {
            tables.bodies.commit(&appended(&bodies, &watermarks)).await?;
        }

        let runs = Arc::clone(&frozen);
        let events = in_background(Pace::Soon, move || build_events(&runs)).await?;
        self.put(EVENTS, &events).await?;
        // Frames below the watermark are not read again: their positions must be elsewhere.
        self.save_positions()?;
        tables.events.commit(&appended(&events, &watermarks)).await?;

        self.publish(tables.files());
        self.uncovered = Some(frozen.wal_number);
        checkpoint_if_due(&mut tables).await?;
        Ok(true)
    }

    /// Shows the segments instead of the memtable, for all readers of this process at once.
    fn publish(&self, files: Files) {
        let mut state = self.shared.lock();
        state.files = Arc::new(files);
        state.frozen.pop_front();
        state.uncovered += 1;
        state.flush_trouble = None;
        drop(state);
        self.shared.moved_on();
    }

    /// Makes the trees durable that have the newest segments: a start needs the log files until
    /// then.
    async fn cover(&mut self) -> Result<()> {
        let Some(number) = self.uncovered else { return Ok(()) };
        self.ledger.cover().await?;
        self.uncovered = None;
        self.retired.push_back(Retired { number, since: self.clock.now() });
        let mut state = self.shared.lock();
        state.uncovered = 0;
        state.flush_trouble = None;
        drop(state);
        self.shared.moved_on();
        Ok(())
    }

    async fn put(&self, table: &'static str, files: &[NewFile]) -> Result<()> {
        for file in files {
            put_file(&self.store, &self.ledger, table, file).await?;
        }
        Ok(())
    }

    fn save_positions(&self) -> Result<()> {
        let positions = self.shared.lock().positions.clone();
        if positions.is_empty() { Ok(()) } else { positions.save(&self.store) }
    }

    /// Deletes log files that no reader can need any more.
    fn delete_retired(&mut self) -> Result<()> {
        let now = self.clock.now();
        let is_due = |retired: &Retired| now.saturating_sub(retired.since) >= self.limits.wal_grace;
        if !self.retired.front().is_some_and(is_due) {
            return Ok(());
        }
        while let Some(retired) = self.retired.front().copied().filter(is_due) {
            for number in wal_numbers_to(&*self.disk, retired.number)? {
                let path = wal::path(number);
                self.disk.remove(&path).map_err(|source| Error::Unavailable { path, source })?;
            }
            self.retired.pop_front();
        }
        Ok(())
    }
}

/// Writes a segment's file, durably, and seals it: from then on it is known what its bytes are.
pub(crate) async fn put_file(
    store: &DiskStore,
    ledger: &Handle,
    table: &'static str,
    file: &NewFile,
) -> Result<()> {
    let path = format!("{table}/{}", file.path);
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store
        .put_opts(&Path::from(path.as_str()), PutPayload::from_bytes(file.bytes.clone()), options)
        .await
        .map_err(|error| crate::object::own(&path, error))?;
    ledger.record(vec![seal(path, &file.bytes)]).await
}

/// What a file's bytes are.
pub(crate) fn seal(path: String, file: &[u8]) -> Record {
    let (bytes, sha256) = (file.len() as u64, hex(&Sha256::digest(file).into()));
    Record::Seal(Seal { path, bytes, sha256 })
}

/// Checkpoints both tables once enough commits have gathered, never inside one.
pub(crate) async fn checkpoint_if_due(tables: &mut Tables) -> Result<()> {
    if tables.events.is_checkpoint_due() {
        tables.events.checkpoint().await?;
        tables.events.clean_up().await?;
    }
    if tables.bodies.is_checkpoint_due() {
        tables.bodies.checkpoint().await?;
        tables.bodies.clean_up().await?;
    }
    Ok(())
}

/// Runs something that takes the processor for long.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => Err(Error::Stopped(panicked.to_string())),
    }
}

fn wal_numbers_to(disk: &dyn Disk, last: u64) -> Result<Vec<u64>> {
    let files = wal::replay::open_all(disk)?;
    Ok(files.iter().map(|file| file.number).filter(|number| *number <= last).collect())
}

/// The last `seq` of each cluster in a memtable.
fn watermarks(frozen: &Frozen) -> Vec<(String, u64)> {
    let mut last: Vec<(String, u64)> = Vec::new();
    for run in &frozen.runs {
        let Some(chunk) = run.chunks.last() else { continue };
        let seq = chunk.end_seq().saturating_sub(1);
        match last.iter_mut().find(|(cluster, _)| **cluster == *run.cluster) {
            Some((_, known)) => *known = seq.max(*known),
            None => last.push((run.cluster.to_string(), seq)),
        }
    }
    last
}

/// Up to where bodies were committed before a crash, for each run.
async fn bodies_watermarks(tables: &Tables, frozen: &Frozen) -> Result<Vec<Option<u64>>> {
    let mut written = Vec::with_capacity(frozen.runs.len());
    for run in &frozen.runs {
        written.push(tables.bodies.watermark(&run.cluster).await?);
    }
    Ok(written)
}

async fn is_covered(table: &DeltaLog, watermarks: &[(String, u64)]) -> Result<bool> {
    for (cluster, seq) in watermarks {
        if table.watermark(cluster).await?.is_none_or(|covered| covered < *seq) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn appended(files: &[NewFile], watermarks: &[(String, u64)]) -> Commit {
    Commit {
        add: files.iter().map(NewFile::listed).collect(),
        watermarks: watermarks.to_vec(),
        ..Commit::default()
    }
}

fn build_bodies(frozen: &Frozen, written: &[Option<u64>]) -> Result<Vec<NewFile>> {
    let mut files = Vec::new();
    for (run, written) in frozen.runs.iter().zip(written) {
        let Run { cluster, chunks } = run;
        let (events, bodies) = segment::batches(chunks);
        let level = segment::FIRST_LEVEL;
        files.extend(segment::bodies_file(cluster, &events, &bodies, *written, level)?);
    }
    Ok(files)
}

fn build_events(frozen: &Frozen) -> Result<Vec<NewFile>> {
    let mut files = Vec::new();
    for Run { cluster, chunks } in &frozen.runs {
        let (events, _) = segment::batches(chunks);
        files.push(segment::file(Table::Events, cluster, &events, segment::FIRST_LEVEL)?);
    }
    Ok(files)
}
