//! Searching: the newest requests that a query finds, one row each. Which event stands for a
//! request is decided in [`requests`]; what a query means is [`crate::filter`]'s.

use std::collections::{BTreeSet, HashMap};

use datafusion::logical_expr::{Expr, lit};
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use whodid_query::{Known, Query};
use whodid_store::Table;

use crate::error::Result;
use crate::filter::{column, instant, mentions, text};
use crate::passing::{Passing, simplified};
use crate::row::{EventId, Row, columns_of};
use crate::table::{Chosen, SnapshotTable, events_table_schema, names};
use crate::wanted::Wanted;
use crate::{Engine, FETCH_MAX};

mod requests;
mod windows;

pub(crate) use requests::REQUEST_COLUMNS;
use requests::{STAGE_COLUMNS, Seen};
use windows::Windows;

/// Of the matches that are not given, so many are counted: that there are more is said, how many
/// would take looking at all of them.
pub const LEFT_OUT_MAX: u64 = 10_000;

/// Matches are looked through this many at a time.
const PAGE_ROWS: usize = 16_384;

/// So many events are looked at without looking at the newest first.
const FEW_ROWS: u64 = 65_536;

/// So many are looked at by one thread: to hand them over takes longer.
const ROWS_BY_ONE: u64 = 4_096;

/// So many columns are read of all rows sooner than of those that passed.
const NARROW_COLUMNS: usize = 6;

/// What to look for.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The query.
    pub query: Query,
    /// What relative times are relative to, in microseconds since 1970.
    pub now: i64,
    /// The newest so many requests; 0 means all.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The event that stands for each request, oldest first.
    pub ids: Vec<EventId>,
    /// How many older events pass the query and are not among them; more than [`LEFT_OUT_MAX`] if
    /// they are more, however many.
    pub left_out: u64,
}

/// An event that passed, with the columns that were asked for.
struct Match {
    id: EventId,
    time: i64,
    row: Row,
}

/// Where an event is, and in which order it comes.
const PLACE_COLUMNS: [&str; 3] = ["cluster", "seq", "time"];

impl Match {
    fn of(row: Row) -> Self {
        Match { id: row.id(), time: row.instant("time").unwrap_or_default(), row }
    }
}

/// What is looked for, and among which rows.
struct Asked<'a> {
    table: SnapshotTable,
    filter: Expr,
    chosen: Chosen,
    /// Whether these rows are so few that all of them are looked at, and all columns at once.
    is_few: bool,
    /// Those that matches need.
    columns: Vec<&'a str>,
}

