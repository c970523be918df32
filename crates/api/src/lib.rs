//! The client of the HTTP API: questions to a server, and its stream of events. What a query means
//! is the server's to say; how answers look, the caller's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use eventsource_stream::{EventStreamError, Eventsource};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

mod cosigning;
mod keeping;

pub use cosigning::Cosigned;

/// A server has to answer a connection after this long.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The server says at least every ten seconds that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A part of a log file has to be taken in after this long, or is sent again.
const PART_MAX: Duration = Duration::from_mins(2);

/// What cannot be answered in part: a server gives it so many seconds.
const WHOLE_SECONDS: u64 = 300;

/// Result of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server cannot be reached, or broke off.
    #[error("cannot reach {url}: {source}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refuses.
    #[error("{detail}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// Why, in a sentence for its user.
        detail: String,
    },
    /// The address is no URL of a server.
    #[error("{0:?} is no address of a server; write https://HOST:PORT")]
    NoAddress(String),
    /// A file of the client cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A search takes so many seconds at most, unless said so many.
pub const SEARCH_SECONDS: u64 = 60;

/// An event as the API shows it.
pub type Event = Map<String, Value>;

/// A page of events.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct EventList {
    /// The events.
    pub items: Vec<Event>,
    /// How many older ones match, too.
    #[serde(default)]
    pub left_out: u64,
    /// The place behind what was looked at.
    pub cursor: String,
    /// Whether more follows behind that place already.
    #[serde(default)]
    pub is_more: bool,
    /// What the answer took, of a search: `Cost` of the API.
    #[serde(default)]
    pub cost: Value,
}

/// A value of a field.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct FieldValue {
    /// The value.
    pub value: String,
    /// How many of the newest events have it.
    pub events: u64,
}

/// What a stream says.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// An event.
    Event(Event),
    /// The reader was too slow: so many events lie between these cursors and were not looked at.
    Missed {
        /// How many.
        events: u64,
        /// Behind this cursor,
        after: String,
        /// up to this one.
        until: String,
    },
}

