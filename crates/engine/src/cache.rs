//! What the answers of one process share: footers of files, their indexes of words, narrow columns,
//! and the marks in them. Files never change, so that nothing here is ever out of date; what is too
//! much is let go. How files are read is [`crate::table`]'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Builder, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{ArrowDictionaryKeyType, DataType, Int32Type, UInt8Type, UInt16Type};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::runtime_env::RuntimeEnv;
use quick_cache::Weighter;
use whodid_store::{DataFile, Snapshot, Table, WordIndex};

use crate::error::Result;

/// Footers and page indexes, in bytes.
const FOOTERS_MAX: usize = 64 << 20;

/// Indexes of words, in bytes.
const WORDS_MAX: u64 = 128 << 20;

/// Columns, in bytes.
const COLUMNS_MAX: u64 = 256 << 20;

/// A column that takes more for each row is not kept, beside what each takes that has a few rows.
const ROW_BYTES_MAX: usize = 8;
const FEW_BYTES: usize = 4_096;

/// No more values of a column are told apart.
const DISTINCT_MAX: usize = u16::MAX as usize;

/// So many files of one kind are thought to be asked for.
const FILES: usize = 1_000;

/// What is kept between answers; clones share it. One for each record.
#[derive(Clone)]
pub struct Cache {
    pub(crate) footers: Arc<FileMetadataCache>,
    words: Arc<quick_cache::sync::Cache<String, Option<Arc<WordIndex>>, Weight>>,
    columns: Arc<quick_cache::sync::Cache<(String, usize), Kept, Weight>>,
    marks: Arc<Mutex<HashMap<String, Arc<[Mark]>>>>,
}

/// What an event that is no duplicate says of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) twin: u64,
    pub(crate) is_conflict: bool,
}

/// What is known of a column.
#[derive(Clone)]
pub(crate) enum Kept {
    /// All of its rows; texts by the smallest numbers that tell them apart.
    Column(ArrayRef),
    /// It is not kept.
    TooWide,
    /// It was asked for, of so few rows that nobody read all of it.
    Asked,
}

/// What each takes of what there may be, in bytes.
#[derive(Clone)]
struct Weight;

impl Weighter<String, Option<Arc<WordIndex>>> for Weight {
    fn weight(&self, path: &String, index: &Option<Arc<WordIndex>>) -> u64 {
        (path.len() + index.as_ref().map_or(0, |index| index.memory())) as u64
    }
}

impl Weighter<(String, usize), Kept> for Weight {
    fn weight(&self, (path, _): &(String, usize), kept: &Kept) -> u64 {
        let memory = match kept {
            Kept::Column(column) => column.get_array_memory_size(),
            Kept::TooWide | Kept::Asked => 0,
        };
        (path.len() + memory) as u64
    }
}

impl Default for Cache {
    fn default() -> Self {
        let footers = RuntimeEnv::default().cache_manager.get_file_metadata_cache();
        footers.update_cache_limit(FOOTERS_MAX);
        let words = quick_cache::sync::Cache::with_weighter(FILES, WORDS_MAX, Weight);
        let columns = quick_cache::sync::Cache::with_weighter(8 * FILES, COLUMNS_MAX, Weight);
        Cache { footers, words: words.into(), columns: columns.into(), marks: Arc::default() }
    }
}

impl Cache {
    /// The index of words of a file, if it has one.
    pub(crate) async fn words(
        &self,
        snapshot: &Snapshot,
        table: Table,
        file: &DataFile,
    ) -> Result<Option<Arc<WordIndex>>> {
        if let Some(known) = self.words.get(&file.path) {
            return Ok(known);
        }
        let index = snapshot.word_index(table, file).await?.map(Arc::new);
        self.words.insert(file.path.clone(), index.clone());
        Ok(index)
    }

    /// A column of a file by its number, if it was looked at already.
    pub(crate) fn column(&self, path: &str, at: usize) -> Option<Kept> {
        self.columns.get(&(path.to_owned(), at))
    }

    /// Notes that a column of a file was asked for.
    pub(crate) fn note_asked(&self, path: &str, at: usize) {
        self.columns.insert((path.to_owned(), at), Kept::Asked);
    }

    /// Keeps a column of a file, if it is narrow; what comes back is what is kept.
    pub(crate) fn keep_column(&self, path: &str, at: usize, column: &ArrayRef) -> Option<ArrayRef> {
        let narrow = narrow(column);
        let kept = narrow.clone().map_or(Kept::TooWide, Kept::Column);
        self.columns.insert((path.to_owned(), at), kept);
        narrow
    }

    /// The marks in a file of events, if they were read already.
    pub(crate) fn marks(&self, file: &DataFile) -> Option<Arc<[Mark]>> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(&file.path).cloned()
    }

    /// Keeps the marks in files of events, and lets go of those in files that are there no more.
    pub(crate) fn keep_marks(&self, live: &[DataFile], read: Vec<(String, Arc<[Mark]>)>) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.extend(read);
        if marks.len() > 2 * live.len() {
            let live: std::collections::HashSet<&str> =
                live.iter().map(|file| file.path.as_str()).collect();
            marks.retain(|path, _| live.contains(path.as_str()));
        }
    }
}

