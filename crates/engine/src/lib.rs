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
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, lit};
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;
use whodid_query::{Field, Query, Segment, Side, Term};
use whodid_store::{Original, RowBodies, Rows, Snapshot, Table};

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
mod row;
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
pub use document::API_VERSION;
pub use error::{Error, Result};
pub use row::{EventId, Row, is_shown};
pub use search::{Found, LEFT_OUT_MAX, Search};
pub use status::{ClusterStatus, RawLeaf, waiting};
pub use values::{Values, has_values};

use body::{BodyTest, words_of};
use cache::Mark;
use cost::Meter;
use filter::{Translator, body_terms, column, text};
use function::{EventSet, row_test};
use table::{STORE_URL, SnapshotTable};
use wanted::Wanted;

/// Events are fetched by id this many at a time.
const FETCH_MAX: usize = 1_000;

/// What came in as an event, or why it cannot be given back.
type Given = Result<(Original, RowBodies), whodid_store::Error>;

/// So many bodies are looked into before anything else of a query is.
const FEW_BODIES: u64 = 100_000;

/// Answers queries over one snapshot.
pub struct Engine {
    context: SessionContext,
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
            let state = SessionStateBuilder::new().with_config(config).build();
            let context = SessionContext::new_with_state(state);
            // The name is a constant of this crate.
            if let Ok(url) = Url::parse(STORE_URL) {
                context.register_object_store(&url, snapshot.object_store());
            }
            let meter = Arc::new(Meter::default());
            for table in [Table::Events, Table::Bodies] {
                let provider = SnapshotTable::new(table, snapshot.clone(), cache.clone());
                let provider = provider.metered(Arc::clone(&meter));
                context.register_table(table.name(), Arc::new(provider))?;
            }
            let mut engine = Engine {
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
        let columns = ["cluster", "seq", "twin", "duplicate", "conflict"].map(column);
        let marked = column("twin").is_not_null().and(column("duplicate").eq(lit(false)));
        let found = self.events().await?.filter(marked.and(places))?.select(columns.to_vec())?;
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

    pub(crate) async fn events(&self) -> Result<DataFrame> {
        Ok(self.context.table(Table::Events.name()).await?)
    }

    pub(crate) async fn bodies(&self) -> Result<DataFrame> {
        Ok(self.context.table(Table::Bodies.name()).await?)
    }

    /// Whether a later event contradicts this one.
    pub fn is_contradicted(&self, id: &EventId) -> bool {
        self.contradicted.contains(&id.cluster, id.seq)
    }

    /// An event as JSON, with what later events say about it.
    pub fn json(&self, row: &Row) -> Map<String, Value> {
        let mut object = row.json();
        if self.is_contradicted(&row.id()) {
            object.insert("contradicted".into(), true.into());
        }
        object
    }

    /// Prepares what a query needs besides the rows of `events`.
    pub(crate) async fn translator(&self, query: &Query, now: i64) -> Result<Translator> {
        let (completed, contradicted) =
            (Arc::clone(&self.completed), Arc::clone(&self.contradicted));
        let mut translator = Translator { now, completed, contradicted, bodies: HashMap::new() };
        let terms = body_terms(&query.expr);
        if terms.is_empty() {
            return Ok(translator);
        }
        // Where few bodies can have the words, looking into them is the less work.
        let is_few = self.has_few_bodies(&terms).await?;
        let among = if is_few { None } else { self.among(&translator, &query.expr).await? };
        for term in terms {
            if let Entry::Vacant(missing) = translator.bodies.entry(term.to_string()) {
                let found = self.events_with_bodies(term, among.clone()).await?;
                missing.insert(Arc::new(found));
            }
        }
        Ok(translator)
    }

    /// Whether the index of words leaves few bodies for each of some terms.
    async fn has_few_bodies(&self, terms: &[&Term]) -> Result<bool> {
        for term in terms {
            let bodies = self.bodies_with_words(term);
            if bodies.count(&self.context.state(), &[]).await? > FEW_BODIES {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bodies that a term can find.
    fn bodies_with_words(&self, term: &Term) -> SnapshotTable {
        let (_, path) = body_path(term);
        self.table(Table::Bodies, Wanted::words(&words_of(path, &term.test)))
    }

    /// The events among which those are that pass a query, as far as it can be told without
    /// looking into bodies; `None` if that leaves all of them.
    async fn among(
        &self,
        translator: &Translator,
        expr: &whodid_query::Expr,
    ) -> Result<Option<Arc<EventSet>>> {
        let parts = match expr {
            whodid_query::Expr::And(parts) => parts.as_slice(),
            _ => &[],
        };
        let bodiless = parts.iter().filter(|part| body_terms(part).is_empty());
        let filters = bodiless.map(|part| translator.expr(part)).collect::<Result<Vec<_>>>()?;
        let Some(filter) = filters.into_iter().reduce(Expr::and) else { return Ok(None) };
        let found = self.events().await?.filter(filter)?;
        Ok(Some(Arc::new(event_set(found).await?)))
    }

    /// The events one of whose bodies passes a term, of some or of all.
    async fn events_with_bodies(
        &self,
        term: &Term,
        among: Option<Arc<EventSet>>,
    ) -> Result<EventSet> {
        let bodies = self.bodies_with_words(term);
        if bodies.count(&self.context.state(), &[]).await? == 0 {
            return Ok(EventSet::default());
        }
        let (side, test) = body_test(term)?;
        let passes = row_test("body_passes", vec![column("json")], move |columns, row| {
            let holds = &mut |json: &str| test.holds(json);
            columns.iter().any(|column| function::any_text(column, row, holds))
        });
        let request = column("member").eq(text("requestObject"));
        let response = column("member").eq(text("responseObject"));
        let mut filter = match side {
            Side::Request => request,
            Side::Response => response,
            Side::Either => request.or(response),
        };
        if let Some(among) = among {
            if among.is_empty() {
                return Ok(EventSet::default());
            }
            filter = among.expression(column("cluster"), column("seq")).and(filter);
        }
        let bodies = self.context.read_table(Arc::new(bodies))?;
        event_set(bodies.filter(filter.and(passes))?).await
    }

    /// Fetches events with all their columns, in the order asked for.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn fetch<'a>(&'a self, ids: &'a [EventId]) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            let mut found = HashMap::with_capacity(ids.len());
            for share in ids.chunks(FETCH_MAX) {
                let batches = self.events_of(share)?.collect().await?;
                found.extend(Row::all(&batches).map(|row| (row.id(), row)));
            }
            ids.iter()
                .map(|id| found.get(id).cloned().ok_or_else(|| Error::NoEvent(id.clone())))
                .collect()
        })
    }

    /// The rows of events, read from where they are known to be.
    pub(crate) fn events_of(&self, ids: &[EventId]) -> Result<DataFrame> {
        let mut places: HashMap<String, BTreeSet<u64>> = HashMap::new();
        for id in ids {
            places.entry(id.cluster.clone()).or_default().insert(id.seq);
        }
        let table = self.table(Table::Events, Wanted::Events(places));
        Ok(self.context.read_table(Arc::new(table))?.filter(one_of(ids))?)
    }

    /// Gives back what came in as these events, in the order asked for.
    ///
    /// # Errors
    /// One of them is not there; a body that is gone is an error of that event alone.
    pub fn originals<'a>(&'a self, ids: &'a [EventId]) -> BoxFuture<'a, Result<Vec<Given>>> {
        Box::pin(async move {
            let mut found = HashMap::with_capacity(ids.len());
            for share in ids.chunks(FETCH_MAX) {
                let events = self.events_of(share)?.collect().await?;
                let bodies = self.bodies().await?.filter(one_of(share))?.collect().await?;
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

/// The events of some rows.
async fn event_set(rows: DataFrame) -> Result<EventSet> {
    let rows = rows.select(vec![column("cluster"), column("seq")])?;
    let mut set = EventSet::default();
    for row in Row::all(&rows.collect().await?) {
        let id = row.id();
        set.insert(&id.cluster, id.seq);
    }
    Ok(set)
}

/// For each term about bodies, by its text, the events whose bodies pass.
pub(crate) type BodyTests = HashMap<String, Arc<EventSet>>;

/// Whose bodies a term is about, and what of them.
fn body_path(term: &Term) -> (Side, &[Segment]) {
    match &term.field {
        Field::Body(side, path) => (*side, path.as_slice()),
        _ => (Side::Either, &[][..]),
    }
}

/// What a term asks of bodies, and of whose.
fn body_test(term: &Term) -> Result<(Side, BodyTest)> {
    let (side, path) = body_path(term);
    let test = BodyTest::new(path, &term.test).map_err(|_| Error::TooManyWords)?;
    Ok((side, test))
}

/// The events of rows of `bodies` from memory whose body passes a term.
pub(crate) fn passing_bodies(term: &Term, cluster: &str, bodies: &RecordBatch) -> Result<EventSet> {
    let (side, test) = body_test(term)?;
    let mut set = EventSet::default();
    for row in Row::all(std::slice::from_ref(bodies)) {
        let is_of_side = match row.text("member") {
            Some("requestObject") => side != Side::Response,
            Some("responseObject") => side != Side::Request,
            _ => false,
        };
        if is_of_side && row.text("json").is_some_and(|json| test.holds(json)) {
            set.insert(cluster, row.int("seq").unwrap_or_default().cast_unsigned());
        }
    }
    Ok(set)
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
