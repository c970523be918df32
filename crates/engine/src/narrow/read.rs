//! Reading one file for [`Narrow`]: columns that are kept in memory say which rows pass, and only
//! what is not kept is read, of those rows if they are few.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int64Array, RecordBatch,
    RecordBatchOptions,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, concat, filter, filter_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, Statistics as Estimates};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::source::DataSource;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, Partitioning};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::PageIndexPolicy;

use super::wanting::ROWS_MAX;
use super::{Known, Later, Narrow, SEQ, Wanting, distinct, set};
use crate::cache::{Cache, Kept};

/// So many rows are looked at at once.
const BATCH_ROWS: usize = 32_768;
const WIDE_BATCH_ROWS: usize = 4_096;

/// One row of so many is few: sooner are these looked for than all read.
const FEW: usize = 16;

/// Files in shares, each of which is read by one thread.
#[derive(Clone)]
pub(crate) struct Scan {
    pub(crate) narrow: Arc<Narrow>,
    pub(crate) readers: Arc<dyn ParquetFileReaderFactory>,
    pub(crate) cache: Cache,
    pub(crate) shares: Vec<Vec<Wanting>>,
    /// The columns that stand in the path of a file.
    pub(crate) in_path: Vec<String>,
    pub(crate) later: Later,
    /// Whether the rest of the plan needs rows that say the same only once.
    pub(crate) is_distinct: bool,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("narrow", &self.narrow).finish_non_exhaustive()
    }
}

