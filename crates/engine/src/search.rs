//! Searching: the newest requests that a query finds, one row each. Which event stands for a
//! request is decided here; what a query means is [`crate::filter`]'s.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::dataframe::DataFrame;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, lit};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use whodid_event::Stage;
use whodid_query::{Known, Query};
use whodid_store::{DataFile, Snapshot, Table};

use crate::error::Result;
use crate::filter::{column, instant, mentions, text};
use crate::row::{EventId, Row, columns_of};
use crate::table::events_table_schema;
use crate::wanted::Wanted;
use crate::{Engine, FETCH_MAX};

/// Of the matches that are not given, so many are counted: that there are more is said, how many
/// would take looking at all of them.
pub const LEFT_OUT_MAX: u64 = 10_000;

/// Matches are looked through this many at a time.
const PAGE_ROWS: usize = 16_384;

/// So many events are looked at without looking at the newest first.
const FEW_ROWS: u64 = 65_536;

/// So many columns are read of all rows sooner than of those that passed.
const NARROW_COLUMNS: usize = 5;

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

/// What makes two events stages of one request. An audit ID alone does not: it is what the client
/// wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    cluster: String,
    audit_id: Option<String>,
    received: Option<i64>,
    username: Option<String>,
    verb: Option<String>,
    uri: Option<String>,
}

/// An event that passed, with the columns that were asked for.
struct Match {
    id: EventId,
    time: i64,
    row: Row,
}

/// Where an event is, and in which order it comes.
const PLACE_COLUMNS: [&str; 3] = ["cluster", "seq", "time"];

/// What tells which request an event belongs to.
const REQUEST_COLUMNS: [&str; 7] = [
    "stage",
    "audit_id",
    "audit_id_text",
    "request_received_timestamp",
    "username",
    "verb",
    "request_uri",
];

impl Match {
    fn of(row: Row) -> Self {
        Match { id: row.id(), time: row.instant("time").unwrap_or_default(), row }
    }

    fn stage(&self) -> Option<Stage> {
        self.row.text("stage").and_then(Stage::from_name)
    }

    fn request(&self) -> Request {
        let own = |name: &str| self.row.text(name).map(str::to_owned);
        Request {
            cluster: self.id.cluster.clone(),
            audit_id: self.row.audit_id(),
            received: self.row.instant("request_received_timestamp"),
            username: own("username"),
            verb: own("verb"),
            uri: own("request_uri"),
        }
    }

    /// Whether a later stage of the same request may follow.
    fn may_go_on(&self) -> bool {
        matches!(self.stage(), Some(Stage::RequestReceived | Stage::ResponseStarted))
            && self.row.audit_id().is_some()
    }
}

/// What is looked for, and among which rows.
struct Asked {
    base: DataFrame,
    filter: Expr,
    /// Whether these rows are so few that all of them are looked at, and all columns at once.
    is_few: bool,
    /// Those that matches need.
    columns: Vec<Expr>,
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
                [] => schema.fields().iter().map(|field| field.name().as_str()).collect(),
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
        let Some(asked) = asked.flatten() else { return Ok((Vec::new(), 0)) };
        let wanted = if search.limit == 0 { usize::MAX } else { search.limit };
        let mut newest_first = Vec::new();
        let mut seen = Seen::default();
        let mut last: Option<(i64, EventId)> = None;
        let mut windows =
            if asked.is_few { Windows::all() } else { Windows::new(self.snapshot(), wanted) };
        let mut in_window = 0;
        let is_last = loop {
            let missing = wanted - newest_first.len();
            let filter = windows.filter();
            let page = self.page(&asked, &filter, last.as_ref(), missing);
            let Some(page) = self.in_time(page).await.transpose()? else { break true };
            in_window += page.matches.len();
            let is_over = page.matches.len() < page.limit;
            let is_last = is_over && !windows.go_on(in_window, missing);
            if is_over {
                in_window = 0;
            }
            last = page.matches.last().map(|found| (found.time, found.id.clone())).or(last);
            let matches = if by_request {
                self.one_each(page.matches, &mut seen).await?
            } else {
                page.matches
            };
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
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(deadline) = self.deadline else { return Some(work.await) };
        let is_over = Instant::now() >= deadline;
        let done = if is_over { None } else { timeout_at(deadline, work).await.ok() };
        if done.is_none() {
            self.meter.stop();
        }
        done
    }

    /// `None` if no row can pass.
    async fn asked(
        &self,
        search: &Search,
        columns: &[&str],
        by_request: bool,
    ) -> Result<Option<Asked>> {
        let translator = self.translator(&search.query, search.now).await?;
        let mut filter = translator.expr(&search.query.expr)?;
        if !mentions(&search.query.expr, Known::Duplicate) {
            filter = filter.and(translator.is_first());
        }
        let places = Wanted::by_query(&search.query.expr, &translator);
        let all = Wanted::Every(vec![places.clone(), Wanted::by_filters([&filter])]);
        let events = self.table(Table::Events, all);
        let count = events.count(&self.context.state(), std::slice::from_ref(&filter)).await?;
        if count == 0 {
            return Ok(None);
        }
        let is_few = count <= FEW_ROWS;
        let base = self.table(Table::Events, places);
        let base = self.context.read_table(Arc::new(base))?;
        let request = if by_request { &REQUEST_COLUMNS[..] } else { &[] };
        let columns: BTreeSet<&str> =
            [&PLACE_COLUMNS, request, columns].into_iter().flatten().copied().collect();
        let columns = columns.into_iter().map(column).collect();
        Ok(Some(Asked { base, filter, is_few, columns }))
    }

