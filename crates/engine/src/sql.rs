//! SQL over the record: three views, to be read only, within limits. The language is DataFusion's,
//! in the dialect of PostgreSQL; the views are in [`views`].

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use whodid_store::Snapshot;

use crate::cache::Cache;
use crate::error::{Error, Result};

mod utc;
mod views;
mod write;

pub use write::{Format, Sink, texts};

/// What a statement may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows of its answer.
    pub rows: Option<usize>,
    /// Until its last row.
    pub time: Duration,
    /// Bytes of memory for sorting, grouping and joining.
    pub memory: usize,
}

/// Why an answer is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It has more rows.
    Rows,
    /// It took too long.
    Time,
}

/// The answer to a statement, as it comes.
pub struct Answer {
    stream: SendableRecordBatchStream,
    rows_left: Option<usize>,
    deadline: Instant,
    /// Why it ended before its end, if it did.
    cut: Option<Cut>,
}

/// Begins to answer a statement.
///
/// # Errors
/// It makes no sense, or would change something.
pub fn sql<'a>(
    snapshot: &'a Snapshot,
    cache: &'a Cache,
    statement: &'a str,
    limits: Limits,
) -> BoxFuture<'a, Result<Answer>> {
    Box::pin(async move {
        let context = views::session(snapshot, cache, limits.memory)?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        let options = options.with_allow_statements(false);
        let planned = context.sql_with_options(statement, options).await.map_err(refused)?;
        let stream = planned.execute_stream().await.map_err(refused)?;
        let deadline = Instant::now() + limits.time;
        Ok(Answer { stream, rows_left: limits.rows, deadline, cut: None })
    })
}

#[expect(clippy::needless_pass_by_value, reason = "as errors are mapped")]
fn refused(error: datafusion::error::DataFusionError) -> Error {
    Error::Sql(error.strip_backtrace())
}

impl Answer {
    /// An answer that came as a stream of Arrow IPC, of which the first so many rows count.
    ///
    /// # Errors
    /// It is no such stream.
    pub fn read(stream: &[u8], rows: usize) -> Result<Self> {
        let reader = arrow::ipc::reader::StreamReader::try_new(stream, None)?;
        let schema = reader.schema();
        let batches: Vec<_> = reader.map(|batch| Ok(batch?)).collect();
        let stream = RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches));
        // It is all here.
        let deadline = Instant::now() + Duration::from_hours(1);
        Ok(Answer { stream: Box::pin(stream), rows_left: Some(rows), deadline, cut: None })
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// The record cannot be read, or the statement needs more memory than it may have.
    pub fn batch(&mut self) -> BoxFuture<'_, Result<Option<RecordBatch>>> {
        Box::pin(async move {
            if self.cut.is_some() {
                return Ok(None);
            }
            let next = timeout_at(self.deadline, self.stream.next());
            let Ok(next) = next.await else {
                self.cut = Some(Cut::Time);
                return Ok(None);
            };
            let Some(batch) = next.transpose().map_err(refused)? else { return Ok(None) };
            let Some(left) = &mut self.rows_left else { return Ok(Some(batch)) };
            let taken = batch.num_rows().min(*left);
            *left -= taken;
            if taken < batch.num_rows() {
                self.cut = Some(Cut::Rows);
            }
            Ok(Some(batch.slice(0, taken)))
        })
    }

    /// Why it ended before its end; known when it has ended.
    pub fn cut(&self) -> Option<Cut> {
        self.cut
    }
}
