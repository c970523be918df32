//! Which words and values stand in which rows of a file, as far as it takes to leave most rows
//! unread: for each block of rows a filter, behind the last row group. What of a row is in it, is
//! [`keys`]' to say; what a query asks for, the engine's.
//!
//! Like every column that can be made again, an index is never the only witness of anything: it is
//! made of the rows alone, `verify` makes it anew, and a file without one is read whole.

use std::slice;

use arrow::array::RecordBatch;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable, Filter, FilterRef};

use crate::error::{Error, Result};
use crate::snapshot::{Snapshot, Table};
use crate::table::DataFile;

mod keys;

pub use keys::{Key, TEXT_COLUMNS, VALUE_COLUMNS};

/// Rows that share a filter: of bodies about as many as a page has; of events a few pages' worth of
/// names would be read for nothing, and more filters take more room.
fn block_rows(table: Table) -> usize {
    match table {
        Table::Bodies => 512,
        Table::Events => 2_048,
    }
}

/// Where in the file the index is, `OFFSET LENGTH`, stands in its footer under this name.
const KEY: &str = "whodid.index";

/// Before each filter, its length in 4 bytes, little-endian.
const LENGTH_BYTES: usize = 4;

/// Of an index that takes more memory than its file is worth reading.
const INDEX_BYTES_MAX: usize = 64 << 20;

/// The filters of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct WordIndex {
    bytes: Vec<u8>,
    /// Where the filter of each block is; an empty one holds every word.
    blocks: Vec<std::ops::Range<usize>>,
    /// The rows of a block.
    block_rows: usize,
}

impl WordIndex {
    /// Makes the index of rows in the order of their file.
    pub(crate) fn of(table: Table, batches: &[RecordBatch]) -> Result<Self> {
        let mut indexer = Indexer::new(table);
        batches.iter().try_for_each(|batch| indexer.add(batch))?;
        indexer.finish()
    }

    /// The same, on all processors if only the last of the batches ends within a block.
    pub(crate) fn of_at_once(table: Table, batches: &[RecordBatch]) -> Result<Self> {
        let whole = batches.iter().rev().skip(1);
        if whole.map(RecordBatch::num_rows).any(|rows| rows % block_rows(table) > 0) {
            return Self::of(table, batches);
        }
        let parts = batches.par_iter().map(|batch| Self::of(table, slice::from_ref(batch)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        Self::read(table, parts.into_iter().flat_map(|part| part.bytes).collect())
    }

    fn read(table: Table, bytes: Vec<u8>) -> Result<Self> {
        let damaged = || Error::Invalid("an index of words is damaged".into());
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>());
            let length = u32::from_le_bytes(*length.ok_or_else(damaged)?) as usize;
            let block = at + LENGTH_BYTES..at + LENGTH_BYTES + length;
            at = block.end;
            let filter = bytes.get(block.clone()).ok_or_else(damaged)?;
            if !filter.is_empty() && !is_sound(filter) {
                return Err(damaged());
            }
            blocks.push(block);
        }
        Ok(WordIndex { bytes, blocks, block_rows: block_rows(table) })
    }

