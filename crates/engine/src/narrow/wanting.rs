//! Which rows of a file are wanted, as [`crate::table`] says by the log of the table; whether the
//! file is what that log says of it.

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use datafusion::common::{Result, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::SEQ;

/// No file has more: whatever the log of a table says, no more memory is asked for.
pub(super) const ROWS_MAX: usize = 1 << 24;

/// A file, and which of its rows are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanting {
    pub(crate) file: PartitionedFile,
    /// `None` if that may be any.
    pub(crate) rows: Option<RowSelection>,
    /// How many it has.
    pub(crate) count: usize,
    /// The leaves of its rows, the first and the last.
    pub(crate) leaves: (u64, u64),
}

impl Wanting {
    /// How many rows are wanted at most.
    pub(crate) fn rows_max(&self) -> usize {
        self.rows.as_ref().map_or(self.count, RowSelection::row_count)
    }

    /// The rows that may be wanted.
    pub(super) fn mask(&self) -> Result<BooleanBuffer> {
        let count = self.count;
        if count > ROWS_MAX {
            let path = &self.file.object_meta.location;
            return exec_err!("{path}: the log of its table says that it has {count} rows");
        }
        Ok(match &self.rows {
            Some(rows) => mask(rows, count),
            None => BooleanBuffer::new_set(count),
        })
    }

    /// Holds what the log of the table says of the file against what the file says: by that log
    /// rows are chosen, and told where they stand.
    pub(super) fn check(&self, file: &ParquetMetaData, is_in_order: bool) -> Result<()> {
        let (count, first) = (self.count, self.leaves.0);
        let rows = file.file_metadata().num_rows();
        let leaf = first_leaf(file).filter(|_| is_in_order);
        if usize::try_from(rows) == Ok(count) && leaf.is_none_or(|leaf| leaf == first.cast_signed())
        {
            return Ok(());
        }
        let path = &self.file.object_meta.location;
        let leaf = leaf.unwrap_or_default();
        exec_err!(
            "{path} has {rows} rows from leaf {leaf}, and the log of its table says {count} from \
             {first}: run `whodid verify`"
        )
    }
}

/// The first leaf in a file, if it says so.
fn first_leaf(file: &ParquetMetaData) -> Option<i64> {
    let columns = file.row_groups().first()?.columns();
    match columns.iter().find(|column| column.column_path().string() == SEQ)?.statistics()? {
        Statistics::Int64(values) => values.min_opt().copied(),
        _ => None,
    }
}

/// Which of so many rows are selected.
fn mask(rows: &RowSelection, count: usize) -> BooleanBuffer {
    if let Some(mask) = rows.as_mask().filter(|mask| mask.len() == count) {
        return mask.clone();
    }
    let mut mask = BooleanBufferBuilder::new(count);
    for run in rows.iter() {
        mask.append_n(run.row_count, !run.skip);
    }
    mask.resize(count);
    mask.finish()
}