    /// The newest matches behind the last one seen, within a window.
    async fn page(
        &self,
        asked: &Asked,
        window: &Expr,
        last: Option<&(i64, EventId)>,
        wanted: usize,
    ) -> Result<Page> {
        // A few more than wanted: some will turn out to be stages of one request.
        let limit = wanted.saturating_add(wanted / 4 + 16).min(PAGE_ROWS);
        let at_once = asked.is_few || asked.columns.len() <= NARROW_COLUMNS;
        let columns =
            if at_once { asked.columns.clone() } else { PLACE_COLUMNS.map(column).to_vec() };
        let found = asked
            .matches(last)?
            .filter(window.clone())?
            .select(columns)?
            .sort(vec![
                column("time").sort(false, false),
                column("cluster").sort(true, false),
                column("seq").sort(false, false),
            ])?
            .limit(0, Some(limit))?;
        let found = if asked.is_few { few(found) } else { found }.collect().await?;
        if at_once {
            return Ok(Page { matches: Row::all(&found).map(Match::of).collect(), limit });
        }
        let ids: Vec<EventId> = Row::all(&found).map(|row| row.id()).collect();
        // Columns of texts only of those that were found.
        let mut matches = HashMap::with_capacity(ids.len());
        for share in ids.chunks(FETCH_MAX) {
            let rows = self.events_of(share)?.select(asked.columns.clone())?.collect().await?;
            matches.extend(Row::all(&rows).map(|row| (row.id(), Match::of(row))));
        }
        let matches = ids.iter().filter_map(|id| matches.remove(id)).collect();
        Ok(Page { matches, limit })
    }

    async fn left_out(&self, asked: &Asked, last: Option<&(i64, EventId)>) -> Result<u64> {
        if last.is_none() {
            return Ok(0);
        }
        let most = usize::try_from(LEFT_OUT_MAX).unwrap_or(usize::MAX).saturating_add(1);
        let matches = asked.matches(last)?.select(vec![column("seq")])?;
        Ok(matches.limit(0, Some(most))?.count().await? as u64)
    }

    /// Leaves of each request the last stage that is known of it, whether or not that stage
    /// passes too: what a request came to is not known from its beginning.
    async fn one_each(&self, matches: Vec<Match>, seen: &mut Seen) -> Result<Vec<Match>> {
        let last_stages = self.last_stages(&matches).await?;
        let mut kept = Vec::with_capacity(matches.len());
        for found in matches {
            let (request, stage) = (found.request(), found.stage());
            if found.may_go_on() && last_stages.get(&request).copied() > stage {
                continue;
            }
            // Two events of one stage are two versions of what happened: both stay.
            if seen.is_new(request, stage) {
                kept.push(found);
            }
        }
        Ok(kept)
    }

    /// The last stage known of each request that may have gone on.
    async fn last_stages(&self, matches: &[Match]) -> Result<HashMap<Request, Stage>> {
        let mut stages = HashMap::new();
        let open: Vec<&Match> = matches.iter().filter(|found| found.may_go_on()).collect();
        for share in open.chunks(FETCH_MAX) {
            let ids = share.iter().map(|found| match found.row.bytes("audit_id") {
                Some(bytes) => {
                    let id = datafusion::common::ScalarValue::Binary(Some(bytes.to_vec()));
                    (Some(lit(id)), None)
                }
                None => (None, found.row.audit_id().as_deref().map(text)),
            });
            let (uuids, texts): (Vec<_>, Vec<_>) = ids.unzip();
            let has_id = column("audit_id")
                .in_list(uuids.into_iter().flatten().collect(), false)
                .or(column("audit_id_text").in_list(texts.into_iter().flatten().collect(), false));
            let later = column("stage").not_eq(text("RequestReceived"));
            let columns = PLACE_COLUMNS.iter().chain(&REQUEST_COLUMNS);
            let found = self
                .events()
                .await?
                .filter(has_id.and(later))?
                .select(columns.map(|name| column(name)).collect::<Vec<_>>())?;
            for found in Row::all(&found.collect().await?).map(Match::of) {
                let Some(stage) = found.stage() else { continue };
                let last = stages.entry(found.request()).or_insert(stage);
                *last = stage.max(*last);
            }
        }
        Ok(stages)
    }
}

