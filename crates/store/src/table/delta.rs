//! A table's log as Delta Lake, by the `deltalake` library: Spark, Trino, DuckDB, ClickHouse and
//! Athena read the tables as they are. No type of the library leaves this file.
//!
//! There is one writer, so a commit that stands where ours should go is not a conflict to be
//! resolved but an alarm. It knows the files of its table: the library, which reads them all anew
//! after every commit, is asked when a table is opened, for checkpoints and before a vacuum.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use deltalake::DeltaTable;
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, Remove, StructField, Transaction};
use deltalake::logstore::CommitOrBytes;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::builder::DeltaTableBuilder;
use url::Url;
use uuid::Uuid;

use super::{Commit, DataFile, TableLog, stats};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::object::DiskStore;

/// The columns in whose order the tables are partitioned.
const PARTITIONS: [&str; 2] = ["cluster", "day"];

/// A checkpoint is due after so many commits,
const CHECKPOINT_COMMITS: u64 = 15;

/// and after one for so many files, as it lists all of them.
const CHECKPOINT_FILES: u64 = 16;

/// The log of one Delta table.
pub(crate) struct DeltaLog {
    name: &'static str,
    /// As it was when it was last loaded.
    table: DeltaTable,
    version: u64,
    /// By cluster and `seq`.
    files: Vec<DataFile>,
    /// Of the commits since the table was opened.
    watermarks: HashMap<String, u64>,
    since_checkpoint: u64,
}

impl DeltaLog {
    /// Opens the table for writing, creating it if need be.
    pub(crate) async fn open_or_create(
        name: &'static str,
        store: &DiskStore,
        schema: &arrow::datatypes::Schema,
    ) -> Result<Self> {
        if let Some(opened) = Self::open(name, store).await? {
            return Ok(opened);
        }
        let failed = |error| Error::table(name, error);
        let table = build(name, store)?;
        let columns = columns(schema).map_err(|error| Error::table(name, error))?;
        let stats_columns =
            if name == super::EVENTS { "seq,received,time,twin" } else { "seq,received" };
        let table = table
            .create()
            .with_columns(columns)
            .with_partition_columns(PARTITIONS)
            .with_raise_if_key_not_exists(false)
            .with_configuration(HashMap::from(
                [
                    ("delta.dataSkippingStatsColumns", stats_columns),
                    ("delta.logRetentionDuration", "interval 7 days"),
                    ("delta.checkpoint.writeStatsAsJson", "true"),
                ]
                .map(|(key, value)| (key.to_owned(), Some(value.to_owned()))),
            ))
            .await
            .map_err(failed)?;
        Self::of(name, table)
    }

    /// The log of a table that is loaded.
    fn of(name: &'static str, table: DeltaTable) -> Result<Self> {
        let (version, watermarks) = (table.version().unwrap_or(0), HashMap::new());
        let files = files(name, &table)?;
        Ok(DeltaLog { name, table, version, files, watermarks, since_checkpoint: 0 })
    }

    /// Opens the table as it is now; `None` if there is none.
    pub(crate) async fn open(name: &'static str, store: &DiskStore) -> Result<Option<Self>> {
        let failed = |error| Error::table(name, error);
        let mut table = build(name, store)?;
        if !table.verify_deltatable_existence().await.map_err(failed)? {
            return Ok(None);
        }
        table.load().await.map_err(failed)?;
        let checkpoint = store.read_all(&format!("{name}/_delta_log/_last_checkpoint"));
        let checkpoint = checkpoint.as_deref().and_then(|hint| {
            serde_json::from_slice::<serde_json::Value>(hint).ok()?.get("version")?.as_u64()
        });
        let mut log = Self::of(name, table)?;
        log.since_checkpoint = log.version.saturating_sub(checkpoint.unwrap_or(0));
        Ok(Some(log))
    }

    fn failed(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        unwrap(Error::table(self.name, error))
    }

