//! The tables `events` and `bodies` as DataFusion sees them: the files of a snapshot, pruned by
//! what is known of them, and the events that are not in a file yet.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, ParquetFileReaderFactory, ParquetRowSelection,
};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::union::UnionExec;
use parquet::arrow::arrow_reader::RowSelection;
use whodid_event::time;
use whodid_store::columns::{bodies_schema, events_schema};
use whodid_store::{DataFile, Snapshot, Table};

use crate::cache::Cache;
use crate::cost::{Meter, Metered};
use crate::narrow::{Filters, Later, Narrow, Scan, Wanting};
use crate::wanted::Wanted;

mod statistics;

use statistics::{FileStatistics, statistics};

/// Where the session finds the snapshot's object store.
pub(crate) const STORE_URL: &str = "whodid://record";

/// What is read of a table for some filters.
#[derive(Clone)]
pub(crate) struct Chosen {
    files: Vec<Wanting>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    /// How many rows that is at most; those in memory are.
    pub(crate) rows: u64,
}

/// One of the two tables, as a snapshot sees it.
pub(crate) struct SnapshotTable {
    table: Table,
    snapshot: Snapshot,
    cache: Cache,
    schema: SchemaRef,
    wanted: Wanted,
    meter: Arc<Meter>,
    /// Whether one thread reads it.
    is_by_one: bool,
}

impl SnapshotTable {
    pub(crate) fn new(table: Table, snapshot: Snapshot, cache: Cache) -> Self {
        let (schema, wanted) = (table_schema(table), Wanted::All);
        let meter = Arc::default();
        SnapshotTable { table, snapshot, cache, schema, wanted, meter, is_by_one: false }
    }

    /// What it takes to read it is counted here.
    pub(crate) fn metered(self, meter: Arc<Meter>) -> Self {
        SnapshotTable { meter, ..self }
    }

    /// The rows that are wanted, and maybe others.
    pub(crate) fn wanting(self, wanted: Wanted) -> Self {
        SnapshotTable { wanted, ..self }
    }

    /// Read by one thread: handing few rows over takes longer than looking at them.
    pub(crate) fn by_one(self) -> Self {
        SnapshotTable { is_by_one: true, ..self }
    }

    /// The rows that are wanted and can pass some filters.
    fn wanted(&self, filters: &[Expr]) -> Wanted {
        match self.table {
            Table::Events => Wanted::every([self.wanted.clone(), Wanted::by_filters(filters)]),
            Table::Bodies => self.wanted.clone(),
        }
    }

    /// What has to be read for some filters.
    pub(crate) async fn choose(&self, state: &dyn Session, filters: &[Expr]) -> Result<Chosen> {
        let in_memory = self.snapshot.chunks().map(|(_, chunk)| match self.table {
            Table::Events => chunk.events.num_rows() as u64,
            Table::Bodies => chunk.bodies.num_rows() as u64,
        });
        let mut rows = in_memory.sum();
        let predicate = self.predicate(state, filters)?;
        let wanted = self.wanted(filters);
        let mut files = Vec::new();
        for file in self.live_files(predicate.as_ref())? {
            let Some(wanting) = self.wanting_of(file, &wanted).await? else { continue };
            rows += wanting.rows_max() as u64;
            files.push(wanting);
        }
        Ok(Chosen { files, predicate, rows })
    }

