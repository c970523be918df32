//! What is known of files without opening them, as DataFusion asks for it: which to leave closed is
//! decided by that. What is read of the others, [`crate::table`] says.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::SchemaRef;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ScalarValue, Statistics};
use whodid_event::time;
use whodid_store::DataFile;

/// What is known of one file without opening it, so that a search for the newest rows can leave
/// it closed.
pub(super) fn statistics(schema: &SchemaRef, file: &DataFile) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows =
        Precision::Inexact(usize::try_from(file.stats.rows).unwrap_or(usize::MAX));
    let zoned = |time| ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into()));
    let known = [("received", Some(file.stats.received)), ("time", file.stats.time)];
    for (name, range) in known {
        let column = schema.index_of(name).ok();
        let column = column.and_then(|i| statistics.column_statistics.get_mut(i));
        if let (Some(column), Some((low, high))) = (column, range) {
            column.min_value = Precision::Inexact(zoned(low));
            column.max_value = Precision::Inexact(zoned(high));
        }
    }
    statistics
}

/// What is known of files without opening them.
pub(super) struct FileStatistics<'a> {
    pub(super) files: &'a [DataFile],
}

impl FileStatistics<'_> {
    /// One bound of a column, for every file.
    fn bound(&self, column: &str, pick: fn(&(i64, i64)) -> i64) -> Option<ArrayRef> {
        let times = |range: fn(&DataFile) -> Option<(i64, i64)>| -> ArrayRef {
            let bounds = self.files.iter().map(|file| range(file).as_ref().map(pick));
            Arc::new(bounds.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        Some(match column {
            "seq" => {
                let seq = |file: &DataFile| {
                    pick(&(file.stats.seq.0.cast_signed(), file.stats.seq.1.cast_signed()))
                };
                Arc::new(self.files.iter().map(seq).collect::<Int64Array>())
            }
            "received" => times(|file| Some(file.stats.received)),
            "time" => times(|file| file.stats.time),
            "cluster" => {
                let clusters = self.files.iter().map(|file| Some(&file.cluster));
                Arc::new(clusters.collect::<StringViewArray>())
            }
            "day" => {
                let days = self.files.iter().map(|file| Some(time::day(file.stats.received.0)));
                Arc::new(days.collect::<Date32Array>())
            }
            _ => return None,
        })
    }
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(&column.name, |range| range.0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(&column.name, |range| range.1)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = |file: &DataFile| match &*column.name {
            "twin" => Some(file.stats.rows - file.stats.twins),
            "seq" | "received" | "time" | "cluster" | "day" => Some(0),
            _ => None,
        };
        Some(Arc::new(self.files.iter().map(nulls).collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.stats.rows).collect::<UInt64Array>()))
    }

    fn contained(
        &self,
        _column: &Column,
        _values: &std::collections::HashSet<ScalarValue>,
    ) -> Option<arrow::array::BooleanArray> {
        None
    }
}