    /// What it looks like in a file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes that it takes in memory.
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.blocks.len() * size_of::<std::ops::Range<usize>>()
    }

    /// The runs of rows, of `rows` in all, in which all of the keys may stand, and between them
    /// those in which one does not: how many rows, and whether they may. Of keys that are almost
    /// everywhere it says that they may be everywhere.
    pub fn may_hold(&self, keys: &[Key], rows: usize) -> Vec<(usize, bool)> {
        let mut keys = keys.to_vec();
        self.runs(rows, |filter| {
            let missing = keys.iter().position(|key| !filter.contains(&key.hash()));
            if let Some(missing) = missing {
                // What one block does not have, few have: it is looked for first from now on.
                keys.swap(0, missing);
            }
            missing.is_none()
        })
    }

    /// The same for rows in which one of the keys may stand.
    pub fn may_hold_any(&self, keys: &[Key], rows: usize) -> Vec<(usize, bool)> {
        self.runs(rows, |filter| keys.iter().any(|key| filter.contains(&key.hash())))
    }

    fn runs(
        &self,
        rows: usize,
        mut may_hold: impl FnMut(&BinaryFuse8Ref<'_>) -> bool,
    ) -> Vec<(usize, bool)> {
        /// Where so many blocks all over a file have something, few have it not: it takes longer to
        /// ask the others than to read those.
        const SAMPLE: usize = 16;
        let mut block_may = |block: usize| {
            let filter = self.blocks.get(block).and_then(|at| self.filter(at));
            filter.is_none_or(|filter| may_hold(&filter))
        };
        let step = rows / self.block_rows / SAMPLE;
        if step > 1 && (0..SAMPLE).all(|at| block_may(at * step)) {
            return vec![(rows, true)];
        }
        let mut runs: Vec<(usize, bool)> = Vec::new();
        for (block, first) in (0..rows).step_by(self.block_rows).enumerate() {
            let length = self.block_rows.min(rows - first);
            let may = block_may(block);
            match runs.last_mut() {
                Some(run) if run.1 == may => run.0 += length,
                _ => runs.push((length, may)),
            }
        }
        runs
    }

    fn filter(&self, at: &std::ops::Range<usize>) -> Option<BinaryFuse8Ref<'_>> {
        let filter = self.bytes.get(at.clone())?;
        let (descriptor, fingerprints) = filter.split_at_checked(BinaryFuse8::DESCRIPTOR_LEN)?;
        Some(BinaryFuse8Ref::from_dma(descriptor, fingerprints))
    }
}

/// Makes the index of rows that come in the order of their file.
pub(crate) struct Indexer {
    table: Table,
    bytes: Vec<u8>,
    seen: Seen,
    /// So many more rows belong into the block.
    room: usize,
}

