//! Reading few columns of a table for filters that test single columns: a text is tested once for
//! a file's dictionary, not once for each row that has it. Which files and rows are read at all,
//! and what is done about other filters, [`crate::table`] says; [`read`] reads a file, and
//! [`later`] says what a running plan adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, DictionaryArray, RecordBatch,
    RecordBatchOptions, downcast_dictionary_array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, concat, filter, take};
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, DataType, Field, Schema, SchemaRef,
};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::physical_expr::PhysicalExpr;
use whodid_store::Table;

mod distinct;
mod equal;
mod later;
mod read;
mod wanting;

pub(crate) use distinct::Distinct;
pub(crate) use later::Later;
pub(crate) use read::Scan;
pub(crate) use wanting::Wanting;

/// Of columns that are kept, one row of so many is looked at alone, and one of so many if what it
/// says has to be looked up.
const SPARSE: usize = 64;
const SPARSE_TO_LOOK_UP: usize = 4;

/// Where an event stands in the log. Events in a file follow one another: of these it is not read.
const SEQ: &str = "seq";

/// What nobody thinks of keeping, or of testing text by text.
const WIDE: &str = "json";

/// What is read of each file, and what is made of it.
#[derive(Debug)]
pub(crate) struct Narrow {
    /// What is given.
    schema: SchemaRef,
    /// How files are read: columns that are tested as dictionaries.
    file_schema: SchemaRef,
    /// How columns are read that are to be kept: all texts as dictionaries.
    kept_schema: SchemaRef,
    /// The columns of it that are needed.
    columns: Vec<usize>,
    /// Those of them that are tested; where an event stands is not read to test it.
    tested: Vec<usize>,
    /// Where events stand in the log, if that is among what is needed and need not be read.
    seq: Option<usize>,
    /// Whether rows of a file follow one another in the log.
    is_in_order: bool,
    tests: Vec<Test>,
    /// Of a table whose rows are wide, tests of more than one column that need none of the wide.
    early: Vec<Arc<dyn PhysicalExpr>>,
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

/// Filters, by who tests them.
#[derive(Default)]
pub(crate) struct Filters {
    /// Those of a single column, by its name: [`Narrow`] does.
    by_column: BTreeMap<String, Vec<Expr>>,
    /// The others: whoever reads it.
    pub(crate) rest: Vec<Expr>,
}

impl Filters {
    /// Deals filters of a table out.
    pub(crate) fn of(file_schema: &Schema, filters: &[Expr]) -> Self {
        let mut dealt = Filters::default();
        for filter in filters.iter().flat_map(split_conjunction) {
            match single_column(file_schema, filter) {
                Some(column) => dealt.by_column.entry(column).or_default().push(filter.clone()),
                None => dealt.rest.push(filter.clone()),
            }
        }
        dealt
    }

    /// Whether none tests a single column.
    pub(crate) fn is_for_others(&self) -> bool {
        self.by_column.is_empty()
    }
}

/// The one column that a filter is a test of, if it is tested for itself.
fn single_column(file_schema: &Schema, filter: &Expr) -> Option<String> {
    let columns = filter.column_refs();
    let mut columns = columns.iter().map(|column| column.name());
    let (Some(column), None) = (columns.next(), columns.next()) else { return None };
    let (_, field) = file_schema.column_with_name(column)?;
    let has_values = matches!(field.data_type(), DataType::Utf8View | DataType::List(_));
    // A function of each row is called sooner for those that pass the rest.
    (column != WIDE && (has_values || !calls(filter))).then(|| column.to_owned())
}

impl Narrow {
    /// `given` is what is wanted of the table.
    pub(crate) fn new(
        state: &dyn Session,
        (table, file_schema): (Table, &SchemaRef),
        given: SchemaRef,
        Filters { by_column, rest }: Filters,
    ) -> Result<Self> {
        let mut tests = tests(state, file_schema, by_column)?;
        tests.sort_by_key(|test| !test.is_text);
        let early = match table {
            Table::Bodies => early(state, &given, &rest)?,
            Table::Events => Vec::new(),
        };
        let is_tested = |name: &str| tests.iter().any(|test| test.column == name);
        let is_needed = |name: &str| is_tested(name) || given.column_with_name(name).is_some();
        let numbers = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let fields = file_schema.fields().iter().enumerate();
            fields.filter(|(_, field)| is_wanted(field.name())).map(|(at, _)| at).collect()
        };
        let columns = numbers(&is_needed);
        let is_in_order = table == Table::Events;
        let is_read = |name: &str| !is_in_order || name != SEQ;
        let tested = numbers(&|name| is_tested(name) && is_read(name));
        let seq = numbers(&|name| is_needed(name) && !is_read(name)).first().copied();
        let kept_schema = with_dictionaries(file_schema, |_| true);
        let file_schema = with_dictionaries(file_schema, is_tested);
        Ok(Narrow {
            schema: given,
            file_schema,
            kept_schema,
            columns,
            tested,
            seq,
            is_in_order,
            tests,
            early,
        })
    }

