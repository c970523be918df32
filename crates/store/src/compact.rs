//! Compaction: neighbouring small segments of a day become one, compressed harder. The order of
//! the log and every answer stay the same; the old files stay for readers that have pinned them
//! until a vacuum removes them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use chrono::TimeDelta;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::background::{Pace, in_background};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::flush::{Tables, checkpoint_if_due, put_file, seal};
use crate::ledger::{Handle, Record, Seal, meta};
use crate::memtable::{Files, Shared};
use crate::object::DiskStore;
use crate::rebuild::{decode_columns, decode_each, decode_range, fetch};
use crate::segment::{self, Making};
use crate::snapshot::Table;
use crate::table::{Commit, DataFile, NewFile, TableLog};

mod merging;

/// A compacted segment holds at most this many events,
pub(crate) const LEAVES_MAX: u64 = segment::SETTLED_LEAVES_MAX as u64;

/// and is made from files of at most this many bytes.
pub(crate) const BYTES_MAX: u64 = 16 << 20;

/// How long a file that is replaced stays for readers that have pinned it.
pub const GRACE: TimeDelta = TimeDelta::minutes(10);

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files were replaced.
    pub files_before: usize,
    /// How many took their place.
    pub files_after: usize,
    /// The length of the files replaced.
    pub bytes_before: u64,
    /// The length of those that took their place.
    pub bytes_after: u64,
    /// How many files were deleted that no snapshot lists any more.
    pub files_deleted: usize,
}

/// Is told how long a merge took, and decides whether there is to be another.
pub type GoesOn<'a> = dyn FnMut(Duration) -> BoxFuture<'static, bool> + Send + 'a;

/// Which segments are merged.
pub(crate) enum Which {
    /// All that gain by it.
    All,
    /// Those to which no more will come soon.
    Settling {
        /// The date of today, `2026-01-02`.
        today: String,
    },
}

/// So many segments of today are merged although more will come.
const MANY_FILES: usize = 16;

impl Which {
    /// Whoever asks for all waits for it.
    fn pace(&self) -> Pace {
        match self {
            Which::All => Pace::Soon,
            Which::Settling { .. } => Pace::Whenever,
        }
    }

    /// The groups that become one, of those that would gain by it.
    fn of(&self, files: &[DataFile]) -> Vec<Vec<DataFile>> {
        let mut groups = groups(files);
        let Which::Settling { today } = self else { return groups };
        let goes_on: HashMap<&str, u64> = files
            .iter()
            .filter(|file| file.day >= *today)
            .map(|file| (&*file.cluster, file.stats.seq.1))
            .fold(HashMap::new(), |mut last, (cluster, seq)| {
                let known = last.entry(cluster).or_default();
                *known = seq.max(*known);
                last
            });
        groups.retain(|group| {
            let is_last = group.last().is_some_and(|file| {
                goes_on.get(&*file.cluster).is_some_and(|last| file.stats.seq.1 >= *last)
            });
            !is_last || group.len() >= MANY_FILES
        });
        groups
    }
}

/// Compacts both tables. After each merge, `goes_on` is told how long it took.
pub(crate) fn run<'a>(
    writing: Writing<'a>,
    which: &'a Which,
    goes_on: &'a mut GoesOn<'a>,
) -> BoxFuture<'a, Result<Report>> {
    Box::pin(async move {
        let mut report = Report::default();
        let files = Arc::clone(&writing.shared.lock().files);
        let sealed = Sealed::of(&writing)?;
        // Bodies first: their order is taken from the events of the same leaves, whatever file
        // these are in.
        for group in which.of(&covered(&files)) {
            let began = Instant::now();
            let merged = merge_bodies(&sealed, &files.events, &group, which.pace()).await?;
            replace(&writing, Table::Bodies, &group, merged, &mut report).await?;
            if !goes_on(began.elapsed()).await {
                return Ok(report);
            }
        }
        for group in which.of(&files.events) {
            let began = Instant::now();
            let merged = merge_events(&sealed, &group, which.pace()).await?;
            replace(&writing, Table::Events, &group, merged, &mut report).await?;
            if !goes_on(began.elapsed()).await {
                return Ok(report);
            }
        }
        report.files_deleted = vacuum(&writing, GRACE).await?;
        Ok(report)
    })
}