    /// Brings the library's view of the table up to its newest commit, which is ours.
    async fn load(&mut self) -> Result<()> {
        let loaded = self.table.load().await;
        loaded.map_err(|error| unwrap(Error::table(self.name, error)))?;
        if self.table.version() == Some(self.version) {
            return Ok(());
        }
        Err(Error::ForeignCommit { table: self.name, version: self.version + 1 })
    }

    /// What a commit changes.
    fn follow(&mut self, commit: &Commit) {
        self.version += 1;
        self.since_checkpoint += 1;
        let removed: HashSet<&str> = commit.remove.iter().map(|file| &*file.path).collect();
        self.files.retain(|file| !removed.contains(&*file.path));
        self.files.extend(commit.add.iter().cloned());
        sort(&mut self.files);
        self.watermarks.extend(commit.watermarks.iter().cloned());
    }
}

/// The files of a table as the library has loaded it.
fn files(name: &'static str, table: &DeltaTable) -> Result<Vec<DataFile>> {
    let state = table.snapshot().map_err(|error| unwrap(Error::table(name, error)))?;
    let mut files = Vec::with_capacity(state.log_data().num_files());
    for file in state.log_data().iter() {
        let path = file.path().into_owned();
        let values = file.partition_values_map();
        let value = |column: &str| values.get(column).cloned().flatten();
        let known = || {
            let (cluster, day) = (value("cluster")?, value("day")?);
            let stats = stats::read(&file.stats()?)?;
            let bytes = u64::try_from(file.size()).ok()?;
            Some(DataFile { path: path.clone(), cluster, day, bytes, stats })
        };
        let why = || format!("{path} is not a file of this writer's making");
        files.push(known().ok_or_else(|| unwrap(Error::table(name, why())))?);
    }
    sort(&mut files);
    Ok(files)
}

fn sort(files: &mut [DataFile]) {
    files.sort_by(|a, b| (&a.cluster, a.stats.seq).cmp(&(&b.cluster, b.stats.seq)));
}

fn build(name: &'static str, store: &DiskStore) -> Result<DeltaTable> {
    let failed = |error| Error::table(name, error);
    // The scheme only picks the library's plain log store; every byte goes through ours.
    let url =
        Url::parse(&format!("memory:///{name}")).map_err(|error| Error::table(name, error))?;
    DeltaTableBuilder::from_url(url.clone())
        .map_err(failed)?
        .with_storage_backend(Arc::new(store.clone()), url)
        .build()
        .map_err(failed)
}

/// Translates the schema of a file, and adds what is in its path.
fn columns(
    schema: &arrow::datatypes::Schema,
) -> Result<Vec<StructField>, Box<dyn std::error::Error + Send + Sync>> {
    use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
    let partition = |name: &str, kind| StructField::new(name, DataType::Primitive(kind), true);
    let mut columns =
        vec![partition("cluster", PrimitiveType::String), partition("day", PrimitiveType::Date)];
    for field in schema.fields() {
        let field = crate::columns::stored(field);
        let mut column: StructField = (&field).try_into_kernel()?;
        // A column that is required today would need a newer protocol to become optional.
        column.nullable = true;
        columns.push(column);
    }
    Ok(columns)
}

/// Returns the store's own error that is wrapped in the library's, if there is one.
fn unwrap(error: Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(inner) = cause {
        if let Some(own) = inner.downcast_ref::<Error>() {
            return own.again();
        }
        cause = inner.source();
    }
    error
}

fn partition_values(file: &DataFile) -> HashMap<String, Option<String>> {
    let values = [("cluster", &file.cluster), ("day", &file.day)];
    values.map(|(column, value)| (column.to_owned(), Some(value.clone()))).into()
}

/// Delta's times are for other engines; nothing of ours is decided by them.
fn now_millis() -> i64 {
    SystemClock.now() / 1_000
}