impl Asked {
    /// The matches behind the last one seen.
    fn matches(&self, last: Option<&(i64, EventId)>) -> Result<DataFrame> {
        let matches = self.base.clone().filter(self.filter.clone())?;
        let Some((time, id)) = last else { return Ok(matches) };
        let same = column("time").eq(instant(*time));
        let behind = column("cluster").gt(text(&id.cluster)).or(column("cluster")
            .eq(text(&id.cluster))
            .and(column("seq").lt(lit(id.seq.cast_signed()))));
        // Said twice, as the first alone lets files be pruned.
        let older = column("time").lt(instant(*time)).or(same.and(behind));
        Ok(matches.filter(column("time").lt_eq(instant(*time)))?.filter(older)?)
    }
}

/// A plan for few rows: they are not shared out, as handing them over takes longer than looking at
/// them, and only what a search can gain from is thought about.
fn few(frame: DataFrame) -> DataFrame {
    let (state, plan) = frame.into_parts();
    let mut state = SessionStateBuilder::new_from_existing(state)
        .with_optimizer_rules(vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(PushDownFilter::new()),
            Arc::new(OptimizeProjections::new()),
        ])
        .with_physical_optimizer_rules(vec![Arc::new(EnsureRequirements::new())])
        .build();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = 1;
    options.optimizer.max_passes = 1;
    DataFrame::new(state, plan)
}

/// Spans of time, the newest first: whoever wants few rows of many finds them in the first. How
/// many events the next one has follows from how many were found in the one before; after nothing,
/// it has all.
struct Windows {
    /// The times of the events in each file, and how many there are.
    files: Vec<(i64, i64, u64)>,
    from: Option<i64>,
    until: Option<i64>,
    rows: u64,
}

impl Windows {
    /// About a page of a file: less is not read faster.
    const FIRST_ROWS: u64 = 20_000;
    /// The first has so many events for each that is wanted.
    const FIRST_SHARE: u64 = 16;

    /// One that has everything.
    fn all() -> Self {
        Windows { files: Vec::new(), from: None, until: None, rows: u64::MAX }
    }

    fn new(snapshot: &Snapshot, wanted: usize) -> Self {
        let times = |file: &DataFile| Some((file.stats.time?, file.stats.rows));
        let files = snapshot.files(Table::Events).iter().filter_map(times);
        let files = files.map(|((first, last), rows)| (first, last, rows)).collect();
        let rows = (wanted as u64).saturating_mul(Self::FIRST_SHARE).max(Self::FIRST_ROWS);
        let mut windows = Windows { files, from: None, until: None, rows };
        windows.from = windows.begin();
        windows
    }

    /// When about so many rows lie before the end; `None` if that is all of them.
    fn begin(&self) -> Option<i64> {
        let first = self.files.iter().map(|(first, ..)| *first).min()?;
        let last = self.files.iter().map(|(_, last, _)| *last).max()?;
        let (mut low, mut high) = (first, self.until.unwrap_or(last).min(last));
        if self.rows_since(low) <= self.rows {
            return None;
        }
        while high.saturating_sub(low) > 1_000 {
            let middle = low.midpoint(high);
            if self.rows_since(middle) > self.rows { low = middle } else { high = middle }
        }
        Some(low)
    }

    /// About how many rows lie between a time and the end, as if each file had them evenly.
    fn rows_since(&self, time: i64) -> u64 {
        let until = self.until.unwrap_or(i64::MAX);
        let share = |(first, last, rows): &(i64, i64, u64)| {
            let span = i128::from(*last) - i128::from(*first) + 1;
            let common = i128::from(until.min(*last)) - i128::from(time.max(*first)) + 1;
            u64::try_from(i128::from(*rows) * common.max(0) / span).unwrap_or(u64::MAX)
        };
        self.files.iter().map(share).fold(0, u64::saturating_add)
    }

    fn filter(&self) -> Expr {
        let from = self.from.map(|from| column("time").gt_eq(instant(from)));
        let until = self.until.map(|until| column("time").lt(instant(until)));
        from.into_iter().chain(until).reduce(Expr::and).unwrap_or(lit(true))
    }

    /// Moves to the window before, in which the missing ones are expected twice; `false` if there
    /// is none. More than a few pages would be looked at again and again.
    fn go_on(&mut self, found: usize, missing: usize) -> bool {
        let Some(from) = self.from else { return false };
        let (found, missing) = (found as u64, missing.min(PAGE_ROWS) as u64);
        self.rows = match self.rows.saturating_mul(missing.saturating_mul(2)).checked_div(found) {
            None => u64::MAX,
            Some(rows) => rows.max(Self::FIRST_ROWS),
        };
        self.until = Some(from);
        self.from = self.begin();
        true
    }
}

struct Page {
    matches: Vec<Match>,
    limit: usize,
}

/// The requests that have their row already.
#[derive(Default)]
struct Seen(HashMap<Request, Option<Stage>>);

impl Seen {
    /// Newest first, the first event of a request is that of its last stage; another of the same
    /// stage is no repetition.
    fn is_new(&mut self, request: Request, stage: Option<Stage>) -> bool {
        match self.0.entry(request) {
            Entry::Occupied(known) => *known.get() == stage,
            Entry::Vacant(new) => {
                new.insert(stage);
                true
            }
        }
    }
}
