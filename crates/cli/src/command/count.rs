//! Counts instead of events: `whodid search --histogram` and `--top`, and `whodid stats`.

use serde_json::{Map, Value, json};
use whodid_engine::{API_VERSION, COUNTS_MAX, Count, Engine, has_values};
use whodid_query::{Known, Query, seconds};

use super::{Place, client, now, open, place, query};
use crate::args::{CountArgs, ListFormat, ScopeArgs, SearchArgs, StatsArgs, StatsFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{Look, cell, csv, json_line, pretty, print, yaml};

/// The fields of an overview, and what they are called there.
const OVERVIEW: [Known; 5] =
    [Known::Outcome, Known::Actor, Known::Action, Known::Ns, Known::Resource];

/// The longest bar of a histogram, in columns.
const BAR: u64 = 40;

/// Whom to ask for counts.
enum Counter {
    Record(Box<Engine>),
    Server(whodid_api::Client),
}

impl Counter {
    async fn new(place: Place) -> Result<Self, Failure> {
        Ok(match place {
            Place::Record(store) => Counter::Record(Box::new(open(&store).await?)),
            server @ Place::Server(_) => Counter::Server(client(server)?),
        })
    }

    async fn count(
        &self,
        query: &Query,
        step: Option<&str>,
        by: Option<Known>,
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        match self {
            Counter::Record(engine) => {
                let step = step.map(length).transpose()?;
                let count = Count { query: query.clone(), now: now(), step, by, limit };
                let found = engine.count(&count).await?;
                Ok(found.iter().map(|counted| counted.json(&count)).collect())
            }
            Counter::Server(client) => {
                let by = by.map(Known::name);
                Ok(client.counts(&query.to_string(), step, by, limit).await?)
            }
        }
    }
}

/// Reads the length of a span, in microseconds.
fn length(text: &str) -> Result<i64, Failure> {
    match seconds(text) {
        Some(seconds @ 1..) => Ok(i64::from(seconds) * 1_000_000),
        _ => Err(Failure::Usage(format!(
            "--histogram {text}: write a length of time, such as 1m, 1h or 1d"
        ))),
    }
}

fn field(name: &str) -> Result<Known, Failure> {
    Known::named(name).filter(|field| has_values(*field)).ok_or_else(|| {
        Failure::Usage(format!(
            "--top {name}: it is no field that holds a single text; docs/query.md lists the fields"
        ))
    })
}

/// `whodid search` with counts instead of events.
pub async fn search(args: &SearchArgs, query: &Query, config: &Config) -> Result<(), Failure> {
    let CountArgs { histogram, top } = &args.count;
    let by = top.as_deref().map(field).transpose()?;
    histogram.as_deref().map(length).transpose()?;
    let limit = match args.scope.limit {
        0 => COUNTS_MAX,
        limit => limit.min(COUNTS_MAX),
    };
    let counter = Counter::new(place(&args.server, &args.store, config)?).await?;
    let counts = counter.count(query, histogram.as_deref(), by, limit).await?;
    if counts.is_empty() {
        return Err(Failure::NothingFound(format!("nothing matches {query}")));
    }
    let look = Look::new(&args.look);
    let columns: Vec<&str> =
        [histogram.as_ref().map(|_| "time"), by.map(|_| "value"), Some("requests")]
            .into_iter()
            .flatten()
            .collect();
    let text = match args.output {
        ListFormat::Table | ListFormat::Wide => table(&counts, &columns, top.as_deref(), &look),
        ListFormat::Json => pretty(&document(&counts)),
        ListFormat::Yaml => yaml(&document(&counts)),
        ListFormat::Jsonl => counts.iter().map(json_line).collect(),
        ListFormat::Csv => {
            let titles = look.has_headers.then(|| csv::line(columns.iter().copied()));
            let line = |count| {
                let cells: Vec<String> = columns.iter().map(|name| text_of(count, name)).collect();
                csv::line(cells.iter().map(String::as_str))
            };
            titles.into_iter().chain(counts.iter().map(line)).collect()
        }
        ListFormat::Name | ListFormat::Raw => {
            return Err(Failure::Usage("counts have neither names nor originals".into()));
        }
    };
    Ok(print(&text)?)
}

fn document(counts: &[Value]) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "CountList", "items": counts})
}