/// A message, and the place to resume at behind it.
pub type Placed = (Option<Message>, String);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The socket in a data directory of this machine.
    Socket(PathBuf),
    /// A URL.
    Url {
        /// `https://HOST:PORT`.
        url: String,
        /// What reading takes there.
        token: Option<String>,
        /// The authority to trust, PEM, instead of those of the system.
        authority: Option<PathBuf>,
    },
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// For what takes long and says nothing until it is done.
    patient: reqwest::Client,
    url: String,
    /// What its user calls it.
    name: String,
    token: Option<String>,
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// The address is none, or the authority cannot be read.
    pub fn new(endpoint: Endpoint) -> Result<Self> {
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_MAX)
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
        };
        let (builders, url, name, token) = match endpoint {
            // The host is not looked up; the socket is where it goes.
            Endpoint::Socket(path) => {
                let name = path.display().to_string();
                let builders = [builder(), builder()].map(|to| to.unix_socket(&*path));
                (builders, "http://localhost".to_owned(), name, None)
            }
            Endpoint::Url { url, token, authority } => {
                let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
                if host.is_none_or(str::is_empty) || reqwest::Url::parse(&url).is_err() {
                    return Err(Error::NoAddress(url));
                }
                let authority = authority.as_deref().map(certificate).transpose()?;
                let builders = [builder(), builder()].map(|to| match &authority {
                    Some(authority) => to.tls_certs_only([authority.clone()]),
                    None => to,
                });
                let url = url.trim_end_matches('/').to_owned();
                (builders, url.clone(), url, token)
            }
        };
        let [http, patient] = builders;
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| unreachable(&name, error))
        };
        let (http, patient) = (built(http.read_timeout(SILENCE_MAX))?, built(patient)?);
        Ok(Client { http, patient, url, name, token })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<reqwest::Response> {
        self.ask(self.http.get(format!("{}{path}", self.url)).query(query)).await
    }

    async fn accepted(&self, answer: reqwest::Response) -> Result<reqwest::Response> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let problem: Value = answer.json().await.unwrap_or_default();
        let detail = problem.get("detail").and_then(Value::as_str);
        let detail =
            detail.map_or_else(|| format!("{} answered {status}", self.name), str::to_owned);
        Err(Error::Refused { status: status.as_u16(), detail })
    }

    /// The newest requests that pass a query, oldest first, as far as they are found in so many
    /// seconds.
    ///
    /// # Errors
    /// The query makes no sense, or the server cannot be reached.
    pub async fn newest(&self, query: &str, limit: usize, seconds: u64) -> Result<EventList> {
        let (limit, timeout) = (limit.to_string(), seconds.to_string());
        let question = [("q", query), ("limit", &limit), ("timeout", &timeout)];
        self.patiently("/api/v1/events", &question, seconds).await
    }

    /// Who did something to an object, and why: an `ActList`, as `T` reads it.
    ///
    /// # Errors
    /// The question makes no sense, or the server cannot be reached.
    pub async fn who<T: DeserializeOwned>(
        &self,
        verb: &str,
        object: &str,
        query: &str,
        limit: usize,
        with_attempts: bool,
    ) -> Result<T> {
        let (limit, attempts) = (limit.to_string(), with_attempts.to_string());
        let question = [
            ("verb", verb),
            ("object", object),
            ("q", query),
            ("limit", &limit),
            ("attempts", &attempts),
        ];
        self.patiently("/api/v1/who", &question, SEARCH_SECONDS).await
    }

    /// What was changed of an object: a `History`, as `T` reads it.
    ///
    /// # Errors
    /// As [`who`](Self::who).
    pub async fn history<T: DeserializeOwned>(
        &self,
        object: &str,
        query: &str,
        limit: usize,
        with_status: bool,
    ) -> Result<T> {
        let (limit, status) = (limit.to_string(), with_status.to_string());
        let question = [("object", object), ("q", query), ("limit", &limit), ("status", &status)];
        self.patiently("/api/v1/history", &question, SEARCH_SECONDS).await
    }

    /// Asks what may take the server so many seconds.
    async fn patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &[(&str, &str)],
        seconds: u64,
    ) -> Result<T> {
        let request = self.patient.get(format!("{}{path}", self.url)).query(question);
        let request = request.timeout(Duration::from_secs(seconds) + SILENCE_MAX);
        let answer = self.ask(request).await?;
        answer.json().await.map_err(|error| unreachable(&self.name, error))
    }

    /// Events that pass a query behind a cursor, in the order of the log.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub async fn after(&self, query: &str, cursor: &str, limit: usize) -> Result<EventList> {
        let limit = limit.to_string();
        let question = [("q", query), ("after", cursor), ("limit", &limit)];
        let answer = self.get("/api/v1/events", &question).await?;
        answer.json().await.map_err(|error| unreachable(&self.name, error))
    }

    /// One event, whole: a document.
    ///
    /// # Errors
    /// There is none with this id (`CLUSTER/SEQ`), or the server cannot be reached.
    pub async fn event(&self, id: &str) -> Result<Value> {
        let answer = self.get(&format!("/api/v1/events/{id}"), &[]).await?;
        answer.json().await.map_err(|error| unreachable(&self.name, error))
    }

    /// The bytes that came in as an event, and whether they are one.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub async fn original(&self, id: &str) -> Result<(Vec<u8>, bool)> {
        let answer = self.get(&format!("/api/v1/events/{id}/original"), &[]).await?;
        let kind = answer.headers().get(reqwest::header::CONTENT_TYPE);
        let is_event = kind.is_some_and(|kind| kind == "application/json");
        let bytes = answer.bytes().await.map_err(|error| unreachable(&self.name, error))?;
        Ok((bytes.to_vec(), is_event))
    }

    /// The values of a field that begin so, among the newest events that pass a query, the most
    /// frequent first.
    ///
    /// # Errors
    /// There is no such field, or the server cannot be reached.
    pub async fn values(&self, field: &str, query: &str, prefix: &str) -> Result<Vec<FieldValue>> {
        #[derive(Deserialize)]
        struct ValueList {
            items: Vec<FieldValue>,
        }
        let question = [("q", query), ("prefix", prefix)];
        let answer = self.get(&format!("/api/v1/values/{field}"), &question).await?;
        let list = answer.json::<ValueList>().await;
        list.map(|list| list.items).map_err(|error| unreachable(&self.name, error))
    }

    /// How many requests a query finds: in spans of `step`, by the values of the field `by`, or by
    /// both.
    ///
    /// # Errors
    /// The question makes no sense, or the server cannot be reached.
    pub async fn counts(
        &self,
        query: &str,
        step: Option<&str>,
        by: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>> {
        #[derive(Deserialize)]
        struct CountList {
            items: Vec<Value>,
        }
        let limit = limit.to_string();
        let mut question = vec![("q", query), ("limit", &*limit)];
        question.extend(step.map(|step| ("step", step)));
        question.extend(by.map(|by| ("by", by)));
        let list: CountList = self.patiently("/api/v1/counts", &question, WHOLE_SECONDS).await?;
        Ok(list.items)
    }

    /// The answer to a statement in SQL, as a stream of Arrow IPC.
    ///
    /// # Errors
    /// The statement makes no sense, or the server cannot be reached, or breaks off.
    pub async fn sql(&self, statement: &str, limit: usize) -> Result<Vec<u8>> {
        let request = self.patient.post(format!("{}/api/v1/sql", self.url));
        let request = request
            .timeout(Duration::from_secs(WHOLE_SECONDS) + SILENCE_MAX)
            .query(&[("limit", limit)])
            .header(reqwest::header::ACCEPT, "application/vnd.apache.arrow.stream")
            .body(statement.to_owned());
        let bytes = self.ask(request).await?.bytes().await;
        bytes.map(|bytes| bytes.to_vec()).map_err(|error| unreachable(&self.name, error))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.map_err(|error| unreachable(&self.name, error))?;
        self.accepted(answer).await
    }

    /// Sends a body of events as an API server does; when it returns, they are durable.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached; sending again does no harm.
    pub async fn send(&self, cluster: &str, token: &str, body: Vec<u8>) -> Result<()> {
        let request = self.http.post(format!("{}/ingest/{cluster}", self.url));
        let answer = request.bearer_auth(token).body(body).send().await;
        self.accepted(answer.map_err(|error| unreachable(&self.name, error))?).await.map(drop)
    }

    /// Sends a part of a log file; when it returns, it is durable. `position` says how far the file
    /// goes with it (docs/api.md); a record of a gap has none.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_part<B>(
        &self,
        cluster: &str,
        token: &str,
        body: B,
        position: Option<&str>,
    ) -> Result<()>
    where
        B: Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static,
    {
        let body = reqwest::Body::wrap_stream(body);
        let request = self.http.post(format!("{}/ingest/{cluster}", self.url)).body(body);
        let request = request.header("Whodid-Position", position.unwrap_or("-"));
        let answer = request.bearer_auth(token).timeout(PART_MAX).send().await;
        self.accepted(answer.map_err(|error| unreachable(&self.name, error))?).await.map(drop)
    }

    /// How far the server has log files that begin with an item, whose digest is `id` in
    /// hexadecimal digits.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn positions(&self, cluster: &str, token: &str, id: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct PositionList {
            items: Vec<String>,
        }
        let request = self.http.get(format!("{}/ingest/{cluster}/positions/{id}", self.url));
        let answer = request.bearer_auth(token).timeout(PART_MAX).send().await;
        let answer = answer.map_err(|error| unreachable(&self.name, error))?;
        let list = self.accepted(answer).await?.json::<PositionList>().await;
        list.map(|list| list.items).map_err(|error| unreachable(&self.name, error))
    }

    /// What is added from now on, or behind a cursor, until the connection breaks.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub async fn stream(
        &self,
        query: &str,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Placed>> + Unpin + use<>> {
        let mut question = vec![("q", query)];
        question.extend(after.map(|cursor| ("after", cursor)));
        let answer = self.get("/api/v1/events/stream", &question).await?;
        let name = self.name.clone();
        Ok(Box::pin(answer.bytes_stream().eventsource().map(move |event| {
            let event = event.map_err(|error| match error {
                EventStreamError::Transport(error) => unreachable(&name, error),
                other => unreachable(&name, other.to_string()),
            })?;
            let message = message(&event.event, &event.data);
            Ok((message.map_err(|error| unreachable(&name, error))?, event.id))
        })))
    }
}

