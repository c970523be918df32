//! What others sign: checkpoints, by cosigners, and times, by time-stamping authorities. Neither
//! knows whose client asks.

use std::time::Duration;

use crate::{Client, Error, Result, unreachable};

/// Each has to answer after this long, in so many bytes.
const COSIGN_MAX: Duration = Duration::from_secs(10);
const COSIGNED_BYTES_MAX: usize = 64 << 10;

/// What a cosigner answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cosigned {
    /// Lines of signatures.
    Signed(String),
    /// It has seen another size of the log.
    Size(u64),
}

impl Client {
    /// Hands a checkpoint to a cosigner (c2sp.org/tlog-witness, add-checkpoint).
    ///
    /// # Errors
    /// It refuses, answers what cannot be read, or cannot be reached.
    pub async fn add_checkpoint(&self, body: String) -> Result<Cosigned> {
        let request = self.http.post(format!("{}/add-checkpoint", self.url)).body(body);
        let answer = request.timeout(COSIGN_MAX).send().await;
        let answer = answer.map_err(|error| unreachable(&self.name, error))?;
        let status = answer.status().as_u16();
        let text = String::from_utf8_lossy(&self.short(answer).await?).into_owned();
        match status {
            200 => Ok(Cosigned::Signed(text)),
            409 => match text.trim_end().parse() {
                Ok(size) => Ok(Cosigned::Size(size)),
                Err(_) => Err(unreachable(&self.name, "it answered no size")),
            },
            status => {
                let detail = text.trim_end();
                let detail = format!("{} answered {status}: {detail}", self.name);
                Err(Error::Refused { status, detail })
            }
        }
    }

    /// Asks a time-stamping authority (RFC 3161 §3.4), whose whole address this client has.
    ///
    /// # Errors
    /// It refuses, answers too much, or cannot be reached.
    pub async fn timestamp(&self, query: Vec<u8>) -> Result<Vec<u8>> {
        let request = self.http.post(&self.url).timeout(COSIGN_MAX).body(query);
        let request = request.header("content-type", "application/timestamp-query");
        let answer = request.send().await.map_err(|error| unreachable(&self.name, error))?;
        let answer = self.accepted(answer).await?;
        self.short(answer).await
    }

    /// The bytes of an answer, if they are not too many.
    async fn short(&self, mut answer: reqwest::Response) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let failed = |error| unreachable(&self.name, error);
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > COSIGNED_BYTES_MAX {
                return Err(unreachable(&self.name, "its answer is too long"));
            }
        }
        Ok(bytes)
    }
}
