//! Answers from the record: a query in the search language becomes a plan that DataFusion runs
//! over a snapshot of the store, files and memory alike.
//!
//! The tables hold events; what people ask about is requests. [`Engine::search`] returns one row
//! per request: the last stage that is known of it. Keeping the record is `whodid-store`'s
//! business, showing answers that of the callers.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, lit};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::Instant;
use whodid_query::{Field, Query, Term};
use whodid_store::{Original, RowBodies, Rows, Snapshot, Table};

mod bodies;
mod body;
mod cache;
mod cost;
mod count;
mod document;
mod error;
mod filter;
mod function;
pub mod history;
pub mod live;
mod narrow;
mod passing;
mod row;
mod runtime;
mod search;
pub mod sql;
mod status;
mod table;
mod text;
mod values;
mod wanted;
pub mod who;

pub use cache::Cache;
pub use cost::Cost;
pub use count::{COUNTS_MAX, Count, Counted};
pub use document::{API_VERSION, Document};
pub use error::{Error, Result};
pub use row::{EventId, Row, Shown, is_shown};
pub use search::{Found, LEFT_OUT_MAX, Search};
pub use status::{ClusterStatus, RawLeaf, waiting};
pub use values::{Values, has_values};

use cache::Mark;
use cost::Meter;
use filter::{column, text};
use function::EventSet;
use passing::Passing;
use runtime::runtime;
use table::{SnapshotTable, events_table_schema, names, table_schema};
use wanted::Wanted;

/// Events are fetched by id this many at a time.
const FETCH_MAX: usize = 1_000;

/// For sorting, grouping and joining, in bytes: of one question.
const MEMORY_MAX: usize = 256 << 20;

/// What came in as an event, or why it cannot be given back.
type Given = Result<(Original, RowBodies), whodid_store::Error>;

/// Answers queries over one snapshot.
pub struct Engine {
    context: SessionContext,
    /// That of the context.
    state: SessionState,
    snapshot: Snapshot,
    cache: Cache,
    completed: Arc<EventSet>,
    contradicted: Arc<EventSet>,
    meter: Arc<Meter>,
    deadline: Option<Instant>,
}

