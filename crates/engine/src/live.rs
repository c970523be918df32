//! Following the record: which of the events that were added since a place pass a query. What is
//! new is in memory and looked at there; who was away for long reads on from the files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use datafusion::common::DFSchema;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_expr::PhysicalExpr;
use whodid_query::{Known, Query};
use whodid_store::{Chunk, Snapshot, Table};

use crate::error::Result;
use crate::filter::{Translator, body_terms, column, mentions, text};
use crate::function::EventSet;
use crate::row::{EventId, Row};
use crate::table::{events_table_schema, with_partitions};
use crate::{BodyTests, Engine};

/// A place in the record: for each cluster, the leaf index of the next event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(BTreeMap<String, u64>);

impl Cursor {
    /// The place behind everything that a snapshot sees.
    pub fn end_of(snapshot: &Snapshot) -> Self {
        Cursor(snapshot.ends())
    }

    /// The leaf index of the next event of a cluster; 0 for one that is not known yet.
    pub fn next(&self, cluster: &str) -> u64 {
        self.0.get(cluster).copied().unwrap_or(0)
    }

    /// The places by cluster.
    pub fn places(&self) -> &BTreeMap<String, u64> {
        &self.0
    }

    /// Moves behind an event.
    pub fn advance(&mut self, id: &EventId) {
        self.0.insert(id.cluster.clone(), id.seq + 1);
    }

    /// How many events lie between this place and a later one.
    pub fn distance_to(&self, later: &Cursor) -> u64 {
        later.0.iter().map(|(cluster, next)| next.saturating_sub(self.next(cluster))).sum()
    }
}

/// `CLUSTER/SEQ`, joined by commas.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (cluster, next)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{cluster}/{next}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let places = parts.map(|part| part.parse().map(|id: EventId| (id.cluster, id.seq)));
        places.collect::<Result<_, _>>().map(Cursor)
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// The events, by cluster in the order of its log.
    pub rows: Vec<Row>,
    /// Whether there may be more behind them already.
    pub is_more: bool,
}

/// Follows one query.
pub struct Follower {
    context: SessionContext,
    query: Query,
    now: i64,
    /// The query, unless it has to look into bodies.
    filter: Option<Arc<dyn PhysicalExpr>>,
    cursor: Cursor,
}

impl Follower {
    /// Follows a query from a place on; `now` is what relative times are relative to.
    ///
    /// A request is shown when it has ended, and one that stays open also when it begins; one
    /// that asks about `stage` or `duplicate` decides for itself.
    ///
    /// # Errors
    /// The query cannot be evaluated.
    pub fn new(query: Query, now: i64, cursor: Cursor) -> Result<Self> {
        let mut follower =
            Follower { context: SessionContext::new(), query, now, filter: None, cursor };
        if body_terms(&follower.query.expr).is_empty() {
            follower.filter = Some(follower.physical(BodyTests::new())?);
        }
        Ok(follower)
    }

