//! The commands, and what several of them share: opening the record, and the query that the
//! flags narrow.

use whodid_api::{Client, Endpoint};
use whodid_engine::{Cache, Engine};
use whodid_query::{Expr, Field, Known, Query, Term, Test, Value};
use whodid_store::{Clock, Reader, SystemClock};

use crate::args::{ScopeArgs, ServerArgs, StoreArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::say;

pub mod compact;
pub mod completion;
pub mod config;
pub mod cosigner;
pub mod count;
pub mod credential;
pub mod demo;
pub mod doctor;
pub mod export;
pub mod folder;
pub mod history;
pub mod import;
pub mod ingest;
pub mod init;
pub mod keeper;
pub mod ledger;
pub mod plan;
pub mod policy;
pub mod prove;
pub mod redact;
pub mod retention;
pub mod search;
pub mod serve;
pub mod ship;
pub mod show;
pub mod sql;
pub mod tail;
pub mod verify;
pub mod who;

/// What a command asks.
pub enum Place {
    /// A record on this machine.
    Record(StoreArgs),
    /// A server.
    Server(Endpoint),
}

/// What a command asks: what its flags name, else the current context, else the usual record.
pub fn place(server: &ServerArgs, store: &StoreArgs, config: &Config) -> Result<Place, Failure> {
    if let Some(url) = &server.server {
        return Ok(Place::Server(endpoint(url, server, store)));
    }
    let current = config.current_context.as_ref().filter(|_| store.data_dir.is_none());
    let Some(name) = server.context.as_ref().or(current) else {
        return Ok(Place::Record(store.clone()));
    };
    let context = config.contexts.get(name).ok_or_else(|| {
        let names: Vec<&str> = config.contexts.keys().map(String::as_str).collect();
        let known = match names.as_slice() {
            [] => "none is configured".to_owned(),
            names => format!("there are: {}", names.join(" ")),
        };
        Failure::Usage(format!("there is no context {name:?}; {known}"))
    })?;
    let Some(url) = &context.server else {
        return Ok(Place::Record(StoreArgs { data_dir: context.data_dir.clone() }));
    };
    let token = match &context.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
            Some(text.trim().to_owned())
        }
        None => context.token.clone(),
    };
    let own = ServerArgs {
        token: server.token.clone().or(token),
        ca: server.ca.clone().or_else(|| context.ca.clone()),
        ..server.clone()
    };
    Ok(Place::Server(endpoint(url, &own, store)))
}

fn endpoint(url: &str, server: &ServerArgs, store: &StoreArgs) -> Endpoint {
    let own = store.dir().join("tls/ca.crt");
    let authority = server.ca.clone().or_else(|| own.is_file().then_some(own));
    let authority = authority.filter(|_| url.starts_with("https:"));
    Endpoint::Url { url: url.to_owned(), token: server.token.clone(), authority }
}

/// Opens the record for reading; what cannot be read is said on stderr.
pub async fn open(store: &StoreArgs) -> Result<Engine, Failure> {
    let snapshot = Reader::open_dir(&store.dir())?.snapshot().await?;
    for warning in snapshot.warnings() {
        say!("warning: {warning}");
    }
    Ok(Engine::new(snapshot, &Cache::default()).await?)
}

/// The server of a place: of a record, the one that writes it.
pub fn client(place: Place) -> Result<Client, Failure> {
    let endpoint = match place {
        Place::Server(endpoint) => endpoint,
        Place::Record(store) => {
            let dir = store.dir();
            let socket = dir.join("whodid.sock");
            if !socket.exists() {
                let dir = dir.display();
                return Err(Failure::Unavailable(format!(
                    "no server writes to {dir}; start one with `whodid serve --data-dir {dir}`, \
                     or name one with --server URL"
                )));
            }
            Endpoint::Socket(socket)
        }
    };
    Ok(Client::new(endpoint)?)
}

/// The current time, in microseconds since 1970.
pub fn now() -> i64 {
    SystemClock.now()
}

/// Parses a query, and narrows it by the flags.
pub fn query(text: &str, scope: &ScopeArgs) -> Result<Query, Failure> {
    let parsed = parse(text)?;
    Ok(Query { expr: Expr::and([parsed.expr, narrowed(scope)?]) })
}

fn parse(text: &str) -> Result<Query, Failure> {
    whodid_query::parse(text)
        .map_err(|error| Failure::Usage(format!("{error}\n{}", error.render(text))))
}

/// What `-n`, `--cluster`, `--since` and `--until` ask for.
pub fn narrowed(scope: &ScopeArgs) -> Result<Expr, Failure> {
    let is = |field, text: &String| {
        Expr::from(Term { field: Field::Known(field), test: Test::Is(Value::Text(text.clone())) })
    };
    let mut parts = Vec::new();
    parts.extend(scope.namespace.as_ref().map(|namespace| is(Known::Ns, namespace)));
    parts.extend(scope.cluster.as_ref().map(|cluster| is(Known::Cluster, cluster)));
    if let Some(since) = &scope.since {
        parts.push(bound("since", ">=", since)?);
    }
    if let Some(until) = &scope.until {
        parts.push(bound("until", "<", until)?);
    }
    Ok(Expr::and(parts))
}

/// A bound of time: a length of time ago, as kubectl takes it, or what the search language takes.
fn bound(flag: &str, relation: &str, time: &str) -> Result<Expr, Failure> {
    let is_length =
        time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with(['s', 'm', 'h', 'd', 'w']);
    let ago = if is_length { "-" } else { "" };
    match whodid_query::parse(&format!("time:{relation}{ago}{time}")) {
        Ok(query) => Ok(query.expr),
        Err(_) => Err(Failure::Usage(format!(
            "--{flag} {time}: write a length of time such as 2h or 7d, a date such as 2026-11-22, \
             or a time such as 2026-11-22T17:25:00Z"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(since: &str) -> ScopeArgs {
        ScopeArgs {
            namespace: Some("shop".into()),
            all_namespaces: false,
            cluster: None,
            since: Some(since.into()),
            until: None,
            limit: 0,
        }
    }

    #[test]
    fn flags_narrow_a_query() {
        for (since, expected) in [
            ("2h", "(verb:get OR verb:list) ns:shop time:>=-2h"),
            ("2026-11-22", "(verb:get OR verb:list) ns:shop time:>=2026-11-22"),
        ] {
            let query = query("verb:get OR verb:list", &scope(since)).unwrap();
            assert_eq!(query.to_string(), expected);
        }
        assert!(matches!(query("", &scope("yesterday")), Err(Failure::Usage(_))));
    }
}