/// Reads a message; `None` for one that only tells a place.
fn message(kind: &str, data: &str) -> serde_json::Result<Option<Message>> {
    #[derive(Deserialize)]
    struct Missed {
        events: u64,
        after: String,
        until: String,
    }
    Ok(match kind {
        "event" => Some(Message::Event(serde_json::from_str(data)?)),
        "missed" => {
            let Missed { events, after, until } = serde_json::from_str(data)?;
            Some(Message::Missed { events, after, until })
        }
        _ => None,
    })
}

fn certificate(path: &Path) -> Result<reqwest::Certificate> {
    let file = |why: String| Error::File { path: path.to_owned(), why };
    #[expect(clippy::disallowed_methods, reason = "the user's file")]
    let pem = std::fs::read(path).map_err(|error| file(error.to_string()))?;
    reqwest::Certificate::from_pem(&pem).map_err(|error| file(error.to_string()))
}

fn unreachable(url: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    // The innermost cause says it best: reqwest's own message repeats the address.
    let mut cause: &(dyn std::error::Error + 'static) = &*error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    let hint = hint(&cause).map(|hint| format!("; {hint}")).unwrap_or_default();
    Error::Unreachable { url: url.to_owned(), source: format!("{cause}{hint}").into() }
}

/// What to do about a failure that has one usual reason.
fn hint(cause: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 4] = [
        (
            "UnknownIssuer",
            "name its authority with --ca FILE (--cosigner-ca): tls/ca.crt of its folder",
        ),
        ("NotValidForName", "ask by a name of its certificate; `serve --tls-name` adds one"),
        ("InvalidContentType", "it speaks no TLS there; write http://"),
        ("HTTP version", "it speaks TLS there, perhaps; write https://"),
    ];
    HINTS.into_iter().find(|(part, _)| cause.contains(part)).map(|(_, hint)| hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let event = message("event", r#"{"id":"a/1"}"#).unwrap();
        assert!(matches!(event, Some(Message::Event(event)) if event["id"] == "a/1"));
        let missed = message("missed", r#"{"events":3,"after":"a/1","until":"a/4"}"#).unwrap();
        let (after, until) = ("a/1".to_owned(), "a/4".to_owned());
        assert_eq!(missed, Some(Message::Missed { events: 3, after, until }));
        assert_eq!(message("begin", "{}").unwrap(), None);
        assert!(message("event", "no").is_err());
    }
}
