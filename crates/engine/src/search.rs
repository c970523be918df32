//! Searching: the newest requests that a query finds, one row each. Which event stands for a
//! request is decided here; what a query means is [`crate::filter`]'s.

use std::collections::HashMap;

use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, lit};
use futures::future::BoxFuture;
use whodid_event::Stage;
use whodid_query::{Known, Query};
use whodid_store::{DataFile, Snapshot, Table};

use crate::error::Result;
use crate::filter::{column, instant, mentions, text};
use crate::row::{EventId, Row};
use crate::{Engine, FETCH_MAX};

/// Of the matches that are not given, so many are counted: that there are more is said, how many
/// would take looking at all of them.
pub const LEFT_OUT_MAX: u64 = 10_000;

/// Matches are looked through this many at a time.
const PAGE_ROWS: usize = 16_384;

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

/// An event that passed, as far as it takes to tell which request it belongs to.
struct Match {
    id: EventId,
    time: i64,
    stage: Option<Stage>,
    request: Request,
    audit_id_bytes: Option<Vec<u8>>,
}

const MATCH_COLUMNS: [&str; 10] = [
    "cluster",
    "seq",
    "time",
    "stage",
    "audit_id",
    "audit_id_text",
    "request_received_timestamp",
    "username",
    "verb",
    "request_uri",
];

impl Match {
    fn of(row: &Row) -> Self {
        let own = |name: &str| row.text(name).map(str::to_owned);
        let id = row.id();
        Match {
            time: row.instant("time").unwrap_or_default(),
            stage: row.text("stage").and_then(Stage::from_name),
            request: Request {
                cluster: id.cluster.clone(),
                audit_id: row.audit_id(),
                received: row.instant("request_received_timestamp"),
                username: own("username"),
                verb: own("verb"),
                uri: own("request_uri"),
            },
            audit_id_bytes: row.bytes("audit_id").map(<[u8]>::to_vec),
            id,
        }
    }