    /// The rows that were chosen for some filters and pass them.
    pub(crate) fn read(
        &self,
        state: &dyn Session,
        Chosen { files, predicate, .. }: Chosen,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        for wanting in &files {
            self.meter.looks_at(wanting.file.path().as_ref(), wanting.rows_max() as u64);
        }
        let all = 0..self.schema.fields().len();
        let asked = projection.map_or_else(|| all.collect(), Clone::clone);
        let mut inputs = Vec::new();
        if !files.is_empty() {
            inputs.push(self.read_files(state, &files, predicate, &asked, filters)?);
        }
        if self.snapshot.chunks().next().is_some() {
            let rows = self.scan_memory(&self.with_tested(&asked, filters))?;
            inputs.push(passing(state, rows, filters.to_vec(), asked.len())?);
        }
        match inputs.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&asked)?)))),
            1 => Ok(inputs.swap_remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }

    /// The same of files alone.
    fn read_files(
        &self,
        state: &dyn Session,
        files: &[Wanting],
        predicate: Option<Arc<dyn PhysicalExpr>>,
        asked: &[usize],
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions_max = if self.is_by_one { 1 } else { state.config().target_partitions() };
        let is_wide = self.is_wide(asked, filters);
        let file_schema = file_schema(self.table);
        let dealt = Filters::of(&file_schema, filters);
        if is_wide || dealt.is_for_others() {
            let needed = self.with_tested(asked, filters);
            let is_late = is_wide || self.table == Table::Bodies;
            let rows = self.scan_files(files, predicate, needed, is_late, partitions_max)?;
            return passing(state, rows, filters.to_vec(), asked.len());
        }
        let rest = dealt.rest.clone();
        let needed = Arc::new(self.schema.project(&self.with_tested(asked, &rest))?);
        let narrow = Narrow::new(state, (self.table, &file_schema), needed, dealt)?;
        passing(state, self.scan_narrow(files, narrow, partitions_max), rest, asked.len())
    }

    /// The numbers of some columns, and behind them those of others that filters test.
    fn with_tested(&self, asked: &[usize], filters: &[Expr]) -> Vec<usize> {
        let tested = names_of(filters);
        let fields = self.schema.fields().iter().enumerate();
        let others = fields
            .filter(|(at, field)| !asked.contains(at) && tested.contains(field.name().as_str()));
        asked.iter().copied().chain(others.map(|(at, _)| at)).collect()
    }

    /// Whether so much is read that columns are read of the rows only that pass the filters. For a
    /// few narrow columns it takes longer to leave rows out than to read all.
    fn is_wide(&self, asked: &[usize], filters: &[Expr]) -> bool {
        const FEW_COLUMNS: usize = 8;
        const MANY_TESTED: usize = 12;
        let tested = names_of(filters);
        let is_other = |column: &&usize| {
            !tested.contains(self.schema.fields().get(**column).map_or("", |field| field.name()))
        };
        tested.len() > MANY_TESTED || asked.iter().filter(is_other).count() > FEW_COLUMNS
    }

    /// The rows of a file that are wanted; `None` if that may be any.
    async fn rows(&self, file: &DataFile, wanted: &Wanted) -> Result<Option<RowSelection>> {
        let index = if wanted.needs_index() {
            self.cache.words(&self.snapshot, self.table, file).await.map_err(external)?
        } else {
            None
        };
        Ok(wanted.rows(self.table, file, index.as_deref()))
    }

    fn predicate(
        &self,
        state: &dyn Session,
        filters: &[Expr],
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let filter = conjunction(filters.to_vec());
        filter.map(|filter| state.create_physical_expr(filter, &schema)).transpose()
    }

    /// The files that may hold rows for which the predicate holds, the newest first: whoever wants
    /// few rows wants those.
    fn live_files(&self, predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<&DataFile>> {
        let files = self.snapshot.files(self.table);
        let mut live = self.pruned(files, predicate)?;
        live.sort_by_key(|file| std::cmp::Reverse(file.stats.received.1));
        Ok(live)
    }

    fn pruned<'a>(
        &self,
        files: &'a [DataFile],
        predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<&'a DataFile>> {
        let Some(predicate) = predicate else { return Ok(files.iter().collect()) };
        let pruning = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .try_build(Arc::clone(predicate))?;
        if pruning.always_true() {
            return Ok(files.iter().collect());
        }
        let keep = pruning.prune(&FileStatistics { files })?;
        Ok(files.iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect())
    }

    fn readers(&self) -> Arc<dyn ParquetFileReaderFactory> {
        let (store, footers) = (self.snapshot.object_store(), Arc::clone(&self.cache.footers));
        let readers = Arc::new(CachedParquetFileReaderFactory::new(store, footers));
        Arc::new(Metered { readers, meter: Arc::clone(&self.meter) })
    }

    /// Reads few columns, each text once.
    fn scan_narrow(
        &self,
        files: &[Wanting],
        narrow: Narrow,
        partitions_max: usize,
    ) -> Arc<dyn ExecutionPlan> {
        DataSourceExec::from_data_source(Scan {
            narrow: Arc::new(narrow),
            readers: self.readers(),
            cache: self.cache.clone(),
            shares: dealt(files, partitions_max),
            in_path: partitions().iter().map(|field| field.name().clone()).collect(),
            later: Later::default(),
            is_distinct: false,
        })
    }

    fn scan_files(
        &self,
        files: &[Wanting],
        predicate: Option<Arc<dyn PhysicalExpr>>,
        columns: Vec<usize>,
        is_late: bool,
        partitions_max: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = TableSchema::builder(file_schema(self.table))
            .with_table_partition_cols(partitions())
            .build();
        let mut source = ParquetSource::new(schema)
            .with_pushdown_filters(is_late)
            .with_reorder_filters(true)
            .with_enable_page_index(true)
            // Nobody vouches for one: `verify` makes none anew.
            .with_bloom_filter_on_read(false)
            .with_parquet_file_reader_factory(self.readers());
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let with_rows = |wanting: Wanting| match wanting.rows {
            Some(rows) => wanting.file.with_extension(ParquetRowSelection::new(rows)),
            None => wanting.file,
        };
        let group = |files: Vec<Wanting>| {
            FileGroup::new(files.into_iter().map(with_rows).collect::<Vec<_>>())
        };
        let groups = dealt(files, partitions_max).into_iter().map(group).collect();
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
                .with_file_groups(groups)
                .with_projection_indices(Some(columns))?;
        Ok(DataSourceExec::from_data_source(config.build()))
    }

    /// A file as DataFusion reads it; `None` if none of its rows are wanted.
    async fn wanting_of(&self, file: &DataFile, wanted: &Wanted) -> Result<Option<Wanting>> {
        let path = format!("{}/{}", self.table.name(), file.path);
        let partitioned = PartitionedFile::new(path, file.bytes)
            .with_partition_values(vec![
                ScalarValue::Utf8View(Some(file.cluster.clone())),
                ScalarValue::Date32(Some(time::day(file.stats.received.0))),
            ])
            .with_statistics(Arc::new(statistics(&file_schema(self.table), file)));
        Ok(match self.rows(file, wanted).await? {
            Some(rows) if !rows.selects_any() => None,
            rows => Some(Wanting {
                file: partitioned,
                rows,
                count: usize::try_from(file.stats.rows).unwrap_or(usize::MAX),
                leaves: file.stats.seq,
            }),
        })
    }

    fn scan_memory(&self, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
        let mut batches = Vec::new();
        for (cluster, chunk) in self.snapshot.chunks() {
            let batch = match self.table {
                Table::Events => &chunk.events,
                Table::Bodies => &chunk.bodies,
            };
            batches.push(with_partitions(&self.schema, batch, cluster)?);
        }
        let source = MemorySourceConfig::try_new(
            &[batches],
            Arc::clone(&self.schema),
            Some(columns.to_vec()),
        )?;
        Ok(DataSourceExec::from_data_source(source))
    }
}