impl Indexer {
    pub(crate) fn new(table: Table) -> Self {
        Indexer { table, bytes: Vec::new(), seen: Seen::new(), room: block_rows(table) }
    }

    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut at = 0;
        while at < rows.num_rows() {
            let length = self.room.min(rows.num_rows() - at);
            let rows = rows.slice(at, length);
            keys::each(self.table, &rows, |key| self.seen.add(key.hash()))?;
            at += length;
            self.room -= length;
            if self.room == 0 {
                append(&mut self.bytes, &mut self.seen)?;
                self.room = block_rows(self.table);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<WordIndex> {
        if self.room < block_rows(self.table) {
            append(&mut self.bytes, &mut self.seen)?;
        }
        WordIndex::read(self.table, self.bytes)
    }
}

/// The keys of a block, by their hashes.
struct Seen {
    hashes: Vec<u64>,
    /// The newest hash of each place: most keys have come a moment ago.
    newest: Vec<u64>,
}

impl Seen {
    const PLACES: usize = 1 << 13;

    fn new() -> Self {
        Seen { hashes: Vec::new(), newest: Self::nothing() }
    }

    /// In each place what belongs into the next.
    fn nothing() -> Vec<u64> {
        (1..=Self::PLACES as u64).collect()
    }

    fn add(&mut self, hash: u64) {
        let place = usize::try_from(hash % Self::PLACES as u64).unwrap_or_default();
        match self.newest.get_mut(place) {
            Some(newest) if *newest == hash => {}
            Some(newest) => {
                *newest = hash;
                self.hashes.push(hash);
            }
            None => {}
        }
    }

    /// Each once, in ascending order: the same rows give the same filter.
    fn take(&mut self) -> Vec<u64> {
        self.newest = Self::nothing();
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }
}

/// Appends the filter of a block. A block without keys has the filter of no key.
fn append(bytes: &mut Vec<u8>, seen: &mut Seen) -> Result<()> {
    let Ok(filter) = BinaryFuse8::try_from(&seen.take()) else {
        bytes.extend([0; LENGTH_BYTES]);
        return Ok(());
    };
    let fingerprints = filter.dma_fingerprints();
    let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut descriptor);
    let length = u32::try_from(descriptor.len() + fingerprints.len())
        .map_err(|_| Error::Invalid("a block of rows has too many words".into()))?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(descriptor);
    bytes.extend(fingerprints);
    Ok(())
}

/// Whether every look into a filter stays inside of it.
fn is_sound(filter: &[u8]) -> bool {
    let Some((descriptor, fingerprints)) = filter.split_at_checked(BinaryFuse8::DESCRIPTOR_LEN)
    else {
        return false;
    };
    let number = |at: usize| {
        let bytes = descriptor.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
    };
    let (segment, mask, all) = (number(8), number(12), number(16));
    segment.is_power_of_two()
        && mask == segment - 1
        && all % segment == 0
        && all + 2 * segment <= fingerprints.len() as u64
}

/// What the footer of a file says of its index.
pub(crate) fn noted(offset: usize, index: &WordIndex) -> KeyValue {
    KeyValue::new(KEY.to_owned(), format!("{offset} {}", index.bytes.len()))
}

/// Where the index is, as a footer says.
fn place(footer: &ParquetMetaData) -> Option<std::ops::Range<u64>> {
    let pairs = footer.file_metadata().key_value_metadata()?;
    let value = pairs.iter().find(|pair| pair.key == KEY)?.value.as_ref()?;
    let (offset, length) = value.split_once(' ')?;
    let (offset, length): (u64, u64) = (offset.parse().ok()?, length.parse().ok()?);
    (length <= INDEX_BYTES_MAX as u64).then(|| offset..offset.saturating_add(length))
}

/// The index of a file, if it has one.
///
/// # Errors
/// It is damaged.
pub(crate) fn of_file(table: Table, file: &bytes::Bytes) -> Result<Option<WordIndex>> {
    let footer = ParquetMetaDataReader::new().parse_and_finish(file)?;
    let Some(place) = place(&footer) else { return Ok(None) };
    let damaged = || Error::Invalid("an index of words is not where the footer says".into());
    let (Ok(from), Ok(to)) = (usize::try_from(place.start), usize::try_from(place.end)) else {
        return Err(damaged());
    };
    let bytes = file.get(from..to).ok_or_else(damaged)?;
    WordIndex::read(table, bytes.to_vec()).map(Some)
}

impl Snapshot {
    /// Reads the index of words of a file; `None` if it has none.
    ///
    /// # Errors
    /// The file cannot be read, or the index is damaged.
    pub async fn word_index(&self, table: Table, file: &DataFile) -> Result<Option<WordIndex>> {
        /// Most footers are shorter.
        const TAIL_BYTES: u64 = 64 << 10;
        let path = Path::from(format!("{}/{}", table.name(), file.path));
        let failed = |error| Error::table(table.name(), error);
        let mut reader = ParquetMetaDataReader::new();
        let mut tail = TAIL_BYTES.min(file.bytes);
        let footer = loop {
            let range = file.bytes - tail..file.bytes;
            let bytes = self.store.get_range(&path, range).await.map_err(failed)?;
            match reader.try_parse_sized(&bytes, file.bytes) {
                Ok(()) => break reader.finish()?,
                Err(parquet::errors::ParquetError::NeedMoreData(more)) if tail < file.bytes => {
                    tail = (more as u64).clamp(tail + 1, file.bytes);
                }
                Err(error) => return Err(error.into()),
            }
        };
        let Some(place) = place(&footer).filter(|place| place.end <= file.bytes) else {
            return Ok(None);
        };
        let bytes = self.store.get_range(&path, place).await.map_err(failed)?;
        WordIndex::read(table, bytes.to_vec()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Int64Array, StringViewArray, TimestampMicrosecondArray,
    };

    use super::*;
    use crate::columns::bodies_schema;

    fn bodies(texts: &[String]) -> RecordBatch {
        let rows = texts.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values((0..rows as u64).map(u64::cast_signed))),
            Arc::new(TimestampMicrosecondArray::from_value(0, rows).with_timezone("UTC")),
            Arc::new(StringViewArray::from(vec!["requestObject"; rows])),
            Arc::new(texts.iter().map(Some).collect::<StringViewArray>()),
            Arc::new(BinaryArray::new_null(rows)),
        ];
        RecordBatch::try_new(bodies_schema(), columns).unwrap()
    }