    /// What is given.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The name of a column.
    fn name(&self, at: usize) -> &str {
        self.file_schema.fields().get(at).map_or("", |field| field.name())
    }

    /// The number of a column.
    fn number(&self, name: &str) -> Option<usize> {
        self.file_schema.index_of(name).ok()
    }

    /// Whether a column is among what is given.
    fn is_given(&self, at: usize) -> bool {
        self.schema.column_with_name(self.name(at)).is_some()
    }

    /// Whether rows of a column may be so narrow that all of them can be kept.
    fn may_be_kept(&self, at: usize) -> bool {
        let field = self.kept_schema.fields().get(at).filter(|field| field.name() != WIDE);
        field.map(|field| field.data_type()).is_some_and(|kind| {
            let has_values = matches!(kind, DataType::Dictionary(..) | DataType::List(_));
            has_values || *kind == DataType::Boolean || kind.is_primitive()
        })
    }

    /// Which of some rows of a file pass the tests of these columns, of which all rows are there.
    fn passing_kept(
        &self,
        columns: &BTreeMap<usize, ArrayRef>,
        rows: &BooleanBuffer,
    ) -> Result<BooleanBuffer> {
        let test_of = |at: usize| self.tests.iter().find(|test| test.column == self.name(at));
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for (at, column) in columns {
            let Some(test) = test_of(*at) else { continue };
            match column.as_any_dictionary_opt() {
                Some(dictionary) => texts.push((Known::new(dictionary.values(), test)?, column)),
                None => others.push((test, column)),
            }
        }
        // What few texts pass, few rows do.
        texts.sort_by_key(|(known, _)| known.share());
        let mut passes = rows.clone();
        for (known, column) in texts {
            passes = known.of(column, &passes);
        }
        for (test, column) in others {
            passes = test.among(column, &passes)?;
        }
        Ok(passes)
    }

    /// The numbers of the tests of columns that are not among these.
    fn tests_beside(&self, columns: &BTreeMap<usize, ArrayRef>) -> Vec<(usize, Option<Known>)> {
        let is_done = |test: &Test| columns.keys().any(|at| self.name(*at) == test.column);
        let tests = self.tests.iter().enumerate().filter(|(_, test)| !is_done(test));
        tests.map(|(at, _)| (at, None)).collect()
    }

    /// Which of some rows of a file pass the tests that are left, by their numbers; `before` is
    /// what is known of them.
    fn passing(
        &self,
        rows: &RecordBatch,
        before: BooleanBuffer,
        left: &mut [(usize, Option<Known>)],
    ) -> Result<BooleanBuffer> {
        let mut passes = before;
        // Texts first: often they leave nothing.
        for (at, known) in left {
            let Some(test) = self.tests.get(*at) else { continue };
            let Some(column) = rows.column_by_name(&test.column) else { continue };
            if passes.count_set_bits() == 0 {
                break;
            }
            passes = match column.as_any_dictionary_opt() {
                Some(texts) => known_of(known, texts.values(), test)?.of(column, &passes),
                None => test.among(column, &passes)?,
            };
        }
        Ok(passes)
    }

