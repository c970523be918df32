//! What can go wrong in the store, and what its user can do about it.

use std::io;

/// Result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the store. Every message names the object and ends, where there is something to
/// do, with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused a write before the commit point. Nothing is half-written; the same call
    /// can succeed later.
    #[error(
        "cannot write {path}: {source}; nothing was half-written, try again when the disk accepts writes"
    )]
    Unavailable {
        /// The file, relative to the data directory.
        path: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Events wait for segments to be written, and no more may wait.
    #[error(
        "{bytes} bytes of events wait to be written into segments, as much as may wait ({why}); try again later"
    )]
    Overloaded {
        /// How much waits, in memory.
        bytes: usize,
        /// Why it waits.
        why: String,
    },
    /// A sync failed: what the disk holds is unknown, so this process must not go on
    /// (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    #[error(
        "sync of {path} failed: {source}; what was not acknowledged may be lost. Stop, check the disk, and start again: the record is read anew from disk"
    )]
    SyncFailed {
        /// The file or folder, relative to the data directory.
        path: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The writer has stopped after an earlier error.
    #[error("the writer stopped: {0}")]
    Stopped(String),
    /// Another process writes to the store.
    #[error(
        "{dir} is being written by {holder}; wait for it to end, or use its server (--server URL)"
    )]
    Locked {
        /// The data directory.
        dir: String,
        /// Who holds the lock.
        holder: String,
    },
    /// There is no store where one should be read.
    #[error("{dir} holds no record; `whodid import --data-dir {dir} FILE` makes one")]
    NoStore {
        /// The data directory.
        dir: String,
    },
    /// The store is of a newer or unknown format.
    #[error("{path}: {why}")]
    Format {
        /// The file that tells.
        path: String,
        /// What it tells and what to do.
        why: String,
    },
    /// Bytes of the record that were durable are not what they were.
    #[error(
        "{path}: the frame at byte {offset} is damaged ({why}), and intact frames show that it had been acknowledged. Nothing is cut off: put the file back from a copy, or run `whodid ingest repair` to go on with the loss on record"
    )]
    Damaged {
        /// The file, relative to the data directory.
        path: String,
        /// Where the damage begins.
        offset: u64,
        /// How it shows.
        why: String,
    },
    /// Events are missing between the segments and the write-ahead log.
    #[error(
        "cluster {cluster}: events {from} to {to} are neither in a segment nor in the write-ahead log; put the missing file of `wal` back from a copy, or run `whodid ingest repair` to go on with the loss on record"
    )]
    Missing {
        /// The cluster.
        cluster: String,
        /// The first missing leaf.
        from: u64,
        /// The last missing leaf.
        to: u64,
    },
    /// The table's log has a commit that this writer did not make.
    #[error(
        "table {table}: commit {version} was not made by this writer. Somebody else writes into the record: find out who, and verify the record before going on"
    )]
    ForeignCommit {
        /// `events` or `bodies`.
        table: &'static str,
        /// The version that stands where this writer's commit should be.
        version: u64,
    },
    /// A name given by the caller cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file, relative to the data directory.
        path: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// A table's log or a segment could not be read or written for another reason.
    #[error("table {table}: {source}")]
    Table {
        /// `events` or `bodies`.
        table: &'static str,
        /// What its library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A column is not of its type, which only a foreign file can be.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A segment cannot be read or written.
    #[error("parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl Error {
    /// Whether the same call may succeed later, without anybody's doing.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::Overloaded { .. })
    }

    /// Whether this process must not write any more.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::SyncFailed { .. } | Error::ForeignCommit { .. } | Error::Stopped(_))
    }

    /// The same error once more, for each of those it concerns.
    #[must_use]
    pub fn again(&self) -> Self {
        let repeat = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            Error::Unavailable { path, source } => {
                Error::Unavailable { path: path.clone(), source: repeat(source) }
            }
            Error::SyncFailed { path, source } => {
                Error::SyncFailed { path: path.clone(), source: repeat(source) }
            }
            Error::Overloaded { bytes, why } => {
                Error::Overloaded { bytes: *bytes, why: why.clone() }
            }
            Error::ForeignCommit { table, version } => {
                Error::ForeignCommit { table, version: *version }
            }
            other => Error::Stopped(other.to_string()),
        }
    }

    pub(crate) fn table(
        table: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Table { table, source: source.into() }
    }
}