    /// Where the next look begins.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Leaves out everything before a place.
    pub fn skip_to(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// Looks at what was added since, and goes on behind it. At most about `limit` events are
    /// returned at once.
    ///
    /// # Errors
    /// The record cannot be read.
    pub async fn look(&mut self, snapshot: &Snapshot, limit: usize) -> Result<Look> {
        let mut look = Look::default();
        let ends = snapshot.ends();
        for (cluster, end) in ends {
            if self.cursor.next(&cluster) >= end {
                continue;
            }
            self.look_into_files(snapshot, &cluster, limit, &mut look).await?;
            for (_, chunk) in snapshot.chunks().filter(|(of, _)| *of == cluster) {
                if look.rows.len() >= limit {
                    look.is_more = true;
                    return Ok(look);
                }
                self.look_into_chunk(&cluster, chunk, &mut look.rows)?;
            }
        }
        Ok(look)
    }

    async fn look_into_files(
        &mut self,
        snapshot: &Snapshot,
        cluster: &str,
        limit: usize,
        look: &mut Look,
    ) -> Result<()> {
        let files = snapshot.files(Table::Events).iter().filter(|file| file.cluster == cluster);
        let Some(end) = files.map(|file| file.stats.seq.1 + 1).max() else { return Ok(()) };
        let next = self.cursor.next(cluster);
        if next >= end {
            return Ok(());
        }
        let engine = Engine::new(snapshot.clone()).await?;
        let translator = engine.translator(&self.query, self.now).await?;
        let filter = self.shown(&translator)?;
        let seq = |bound: u64| lit(bound.cast_signed());
        let place = column("cluster")
            .eq(text(cluster))
            .and(column("seq").gt_eq(seq(next)).and(column("seq").lt(seq(end))));
        let wanted = limit.saturating_sub(look.rows.len()).max(1);
        let found = engine
            .events()
            .await?
            .filter(place.and(filter))?
            .sort(vec![column("seq").sort(true, false)])?
            .limit(0, Some(wanted))?;
        let rows: Vec<Row> = Row::all(&found.collect().await?).collect();
        let is_full = rows.len() >= wanted;
        let reached = rows.last().filter(|_| is_full).map_or(end, |row| row.id().seq + 1);
        self.cursor.0.insert(cluster.to_owned(), reached);
        look.is_more |= is_full;
        look.rows.extend(rows);
        Ok(())
    }

    fn look_into_chunk(&mut self, cluster: &str, chunk: &Chunk, rows: &mut Vec<Row>) -> Result<()> {
        let next = self.cursor.next(cluster);
        let seen = usize::try_from(next.saturating_sub(chunk.first_seq())).unwrap_or(usize::MAX);
        if seen >= chunk.rows() {
            return Ok(());
        }
        let new = chunk.events.slice(seen, chunk.rows() - seen);
        let batch = with_partitions(&events_table_schema(), &new, cluster)?;
        let filter = match &self.filter {
            Some(filter) => Arc::clone(filter),
            None => self.physical(self.in_bodies(cluster, chunk)?)?,
        };
        let passed = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
        let passed: &BooleanArray = passed.as_boolean();
        rows.extend(Row::all(&[filter_record_batch(&batch, passed)?]));
        self.cursor.0.insert(cluster.to_owned(), chunk.end_seq());
        Ok(())
    }

    /// For each term about bodies, the events of a chunk whose bodies pass.
    fn in_bodies(&self, cluster: &str, chunk: &Chunk) -> Result<BodyTests> {
        let mut found = BodyTests::new();
        for term in body_terms(&self.query.expr) {
            let set = crate::passing_bodies(term, cluster, &chunk.bodies)?;
            found.insert(term.to_string(), Arc::new(set));
        }
        Ok(found)
    }

    fn physical(&self, bodies: BodyTests) -> Result<Arc<dyn PhysicalExpr>> {
        let nothing = Arc::<EventSet>::default();
        let translator = Translator {
            now: self.now,
            completed: Arc::clone(&nothing),
            contradicted: nothing,
            bodies,
        };
        let schema = DFSchema::try_from(events_table_schema())?;
        Ok(self.context.create_physical_expr(self.shown(&translator)?, &schema)?)
    }

    /// The query, and what is hidden unless it asks for it.
    fn shown(&self, translator: &Translator) -> Result<Expr> {
        let expr = &self.query.expr;
        let mut shown = translator.expr(expr)?;
        if !mentions(expr, Known::Duplicate) {
            shown = shown.and(column("duplicate").eq(lit(false)));
        }
        if !mentions(expr, Known::Stage) {
            let is_begin = column("stage").eq(text("RequestReceived"));
            shown = shown.and(Expr::IsNotTrue(Box::new(is_begin)));
        }
        Ok(Expr::IsTrue(Box::new(shown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        for text in ["", "prod/12", "a/0,b/7"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in ["prod", "prod/x", "Prod/1", "a/1,b"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
        let (a, b): (Cursor, Cursor) = ("a/5".parse().unwrap(), "a/9,b/2".parse().unwrap());
        assert_eq!(a.distance_to(&b), 6);
    }
}
