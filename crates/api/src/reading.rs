//! Questions to a server about its record, and its stream of events.

use std::time::Duration;

use eventsource_stream::{EventStreamError, Eventsource};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Client, Result, SILENCE_MAX, unreachable};

/// What cannot be answered in part: a server gives it so many seconds.
const WHOLE_SECONDS: u64 = 300;

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

impl Client {
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
