//! Reading few columns of `events` for filters that test single texts: each is tested once for a
//! text of a file's dictionary, not once for each row that has it. More may be given than passes:
//! whoever asks filters again. Which files and rows are read at all, [`crate::table`] says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, RecordBatchOptions,
    new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, concat, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::PageIndexPolicy;

/// So many rows are looked at at once.
const BATCH_ROWS: usize = 32_768;

/// What is read of each file, and what is made of it.
#[derive(Debug)]
pub(crate) struct Narrow {
    /// What is given.
    schema: SchemaRef,
    /// How files are read: columns that are tested as dictionaries.
    file_schema: SchemaRef,
    /// The columns of it that are read.
    columns: Vec<usize>,
    tests: Vec<Test>,
}

/// A test of one column.
#[derive(Debug)]
struct Test {
    column: String,
    /// Whether it is a text, which is tested once.
    is_text: bool,
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

impl Narrow {
    /// `None` if no filter tests a single text. `schema` is that of the table, `given` what of it
    /// is wanted.
    pub(crate) fn new(
        state: &dyn Session,
        file_schema: &SchemaRef,
        given: SchemaRef,
        filters: &[Expr],
    ) -> Result<Option<Self>> {
        let mut by_column: BTreeMap<String, Vec<Expr>> = BTreeMap::new();
        for filter in filters.iter().flat_map(split_conjunction) {
            let columns = filter.column_refs();
            let mut columns = columns.iter().map(|column| column.name());
            let (Some(column), None) = (columns.next(), columns.next()) else { continue };
            let is_text = |field: &Field| *field.data_type() == DataType::Utf8View;
            let field = file_schema.column_with_name(column).map(|(_, field)| field);
            // A function of each row is called sooner for those that pass the rest.
            if field.is_some_and(|field| is_text(field) || !calls(filter)) {
                by_column.entry(column.to_owned()).or_default().push(filter.clone());
            }
        }
        let mut tests = Vec::new();
        for (column, exprs) in by_column {
            let field = file_schema.field_with_name(&column)?.clone().with_nullable(true);
            let is_text = *field.data_type() == DataType::Utf8View;
            let schema = Arc::new(Schema::new(vec![field]));
            let typed = DFSchema::try_from(Arc::clone(&schema))?;
            let Some(expr) = conjunction(exprs) else { continue };
            let expr = state.create_physical_expr(expr, &typed)?;
            tests.push(Test { column, is_text, expr, schema });
        }
        tests.sort_by_key(|test| !test.is_text);
        if !tests.iter().any(|test| test.is_text) {
            return Ok(None);
        }
        let is_text = |name: &str| tests.iter().any(|test| test.column == name && test.is_text);
        let is_tested = |name: &str| tests.iter().any(|test| test.column == name);
        let columns = file_schema.fields().iter().enumerate();
        let columns = columns.filter(|(_, field)| {
            is_tested(field.name()) || given.column_with_name(field.name()).is_some()
        });
        let columns = columns.map(|(at, _)| at).collect();
        let read = file_schema.fields().iter().map(|field| {
            if is_text(field.name()) {
                Arc::new(field.as_ref().clone().with_data_type(dictionary()))
            } else {
                Arc::clone(field)
            }
        });
        let file_schema = Arc::new(Schema::new(read.collect::<Vec<_>>()));
        Ok(Some(Narrow { schema: given, file_schema, columns, tests }))
    }

    /// What is given.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What passes of some rows of a file.
    fn passing(&self, rows: &RecordBatch, known: &mut [Option<Known>]) -> Result<RecordBatch> {
        let mut passes: Option<BooleanBuffer> = None;
        // Texts first: often they leave nothing.
        for (test, known) in self.tests.iter().zip(known) {
            let Some(column) = rows.column_by_name(&test.column) else { continue };
            let here = if let Some(texts) = column.as_dictionary_opt::<Int32Type>() {
                known_of(known, texts.values(), test)?.of(texts)
            } else {
                test.of(column)?
            };
            passes = Some(match passes {
                Some(before) => &before & &here,
                None => here,
            });
            if passes.as_ref().is_some_and(|passes| passes.count_set_bits() == 0) {
                break;
            }
        }
        let Some(passes) = passes else { return Ok(rows.clone()) };
        Ok(filter_record_batch(rows, &BooleanArray::new(passes, None))?)
    }

