//! Following the record: which of the events that were added since a place pass a query. What is
//! new is in memory and looked at there, by all who follow in the same [`Feed`]; who was away for
//! long reads on from the files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::AsArray;
use datafusion::common::DFSchema;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_expr::PhysicalExpr;
use futures::future::BoxFuture;
use whodid_query::{Known, Query};
use whodid_store::{Snapshot, Table};

use crate::bodies::{BodyTests, passing_bodies};
use crate::error::Result;
use crate::filter::{Translator, body_terms, column, mentions, text};
use crate::function::EventSet;
use crate::row::{EventId, Row};
use crate::table::events_table_schema;
use crate::{Cache, Engine};

mod feed;

pub use feed::Feed;

use feed::Block;

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
        self.set(&id.cluster, id.seq + 1);
    }

    fn set(&mut self, cluster: &str, next: u64) {
        match self.0.get_mut(cluster) {
            Some(known) => *known = next,
            None => {
                self.0.insert(cluster.to_owned(), next);
            }
        }
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
    cache: Cache,
    query: Query,
    now: i64,
    /// The query, unless it has to look into bodies.
    filter: Option<Filter>,
    cursor: Cursor,
}

/// An expression, and the columns of the table it is about: given all of them, an `AND` would
/// filter each before it evaluates its right side.
#[derive(Clone)]
struct Filter {
    expr: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
}

impl Follower {
    /// Follows a query from a place on; `now` is what relative times are relative to.
    ///
    /// A request is shown when it has ended, and one that stays open also when it begins; one
    /// that asks about `stage` or `duplicate` decides for itself.
    ///
    /// # Errors
    /// The query cannot be evaluated.
    pub fn new(query: Query, now: i64, cursor: Cursor, cache: &Cache) -> Result<Self> {
        let mut follower = Follower {
            context: SessionContext::new(),
            cache: cache.clone(),
            query,
            now,
            filter: None,
            cursor,
        };
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
    pub fn look<'a>(
        &'a mut self,
        snapshot: &'a Snapshot,
        limit: usize,
    ) -> BoxFuture<'a, Result<Look>> {
        Box::pin(async move {
            let mut look = Look::default();
            let ends = snapshot.ends();
            for (cluster, end) in ends {
                if self.cursor.next(&cluster) >= end {
                    continue;
                }
                self.look_into_files(snapshot, &cluster, limit, &mut look).await?;
                for (_, chunk) in snapshot.chunks().filter(|(of, _)| *of == cluster) {
                    if chunk.end_seq() <= self.cursor.next(&cluster) {
                        continue;
                    }
                    if look.rows.len() >= limit {
                        look.is_more = true;
                        return Ok(look);
                    }
                    self.look_into(&Block::of(&cluster, chunk)?, &mut look.rows)?;
                }
            }
            Ok(look)
        })
    }

    /// Looks at what was added since, as far as `feed` has it; `None` if it begins later. At most
    /// about `limit` events are returned at once.
    ///
    /// # Errors
    /// The query cannot be evaluated.
    pub fn look_at(&mut self, feed: &Feed, limit: usize) -> Result<Option<Look>> {
        let Some(blocks) = feed.after(&self.cursor)? else { return Ok(None) };
        let mut look = Look::default();
        for block in blocks {
            if look.rows.len() >= limit {
                look.is_more = true;
                break;
            }
            self.look_into(&block, &mut look.rows)?;
        }
        Ok(Some(look))
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
        let engine = Engine::new(snapshot.clone(), &self.cache).await?;
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
        self.cursor.set(cluster, reached);
        look.is_more |= is_full;
        look.rows.extend(rows);
        Ok(())
    }

    /// Looks at the part of a block that lies behind the place reached.
    fn look_into(&mut self, block: &Block, rows: &mut Vec<Row>) -> Result<()> {
        let Some(seen) = block.seen_before(self.cursor.next(&block.cluster)) else { return Ok(()) };
        let events = block.events.columns();
        let filter = match &self.filter {
            Some(filter) => filter.clone(),
            None => self.physical(self.in_bodies(block)?)?,
        };
        let asked = events.project(&filter.columns)?;
        let passed = filter.expr.evaluate(&asked)?.into_array(events.num_rows())?;
        let passed = passed.as_boolean().values().set_indices().filter(|row| *row >= seen);
        rows.extend(passed.map(|row| block.events.row(row)));
        self.cursor.set(&block.cluster, block.end_seq());
        Ok(())
    }

    /// For each term about bodies, the events of a block whose bodies pass.
    fn in_bodies(&self, block: &Block) -> Result<BodyTests> {
        let mut found = BodyTests::new();
        for term in body_terms(&self.query.expr) {
            let set = passing_bodies(term, &block.cluster, &block.bodies)?;
            found.insert(term.to_string(), Arc::new(set));
        }
        Ok(found)
    }

    fn physical(&self, bodies: BodyTests) -> Result<Filter> {
        let nothing = Arc::<EventSet>::default();
        let translator = Translator {
            now: self.now,
            completed: Arc::clone(&nothing),
            contradicted: nothing,
            bodies,
        };
        let expr = self.shown(&translator)?;
        let asked = expr.column_refs();
        let table = events_table_schema();
        let is_asked =
            |i: &usize| asked.iter().any(|column| column.name == *table.field(*i).name());
        let columns: Vec<usize> = (0..table.fields().len()).filter(is_asked).collect();
        let schema = DFSchema::try_from(table.project(&columns)?)?;
        Ok(Filter { expr: self.context.create_physical_expr(expr, &schema)?, columns })
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
