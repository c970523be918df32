//! What a server does to the record for its owner: holds, retention, and how clusters are to be
//! recorded. It takes a client that came through the socket.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::{Client, Error, Result, unreachable};

/// What is past its retention has to be gone after this long.
const RETENTION_MAX: Duration = Duration::from_mins(30);

impl Client {
    /// Puts a hold on events: `hold` has `cluster`, `reason`, and perhaps `since` and `until`.
    ///
    /// # Errors
    /// It makes no sense, the server does not know this client as the record's owner, or cannot be
    /// reached.
    pub async fn hold(&self, name: &str, hold: &Value) -> Result<()> {
        self.ask(self.http.put(self.below("holds", name)?).body(hold.to_string())).await.map(drop)
    }

    /// Takes a hold away.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub async fn release(&self, name: &str, reason: &str) -> Result<()> {
        let request = self.http.delete(self.below("holds", name)?);
        self.ask(request.query(&[("reason", reason)])).await.map(drop)
    }

    /// What is past its retention by these rules; with `apply`, it goes.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub async fn retention(&self, rules: &[String], apply: bool) -> Result<Vec<Value>> {
        #[derive(Deserialize)]
        struct RetentionList {
            items: Vec<Value>,
        }
        let letting = serde_json::json!({ "retain": rules, "apply": apply }).to_string();
        let request = self.patient.post(format!("{}/api/v1/retention", self.url)).body(letting);
        let answer = self.ask(request.timeout(RETENTION_MAX)).await?;
        let list = answer.json::<RetentionList>().await;
        list.map(|list| list.items).map_err(|error| unreachable(&self.name, error))
    }

    /// Puts on record that a cluster is to be recorded in another way: `switch` has `mode` and
    /// `reason`.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub async fn switch(&self, cluster: &str, switch: &Value) -> Result<()> {
        let request = self.http.put(self.below("modes", cluster)?).body(switch.to_string());
        self.ask(request).await.map(drop)
    }

    /// The URL of what is called so.
    fn below(&self, kind: &str, name: &str) -> Result<reqwest::Url> {
        let wrong = || Error::NoAddress(self.url.clone());
        let mut url =
            reqwest::Url::parse(&format!("{}/api/v1/{kind}", self.url)).map_err(|_| wrong())?;
        url.path_segments_mut().map_err(|()| wrong())?.push(name);
        Ok(url)
    }
}
