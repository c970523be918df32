//! The list of a table's files, and the commits that change it: the few things the store asks of
//! a table format, so that the format's library can be replaced. Files themselves are
//! [`crate::segment`]'s.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use whodid_event::time::Micros;

use crate::error::Result;

mod delta;
mod stats;

pub(crate) use delta::DeltaLog;

/// The table of envelopes and derived fields.
pub(crate) const EVENTS: &str = "events";
/// The table of bodies.
pub(crate) const BODIES: &str = "bodies";

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its path within the table's folder.
    pub path: String,
    /// The cluster its events are of.
    pub cluster: String,
    /// The UTC date its events were taken in, `2026-01-02`.
    pub day: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// What is known of its rows.
    pub stats: FileStats,
}

/// What a table's log says about the rows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStats {
    /// How many there are.
    pub rows: u64,
    /// The least and the greatest `seq`.
    pub seq: (u64, u64),
    /// The least and the greatest `received`.
    pub received: (Micros, Micros),
    /// The least and the greatest `time`; bodies have none.
    pub time: Option<(Micros, Micros)>,
    /// How many rows have a `twin`.
    pub twins: u64,
}

/// A file to be added to a table.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    pub(crate) path: String,
    pub(crate) cluster: String,
    pub(crate) bytes: Bytes,
    pub(crate) stats: FileStats,
}

impl NewFile {
    /// The file as the table's log will list it.
    pub(crate) fn listed(&self) -> DataFile {
        DataFile {
            path: self.path.clone(),
            cluster: self.cluster.clone(),
            day: crate::segment::day_text(self.stats.received.0),
            bytes: self.bytes.len() as u64,
            stats: self.stats,
        }
    }
}

/// One change of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    /// Files that belong to the table from now on; they are durable already.
    pub(crate) add: Vec<DataFile>,
    /// Files that do not any more.
    pub(crate) remove: Vec<DataFile>,
    /// Whether rows go with them; otherwise the same rows are in other files.
    pub(crate) is_deletion: bool,
    /// The last `seq` of each cluster that the table holds with this commit.
    pub(crate) watermarks: Vec<(String, u64)>,
}

/// A table's log, held by its one writer or read by many.
#[async_trait]
pub(crate) trait TableLog: Send + Sync {
    /// Returns the files of the table.
    fn files(&self) -> Vec<DataFile>;
    /// Returns the last `seq` of a cluster that the table holds.
    async fn watermark(&self, cluster: &str) -> Result<Option<u64>>;
    /// Changes the table, durably and at once.
    async fn commit(&mut self, commit: &Commit) -> Result<()>;
    /// Writes down the state of the table, so that readers need not read every commit.
    async fn checkpoint(&mut self) -> Result<()>;
    /// Removes commits that are older than the table keeps its history.
    async fn clean_up(&mut self) -> Result<()>;
    /// Removes files that have not belonged to the table for `grace`.
    async fn vacuum(&mut self, grace: TimeDelta) -> Result<usize>;
    /// Whether readers would have to read too many commits.
    fn is_checkpoint_due(&self) -> bool;
}