impl DataSource for Scan {
    fn open(&self, share: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let in_path = |wanting: &Wanting| {
            let values = wanting.file.partition_values.iter().cloned();
            self.in_path.iter().cloned().zip(values).collect()
        };
        let file = |wanting: &Wanting| File {
            narrow: Arc::clone(&self.narrow),
            readers: Arc::clone(&self.readers),
            cache: self.cache.clone(),
            later: self.later.clone(),
            is_distinct: self.is_distinct,
            in_path: in_path(wanting),
            wanting: wanting.clone(),
        };
        let files: Vec<File> = self.shares.get(share).into_iter().flatten().map(file).collect();
        let batches = stream::iter(files).then(File::passing).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(self.narrow.schema()), batches)))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.shares.iter().map(Vec::len).sum::<usize>();
        let tests = self.narrow.tests.iter().map(|test| test.expr.to_string());
        write!(f, "files={files}, tests=[{}]", tests.collect::<Vec<_>>().join(", "))?;
        self.later.filters().iter().try_for_each(|filter| write!(f, ", later={filter}"))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.shares.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(self.narrow.schema()))
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Estimates>> {
        Ok(Arc::new(Estimates::new_unknown(self.narrow.schema())))
    }

    fn with_fetch(&self, _: Option<usize>) -> Option<Arc<dyn DataSource>> {
        None
    }

    fn fetch(&self) -> Option<usize> {
        None
    }

    fn try_swapping_with_projection(
        &self,
        _: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    /// Keeps what will be known later, and promises nothing.
    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        let said = vec![PushedDown::No; filters.len()];
        let told = FilterPushdownPropagation::with_parent_pushdown_result(said);
        let is_dynamic = |filter: &Arc<dyn PhysicalExpr>| {
            DynamicFilterTracking::classify(filter).contains_dynamic_filter()
        };
        let later = self.later.and(filters.into_iter().filter(is_dynamic));
        let scan = Scan { later, ..self.clone() };
        Ok(told.with_updated_node(Arc::new(scan) as Arc<dyn DataSource>))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for filter in self.later.filters() {
            if f(filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// A file as it is read.
struct File {
    narrow: Arc<Narrow>,
    readers: Arc<dyn ParquetFileReaderFactory>,
    cache: Cache,
    later: Later,
    is_distinct: bool,
    in_path: Vec<(String, ScalarValue)>,
    wanting: Wanting,
}

/// Columns of a file by their number, all of its rows.
type Columns = BTreeMap<usize, ArrayRef>;

impl File {
    /// The rows that pass.
    async fn passing(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let wanted = self.wanting.mask()?;
        let tested = self.kept(&self.narrow.tested, !is_few(&wanted)).await?;
        let passes = self.needed_later(self.narrow.passing_kept(&tested, &wanted)?).await?;
        if passes.count_set_bits() == 0 {
            return Ok(stream::empty().boxed());
        }
        let (kept, missing) = self.needed(&tested, &passes).await?;
        let left = || self.narrow.tests_beside(&tested);
        if missing.is_empty() {
            let is_distinct = self.is_distinct && self.narrow.seq.is_none();
            let passes =
                if is_distinct { distinct::first_of_each(kept.values(), passes) } else { passes };
            let rows = self.beside(&kept, &passes)?;
            // What need not be read is not tested yet.
            let all = BooleanBuffer::new_set(rows.num_rows());
            let passes = self.narrow.passing(&rows, all, &mut left())?;
            let rows = filter_record_batch(&rows, &BooleanArray::new(passes, None))?;
            return Ok(stream::once(ready(self.given(&rows))).boxed());
        }
        let is_few = is_few(&passes);
        let passes =
            if is_few { self.tested_first(passes, &missing, left()).await? } else { passes };
        let rows = if self.narrow.is_in_order && !is_few { wanted } else { passes.clone() };
        if passes.count_set_bits() == 0 {
            return Ok(stream::empty().boxed());
        }
        let beside = self.beside(&kept, &rows)?;
        let passes = BooleanArray::new(passes, None);
        let passes = filter(&passes, &BooleanArray::new(rows.clone(), None))?;
        let left = left();
        self.read(&missing, rows, beside, passes.as_boolean().values().clone(), left).await
    }

    /// Those of few rows that pass the tests that are left, if columns are missing for more than
    /// these: most rows that an index gives are no match.
    async fn tested_first(
        &self,
        rows: BooleanBuffer,
        missing: &[usize],
        mut left: Vec<(usize, Option<Known>)>,
    ) -> Result<BooleanBuffer> {
        let (tested, others): (Vec<usize>, Vec<usize>) =
            missing.iter().partition(|at| self.narrow.tested.contains(at));
        if tested.is_empty() || others.is_empty() {
            return Ok(rows);
        }
        let builder = self.builder(&tested, &self.narrow.file_schema).await?;
        let of_rows = RowSelection::from_boolean_buffer(rows.clone());
        let mut batches = builder.with_row_selection(of_rows).build()?;
        let mut passes = BooleanBufferBuilder::new(rows.count_set_bits());
        while let Some(batch) = batches.try_next().await? {
            let all = BooleanBuffer::new_set(batch.num_rows());
            passes.append_buffer(&self.narrow.passing(&batch, all, &mut left)?);
        }
        Ok(set(rows.len(), rows.set_indices().zip(&passes.finish())))
    }

    /// Of the columns that are needed those that are kept, and the numbers of the others.
    async fn needed(
        &self,
        tested: &Columns,
        passes: &BooleanBuffer,
    ) -> Result<(Columns, Vec<usize>)> {
        let (mut kept, mut missing) = (Columns::new(), Vec::new());
        for at in self.narrow.columns.iter().copied() {
            match tested.get(&at) {
                // What is only tested is done with.
                Some(column) if self.narrow.is_given(at) => {
                    drop(kept.insert(at, Arc::clone(column)));
                }
                Some(_) => {}
                None if Some(at) == self.narrow.seq => {}
                None => missing.push(at),
            }
        }
        kept.extend(self.kept(&missing, !is_few(passes)).await?);
        missing.retain(|at| !kept.contains_key(at));
        Ok((kept, missing))
    }

    /// Reads columns of some rows, of which others are there: `beside` has them, `passes` says
    /// which of these rows pass as far as it was tested, and `left` which tests are left.
    async fn read(
        self,
        columns: &[usize],
        rows: BooleanBuffer,
        beside: RecordBatch,
        passes: BooleanBuffer,
        mut left: Vec<(usize, Option<Known>)>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let mut builder = self.builder(columns, &self.narrow.file_schema).await?;
        if rows.count_set_bits() < rows.len() {
            builder = builder.with_row_selection(RowSelection::from_boolean_buffer(rows));
        }
        let mut from = 0;
        let passing = builder.build()?.map(move |read| {
            let read = read?;
            let count = read.num_rows();
            let here = joined(&read, &beside.slice(from, count))?;
            let passes = passes.slice(from, count);
            from += count;
            let passes = self.narrow.passing(&here, passes, &mut left)?;
            self.given(&filter_record_batch(&here, &BooleanArray::new(passes, None))?)
        });
        let is_some = |rows: &Result<RecordBatch>| {
            let is_empty = rows.as_ref().is_ok_and(|rows| rows.num_rows() == 0);
            ready(!is_empty)
        };
        Ok(passing.filter(is_some).boxed())
    }

    /// Those of some rows that the rest of the plan needs, as far as it is known by now.
    async fn needed_later(&self, rows: BooleanBuffer) -> Result<BooleanBuffer> {
        let leaves = self.later.leaves()?;
        let mut tests = self.narrow.early.clone();
        let rows = match leaves {
            Some(leaves) if self.narrow.is_in_order => {
                let first = self.wanting.leaves.0.cast_signed();
                let row = |leaf: &i64| usize::try_from(leaf - first).ok();
                let here =
                    leaves.range(first..).filter_map(row).take_while(|row| *row < rows.len());
                set(rows.len(), here.map(|row| (row, rows.value(row))))
            }
            Some(leaves) => self.of_leaves(rows, &leaves).await?,
            None => {
                tests.extend(self.later.filters().iter().cloned());
                rows
            }
        };
        // Rows of events are narrow: they are sooner read than tested twice.
        if tests.is_empty() || self.narrow.is_in_order {
            Ok(rows)
        } else {
            self.by_tests(rows, &tests).await
        }
    }

    /// Those of some rows that belong to these leaves.
    async fn of_leaves(
        &self,
        rows: BooleanBuffer,
        leaves: &BTreeSet<i64>,
    ) -> Result<BooleanBuffer> {
        let (first, last) = self.wanting.leaves;
        let (first, last) = (first.cast_signed(), last.cast_signed());
        let here: Vec<i64> = leaves.range(first..=last.max(first)).copied().collect();
        let (Some(first), Some(last)) = (here.first(), here.last()) else {
            return Ok(BooleanBuffer::new_unset(rows.len()));
        };
        let Some(seq) = self.narrow.number(SEQ) else { return Ok(rows) };
        let Some(seqs) = self.kept(&[seq], true).await?.remove(&seq) else { return Ok(rows) };
        let seqs = seqs.as_primitive::<Int64Type>().values();
        // Far more rows are asked about than leaves are wanted.
        let span = usize::try_from(last - first).unwrap_or(usize::MAX).min(ROWS_MAX);
        let place = |seq: &i64| usize::try_from(seq - first).ok().filter(|place| *place <= span);
        let wanted = set(span + 1, here.iter().filter_map(place).map(|place| (place, true)));
        let is_wanted = |row: usize| {
            let seq = seqs.get(row);
            let seq = seq.filter(|seq| (first..=last).contains(seq));
            seq.is_some_and(|seq| place(seq).is_none_or(|place| wanted.value(place)))
        };
        Ok(set(rows.len(), rows.set_indices().map(|row| (row, is_wanted(row)))))
    }

    /// Those of some rows that pass tests of columns that can be kept.
    async fn by_tests(
        &self,
        rows: BooleanBuffer,
        tests: &[Arc<dyn PhysicalExpr>],
    ) -> Result<BooleanBuffer> {
        let kept = self.kept(&self.narrow.columns, true).await?;
        let known = self.beside(&kept, &rows)?;
        let in_path = |name: &str| self.in_path.iter().any(|(of_path, _)| of_path == name);
        let is_known = |name: &str| known.column_by_name(name).is_some() || in_path(name);
        let given = self.given(&known)?;
        let mut passes = BooleanArray::new(BooleanBuffer::new_set(given.num_rows()), None);
        for test in tests {
            let test = snapshot_physical_expr(Arc::clone(test))?;
            if collect_columns(&test).iter().all(|column| is_known(column.name())) {
                let here = test.evaluate(&given)?.into_array(given.num_rows())?;
                let Some(here) = here.as_boolean_opt() else { continue };
                passes = and_kleene(&passes, here)?;
            }
        }
        let passes = passes.iter().map(|passes| passes == Some(true));
        Ok(set(rows.len(), rows.set_indices().zip(passes)))
    }

    /// Those of some columns that are kept, or are to be from now on.
    async fn kept(&self, columns: &[usize], may_decode: bool) -> Result<Columns> {
        let path = self.wanting.file.object_meta.location.as_ref();
        let (mut kept, mut unknown) = (Columns::new(), Vec::new());
        for at in columns.iter().copied() {
            match self.cache.column(path, at) {
                // Read when the log of the table said something else: `builder` finds out.
                Some(Kept::Column(column)) if column.len() != self.wanting.count => {}
                Some(Kept::Column(column)) => drop(kept.insert(at, column)),
                Some(Kept::TooWide) => {}
                Some(Kept::Asked) => unknown.push((at, true)),
                None => unknown.push((at, may_decode)),
            }
        }
        unknown.retain(|(at, _)| self.narrow.may_be_kept(*at));
        let (unknown, first): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|(_, again)| *again);
        // Of few rows it is not worth it unless it is asked for again.
        for (at, _) in first {
            self.cache.note_asked(path, at);
        }
        let unknown: Vec<usize> = unknown.into_iter().map(|(at, _)| at).collect();
        if unknown.is_empty() {
            return Ok(kept);
        }
        let batches = self.builder(&unknown, &self.narrow.kept_schema).await?;
        let batches = batches.build()?.try_collect::<Vec<_>>().await?;
        for at in unknown {
            let parts = batches.iter().filter_map(|rows| rows.column_by_name(self.narrow.name(at)));
            let parts: Vec<&dyn Array> = parts.map(AsRef::as_ref).collect();
            let column = concat(&parts)?;
            kept.extend(self.cache.keep_column(path, at, &column).map(|column| (at, column)));
        }
        Ok(kept)
    }

    /// Kept columns of some rows.
    fn beside(&self, kept: &Columns, rows: &BooleanBuffer) -> Result<RecordBatch> {
        let count = rows.count_set_bits();
        let predicate = BooleanArray::new(rows.clone(), None);
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let mut add = |at: usize, column: ArrayRef| {
            fields.push(Field::new(self.narrow.name(at), column.data_type().clone(), true));
            columns.push(column);
        };
        if let Some(at) = self.narrow.seq {
            let (first, _) = self.wanting.leaves;
            let seqs = rows.set_indices().map(|row| (first + row as u64).cast_signed());
            add(at, Arc::new(seqs.collect::<Int64Array>()));
        }
        for (at, column) in kept {
            add(*at, filter(column, &predicate)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    /// Rows as they are given, with what stands in the path of the file.
    fn given(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.narrow.given(rows, &self.in_path)
    }

    /// Reads these columns.
    async fn builder(
        &self,
        columns: &[usize],
        schema: &SchemaRef,
    ) -> Result<ParquetRecordBatchStreamBuilder<Box<dyn AsyncFileReader>>> {
        // Nobody asks for its metrics.
        let metrics = ExecutionPlanMetricsSet::new();
        let file = self.wanting.file.clone();
        let reader: Box<dyn AsyncFileReader> =
            self.readers.create_reader(0, file, None, &metrics)?;
        let options = ArrowReaderOptions::new()
            .with_schema(Arc::clone(schema))
            .with_page_index_policy(PageIndexPolicy::Optional);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
        self.wanting.check(builder.metadata(), self.narrow.is_in_order)?;
        let columns = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        let rows = if self.narrow.is_in_order { BATCH_ROWS } else { WIDE_BATCH_ROWS };
        Ok(builder.with_projection(columns).with_batch_size(rows))
    }
}

/// Whether rows are so few that they are looked for.
fn is_few(rows: &BooleanBuffer) -> bool {
    rows.count_set_bits() < rows.len() / FEW
}

/// The columns of both, whose rows are the same.
fn joined(one: &RecordBatch, other: &RecordBatch) -> Result<RecordBatch> {
    let (one_schema, other_schema) = (one.schema(), other.schema());
    let fields = one_schema.fields().iter().chain(other_schema.fields()).cloned();
    let columns = one.columns().iter().chain(other.columns()).cloned();
    let options = RecordBatchOptions::new().with_row_count(Some(one.num_rows()));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new_with_options(schema, columns.collect(), &options)?)
}
