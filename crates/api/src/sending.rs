//! Events sent to a server: batches as an API server sends them, and log files part by part.

use std::time::Duration;

use futures::Stream;
use serde::Deserialize;

use crate::{Client, Result, unreachable};

/// A part of a log file has to be taken in after this long, or is sent again.
const PART_MAX: Duration = Duration::from_mins(2);

impl Client {
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
}