    /// Rows as they are given, with what stands in the path of their file.
    fn given(&self, rows: &RecordBatch, path: &[(&str, &ScalarValue)]) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let column = |field: &Arc<Field>| {
            if let Some(column) = rows.column_by_name(field.name()) {
                return Ok(cast(column, field.data_type())?);
            }
            let value = path.iter().find(|(name, _)| name == field.name());
            value.map_or(&ScalarValue::Null, |(_, value)| *value).to_array_of_size(count)
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Test {
    /// Which values pass.
    fn of(&self, values: &ArrayRef) -> Result<BooleanBuffer> {
        let count = values.len();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::clone(values)])?;
        let passes = self.expr.evaluate(&rows)?.into_array(count)?;
        let Some(passes) = passes.as_boolean_opt() else {
            return Err(DataFusionError::Internal(format!("{} is no test", self.expr)));
        };
        Ok(match passes.nulls() {
            Some(nulls) => passes.values() & nulls.inner(),
            None => passes.values().clone(),
        })
    }
}

/// Whether a filter calls a function.
fn calls(filter: &Expr) -> bool {
    filter.exists(|part| Ok(matches!(part, Expr::ScalarFunction(_)))).unwrap_or(true)
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Which texts of a dictionary pass.
struct Known {
    /// The dictionary, which stays as long as it is known by where it is.
    texts: ArrayRef,
    passes: Vec<bool>,
    /// Whether a row passes that has no text.
    none_passes: bool,
}

/// Rows that come one after another have the same dictionary, which is tested once.
fn known_of<'k>(known: &'k mut Option<Known>, texts: &ArrayRef, test: &Test) -> Result<&'k Known> {
    let place = |texts: &ArrayRef| {
        let texts = texts.as_string_opt::<i32>()?;
        Some((texts.value_offsets().as_ptr(), texts.value_data().as_ptr(), texts.len()))
    };
    let fresh = match known.take() {
        Some(known) if place(&known.texts).is_some() && place(&known.texts) == place(texts) => {
            known
        }
        _ => Known::new(texts, test)?,
    };
    Ok(known.insert(fresh))
}

impl Known {
    fn new(texts: &ArrayRef, test: &Test) -> Result<Self> {
        let views = cast(texts, &DataType::Utf8View)?;
        let all = concat(&[&views, &new_null_array(&DataType::Utf8View, 1)])?;
        let mut passes: Vec<bool> = test.of(&all)?.iter().collect();
        let none_passes = passes.pop().unwrap_or_default();
        Ok(Known { texts: Arc::clone(texts), passes, none_passes })
    }

    /// Which rows pass.
    fn of(&self, rows: &DictionaryArray<Int32Type>) -> BooleanBuffer {
        let keys = rows.keys();
        let passes = |row: usize| {
            let at = keys.values().get(row).and_then(|key| usize::try_from(*key).ok());
            at.and_then(|at| self.passes.get(at)).copied().unwrap_or_default()
        };
        let texts = BooleanBuffer::collect_bool(keys.len(), passes);
        match keys.nulls() {
            None => texts,
            Some(nulls) if self.none_passes => &(&texts & nulls.inner()) | &!nulls.inner(),
            Some(nulls) => &texts & nulls.inner(),
        }
    }
}

/// A file, and the rows of it that are wanted if that is known.
pub(crate) type Wanting = (PartitionedFile, Option<RowSelection>);

/// Some files, which are read one after another.
pub(crate) struct Scan {
    pub(crate) narrow: Arc<Narrow>,
    pub(crate) readers: Arc<dyn ParquetFileReaderFactory>,
    pub(crate) files: Vec<Wanting>,
    /// The columns that stand in the path of a file.
    pub(crate) in_path: Vec<String>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("narrow", &self.narrow).finish_non_exhaustive()
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.narrow.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (narrow, readers) = (Arc::clone(&self.narrow), Arc::clone(&self.readers));
        let in_path = self.in_path.clone();
        let schema = Arc::clone(&narrow.schema);
        let batches = stream::iter(self.files.clone()).then(move |file| {
            read(Arc::clone(&narrow), Arc::clone(&readers), in_path.clone(), file)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches.try_flatten()))
    }
}

/// The rows of a file that pass, and some more.
async fn read(
    narrow: Arc<Narrow>,
    readers: Arc<dyn ParquetFileReaderFactory>,
    in_path: Vec<String>,
    (file, wanted): Wanting,
) -> Result<impl Stream<Item = Result<RecordBatch>>> {
    let values = file.partition_values.clone();
    // Nobody asks for its metrics.
    let metrics = ExecutionPlanMetricsSet::new();
    let reader: Box<dyn AsyncFileReader> = readers.create_reader(0, file, None, &metrics)?;
    let options = ArrowReaderOptions::new()
        .with_schema(Arc::clone(&narrow.file_schema))
        .with_page_index_policy(PageIndexPolicy::Optional);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?;
    let columns = ProjectionMask::roots(builder.parquet_schema(), narrow.columns.iter().copied());
    let mut builder = builder.with_projection(columns).with_batch_size(BATCH_ROWS);
    if let Some(wanted) = wanted {
        builder = builder.with_row_selection(wanted);
    }
    let mut known: Vec<Option<Known>> = narrow.tests.iter().map(|_| None).collect();
    let passing = builder.build()?.map(move |rows| {
        let passing = narrow.passing(&rows?, &mut known)?;
        let path = in_path.iter().map(String::as_str).zip(&values);
        narrow.given(&passing, &path.collect::<Vec<_>>())
    });
    let is_some = |rows: &Result<RecordBatch>| {
        let is_empty = rows.as_ref().is_ok_and(|rows| rows.num_rows() == 0);
        std::future::ready(!is_empty)
    };
    Ok(passing.filter(is_some))
}