impl Engine {
    /// Finds the newest requests that pass a query.
    ///
    /// A query that asks about `stage` is answered with single events, and one that asks about
    /// `duplicate` finds duplicates too; otherwise they are hidden.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn search<'a>(&'a self, search: &'a Search) -> BoxFuture<'a, Result<Found>> {
        Box::pin(async move {
            let (ids, left_out) = self.find(search, &[], |found| found.id).await?;
            Ok(Found { ids, left_out })
        })
    }

    /// The same, with these fields of each event as [`Row::json`] shows them, or all if none is
    /// named; and how many older events are left out. For few: all stand in memory.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn newest<'a>(
        &'a self,
        search: &'a Search,
        fields: &'a [&'a str],
    ) -> BoxFuture<'a, Result<(Vec<Row>, u64)>> {
        Box::pin(async move {
            let schema = events_table_schema();
            let columns: Vec<&str> = match fields {
                [] => names(&schema),
                fields => fields.iter().flat_map(|field| columns_of(field)).collect(),
            };
            self.find(search, &columns, |found| found.row).await
        })
    }

    /// What is kept of each match, oldest first, and how many older ones are left out.
    async fn find<T>(
        &self,
        search: &Search,
        columns: &[&str],
        keep: fn(Match) -> T,
    ) -> Result<(Vec<T>, u64)> {
        let by_request = !mentions(&search.query.expr, Known::Stage);
        let asked = self.in_time(self.asked(search, columns, by_request)).await.transpose()?;
        let Some(mut asked) = asked.flatten() else { return Ok((Vec::new(), 0)) };
        let wanted = if search.limit == 0 { usize::MAX } else { search.limit };
        let mut newest_first = Vec::new();
        let mut seen = Seen::default();
        let mut last: Option<(i64, EventId)> = None;
        let mut windows =
            if asked.is_few { Windows::all() } else { Windows::new(self.snapshot(), wanted) };
        let is_last = loop {
            let missing = wanted - newest_first.len();
            let filter = windows.filter();
            let page = self.page(&asked, filter, last.as_ref(), missing);
            let Some(page) = self.in_time(page).await.transpose()? else { break true };
            last = page.matches.last().map(|found| (found.time, found.id.clone())).or(last);
            let is_over = page.matches.len() < page.limit;
            if let (false, Some((time, _))) = (is_over, &last) {
                windows.go_on_behind(*time);
            }
            let is_last = is_over && !windows.go_on(page.matches.len(), missing);
            let matches = if by_request {
                self.one_each(page.matches, &mut seen).await?
            } else {
                page.matches
            };
            if seen.is_crowded() {
                asked.read_also(&REQUEST_COLUMNS);
            }
            newest_first.extend(matches.into_iter().map(keep));
            if is_last || newest_first.len() >= wanted {
                break is_last;
            }
        };
        let older = if is_last {
            None
        } else {
            self.in_time(self.left_out(&asked, last.as_ref())).await.transpose()?
        };
        // Without the time to count them there may be more: the cost says that it is partial.
        let older = older.unwrap_or(0);
        let left_out = older + newest_first.len().saturating_sub(wanted) as u64;
        newest_first.truncate(wanted);
        newest_first.reverse();
        Ok((newest_first, left_out))
    }

    /// What comes of it before the deadline; that it did not is noted.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(deadline) = self.deadline else { return Some(work.await) };
        let is_over = Instant::now() >= deadline;
        let done = if is_over { None } else { timeout_at(deadline, work).await.ok() };
        if done.is_none() {
            self.meter.stop();
        }
        done
    }

    /// `None` if no row can pass.
    async fn asked<'a>(
        &self,
        search: &Search,
        columns: &[&'a str],
        by_request: bool,
    ) -> Result<Option<Asked<'a>>> {
        let translator = self.translator(&search.query, search.now).await?;
        let mut filter = translator.expr(&search.query.expr)?;
        if !mentions(&search.query.expr, Known::Duplicate) {
            filter = filter.and(translator.is_first());
        }
        let places = Wanted::by_query(&search.query.expr, &translator);
        let table = self.table(Table::Events, places);
        let filter = simplified(&self.state, &table, filter)?;
        let chosen = table.choose(&self.state, std::slice::from_ref(&filter)).await?;
        if chosen.rows == 0 {
            return Ok(None);
        }
        let is_few = chosen.rows <= FEW_ROWS;
        let table = if chosen.rows <= ROWS_BY_ONE { table.by_one() } else { table };
        let request = if by_request { &STAGE_COLUMNS[..] } else { &[] };
        let columns: BTreeSet<&str> =
            [&PLACE_COLUMNS, request, columns].into_iter().flatten().copied().collect();
        let columns = columns.into_iter().collect();
        Ok(Some(Asked { table, filter, chosen, is_few, columns }))
    }

    /// The newest matches behind the last one seen, within a window.
    async fn page(
        &self,
        asked: &Asked<'_>,
        window: Option<Expr>,
        last: Option<&(i64, EventId)>,
        wanted: usize,
    ) -> Result<Page> {
        // A few more than wanted: some will turn out to be stages of one request.
        let limit = wanted.saturating_add(wanted / 4 + 16).min(PAGE_ROWS);
        let at_once = if asked.is_few {
            // What each of them says may stand on a page of its own.
            asked.chosen.rows / 4 <= limit as u64
        } else {
            asked.columns.len() <= NARROW_COLUMNS
        };
        let columns = if at_once { &asked.columns } else { &PLACE_COLUMNS[..] };
        let found = match (last, window) {
            (None, None) => {
                let (filter, chosen) = (asked.filter.clone(), asked.chosen.clone());
                Passing::chosen(&self.state, &asked.table, chosen, filter, columns)?
            }
            (last, window) => {
                let matches = asked.matches(last);
                let matches = window.into_iter().fold(matches, Expr::and);
                self.rows(&asked.table, matches, columns).await?
            }
        };
        let found = found.newest(limit)?.collect().await?;
        if at_once {
            return Ok(Page { matches: Row::all(&found).map(Match::of).collect(), limit });
        }
        let ids: Vec<EventId> = Row::all(&found).map(|row| row.id()).collect();
        // Columns of texts only of those that were found.
        let mut matches = HashMap::with_capacity(ids.len());
        for share in ids.chunks(FETCH_MAX) {
            let rows = self.events_of(share, &asked.columns).await?;
            matches.extend(Row::all(&rows).map(|row| (row.id(), Match::of(row))));
        }
        let matches = ids.iter().filter_map(|id| matches.remove(id)).collect();
        Ok(Page { matches, limit })
    }

    async fn left_out(&self, asked: &Asked<'_>, last: Option<&(i64, EventId)>) -> Result<u64> {
        if last.is_none() {
            return Ok(0);
        }
        let most = usize::try_from(LEFT_OUT_MAX).unwrap_or(usize::MAX);
        let matches = self.rows(&asked.table, asked.matches(last), &["seq"]).await?;
        Ok(matches.count(most).await?.min(most.saturating_add(1)) as u64)
    }
}

impl Asked<'_> {
    /// From now on matches have these columns, too.
    fn read_also(&mut self, columns: &[&'static str]) {
        let columns: BTreeSet<_> = self.columns.iter().chain(columns).copied().collect();
        self.columns = columns.into_iter().collect();
    }

    /// What holds for the matches behind the last one seen.
    fn matches(&self, last: Option<&(i64, EventId)>) -> Expr {
        let matches = self.filter.clone();
        let Some((time, id)) = last else { return matches };
        let same = column("time").eq(instant(*time));
        let behind = column("cluster").gt(text(&id.cluster)).or(column("cluster")
            .eq(text(&id.cluster))
            .and(column("seq").lt(lit(id.seq.cast_signed()))));
        // Said twice, as the first alone lets files be pruned.
        let older = column("time").lt(instant(*time)).or(same.and(behind));
        matches.and(column("time").lt_eq(instant(*time))).and(older)
    }
}

struct Page {
    matches: Vec<Match>,
    limit: usize,
}