    /// Rows as they are given, with what stands in the path of their file.
    fn given(&self, rows: &RecordBatch, path: &[(String, ScalarValue)]) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let column = |field: &Arc<Field>| {
            if let Some(column) = rows.column_by_name(field.name()) {
                return spelled_out(column, field.data_type());
            }
            match path.iter().find(|(name, _)| name == field.name()) {
                Some((_, value)) => value.to_array_of_size(count),
                None => Ok(new_null_array(field.data_type(), count)),
            }
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Test {
    /// Which of some rows pass.
    fn among(&self, column: &ArrayRef, rows: &BooleanBuffer) -> Result<BooleanBuffer> {
        if !is_sparse(rows, SPARSE) {
            return Ok(rows & &self.of(column)?);
        }
        let few = filter(column, &BooleanArray::new(rows.clone(), None))?;
        let passes = if few.is_empty() { rows.clone() } else { self.of(&few)? };
        Ok(set(rows.len(), rows.set_indices().zip(&passes)))
    }

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

/// A test of each of these columns.
fn tests(
    state: &dyn Session,
    file_schema: &SchemaRef,
    by_column: BTreeMap<String, Vec<Expr>>,
) -> Result<Vec<Test>> {
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
    Ok(tests)
}

/// Those of some filters that need several columns, nothing wide, and nothing that is not given.
fn early(
    state: &dyn Session,
    given: &SchemaRef,
    filters: &[Expr],
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let typed = DFSchema::try_from(Arc::clone(given))?;
    let is_narrow = |name: &str| name != WIDE && given.column_with_name(name).is_some();
    let is_early = |filter: &&Expr| {
        let columns = filter.column_refs();
        columns.len() > 1 && columns.iter().all(|column| is_narrow(column.name()))
    };
    let filters = filters.iter().filter(is_early);
    filters.map(|filter| state.create_physical_expr(filter.clone(), &typed)).collect()
}

/// Whether rows are fewer than one in so many.
fn is_sparse(rows: &BooleanBuffer, share: usize) -> bool {
    rows.count_set_bits() < rows.len() / share
}

/// So many rows, of which these are set.
fn set(rows: usize, these: impl Iterator<Item = (usize, bool)>) -> BooleanBuffer {
    let mut set = BooleanBufferBuilder::new(rows);
    set.append_n(rows, false);
    these.filter(|(_, is_set)| *is_set).for_each(|(row, _)| set.set_bit(row, true));
    set.finish()
}

/// Whether a filter calls a function.
fn calls(filter: &Expr) -> bool {
    filter.exists(|part| Ok(matches!(part, Expr::ScalarFunction(_)))).unwrap_or(true)
}

/// A column as another type. Texts by their places in a dictionary are views of these texts.
fn spelled_out(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    match column.as_any_dictionary_opt() {
        // Of few rows fewer texts are looked at.
        Some(texts) if *kind == DataType::Utf8View && texts.values().len() <= column.len() => {
            Ok(take(&cast(texts.values(), kind)?, texts.keys(), None)?)
        }
        _ => Ok(cast(column, kind)?),
    }
}

/// Some of the texts by their places in a dictionary.
fn with_dictionaries(schema: &SchemaRef, is_meant: impl Fn(&str) -> bool) -> SchemaRef {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View if is_meant(field.name()) => {
            Arc::new(field.as_ref().clone().with_data_type(dictionary.clone()))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Which texts of a dictionary pass.
struct Known {
    /// The dictionary, which stays as long as it is known by where it is.
    texts: ArrayRef,
    passes: Vec<bool>,
    /// Whether a row passes that has no text.
    none_passes: bool,
    /// Whether any text passes.
    all_pass: bool,
    /// The one text that passes, if there is just one.
    only: Option<usize>,
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
        let kind = test.schema.field(0).data_type();
        let all = concat(&[&cast(texts, kind)?, &new_null_array(kind, 1)])?;
        let mut passes: Vec<bool> = test.of(&all)?.iter().collect();
        let none_passes = passes.pop().unwrap_or_default();
        let mut passing = (0..).zip(&passes).filter(|(_, passes)| **passes).map(|(at, _)| at);
        let only = passing.next().filter(|_| passing.next().is_none());
        let all_pass = !passes.contains(&false);
        Ok(Known { texts: Arc::clone(texts), passes, none_passes, all_pass, only })
    }

    /// How many of a thousand texts pass.
    fn share(&self) -> usize {
        let passing = self.passes.iter().filter(|passes| **passes).count();
        (1_000 * passing).checked_div(self.passes.len()).unwrap_or_default()
    }

    /// Which of some rows pass, by texts of this dictionary.
    fn of(&self, column: &ArrayRef, among: &BooleanBuffer) -> BooleanBuffer {
        if !self.none_passes && !self.passes.contains(&true) {
            return BooleanBuffer::new_unset(among.len());
        }
        downcast_dictionary_array!(
            column => self.of_keys(column, among),
            // Whoever has a dictionary has a column of it.
            _ => among.clone()
        )
    }

    fn of_keys<K: ArrowDictionaryKeyType>(
        &self,
        rows: &DictionaryArray<K>,
        among: &BooleanBuffer,
    ) -> BooleanBuffer {
        let keys = rows.keys();
        if self.all_pass {
            let nulls = keys.nulls().filter(|_| !self.none_passes);
            return nulls.map_or_else(|| among.clone(), |nulls| nulls.inner() & among);
        }
        let passes = |row: usize| {
            let at = keys.values().get(row).map(|key| key.as_usize());
            at.and_then(|at| self.passes.get(at)).copied().unwrap_or_default()
        };
        let share = if self.only.is_some() { SPARSE } else { SPARSE_TO_LOOK_UP };
        if is_sparse(among, share) {
            let is_passing =
                |row: usize| if keys.is_valid(row) { passes(row) } else { self.none_passes };
            let rows = among.set_indices().map(|row| (row, is_passing(row)));
            return set(among.len(), rows);
        }
        // Most tests are for one text: many keys are compared at once.
        let compared = self.only.and_then(|only| equal::places(keys, only));
        let texts = compared.unwrap_or_else(|| BooleanBuffer::collect_bool(keys.len(), passes));
        let here = match keys.nulls() {
            None => texts,
            Some(nulls) if self.none_passes => &(&texts & nulls.inner()) | &!nulls.inner(),
            Some(nulls) => &texts & nulls.inner(),
        };
        &here & among
    }
}