    const BLOCK_ROWS: usize = 512;

    #[test]
    fn words_are_found_where_they_stand() {
        let rows = 3 * BLOCK_ROWS + 7;
        let text = |row: usize| format!(r#"{{"name":"web-{row}","x":"a\u0026b"}}"#);
        let batch = bodies(&(0..rows).map(text).collect::<Vec<_>>());
        let half = rows / 2;
        let halves = [batch.slice(0, half), batch.slice(half, rows - half)];
        let index = WordIndex::of(Table::Bodies, &halves).unwrap();
        let whole = WordIndex::of(Table::Bodies, slice::from_ref(&batch)).unwrap();
        assert_eq!(index, whole, "however the rows are cut");
        let even = [batch.slice(0, 2 * BLOCK_ROWS), batch.slice(2 * BLOCK_ROWS, BLOCK_ROWS + 7)];
        for cut in [&halves, &even] {
            assert_eq!(WordIndex::of_at_once(Table::Bodies, cut).unwrap(), whole);
        }
        let may = |words: &[&str]| {
            let words: Vec<Key> = words.iter().map(|word| Key::word(word)).collect();
            index.may_hold(&words, rows)
        };
        assert_eq!(may(&["web", "name", "b"]), [(rows, true)]);
        assert_eq!(may(&["web", "u0026b"]), [(rows, false)]);
        let second = [(BLOCK_ROWS, false), (BLOCK_ROWS, true), (BLOCK_ROWS + 7, false)];
        assert_eq!(may(&["web", "777"]), second);
        assert_eq!(may(&[]), [(rows, true)]);
    }

    #[test]
    fn what_is_all_over_a_file_is_not_looked_for_everywhere() {
        const BLOCKS: usize = 40;
        let rows = BLOCKS * BLOCK_ROWS;
        let text = |row: usize| match row / BLOCK_ROWS {
            0 => "first everywhere",
            block if block + 1 == BLOCKS => "last",
            _ => "everywhere",
        };
        let batch = bodies(&(0..rows).map(|row| text(row).to_owned()).collect::<Vec<_>>());
        let index = WordIndex::of(Table::Bodies, &[batch]).unwrap();
        let of = |word: &str| index.may_hold(&[Key::word(word)], rows);
        assert_eq!(of("everywhere"), [(rows, true)], "the last block, too, which has it not");
        assert_eq!(of("first"), [(BLOCK_ROWS, true), (rows - BLOCK_ROWS, false)]);
        assert_eq!(of("last"), [(rows - BLOCK_ROWS, false), (BLOCK_ROWS, true)]);
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let rows = bodies(&["a b c".into(), "{}".into()]);
        let index = WordIndex::of(Table::Bodies, &[rows]).unwrap();
        for at in 0..LENGTH_BYTES + BinaryFuse8::DESCRIPTOR_LEN {
            for bit in 0..8 {
                let mut bytes = index.bytes.clone();
                bytes[at] ^= 1 << bit;
                if let Ok(index) = WordIndex::read(Table::Bodies, bytes) {
                    index.may_hold(&[Key::word("a")], 2);
                }
            }
        }
        for end in 1..index.bytes.len() {
            assert!(WordIndex::read(Table::Bodies, index.bytes[..end].to_vec()).is_err(), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(index) = WordIndex::read(Table::Events, bytes) {
                index.may_hold(&[Key::word("a")], 2_000);
            }
        }
    }
}