fn requests(count: &Value) -> u64 {
    count.get("requests").and_then(Value::as_u64).unwrap_or_default()
}

fn text_of(count: &Value, name: &str) -> String {
    match count.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Counts as rows; those of spans alone with bars.
fn table(counts: &[Value], columns: &[&str], field: Option<&str>, look: &Look) -> String {
    let title = |name: &&str| match *name {
        "value" => field.unwrap_or("value").to_uppercase(),
        name => name.to_uppercase(),
    };
    let has_bars = columns == ["time", "requests"];
    let mut table = Table::new(columns.iter().map(title));
    let most = counts.iter().map(requests).max().unwrap_or(0).max(1);
    for count in counts {
        let cells = columns.iter().map(|name| match (*name, text_of(count, name)) {
            ("value", text) if text.is_empty() => NONE.to_owned(),
            ("time", text) => text
                .parse::<jiff::Timestamp>()
                .map_or(text, |time| look.time(time.as_microsecond())),
            (_, text) => cell(&text),
        });
        table.row(cells.collect());
    }
    if has_bars {
        let bar = |count| {
            let length = (requests(count) * BAR).div_ceil(most);
            "█".repeat(usize::try_from(length).unwrap_or_default())
        };
        table.column("", counts.iter().map(bar));
    }
    table.print(look.has_headers)
}

/// `whodid stats`.
pub async fn stats(args: StatsArgs, config: &Config) -> Result<(), Failure> {
    let scope = ScopeArgs {
        namespace: args.namespace,
        all_namespaces: false,
        cluster: args.cluster,
        since: args.since,
        until: args.until,
        limit: 0,
    };
    if !(1..=COUNTS_MAX).contains(&args.limit) {
        return Err(Failure::Usage(format!("--limit {}: 1 to {COUNTS_MAX}", args.limit)));
    }
    let query = query(&args.query.join(" "), &scope)?;
    let counter = Counter::new(place(&args.server, &args.store, config)?).await?;
    let all = counter.count(&query, None, None, 1).await?.first().map_or(0, requests);
    if all == 0 {
        return Err(Failure::NothingFound(match query.to_string() {
            query if query.is_empty() => "the record is empty".into(),
            query => format!("nothing matches {query}"),
        }));
    }
    let mut overview = Map::new();
    for field in OVERVIEW {
        let counts = counter.count(&query, None, Some(field), args.limit).await?;
        overview.insert(field.name().to_owned(), counts.into());
    }
    let text = match args.output {
        StatsFormat::Table => shares(all, &overview),
        StatsFormat::Json => pretty(&stats_document(all, &overview)),
        StatsFormat::Yaml => yaml(&stats_document(all, &overview)),
    };
    Ok(print(&text)?)
}

fn stats_document(all: u64, overview: &Map<String, Value>) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "Stats", "requests": all, "by": overview})
}

/// What is most frequent, and its share of all.
fn shares(all: u64, overview: &Map<String, Value>) -> String {
    let mut table = Table::new(["BY", "VALUE", "REQUESTS", "SHARE"]);
    table.row(vec!["all".into(), String::new(), all.to_string(), share(all, all)]);
    for field in OVERVIEW {
        let counts = overview.get(field.name()).and_then(Value::as_array);
        for count in counts.into_iter().flatten() {
            let value = match text_of(count, "value") {
                text if text.is_empty() => NONE.to_owned(),
                text => cell(&text),
            };
            let requests = requests(count);
            let by = field.name().to_owned();
            table.row(vec![by, value, requests.to_string(), share(requests, all)]);
        }
    }
    table.print(true)
}

/// Percent, rounded, but never to nothing or to all.
fn share(part: u64, all: u64) -> String {
    match (part * 1_000 + all / 2) / all.max(1) {
        0 => "<0.1%".to_owned(),
        1_000 if part < all => ">99.9%".to_owned(),
        thousandths => format!("{}.{}%", thousandths / 10, thousandths % 10),
    }
}
