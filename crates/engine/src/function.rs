//! Tests of rows that DataFusion does not have, as functions it can plan with.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, ListArray, MapArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use roaring::RoaringTreemap;

/// What a test does with one batch: the columns it was given, and the row.
type Test = dyn Fn(&[ArrayRef], usize) -> bool + Send + Sync;

/// A test of rows; it is never null.
struct RowTest {
    /// Two tests of one name are the same test.
    name: String,
    signature: Signature,
    test: Arc<Test>,
}

/// Returns an expression that tests each row of some columns.
pub(crate) fn row_test(
    what: &str,
    columns: Vec<Expr>,
    test: impl Fn(&[ArrayRef], usize) -> bool + Send + Sync + 'static,
) -> Expr {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("{what}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let signature = Signature::variadic_any(Volatility::Immutable);
    ScalarUDF::from(RowTest { name, signature, test: Arc::new(test) }).call(columns)
}

impl fmt::Debug for RowTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for RowTest {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RowTest {}

impl Hash for RowTest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for RowTest {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        if columns.iter().any(|column| column.len() != args.number_rows) {
            return exec_err!("{} was given columns of different lengths", self.name);
        }
        let passed = (0..args.number_rows).map(|row| Some((self.test)(&columns, row)));
        Ok(ColumnarValue::Array(Arc::new(passed.collect::<BooleanArray>())))
    }
}

/// Calls `look` with each text in a row of a column: of a text column its value, of a list its
/// elements, of a map its values; bytes are read as UTF-8 as far as they are. Stops at `true`.
pub(crate) fn any_text(column: &ArrayRef, row: usize, look: &mut dyn FnMut(&str) -> bool) -> bool {
    if column.is_null(row) {
        return false;
    }
    let column = column.as_any();
    if let Some(texts) = column.downcast_ref::<StringViewArray>() {
        return look(texts.value(row));
    }
    if let Some(texts) = column.downcast_ref::<StringArray>() {
        return look(texts.value(row));
    }
    if let Some(bytes) = column.downcast_ref::<BinaryArray>() {
        return look(&String::from_utf8_lossy(bytes.value(row)));
    }
    let elements = if let Some(lists) = column.downcast_ref::<ListArray>() {
        lists.value(row)
    } else if let Some(maps) = column.downcast_ref::<MapArray>() {
        Arc::clone(maps.value(row).column(1))
    } else {
        return false;
    };
    (0..elements.len()).any(|element| any_text(&elements, element, look))
}

/// Returns the value under a key in a row of a map.
pub(crate) fn map_value(column: &ArrayRef, row: usize, key: &str) -> Option<String> {
    let maps = column.as_any().downcast_ref::<MapArray>().filter(|maps| maps.is_valid(row))?;
    let entries = maps.value(row);
    let keys = entries.column(0).as_any().downcast_ref::<StringArray>()?;
    let values = entries.column(1).as_any().downcast_ref::<StringArray>()?;
    let at = (0..keys.len()).find(|at| keys.value(*at) == key)?;
    values.is_valid(at).then(|| values.value(at).to_owned())
}

/// Events by cluster and `seq`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventSet(HashMap<String, RoaringTreemap>);

impl EventSet {
    pub(crate) fn insert(&mut self, cluster: &str, seq: u64) {
        match self.0.get_mut(cluster) {
            Some(seqs) => seqs.insert(seq),
            None => self.0.entry(cluster.to_owned()).or_default().insert(seq),
        };
    }

    pub(crate) fn contains(&self, cluster: &str, seq: u64) -> bool {
        self.0.get(cluster).is_some_and(|seqs| seqs.contains(seq))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.values().map(RoaringTreemap::len).sum()
    }

    /// By cluster, each `seq`.
    pub(crate) fn places(&self) -> HashMap<String, BTreeSet<u64>> {
        self.0.iter().map(|(cluster, seqs)| (cluster.clone(), seqs.iter().collect())).collect()
    }

    /// An expression that holds for the rows of these events.
    pub(crate) fn expression(self: Arc<Self>, cluster: Expr, seq: Expr) -> Expr {
        row_test("is_one_of", vec![cluster, seq], move |columns, row| {
            let [clusters, seqs] = columns else { return false };
            let clusters = clusters.as_any().downcast_ref::<StringViewArray>();
            let seqs = seqs.as_any().downcast_ref::<Int64Array>();
            let (Some(clusters), Some(seqs)) = (clusters, seqs) else { return false };
            self.contains(clusters.value(row), seqs.value(row).cast_unsigned())
        })
    }
}