/// A column in little memory; `None` if it takes too much.
fn narrow(column: &ArrayRef) -> Option<ArrayRef> {
    let small = |all: &DictionaryArray<Int32Type>| {
        numbered::<UInt8Type>(all).or_else(|| numbered::<UInt16Type>(all))
    };
    let narrow = match (column.as_dictionary_opt::<Int32Type>(), column.data_type()) {
        (Some(texts), _) => small(texts)?,
        (None, DataType::List(_)) => small(&told_apart(column)?)?,
        // Codes are few.
        (None, DataType::Int32) => {
            let few = told_apart(column).and_then(|codes| small(&codes));
            few.unwrap_or_else(|| Arc::clone(column))
        }
        _ => Arc::clone(column),
    };
    let is_narrow = narrow.get_array_memory_size() <= ROW_BYTES_MAX * column.len() + FEW_BYTES;
    is_narrow.then_some(narrow)
}

/// Each value once, and of each row the number of its value; `None` if rows differ so much that
/// numbers would take more than they spare.
fn told_apart(column: &ArrayRef) -> Option<DictionaryArray<Int32Type>> {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).ok()?;
    let rows = converter.convert_columns(&[Arc::clone(column)]).ok()?;
    let mut numbers = HashMap::new();
    let mut first_rows = Vec::new();
    let mut keys = Int32Builder::with_capacity(column.len());
    for (row, value) in (0_u64..).zip(rows.iter()) {
        if column.is_null(usize::try_from(row).ok()?) {
            keys.append_null();
            continue;
        }
        let number = *numbers.entry(value).or_insert_with(|| {
            first_rows.push(row);
            first_rows.len() - 1
        });
        if number > DISTINCT_MAX {
            return None;
        }
        keys.append_value(i32::try_from(number).ok()?);
    }
    let values = take(column, &UInt64Array::from(first_rows), None).ok()?;
    DictionaryArray::try_new(keys.finish(), values).ok()
}

/// A dictionary with numbers of another type, if they are enough for it.
fn numbered<K: ArrowDictionaryKeyType>(texts: &DictionaryArray<Int32Type>) -> Option<ArrayRef> {
    let last = i32::try_from(texts.values().len().saturating_sub(1)).ok()?;
    let last = arrow::array::Int32Array::from_value(last, 1);
    cast(&last, &K::DATA_TYPE).ok().filter(|last| last.null_count() == 0)?;
    let keys = cast(texts.keys(), &K::DATA_TYPE).ok()?;
    let keys = keys.as_primitive::<K>().clone();
    Some(Arc::new(DictionaryArray::try_new(keys, Arc::clone(texts.values())).ok()?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, ListBuilder, StringBuilder};

    use super::*;

    fn lists(rows: impl IntoIterator<Item = Option<Vec<String>>>) -> ArrayRef {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in rows {
            lists.append_option(row.map(|texts| texts.into_iter().map(Some)));
        }
        Arc::new(lists.finish())
    }

    #[test]
    fn lists_are_kept_by_their_numbers() {
        let row = |row: usize| match row % 5 {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![String::new()]),
            few => Some((0..few).map(|at| format!("group-{}", (row + at) % 300)).collect()),
        };
        let column = lists((0..5_000).map(row));
        let kept = narrow(&column).unwrap();
        assert!(matches!(kept.data_type(), DataType::Dictionary(..)), "{}", kept.data_type());
        assert!(kept.get_array_memory_size() < column.get_array_memory_size() / 4);
        assert_eq!(&cast(&kept, column.data_type()).unwrap(), &column);
        assert!(narrow(&lists([])).unwrap().is_empty());
    }

    #[test]
    fn numbers_are_kept_by_their_numbers_if_they_are_few() {
        for (distinct, width) in [(10, 1), (1_000, 2), (DISTINCT_MAX + 2, 4)] {
            let rows = (0..100_000).map(|row| (row % 7 > 0).then_some(row % distinct));
            let rows = rows.map(|row| row.map(|row| i32::try_from(row).unwrap()));
            let column: ArrayRef = Arc::new(rows.collect::<Int32Array>());
            let kept = narrow(&column).unwrap();
            assert_eq!(&cast(&kept, column.data_type()).unwrap(), &column);
            let bytes = kept.get_array_memory_size() / column.len();
            assert_eq!(bytes, width, "{distinct} numbers");
        }
    }

    #[test]
    fn lists_that_differ_are_not_kept() {
        let row = |row: usize| Some(vec![format!("address-{row}")]);
        for (rows, is_kept) in [(DISTINCT_MAX / 100, true), (DISTINCT_MAX + 2, false)] {
            let column = lists((0..10 * rows).map(|at| row(at % rows)));
            assert_eq!(narrow(&column).is_some(), is_kept, "{rows} lists");
        }
    }
}