/// The files of bodies whose events are in segments too: what a crash left above the watermark
/// must not be merged with what is visible.
fn covered(files: &Files) -> Vec<DataFile> {
    let is_covered = |bodies: &&DataFile| {
        files.events.iter().any(|events| {
            events.cluster == bodies.cluster && events.stats.seq.1 >= bodies.stats.seq.1
        })
    };
    files.bodies.iter().filter(is_covered).cloned().collect()
}

/// Whether a file was written by a compaction; its name says so.
fn is_settled(file: &DataFile) -> bool {
    let suffixes = [segment::SETTLED_SUFFIX, segment::ERASED_SUFFIX];
    suffixes.iter().any(|suffix| file.path.ends_with(suffix))
}

/// Neighbouring files that become one, in the order of the log.
fn groups(files: &[DataFile]) -> Vec<Vec<DataFile>> {
    let mut days: BTreeMap<(&str, &str), Vec<&DataFile>> = BTreeMap::new();
    for file in files {
        days.entry((&file.cluster, &file.day)).or_default().push(file);
    }
    let mut groups = Vec::new();
    for mut day in days.into_values() {
        day.sort_by_key(|file| file.stats.seq);
        let mut group: Vec<DataFile> = Vec::new();
        for file in day {
            let (rows, bytes) = group.iter().fold((0, 0), |(rows, bytes), other| {
                (rows + other.stats.rows, bytes + other.bytes)
            });
            if rows + file.stats.rows > LEAVES_MAX || bytes + file.bytes > BYTES_MAX {
                groups.push(std::mem::take(&mut group));
            }
            group.push(file.clone());
        }
        groups.push(group);
    }
    // One settled file alone is as good as it gets.
    groups.retain(|group| group.len() > 1 || group.iter().any(|file| !is_settled(file)));
    groups
}

/// What bodies can be about: the events of some files, as far as bodies are ordered by them.
fn about(files: Vec<Bytes>) -> Result<Vec<RecordBatch>> {
    let columns = [&["seq"][..], &segment::ORDER_COLUMNS].concat();
    let mut batches = Vec::new();
    for file in files {
        batches.extend(decode_columns(Table::Events, &file, &columns)?);
    }
    Ok(batches)
}

fn cluster(group: &[DataFile]) -> String {
    group.first().map(|file| file.cluster.clone()).unwrap_or_default()
}

async fn merge_events(sealed: &Sealed<'_>, group: &[DataFile], pace: Pace) -> Result<NewFile> {
    let files = sealed.fetch_all(Table::Events, group).await?;
    let cluster = cluster(group);
    in_background(pace, move || {
        let mut making = Making::begin(Table::Events, segment::SETTLED_LEVEL)?;
        for file in &files {
            decode_each(Table::Events, file, |rows| making.add(&rows))?;
        }
        making.finish(&cluster)
    })
    .await
}

async fn merge_bodies(
    sealed: &Sealed<'_>,
    events: &[DataFile],
    group: &[DataFile],
    pace: Pace,
) -> Result<NewFile> {
    let first = group.iter().map(|file| file.stats.seq.0).min().unwrap_or(0);
    let last = group.iter().map(|file| file.stats.seq.1).max().unwrap_or(0);
    let cluster = cluster(group);
    let overlaps = |file: &&DataFile| {
        file.cluster == cluster && file.stats.seq.0 <= last && first <= file.stats.seq.1
    };
    let events: Vec<DataFile> = events.iter().filter(overlaps).cloned().collect();
    let events = sealed.fetch_all(Table::Events, &events).await?;
    let bodies = sealed.fetch_all(Table::Bodies, group).await?;
    in_background(pace, move || {
        let mut making = Making::begin(Table::Bodies, segment::SETTLED_LEVEL)?;
        merging::merge(&about(events)?, &bodies, |rows| making.add(rows))?;
        making.finish(&cluster)
    })
    .await
}

/// What files are written with.
pub(crate) struct Writing<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) tables: &'a Arc<Mutex<Tables>>,
    pub(crate) store: &'a DiskStore,
    pub(crate) ledger: &'a Handle,
    pub(crate) disk: &'a Arc<dyn Disk>,
}

/// Files of the record, which are read to be written anew: what is not as it was sealed must not
/// get a seal that it did not have.
pub(crate) struct Sealed<'a> {
    store: &'a DiskStore,
    seals: HashMap<String, Seal>,
}

impl<'a> Sealed<'a> {
    pub(crate) fn of(writing: &Writing<'a>) -> Result<Self> {
        let seals = meta::seals(&**writing.disk)?;
        Ok(Sealed { store: writing.store, seals })
    }

