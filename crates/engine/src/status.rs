//! What has come in, from where, and what was wrong with it: the facts behind `ingest status`.

use datafusion::functions_aggregate::expr_fn::{count, max, min, sum};
use datafusion::logical_expr::{Expr, lit, when};
use futures::future::BoxFuture;

use crate::error::Result;
use crate::filter::column;
use crate::row::{EventId, Row};
use crate::{Engine, Snapshot};

/// What came in from one source of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: String,
    /// Who delivered it.
    pub source: String,
    /// How many events, duplicates and raw leaves included.
    pub events: u64,
    /// How many of them were in the record already.
    pub duplicates: u64,
    /// How many contradict an earlier event.
    pub conflicts: u64,
    /// How many are not events and were kept as they came.
    pub raw: u64,
    /// How many values were taken out before writing.
    pub redacted: u64,
    /// When the first was taken in, in microseconds since 1970.
    pub first_received: i64,
    /// When the last was taken in.
    pub last_received: i64,
}

/// Bytes that came in and are not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLeaf {
    /// Its id.
    pub id: EventId,
    /// Who delivered it.
    pub source: String,
    /// When it was taken in.
    pub received: i64,
    /// Why it is not an event.
    pub reason: String,
}

impl Engine {
    /// Sums up what came in, by cluster and source.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn status(&self) -> BoxFuture<'_, Result<Vec<ClusterStatus>>> {
        Box::pin(async move {
            let how_many = |condition: Expr| -> Result<Expr> {
                Ok(sum(when(condition, lit(1_i64)).otherwise(lit(0_i64))?))
            };
            let summed = self
                .events()
                .await?
                .aggregate(
                    vec![column("cluster"), column("source")],
                    vec![
                        count(lit(1_i64)).alias("events"),
                        how_many(column("duplicate"))?.alias("duplicates"),
                        how_many(column("conflict"))?.alias("conflicts"),
                        how_many(column("raw_reason").is_not_null())?.alias("raw"),
                        sum(column("redacted")).alias("redacted"),
                        min(column("received")).alias("first_received"),
                        max(column("received")).alias("last_received"),
                    ],
                )?
                .sort_by(vec![column("cluster"), column("source")])?;
            let number = |row: &Row, name: &str| row.int(name).unwrap_or_default().cast_unsigned();
            let rows = summed.collect().await?;
            Ok(Row::all(&rows)
                .map(|row| ClusterStatus {
                    cluster: row.text("cluster").unwrap_or_default().to_owned(),
                    source: row.text("source").unwrap_or_default().to_owned(),
                    events: number(&row, "events"),
                    duplicates: number(&row, "duplicates"),
                    conflicts: number(&row, "conflicts"),
                    raw: number(&row, "raw"),
                    redacted: number(&row, "redacted"),
                    first_received: row.instant("first_received").unwrap_or_default(),
                    last_received: row.instant("last_received").unwrap_or_default(),
                })
                .collect())
        })
    }

    /// The newest bytes that came in and are not events, newest first.
    ///
    /// # Errors
    /// The record cannot be read.
    pub async fn raw_leaves(&self, limit: usize) -> Result<Vec<RawLeaf>> {
        let columns = ["cluster", "seq", "source", "received", "raw_reason"].map(column);
        let found = self
            .events()
            .await?
            .filter(column("raw_reason").is_not_null())?
            .select(columns.to_vec())?
            .sort(vec![column("received").sort(false, false), column("seq").sort(false, false)])?
            .limit(0, Some(limit))?;
        let rows = found.collect().await?;
        Ok(Row::all(&rows)
            .map(|row| RawLeaf {
                id: row.id(),
                source: row.text("source").unwrap_or_default().to_owned(),
                received: row.instant("received").unwrap_or_default(),
                reason: row.text("raw_reason").unwrap_or_default().to_owned(),
            })
            .collect())
    }
}

/// How many events of a snapshot are not in a segment yet.
pub fn waiting(snapshot: &Snapshot) -> usize {
    snapshot.chunks().map(|(_, chunk)| chunk.rows()).sum()
}