impl Engine {
    /// Makes an engine for a snapshot; `cache` is what earlier ones of the same record kept.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn new(snapshot: Snapshot, cache: &Cache) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            let config = SessionConfig::new().with_information_schema(false);
            // A state is copied at every step of a plan, and no function is looked up by name.
            let runtime = runtime(&snapshot, MEMORY_MAX)?;
            let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime);
            let context = SessionContext::new_with_state(state.build());
            let meter = Arc::new(Meter::default());
            for table in [Table::Events, Table::Bodies] {
                let provider = SnapshotTable::new(table, snapshot.clone(), cache.clone());
                let provider = provider.metered(Arc::clone(&meter));
                context.register_table(table.name(), Arc::new(provider))?;
            }
            let mut engine = Engine {
                state: context.state(),
                context,
                snapshot,
                cache: cache.clone(),
                completed: Arc::default(),
                contradicted: Arc::default(),
                meter,
                deadline: None,
            };
            engine.load_marks().await?;
            Ok(engine)
        })
    }

    /// Searches end then, with what was found until then.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Engine { deadline: Some(deadline), ..self }
    }

    /// What its answers have taken.
    pub fn cost(&self) -> Cost {
        let tables = [Table::Events, Table::Bodies].map(|table| self.snapshot.files(table));
        let rows = tables.iter().copied().flatten().map(|file| file.stats.rows);
        self.meter.cost(tables.iter().map(|files| files.len() as u64).sum(), rows.sum())
    }

    /// The snapshot it answers from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Reads what later events say about earlier ones; there are few, and those in files are read
    /// once.
    async fn load_marks(&mut self) -> Result<()> {
        let files = self.snapshot.files(Table::Events);
        let (mut known, mut unread) = (Vec::new(), BTreeMap::<(String, u64), _>::new());
        for file in files.iter().filter(|file| file.stats.twins > 0) {
            match self.cache.marks(file) {
                Some(marks) => known.push((file.cluster.clone(), marks)),
                None => drop(
                    unread.insert((file.cluster.clone(), file.stats.seq.0), (file, Vec::new())),
                ),
            }
        }
        let in_files = unread.values().map(|(file, _)| {
            let (first, last) = file.stats.seq;
            let seqs = column("seq").between(lit(first.cast_signed()), lit(last.cast_signed()));
            column("cluster").eq(text(&file.cluster)).and(seqs)
        });
        let in_memory = self.snapshot.chunks().map(|(cluster, chunk)| {
            let first = lit(chunk.first_seq().cast_signed());
            column("cluster").eq(text(cluster)).and(column("seq").gt_eq(first))
        });
        let mut new = Vec::new();
        if let Some(places) = in_files.chain(in_memory).reduce(Expr::or) {
            for (cluster, seq, mark) in self.marks(places).await? {
                let file = unread.range_mut(..=(cluster.clone(), seq)).next_back();
                let file = file.map(|(_, file)| file);
                match file.filter(|(file, _)| file.cluster == cluster && seq <= file.stats.seq.1) {
                    Some((_, marks)) => marks.push(mark),
                    None => new.push((cluster, Arc::from([mark]))),
                }
            }
        }
        let mut read = Vec::new();
        for (file, marks) in unread.into_values() {
            let marks: Arc<[Mark]> = marks.into();
            known.push((file.cluster.clone(), Arc::clone(&marks)));
            read.push((file.path.clone(), marks));
        }
        self.cache.keep_marks(files, read);
        let (mut completed, mut contradicted) = (EventSet::default(), EventSet::default());
        for (cluster, marks) in known.into_iter().chain(new) {
            for mark in marks.iter() {
                let set = if mark.is_conflict { &mut contradicted } else { &mut completed };
                set.insert(&cluster, mark.twin);
            }
        }
        self.completed = Arc::new(completed);
        self.contradicted = Arc::new(contradicted);
        Ok(())
    }

    /// The marks on events in some places.
    async fn marks(&self, places: Expr) -> Result<Vec<(String, u64, Mark)>> {
        let columns = ["cluster", "seq", "twin", "duplicate", "conflict"];
        let marked = column("twin").is_not_null().and(column("duplicate").eq(lit(false)));
        let events = self.table(Table::Events, Wanted::All);
        let found = self.rows(&events, marked.and(places), &columns).await?;
        let mark = |row: Row| {
            let id = row.id();
            let twin = row.int("twin").unwrap_or_default().cast_unsigned();
            (id.cluster, id.seq, Mark { twin, is_conflict: row.flag("conflict") == Some(true) })
        };
        Ok(Row::all(&found.collect().await?).map(mark).collect())
    }

    /// The rows of a table that are wanted, and maybe others.
    pub(crate) fn table(&self, table: Table, wanted: Wanted) -> SnapshotTable {
        let table = SnapshotTable::new(table, self.snapshot.clone(), self.cache.clone());
        table.metered(Arc::clone(&self.meter)).wanting(wanted)
    }

    /// The rows of a table that pass a filter, with these columns.
    pub(crate) async fn rows(
        &self,
        table: &SnapshotTable,
        filter: Expr,
        columns: &[&str],
    ) -> Result<Passing> {
        Ok(Passing::of(&self.state, table, filter, columns).await?)
    }

    pub(crate) async fn events(&self) -> Result<DataFrame> {
        Ok(self.context.table(Table::Events.name()).await?)
    }

    /// Whether a later event contradicts this one.
    pub fn is_contradicted(&self, id: &EventId) -> bool {
        self.contradicted.contains(&id.cluster, id.seq)
    }

    /// An event as JSON, with what later events say about it.
    pub fn json(&self, row: &Row) -> Map<String, Value> {
        row::object(&self.shown(row, &[]))
    }

    /// The same, of these fields and `id` if any is named, to be written without a tree.
    pub fn shown<'a>(&self, row: &'a Row, fields: &'a [&'a str]) -> Shown<'a> {
        Shown { row, fields, is_contradicted: self.is_contradicted(&row.id()) }
    }

    /// Fetches events with all their columns, in the order asked for.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn fetch<'a>(&'a self, ids: &'a [EventId]) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            let mut found = HashMap::with_capacity(ids.len());
            let schema = events_table_schema();
            let columns = names(&schema);
            for share in ids.chunks(FETCH_MAX) {
                let batches = self.events_of(share, &columns).await?;
                found.extend(Row::all(&batches).map(|row| (row.id(), row)));
            }
            ids.iter()
                .map(|id| found.get(id).cloned().ok_or_else(|| Error::NoEvent(id.clone())))
                .collect()
        })
    }

    /// The rows of events, read from where they are known to be.
    pub(crate) async fn events_of(
        &self,
        ids: &[EventId],
        columns: &[&str],
    ) -> Result<Vec<RecordBatch>> {
        let mut places: HashMap<String, BTreeSet<u64>> = HashMap::new();
        for id in ids {
            places.entry(id.cluster.clone()).or_default().insert(id.seq);
        }
        let table = self.table(Table::Events, Wanted::Events(places));
        Ok(self.rows(&table.by_one(), one_of(ids), columns).await?.collect().await?)
    }

    /// Gives back what came in as these events, in the order asked for.
    ///
    /// # Errors
    /// One of them is not there; a body that is gone is an error of that event alone.
    pub fn originals<'a>(&'a self, ids: &'a [EventId]) -> BoxFuture<'a, Result<Vec<Given>>> {
        Box::pin(async move {
            let mut found = HashMap::with_capacity(ids.len());
            let (events, bodies) = (events_table_schema(), table_schema(Table::Bodies));
            for share in ids.chunks(FETCH_MAX) {
                let events = self.events_of(share, &names(&events)).await?;
                let table = self.table(Table::Bodies, Wanted::All);
                let bodies = self.rows(&table, one_of(share), &names(&bodies)).await?;
                let bodies = bodies.collect().await?;
                for batch in &events {
                    collect_originals(batch, &bodies, &mut found)?;
                }
            }
            ids.iter()
                .map(|id| found.remove(id).ok_or_else(|| Error::NoEvent(id.clone())))
                .collect()
        })
    }

    /// The events that carry an audit ID.
    ///
    /// # Errors
    /// The record cannot be read.
    pub async fn with_audit_id(&self, id: &str) -> Result<Vec<Row>> {
        let wanted = whodid_query::Expr::Term(Term {
            field: Field::Known(whodid_query::Known::AuditId),
            test: whodid_query::Test::Is(whodid_query::Value::Text(id.to_owned())),
        });
        let query = Query { expr: wanted };
        let filter = self.translator(&query, 0).await?.expr(&query.expr)?;
        let sorted =
            self.events().await?.filter(filter)?.sort_by(vec![column("cluster"), column("seq")])?;
        Ok(Row::all(&sorted.collect().await?).collect())
    }
}

