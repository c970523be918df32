//! A table's log as Delta Lake, by the `deltalake` library: Spark, Trino, DuckDB, ClickHouse and
//! Athena read the tables as they are. No type of the library leaves this file.
//!
//! There is one writer, so a commit that stands where ours should go is not a conflict to be
//! resolved but an alarm.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, Remove, StructField, Transaction};
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::builder::DeltaTableBuilder;
use deltalake::{DeltaTable, DeltaTableError};
use url::Url;

use super::{Commit, DataFile, TableLog, stats};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::object::DiskStore;

/// The columns in whose order the tables are partitioned.
const PARTITIONS: [&str; 2] = ["cluster", "day"];

/// The log of one Delta table.
pub(crate) struct DeltaLog {
    name: &'static str,
    table: DeltaTable,
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
        Ok(DeltaLog { name, table, since_checkpoint: 0 })
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
        let mut log = DeltaLog { name, table, since_checkpoint: 0 };
        log.since_checkpoint = log.version().saturating_sub(checkpoint.unwrap_or(0));
        Ok(Some(log))
    }

    fn failed(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        unwrap(Error::table(self.name, error))
    }

    fn version(&self) -> u64 {
        self.table.version().unwrap_or(0)
    }
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
    fn files(&self) -> Result<Vec<DataFile>> {
        let state = self.table.snapshot().map_err(|error| self.failed(error))?;
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
            files.push(known().ok_or_else(|| {
                self.failed(format!("{path} is not a file of this writer's making"))
            })?);
        }
        files.sort_by(|a, b| (&a.cluster, a.stats.seq).cmp(&(&b.cluster, b.stats.seq)));
        Ok(files)
    }

    async fn watermark(&self, cluster: &str) -> Result<Option<u64>> {
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
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(transactions.collect());
        let operation = if is_append {
            let partition_by = Some(PARTITIONS.map(str::to_owned).to_vec());
            DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None }
        } else if commit.is_deletion {
            DeltaOperation::Delete { predicate: None }
        } else {
            DeltaOperation::Optimize { predicate: None, target_size: 0 }
        };
        let state = self.table.snapshot().map_err(|error| self.failed(error))?;
        let committed = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), self.table.log_store(), operation)
            .await;
        match committed {
            Ok(done) => {
                self.table.state = Some(done.snapshot());
                self.since_checkpoint += 1;
                Ok(())
            }
            Err(
                DeltaTableError::VersionAlreadyExists(_)
                | DeltaTableError::Transaction {
                    source:
                        TransactionError::MaxCommitAttempts(_)
                        | TransactionError::VersionAlreadyExists(_),
                },
            ) => Err(Error::ForeignCommit { table: self.name, version: self.version() + 1 }),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn checkpoint(&mut self) -> Result<()> {
        deltalake::checkpoints::create_checkpoint(&self.table, None)
            .await
            .map_err(|error| self.failed(error))?;
        // A held snapshot does not adopt a checkpoint by itself and grows with every commit.
        self.table.load().await.map_err(|error| self.failed(error))?;
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
        self.table = table;
        Ok(done.files_deleted.len())
    }

    fn commits_since_checkpoint(&self) -> u64 {
        self.since_checkpoint
    }
}
