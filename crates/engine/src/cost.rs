//! What an answer takes: the files and rows that were looked at, and the bytes that were read. How
//! files are read is [`crate::table`]'s.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Files of both tables that had to be looked at,
    pub files_read: u64,
    /// of so many.
    pub files: u64,
    /// Rows that had to be looked at in them,
    pub rows_read: u64,
    /// of so many in all files.
    pub rows: u64,
    /// Read from files; what is in memory already is not.
    pub bytes_read: u64,
    /// Whether the time was over before everything was looked at.
    pub is_partial: bool,
}

/// Counts while an answer is made.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The most rows that were wanted of each file at once.
    rows: Mutex<HashMap<String, u64>>,
    bytes: AtomicU64,
    is_partial: AtomicBool,
}

impl Meter {
    /// Notes that so many rows of a file are looked at.
    pub(crate) fn looks_at(&self, path: &str, rows: u64) {
        let mut known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(path) {
            Some(most) => *most = rows.max(*most),
            None => drop(known.insert(path.to_owned(), rows)),
        }
    }

    /// Notes that the time was over.
    pub(crate) fn stop(&self) {
        self.is_partial.store(true, Relaxed);
    }

    /// What it came to, of so many files and rows.
    pub(crate) fn cost(&self, files: u64, rows: u64) -> Cost {
        let known = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Cost {
            files_read: known.len() as u64,
            files,
            rows_read: known.values().sum(),
            rows,
            bytes_read: self.bytes.load(Relaxed),
            is_partial: self.is_partial.load(Relaxed),
        }
    }
}

/// Readers of files that count what they read.
pub(crate) struct Metered {
    pub(crate) readers: Arc<dyn ParquetFileReaderFactory>,
    pub(crate) meter: Arc<Meter>,
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for Metered {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let reader = self.readers.create_reader(partition, file, hint, metrics)?;
        Ok(Box::new(Counting { reader, meter: Arc::clone(&self.meter) }))
    }
}

struct Counting {
    reader: Box<dyn AsyncFileReader + Send>,
    meter: Arc<Meter>,
}

impl Counting {
    fn count(&self, ranges: &[Range<u64>]) {
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start));
        self.meter.bytes.fetch_add(bytes.sum(), Relaxed);
    }
}

impl AsyncFileReader for Counting {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.count(std::slice::from_ref(&range));
        self.reader.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        self.count(&ranges);
        self.reader.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        self.reader.get_metadata(options).boxed()
    }
}