fn add(file: &DataFile, data_change: bool) -> Action {
    Action::Add(Add {
        path: file.path.clone(),
        partition_values: partition_values(file),
        size: file.bytes.cast_signed(),
        modification_time: now_millis(),
        data_change,
        stats: Some(stats::write(&file.stats)),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    })
}

fn remove(file: &DataFile, data_change: bool) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(now_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_values(file)),
        size: Some(file.bytes.cast_signed()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
    })
}

/// What the log calls a cluster's watermark.
fn app_id(cluster: &str) -> String {
    format!("whodid:{cluster}")
}

#[async_trait]
impl TableLog for DeltaLog {
    fn files(&self) -> Vec<DataFile> {
        self.files.clone()
    }

    async fn watermark(&self, cluster: &str) -> Result<Option<u64>> {
        if let Some(seq) = self.watermarks.get(cluster) {
            return Ok(Some(*seq));
        }
        let state = self.table.snapshot().map_err(|error| self.failed(error))?;
        let version = state
            .transaction_version(&*self.table.log_store(), app_id(cluster))
            .await
            .map_err(|error| self.failed(error))?;
        Ok(version.map(i64::cast_unsigned))
    }

    async fn commit(&mut self, commit: &Commit) -> Result<()> {
        let is_append = commit.remove.is_empty();
        let data_change = is_append || commit.is_deletion;
        let mut actions: Vec<Action> =
            commit.add.iter().map(|file| add(file, data_change)).collect();
        actions.extend(commit.remove.iter().map(|file| remove(file, data_change)));
        let transactions = commit.watermarks.iter().map(|(cluster, seq)| Transaction {
            app_id: app_id(cluster),
            version: seq.cast_signed(),
            last_updated: Some(now_millis()),
        });
        let transactions = transactions.collect();
        let operation = if is_append {
            let partition_by = Some(PARTITIONS.map(str::to_owned).to_vec());
            DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None }
        } else if commit.is_deletion {
            DeltaOperation::Delete { predicate: None }
        } else {
            DeltaOperation::Optimize { predicate: None, target_size: 0 }
        };
        let data = CommitData::new(actions, operation, HashMap::new(), transactions);
        let bytes = CommitOrBytes::LogBytes(data.get_bytes().map_err(|error| self.failed(error))?);
        let (version, log) = (self.version + 1, self.table.log_store());
        match log.write_commit_entry(version, bytes, Uuid::new_v4()).await {
            Ok(()) => {
                self.follow(commit);
                Ok(())
            }
            Err(TransactionError::VersionAlreadyExists(_)) => {
                Err(Error::ForeignCommit { table: self.name, version })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn checkpoint(&mut self) -> Result<()> {
        self.load().await?;
        deltalake::checkpoints::create_checkpoint(&self.table, None)
            .await
            .map_err(|error| self.failed(error))?;
        // A held snapshot does not adopt a checkpoint by itself and grows with every commit.
        self.load().await?;
        self.since_checkpoint = 0;
        Ok(())
    }

    async fn clean_up(&mut self) -> Result<()> {
        deltalake::checkpoints::cleanup_metadata(&self.table, None)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn vacuum(&mut self, grace: TimeDelta) -> Result<usize> {
        self.load().await?;
        let failed = |error| unwrap(Error::table(self.name, error));
        let (table, done) = self
            .table
            .clone()
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_enforce_retention_duration(false)
            .with_retention_period(grace)
            .await
            .map_err(failed)?;
        // It writes down that it began and ended.
        self.version = table.version().unwrap_or(self.version);
        self.table = table;
        Ok(done.files_deleted.len())
    }

    fn is_checkpoint_due(&self) -> bool {
        let files = u64::try_from(self.files.len()).unwrap_or(u64::MAX);
        self.since_checkpoint >= CHECKPOINT_COMMITS.max(files / CHECKPOINT_FILES)
    }
}
