//! The client of the HTTP API. What is asked, sent or kept there has a file each; here is what they
//! share: where a server is, how it is reached, and why it may not answer. What a query means is
//! the server's to say; how answers look, the caller's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

mod cosigning;
mod keeping;
mod reading;
mod sending;

pub use cosigning::Cosigned;
pub use reading::{Event, EventList, FieldValue, Message, Placed, SEARCH_SECONDS};

/// A server has to answer a connection after this long.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The server says at least every ten seconds that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(30);

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

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.map_err(|error| unreachable(&self.name, error))?;
        self.accepted(answer).await
    }
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
