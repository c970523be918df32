//! What a query asks of bodies is found out before anything else of it, or after what leaves fewer
//! of them: for each such term, the events one of whose bodies passes. What passes, [`crate::body`]
//! says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::Expr;
use whodid_query::{Field, Query, Segment, Side, Term};
use whodid_store::Table;

use crate::Engine;
use crate::body::{BodyTest, words_of};
use crate::error::{Error, Result};
use crate::filter::{Translator, body_terms, column, text};
use crate::function::{self, EventSet, row_test};
use crate::passing::{Passing, simplified};
use crate::row::Row;
use crate::table::SnapshotTable;
use crate::wanted::Wanted;

/// So many bodies are looked into before anything else of a query is.
const FEW_BODIES: u64 = 100_000;

/// For each term about bodies, by its text, the events whose bodies pass.
pub(crate) type BodyTests = HashMap<String, Arc<EventSet>>;

impl Engine {
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
            if bodies.choose(&self.state, &[]).await?.rows > FEW_BODIES {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The bodies that a term can find.
    fn bodies_with_words(&self, term: &Term) -> SnapshotTable {
        let (_, path) = body_path(term);
        self.table(Table::Bodies, Wanted::words_of_body(&words_of(path, &term.test)))
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
        let events = self.table(Table::Events, Wanted::All);
        let filter = simplified(&self.state, &events, filter)?;
        Ok(Some(Arc::new(self.event_set(&events, filter).await?)))
    }

    /// The events one of whose bodies passes a term, of some or of all.
    async fn events_with_bodies(
        &self,
        term: &Term,
        among: Option<Arc<EventSet>>,
    ) -> Result<EventSet> {
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
        self.event_set(&self.bodies_with_words(term), filter.and(passes)).await
    }

    /// The events of the rows that pass.
    async fn event_set(&self, table: &SnapshotTable, filter: Expr) -> Result<EventSet> {
        let mut set = EventSet::default();
        let chosen = table.choose(&self.state, std::slice::from_ref(&filter)).await?;
        if chosen.rows == 0 {
            return Ok(set);
        }
        let rows = Passing::chosen(&self.state, table, chosen, filter, &["cluster", "seq"])?;
        for row in Row::all(&rows.collect().await?) {
            let id = row.id();
            set.insert(&id.cluster, id.seq);
        }
        Ok(set)
    }
}

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