    /// Whether a later stage of the same request may follow.
    fn may_go_on(&self) -> bool {
        matches!(self.stage, Some(Stage::RequestReceived | Stage::ResponseStarted))
            && self.request.audit_id.is_some()
    }
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
            let translator = self.translator(&search.query, search.now).await?;
            let mut filter = translator.expr(&search.query.expr)?;
            if !mentions(&search.query.expr, Known::Duplicate) {
                filter = filter.and(translator.is_first());
            }
            let by_request = !mentions(&search.query.expr, Known::Stage);
            let wanted = if search.limit == 0 { usize::MAX } else { search.limit };
            let mut newest_first: Vec<EventId> = Vec::new();
            let mut seen = Seen::default();
            let mut last: Option<(i64, EventId)> = None;
            let (base, mut windows) = match self.few(&translator, &search.query.expr)? {
                Some(few) => (few, Windows::all()),
                None => (self.events().await?, Windows::new(self.snapshot(), wanted)),
            };
            let mut in_window = 0;
            let is_last = loop {
                let asked = filter.clone().and(windows.filter());
                let missing = wanted - newest_first.len();
                let page = self.page(&base, &asked, last.as_ref(), missing).await?;
                in_window += page.matches.len();
                let is_over = page.matches.len() < page.limit;
                let is_last = is_over && !windows.go_on(in_window, missing);
                if is_over {
                    in_window = 0;
                }
                last = page.matches.last().map(|found| (found.time, found.id.clone())).or(last);
                if by_request {
                    newest_first.extend(self.one_each(page.matches, &mut seen).await?);
                } else {
                    newest_first.extend(page.matches.into_iter().map(|found| found.id));
                }
                if is_last || newest_first.len() >= wanted {
                    break is_last;
                }
            };
            let older =
                if is_last { 0 } else { self.left_out(&base, &filter, last.as_ref()).await? };
            let left_out = older + newest_first.len().saturating_sub(wanted) as u64;
            newest_first.truncate(wanted);
            newest_first.reverse();
            Ok(Found { ids: newest_first, left_out })
        })
    }

    /// The newest matches behind the last one seen.
    async fn page(
        &self,
        base: &DataFrame,
        filter: &Expr,
        last: Option<&(i64, EventId)>,
        wanted: usize,
    ) -> Result<Page> {
        // A few more than wanted: some will turn out to be stages of one request.
        let limit = wanted.saturating_add(wanted / 4 + 16).min(PAGE_ROWS);
        let found = matches(base, filter, last)?
            .select(["cluster", "seq", "time"].map(column).to_vec())?
            .sort(vec![
                column("time").sort(false, false),
                column("cluster").sort(true, false),
                column("seq").sort(false, false),
            ])?
            .limit(0, Some(limit))?;
        let ids: Vec<EventId> = Row::all(&found.collect().await?).map(|row| row.id()).collect();
        // Columns of texts only of those that were found.
        let mut matches = HashMap::with_capacity(ids.len());
        for share in ids.chunks(FETCH_MAX) {
            let rows = self.events_of(share)?.select(MATCH_COLUMNS.map(column).to_vec())?;
            let rows = rows.collect().await?;
            matches.extend(Row::all(&rows).map(|row| (row.id(), Match::of(&row))));
        }
        let matches = ids.iter().filter_map(|id| matches.remove(id)).collect();
        Ok(Page { matches, limit })
    }

    async fn left_out(
        &self,
        base: &DataFrame,
        filter: &Expr,
        last: Option<&(i64, EventId)>,
    ) -> Result<u64> {
        match last {
            Some(_) => {
                let most = usize::try_from(LEFT_OUT_MAX).unwrap_or(usize::MAX).saturating_add(1);
                let matches = matches(base, filter, last)?.select(vec![column("seq")])?;
                Ok(matches.limit(0, Some(most))?.count().await? as u64)
            }
            None => Ok(0),
        }
    }

    /// Leaves of each request the last stage that is known of it, whether or not that stage
    /// passes too: what a request came to is not known from its beginning.
    async fn one_each(&self, matches: Vec<Match>, seen: &mut Seen) -> Result<Vec<EventId>> {
        let last_stages = self.last_stages(&matches).await?;
        let mut kept = Vec::with_capacity(matches.len());
        for found in matches {
            let last = last_stages.get(&found.request).copied();
            if found.may_go_on() && last > found.stage {
                continue;
            }
            // Two events of one stage are two versions of what happened: both stay.
            if seen.is_new(&found) {
                kept.push(found.id);
            }
        }
        Ok(kept)
    }

    /// The last stage known of each request that may have gone on.
    async fn last_stages(&self, matches: &[Match]) -> Result<HashMap<Request, Stage>> {
        let mut stages = HashMap::new();
        let open: Vec<&Match> = matches.iter().filter(|found| found.may_go_on()).collect();
        for share in open.chunks(FETCH_MAX) {
            let ids = share.iter().map(|found| match &found.audit_id_bytes {
                Some(bytes) => {
                    let id = datafusion::common::ScalarValue::Binary(Some(bytes.clone()));
                    (Some(lit(id)), None)
                }
                None => (None, found.request.audit_id.as_deref().map(text)),
            });
            let (uuids, texts): (Vec<_>, Vec<_>) = ids.unzip();
            let has_id = column("audit_id")
                .in_list(uuids.into_iter().flatten().collect(), false)
                .or(column("audit_id_text").in_list(texts.into_iter().flatten().collect(), false));
            let later = column("stage").not_eq(text("RequestReceived"));
            let found = self
                .events()
                .await?
                .filter(has_id.and(later))?
                .select(MATCH_COLUMNS.map(column).to_vec())?;
            for row in Row::all(&found.collect().await?) {
                let Match { request, stage: Some(stage), .. } = Match::of(&row) else { continue };
                let last = stages.entry(request).or_insert(stage);
                *last = stage.max(*last);
            }
        }
        Ok(stages)
    }
}

/// The matches behind the last one seen.
fn matches(base: &DataFrame, filter: &Expr, last: Option<&(i64, EventId)>) -> Result<DataFrame> {
    let matches = base.clone().filter(filter.clone())?;
    let Some((time, id)) = last else { return Ok(matches) };
    let same = column("time").eq(instant(*time));
    let behind = column("cluster").gt(text(&id.cluster)).or(column("cluster")
        .eq(text(&id.cluster))
        .and(column("seq").lt(lit(id.seq.cast_signed()))));
    // Said twice, as the first alone lets files be pruned.
    let older = column("time").lt(instant(*time)).or(same.and(behind));
    Ok(matches.filter(column("time").lt_eq(instant(*time)))?.filter(older)?)
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
    fn is_new(&mut self, found: &Match) -> bool {
        if let Some(stage) = self.0.get(&found.request) {
            return *stage == found.stage;
        }
        self.0.insert(found.request.clone(), found.stage);
        true
    }
}
