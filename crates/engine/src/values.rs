//! The values a field has had lately, the most frequent first: what a person may want to type.

use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::starts_with;
use futures::future::BoxFuture;
use whodid_query::{Kind, Known, Query};

use crate::Engine;
use crate::error::Result;
use crate::filter::{column, column_name, text};
use crate::row::Row;

/// So many of the newest events of each cluster are looked at, so that the answer comes while a
/// person waits for it, however long the record is.
const NEWEST: u64 = 200_000;

/// Which values are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Of this field; see [`has_values`].
    pub field: Known,
    /// Of events that pass this query.
    pub query: Query,
    /// What relative times are relative to, in microseconds since 1970.
    pub now: i64,
    /// Those that begin so.
    pub prefix: String,
    /// The most frequent so many.
    pub limit: usize,
}

/// Whether the values of a field are worth a list: texts, and not a new one for each event.
pub fn has_values(field: Known) -> bool {
    matches!(field.kind(), Kind::Text | Kind::OneOf(_) | Kind::Resource) && field != Known::AuditId
}

impl Engine {
    /// Counts values among the newest events, the most frequent first.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn values<'a>(&'a self, wanted: &'a Values) -> BoxFuture<'a, Result<Vec<(String, u64)>>> {
        Box::pin(async move {
            if !has_values(wanted.field) {
                return Ok(Vec::new());
            }
            let newest = self.snapshot.ends().into_iter().map(|(cluster, end)| {
                let first = end.saturating_sub(NEWEST).cast_signed();
                column("cluster").eq(text(&cluster)).and(column("seq").gt_eq(lit(first)))
            });
            let Some(newest) = newest.reduce(Expr::or) else { return Ok(Vec::new()) };
            let passes =
                self.translator(&wanted.query, wanted.now).await?.expr(&wanted.query.expr)?;
            let name = column_name(wanted.field);
            let begins = starts_with(column(name), text(&wanted.prefix));
            let found = self
                .events()
                .await?
                .filter(newest.and(column(name).is_not_null()).and(begins).and(passes))?
                .aggregate(vec![column(name)], vec![count(lit(1_i64)).alias("events")])?
                .sort(vec![column("events").sort(false, false), column(name).sort(true, false)])?
                .limit(0, Some(wanted.limit))?;
            let batches = found.collect().await?;
            let value = |row: Row| {
                let events = row.int("events").unwrap_or_default().cast_unsigned();
                Some((row.text(name)?.to_owned(), events))
            };
            Ok(Row::all(&batches).filter_map(value).collect())
        })
    }
}
