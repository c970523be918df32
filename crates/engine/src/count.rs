//! Counting the requests that a query finds: by time, by the values of a field, or by both. Which
//! requests it finds is what [`crate::search`] says; here each is told from the others by a join.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{JoinType, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, cast, lit, when};
use datafusion::prelude::coalesce;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use whodid_event::time;
use whodid_query::{Known, Query};
use whodid_store::Table;

use crate::error::Result;
use crate::filter::{column, column_name, instant, mentions, text};
use crate::row::Row;
use crate::search::REQUEST_COLUMNS;
use crate::wanted::Wanted;
use crate::{Engine, Error, has_values};

/// More would be no overview.
pub const COUNTS_MAX: usize = 10_000;

/// What to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The requests that pass this query.
    pub query: Query,
    /// What relative times are relative to, in microseconds since 1970.
    pub now: i64,
    /// In spans of so many microseconds, counted from 1970.
    pub step: Option<i64>,
    /// By the values of this field; see [`has_values`].
    pub by: Option<Known>,
    /// The most frequent so many values.
    pub limit: usize,
}

/// How many there are of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The beginning of the span, in microseconds since 1970.
    pub time: Option<i64>,
    /// The value of the field; unknown in requests that have none.
    pub value: Option<String>,
    /// How many requests.
    pub requests: u64,
}

impl Engine {
    /// Counts requests: by time in its order, by value the most frequent first.
    ///
    /// # Errors
    /// The record cannot be read, the counts are more than [`COUNTS_MAX`], or they were not done
    /// when their time was over.
    pub fn count<'a>(&'a self, wanted: &'a Count) -> BoxFuture<'a, Result<Vec<Counted>>> {
        let counted = self.in_time(self.counted(wanted));
        Box::pin(async move { counted.await.unwrap_or(Err(Error::TooLong)) })
    }

    async fn counted(&self, wanted: &Count) -> Result<Vec<Counted>> {
        let field = wanted.by.filter(|field| has_values(*field)).map(column_name);
        let step = wanted.step.filter(|step| *step > 0);
        let mut groups = Vec::new();
        if let Some(step) = step {
            let time = cast(column("time"), DataType::Int64);
            // Rounded down, before 1970, too.
            let behind = ((time.clone() % lit(step)) + lit(step)) % lit(step);
            groups.push((time - behind).alias("span"));
        }
        groups.extend(field.map(|field| column(field).alias("value")));
        let requests = vec![count(lit(1_i64)).alias("requests")];
        let counts = self.requests(wanted).await?.aggregate(groups, requests)?;
        let span = step.map(|_| column("span").sort(true, false));
        let value = field.map(|_| column("value").sort(true, true));
        let frequent = column("requests").sort(false, false);
        let order = span.into_iter().chain([frequent]).chain(value).collect();
        let most = if step.is_some() { COUNTS_MAX + 1 } else { wanted.limit };
        let rows = counts.sort(order)?.limit(0, Some(most))?.collect().await?;
        let counted = |row: Row| Counted {
            time: step.and_then(|_| row.int("span")),
            value: row.text("value").map(str::to_owned),
            requests: row.int("requests").unwrap_or_default().cast_unsigned(),
        };
        let counts: Vec<Counted> = Row::all(&rows).map(counted).collect();
        if counts.len() > COUNTS_MAX {
            return Err(Error::TooManyCounts);
        }
        Ok(counts)
    }

    /// A row for each request: its last event that passes, unless a later one is known.
    async fn requests(&self, wanted: &Count) -> Result<DataFrame> {
        let translator = self.translator(&wanted.query, wanted.now).await?;
        let mut filter = translator.expr(&wanted.query.expr)?;
        if !mentions(&wanted.query.expr, Known::Duplicate) {
            filter = filter.and(translator.is_first());
        }
        let columns = ["time"].into_iter().chain(wanted.by.map(column_name));
        let columns: Vec<Expr> = columns.map(column).collect();
        let places = Wanted::by_query(&wanted.query.expr, &translator);
        let passing = self.table(Table::Events, places);
        let passing = self.context.read_table(Arc::new(passing))?.filter(filter)?;
        if mentions(&wanted.query.expr, Known::Stage) {
            return Ok(passing.select(columns)?);
        }
        let has_id = column("audit_id").is_not_null().or(column("audit_id_text").is_not_null());
        let begins = |stage| column("stage").eq(text(stage));
        let is_open = begins(RECEIVED).or(begins(STARTED)).and(has_id);
        let ended = passing.clone().filter(Expr::IsNotTrue(Box::new(is_open.clone())))?;
        let ended = ended.select(columns.clone())?;
        let open = passing.filter(is_open)?;
        if open.clone().limit(0, Some(1))?.count().await? == 0 {
            return Ok(ended);
        }
        let later = self.events().await?.filter(column("stage").not_eq(text(RECEIVED)))?;
        let later = later.select(request("later_")?)?;
        let open = open.select([columns.clone(), request("open_")?].concat())?;
        let same = REQUEST_COLUMNS
            .map(|key| column(&format!("open_{key}")).eq(column(&format!("later_{key}"))));
        let goes_on = column("later_stage").gt(column("open_stage"));
        let open = open.join_on(later, JoinType::LeftAnti, same.into_iter().chain([goes_on]))?;
        Ok(ended.union(open.select(columns)?)?)
    }
}

const RECEIVED: &str = "RequestReceived";
const STARTED: &str = "ResponseStarted";

impl Counted {
    /// As JSON: `time` and `value` where they were asked for.
    pub fn json(&self, wanted: &Count) -> Value {
        let mut object = Map::new();
        object.extend(self.time.map(|time| ("time".into(), time::format(time).into())));
        object.extend(wanted.by.map(|_| ("value".into(), self.value.clone().into())));
        object.insert("requests".into(), self.requests.into());
        object.into()
    }
}

/// What tells a request from others, never null, and how far its stage is, under names that begin
/// so.
fn request(prefix: &str) -> Result<Vec<Expr>> {
    let keys = REQUEST_COLUMNS.map(|key| {
        let none = match key {
            "audit_id" => lit(ScalarValue::Binary(Some(Vec::new()))),
            "request_received_timestamp" => instant(0),
            _ => text(""),
        };
        coalesce(vec![column(key), none]).alias(format!("{prefix}{key}"))
    });
    let stage = |name| column("stage").eq(text(name));
    let stage = when(stage(RECEIVED), lit(0)).when(stage(STARTED), lit(1)).otherwise(lit(2))?;
    Ok(keys.into_iter().chain([stage.alias(format!("{prefix}stage"))]).collect())
}