/// The columns that filters test.
fn names_of(filters: &[Expr]) -> HashSet<&str> {
    filters.iter().flat_map(Expr::column_refs).map(Column::name).collect()
}

/// Those of some rows that pass filters, with so many of their columns.
fn passing(
    state: &dyn Session,
    rows: Arc<dyn ExecutionPlan>,
    filters: Vec<Expr>,
    columns: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(filter) = conjunction(filters) else { return Ok(rows) };
    let typed = DFSchema::try_from(rows.schema())?;
    let passes = state.create_physical_expr(filter, &typed)?;
    let columns = (0..columns).collect();
    let passing = FilterExecBuilder::new(passes, rows).apply_projection(Some(columns))?;
    Ok(Arc::new(passing.build()?))
}

/// Files for some partitions, dealt out so that each begins with the newest.
fn dealt(files: &[Wanting], partitions_max: usize) -> Vec<Vec<Wanting>> {
    let partitions = partitions_max.clamp(1, files.len().max(1));
    let share = |first| files.iter().skip(first).step_by(partitions).cloned().collect();
    (0..partitions).map(share).collect()
}

fn external(error: crate::error::Error) -> DataFusionError {
    DataFusionError::External(error.into())
}

/// The columns of `events`.
pub(crate) fn events_table_schema() -> SchemaRef {
    table_schema(Table::Events)
}

/// What columns are called.
pub(crate) fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

pub(crate) fn table_schema(table: Table) -> SchemaRef {
    let file_schema = file_schema(table);
    let fields = file_schema.fields().iter().cloned().chain(partitions());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn file_schema(table: Table) -> SchemaRef {
    match table {
        Table::Events => events_schema(),
        Table::Bodies => bodies_schema(),
    }
}

/// The columns that stand in a file's path.
fn partitions() -> Vec<FieldRef> {
    vec![
        Arc::new(Field::new("cluster", DataType::Utf8View, false)),
        Arc::new(Field::new("day", DataType::Date32, false)),
    ]
}

/// Adds to a batch from memory what stands in the path of a file.
pub(crate) fn with_partitions(
    schema: &SchemaRef,
    batch: &RecordBatch,
    cluster: &str,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let received = batch
        .column_by_name("received")
        .and_then(|column| column.as_any().downcast_ref::<TimestampMicrosecondArray>())
        .filter(|column| !arrow::array::Array::is_empty(*column));
    let day = received.map_or(0, |received| time::day(received.value(0)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(std::iter::repeat_n(Some(cluster), rows).collect::<StringViewArray>()));
    columns.push(Arc::new(Date32Array::from_value(day, rows)));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

impl fmt::Debug for SnapshotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotTable").field("table", &self.table).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let chosen = self.choose(state, filters).await?;
        self.read(state, chosen, projection, filters)
    }
}
