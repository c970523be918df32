//! SQL over the record: three views, to be read only, within limits. The language is DataFusion's,
//! in the dialect of PostgreSQL; what the views are is in `docs/sql.md`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::cast::as_binary_array;
use datafusion::common::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionConfig, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, create_udf};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use url::Url;
use whodid_store::{Snapshot, Table};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::filter::column;
use crate::table::{STORE_URL, SnapshotTable};

mod write;

pub use write::{Format, Sink, texts};

/// What is changed on purpose, and worked: the last stage of each request, with its bodies.
const CHANGES: &str = "\
    SELECT e.cluster, e.seq, e.time, e.actor, e.actor_kind, e.action, e.gvr, e.namespace, e.name, \
           e.object, e.code, e.tool, e.audit_id, e.request_uri, q.json AS request, \
           r.json AS response \
      FROM events e \
      LEFT JOIN bodies q \
        ON q.cluster = e.cluster AND q.seq = e.seq AND q.member = 'requestObject' \
      LEFT JOIN bodies r \
        ON r.cluster = e.cluster AND r.seq = e.seq AND r.member = 'responseObject' \
     WHERE e.stage = 'ResponseComplete' AND e.outcome = 'success' AND NOT e.duplicate \
       AND (e.dry_run IS DISTINCT FROM true) \
       AND e.verb IN ('create', 'update', 'patch', 'delete', 'deletecollection') \
       AND e.action NOT IN ('review', 'token')";

/// So many events are named one by one.
const FEW_EVENTS: usize = 5_000;
const FEW_EVENTS_BYTES: usize = 16 << 20;

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
        let context = context(snapshot, cache, limits.memory).await?;
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

/// A session that has the views, and nothing else.
async fn context(snapshot: &Snapshot, cache: &Cache, memory: usize) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_information_schema(true);
    config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
    // A scan of bodies is told which events they are wanted of, if these are so few.
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.hash_join_inlist_pushdown_max_distinct_values = FEW_EVENTS;
    optimizer.hash_join_inlist_pushdown_max_size = FEW_EVENTS_BYTES;
    // What bodies hold must not lie about in temporary files.
    let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(memory, 1.0)
        .with_disk_manager_builder(no_disk)
        .build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    // The name is a constant of this crate.
    if let Ok(url) = Url::parse(STORE_URL) {
        context.register_object_store(&url, snapshot.object_store());
    }
    let events = stored(&context, Table::Events, snapshot, cache)?;
    let columns = events.schema().fields().iter().filter_map(|field| shown(field.name()));
    let events = events.clone().select(columns.collect::<Vec<Expr>>())?;
    context.register_table(Table::Events.name(), events.into_view())?;
    let bodies = stored(&context, Table::Bodies, snapshot, cache)?;
    context.register_table(Table::Bodies.name(), bodies.into_view())?;
    let changes = context.sql(CHANGES).await?;
    context.register_table("changes", changes.into_view())?;
    Ok(context)
}

fn stored(
    context: &SessionContext,
    table: Table,
    snapshot: &Snapshot,
    cache: &Cache,
) -> Result<DataFrame> {
    let table = SnapshotTable::new(table, snapshot.clone(), cache.clone());
    Ok(context.read_table(Arc::new(table))?)
}

/// How a column is shown: audit IDs are text, whichever way they are stored.
fn shown(name: &str) -> Option<Expr> {
    match name {
        "audit_id" => {
            let text = uuid_text().call(vec![column("audit_id")]);
            let id = datafusion::prelude::coalesce(vec![text, column("audit_id_text")]);
            Some(id.alias("audit_id"))
        }
        "audit_id_text" => None,
        name => Some(column(name)),
    }
}

/// The text of a UUID that is stored as 16 bytes.
fn uuid_text() -> ScalarUDF {
    let text = |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let texts = match arrays.first() {
            Some(ids) => uuids(as_binary_array(ids)?),
            None => StringArray::new_null(0),
        };
        Ok(ColumnarValue::Array(Arc::new(texts)))
    };
    let (bytes, text_type) = (vec![DataType::Binary], DataType::Utf8);
    create_udf("uuid_text", bytes, text_type, Volatility::Immutable, Arc::new(text))
}

fn uuids(ids: &BinaryArray) -> StringArray {
    let text = |row: usize| {
        let bytes: [u8; 16] = ids.is_valid(row).then(|| ids.value(row).try_into().ok())??;
        Some(crate::row::uuid_text(bytes))
    };
    (0..ids.len()).map(text).collect()
}
