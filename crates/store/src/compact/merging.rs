//! Bodies of several files in the order of one: each file is in that order already, so that a few
//! rows of each are in memory and not all of them.

use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::compute::interleave_record_batch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::columns::typed;
use crate::error::Result;
use crate::rebuild::pieces;
use crate::segment::About;
use crate::snapshot::Table;

/// Of each file so many rows are decoded at once,
const SOURCE_ROWS: usize = 512;

/// and so many are handed over.
const PIECE_ROWS: usize = 4_096;

/// Hands the rows of all files over, in the order of a file. `events` are those that they are
/// about, in the order of the log.
///
/// # Errors
/// A file cannot be decoded, or what takes the rows fails.
pub(super) fn merge(
    events: &[RecordBatch],
    files: &[Bytes],
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let about = About::of(events)?;
    let mut merging =
        Merging { about, sources: Vec::new(), batches: Vec::new(), order: Vec::new() };
    for file in files {
        merging.read_on(pieces(Table::Bodies, file, SOURCE_ROWS)?)?;
    }
    while let Some(first) = merging.first() {
        merging.advance(first)?;
        if merging.order.len() == PIECE_ROWS {
            merging.hand_over(&mut take)?;
        }
    }
    merging.hand_over(&mut take)
}

struct Merging<'a> {
    about: About<'a>,
    sources: Vec<Source<'a>>,
    /// What is decoded.
    batches: Vec<RecordBatch>,
    /// The rows to hand over: of which batch, and which.
    order: Vec<(usize, usize)>,
}

/// A file, as far as it is decoded: the next row, and the rest.
struct Source<'a> {
    rest: ParquetRecordBatchReader,
    /// Which of the batches its row is in.
    batch: usize,
    seqs: Int64Array,
    members: StringViewArray,
    row: usize,
    about: [Option<&'a str>; 4],
}

impl Source<'_> {
    /// By what rows are ordered.
    fn key(&self) -> ([Option<&str>; 4], &str, i64) {
        (self.about, self.members.value(self.row), self.seqs.value(self.row))
    }
}

impl Merging<'_> {
    /// The source that has the next row.
    fn first(&self) -> Option<usize> {
        let sources = self.sources.iter().enumerate();
        sources.min_by(|(_, one), (_, other)| one.key().cmp(&other.key())).map(|(first, _)| first)
    }

    /// Takes the next row of a source.
    fn advance(&mut self, at: usize) -> Result<()> {
        let Some(source) = self.sources.get_mut(at) else { return Ok(()) };
        self.order.push((source.batch, source.row));
        source.row += 1;
        if source.row < source.seqs.len() {
            source.about = self.about.key(source.seqs.value(source.row));
            return Ok(());
        }
        let Source { rest, .. } = self.sources.swap_remove(at);
        self.read_on(rest)
    }

    /// Decodes more of a file, if there is more.
    fn read_on(&mut self, mut rest: ParquetRecordBatchReader) -> Result<()> {
        let Some(batch) = rest.next().transpose()? else { return Ok(()) };
        let seqs = typed::<Int64Array>(&batch, "seq")?.clone();
        let members = typed::<StringViewArray>(&batch, "member")?.clone();
        let about = self.about.key(seqs.value(0));
        let number = self.batches.len();
        self.batches.push(batch);
        self.sources.push(Source { rest, batch: number, seqs, members, row: 0, about });
        Ok(())
    }

    /// Hands over what is in order, and lets go of what no source stands in any more.
    fn hand_over(&mut self, take: &mut impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        if self.order.is_empty() {
            return Ok(());
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        take(&interleave_record_batch(&batches, &self.order)?)?;
        self.order.clear();
        let batches = std::mem::take(&mut self.batches);
        for source in &mut self.sources {
            self.batches.extend(batches.get(source.batch).cloned());
            source.batch = self.batches.len() - 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::slice;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, TimestampMicrosecondArray};
    use arrow::compute::concat_batches;
    use proptest::prelude::*;

    use super::*;
    use crate::columns::bodies_schema;
    use crate::rebuild::decode;
    use crate::segment::{ORDER_COLUMNS, SETTLED_LEVEL, bodies_file};

    /// Events whose columns of the order have these values, one for each.
    fn events(values: &[u8]) -> RecordBatch {
        let text = |shift: u32| -> ArrayRef {
            let value =
                |value: &u8| (value >> shift & 3 > 0).then(|| format!("v{}", value >> shift & 3));
            Arc::new(values.iter().map(value).collect::<StringViewArray>())
        };
        let seqs: ArrayRef = Arc::new((0_i64..).take(values.len()).collect::<Int64Array>());
        let columns = ORDER_COLUMNS.into_iter().zip([0, 2, 4, 6].map(text));
        RecordBatch::try_from_iter([("seq", seqs)].into_iter().chain(columns)).unwrap()
    }

    /// The same in so many parts.
    fn cut(events: &RecordBatch, parts: usize) -> Vec<RecordBatch> {
        let rows = events.num_rows();
        let length = rows.div_ceil(parts);
        let part = |first: usize| events.slice(first, length.min(rows - first));
        (0..rows).step_by(length).map(part).collect()
    }

    /// A request of each of some events.
    fn bodies(seqs: &[i64]) -> RecordBatch {
        let rows = seqs.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(seqs.to_vec())),
            Arc::new(TimestampMicrosecondArray::from_value(0, rows).with_timezone("UTC")),
            Arc::new(StringViewArray::from(vec!["requestObject"; rows])),
            Arc::new(
                seqs.iter().map(|seq| Some(format!("{{{seq}}}"))).collect::<StringViewArray>(),
            ),
            Arc::new(BinaryArray::new_null(rows)),
        ];
        RecordBatch::try_new(bodies_schema(), columns).unwrap()
    }

    proptest! {
        /// Merged files are what one file of all would be, however the rows were dealt out.
        #[test]
        fn merged_is_sorted(
            values in prop::collection::vec(any::<u8>(), 1..3_000),
            files in 1_usize..6,
        ) {
            let events = events(&values);
            let all: Vec<i64> = (0_i64..).take(values.len()).collect();
            let sorted = |seqs: &[i64]| {
                let events = slice::from_ref(&events);
                bodies_file("c", events, &[bodies(seqs)], None, SETTLED_LEVEL).unwrap().unwrap()
            };
            let parts = all.chunks(values.len().div_ceil(files));
            let parts: Vec<Bytes> = parts.map(|seqs| sorted(seqs).bytes).collect();
            let mut merged = Vec::new();
            merge(&cut(&events, files), &parts, |rows| {
                merged.push(rows.clone());
                Ok(())
            })
            .unwrap();
            let whole = decode(Table::Bodies, &sorted(&all).bytes).unwrap();
            let one = |batches: &[RecordBatch]| concat_batches(&bodies_schema(), batches).unwrap();
            prop_assert_eq!(one(&merged), one(&whole));
        }
    }
}