    pub(crate) async fn fetch(&self, table: Table, file: &DataFile) -> Result<Bytes> {
        let bytes = fetch(self.store, table, file).await?;
        let path = format!("{}/{}", table.name(), file.path);
        let found = seal(path.clone(), &bytes);
        match self.seals.get(&path) {
            Some(sealed) if found == Record::Seal(sealed.clone()) => Ok(bytes),
            _ => Err(Error::Format {
                path,
                why: "it is not as it was sealed, so it is not written anew: `whodid verify` says \
                      what is wrong; put the file back from a copy, or run `whodid ledger reopen \
                      meta` to go on with it as it is, on record"
                    .into(),
            }),
        }
    }

    async fn fetch_all(&self, table: Table, files: &[DataFile]) -> Result<Vec<Bytes>> {
        let mut fetched = Vec::with_capacity(files.len());
        for file in files {
            fetched.push(self.fetch(table, file).await?);
        }
        Ok(fetched)
    }
}

/// Takes the leaves of a cluster before `to` out of both tables; a file that has others, too, is
/// written anew without them. Events first: bodies alone are found by nobody.
pub(crate) async fn cut(writing: &Writing<'_>, cluster: &str, to: u64) -> Result<()> {
    let Writing { shared, tables, store, ledger, .. } = writing;
    let sealed = Sealed::of(writing)?;
    for table in [Table::Events, Table::Bodies] {
        // Nothing may be listed meanwhile.
        let mut tables = tables.lock().await;
        let files = tables.files();
        let files = match table {
            Table::Events => files.events,
            Table::Bodies => files.bodies,
        };
        let is_cut = |file: &DataFile| file.cluster == cluster && file.stats.seq.0 < to;
        let remove: Vec<DataFile> = files.into_iter().filter(is_cut).collect();
        if remove.is_empty() {
            continue;
        }
        let mut add = Vec::new();
        for file in remove.iter().filter(|file| file.stats.seq.1 >= to) {
            let kept = rest(&sealed, table, file, to).await?;
            put_file(store, ledger, table.name(), &kept).await?;
            add.push(kept.listed());
        }
        let commit = Commit { add, remove, is_deletion: true, ..Commit::default() };
        match table {
            Table::Events => tables.events.commit(&commit).await?,
            Table::Bodies => tables.bodies.commit(&commit).await?,
        }
        shared.lock().files = Arc::new(tables.files());
        checkpoint_if_due(&mut tables).await?;
    }
    Ok(())
}

/// What a file has from a leaf on, as a file of its own.
async fn rest(sealed: &Sealed<'_>, table: Table, file: &DataFile, from: u64) -> Result<NewFile> {
    let bytes = sealed.fetch(table, file).await?;
    let (cluster, range) = (file.cluster.clone(), from..file.stats.seq.1 + 1);
    in_background(Pace::Soon, move || {
        let batches = decode_range(table, &bytes, &range)?;
        segment::file(table, &cluster, &batches, segment::SETTLED_LEVEL)
    })
    .await
}

/// Deletes the files of both tables that nothing has listed for so long.
pub(crate) async fn vacuum(writing: &Writing<'_>, grace: TimeDelta) -> Result<usize> {
    let mut tables = writing.tables.lock().await;
    Ok(tables.events.vacuum(grace).await? + tables.bodies.vacuum(grace).await?)
}

/// Puts the merged file in the place of its group.
async fn replace(
    writing: &Writing<'_>,
    table: Table,
    group: &[DataFile],
    merged: NewFile,
    report: &mut Report,
) -> Result<()> {
    let Writing { shared, tables, store, ledger, .. } = writing;
    put_file(store, ledger, table.name(), &merged).await?;
    let commit = Commit { add: vec![merged.listed()], remove: group.to_vec(), ..Commit::default() };
    let mut tables = tables.lock().await;
    match table {
        Table::Events => tables.events.commit(&commit).await?,
        Table::Bodies => tables.bodies.commit(&commit).await?,
    }
    shared.lock().files = Arc::new(tables.files());
    checkpoint_if_due(&mut tables).await?;
    report.files_before += group.len();
    report.files_after += 1;
    report.bytes_before += group.iter().map(|file| file.bytes).sum::<u64>();
    report.bytes_after += merged.bytes.len() as u64;
    Ok(())
}