/// Puts together what came in as the events of a batch.
fn collect_originals(
    events: &RecordBatch,
    bodies: &[RecordBatch],
    found: &mut HashMap<EventId, Result<(Original, RowBodies), whodid_store::Error>>,
) -> Result<()> {
    let by_cluster = by_cluster(bodies)?;
    let mut rows: HashMap<String, Rows<'_>> = HashMap::new();
    for (row, event) in Row::all(std::slice::from_ref(events)).enumerate() {
        let id = event.id();
        let rows = match rows.entry(id.cluster.clone()) {
            Entry::Occupied(rows) => rows.into_mut(),
            Entry::Vacant(missing) => {
                let bodies = by_cluster.get(&id.cluster).map_or(&[][..], Vec::as_slice);
                missing.insert(Rows::new(events, bodies)?)
            }
        };
        found
            .insert(id, rows.original(row).map(|original| (original, rows.bodies(row).to_owned())));
    }
    Ok(())
}

/// An expression that holds for the rows of some events, and lets files be pruned.
fn one_of(ids: &[EventId]) -> Expr {
    let mut clusters: HashMap<&str, Vec<Expr>> = HashMap::new();
    for id in ids {
        clusters.entry(&id.cluster).or_default().push(lit(id.seq.cast_signed()));
    }
    let each = clusters.into_iter().map(|(cluster, seqs)| {
        column("cluster").eq(text(cluster)).and(column("seq").in_list(seqs, false))
    });
    each.reduce(Expr::or).unwrap_or(lit(false))
}

/// Splits rows of `bodies` by cluster: `seq` alone does not tell two clusters apart.
fn by_cluster(bodies: &[RecordBatch]) -> Result<HashMap<String, Vec<RecordBatch>>> {
    let mut split: HashMap<String, Vec<RecordBatch>> = HashMap::new();
    for batch in bodies {
        for (row, body) in Row::all(std::slice::from_ref(batch)).enumerate() {
            split.entry(body.id().cluster).or_default().push(batch.slice(row, 1));
        }
    }
    for batches in split.values_mut() {
        let Some(first) = batches.first() else { continue };
        let joined = arrow::compute::concat_batches(&first.schema(), batches.iter())?;
        *batches = vec![joined];
    }
    Ok(split)
}
