//! A cosigner: it signs that a log only grows, and refuses one that went back or was rewritten
//! (c2sp.org/tlog-witness). As a signer it holds the keys of a store's logs, so that who holds the
//! store alone cannot sign another record; as a witness it watches logs that others sign.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use whodid_store::Heads;
use whodid_tlog::note::{Kind, Signature, Signer, Verifier};
use whodid_tlog::{AddCheckpoint, Checkpoint, Policy, Refusal};

use crate::error::{Error, Result};
use crate::tls::{Identity, Tls};
use crate::{DRAIN_MAX, listen, listener, renew};

/// The type of an answer that is a size (tlog-witness, add-checkpoint).
const SIZE_TYPE: &str = "text/x.tlog.size";

/// Whom a cosigner works for.
#[derive(Clone, Debug)]
pub enum Role {
    /// It signs as the logs of these stores, which sign what they send with these keys.
    Signer(Vec<Verifier>),
    /// It has a key of this name, and cosigns the logs that the policy in this file names; the file
    /// is read with every request.
    Witness {
        /// The name of its key.
        name: String,
        /// The file.
        policy: PathBuf,
    },
}

/// How a cosigner runs.
#[derive(Clone, Debug)]
pub struct CosignerSettings {
    /// The folder that it remembers in.
    pub data_dir: PathBuf,
    /// Where it is asked.
    pub listen: SocketAddr,
    /// Its certificate; `None` means HTTP without TLS, on addresses of this machine only.
    pub identity: Option<Identity>,
    /// Whom it works for.
    pub role: Role,
}

/// A cosigner that runs.
pub struct Cosigner {
    /// Where it is asked, as a URL.
    pub url: String,
    shutdown: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Cosigner {
    /// Opens the memory and listens.
    ///
    /// # Errors
    /// The settings make no sense, the memory cannot be opened, the address is taken.
    pub fn start(settings: CosignerSettings) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let CosignerSettings { data_dir, listen: address, identity, role } = settings;
            if identity.is_none() && !address.ip().is_loopback() {
                let fault = format!("--insecure-http: {address} is not an address of this machine");
                return Err(Error::Config(vec![fault]));
            }
            let listener = listen(address).await?;
            let heads = Heads::open_alone(&data_dir)?;
            if let Role::Witness { policy, .. } = &role {
                read_policy(policy).map_err(|fault| Error::Config(vec![fault]))?;
            }
            let tls = identity.map(|identity| Tls::open(&data_dir, identity)).transpose()?;
            let tls = tls.map(Arc::new);
            let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
            let scheme = if tls.is_some() { "https" } else { "http" };
            let bound = listener.local_addr();
            let bound = bound.map_err(|source| Error::Listen { address: "?".into(), source })?;
            let (shutdown, is_over) = watch::channel(false);
            let router = router(Arc::new(Desk { heads, role }));
            let serving =
                tokio::spawn(listener::serve(listener, acceptor, router, is_over.clone()));
            if let Some(tls) = tls {
                tokio::spawn(renew(tls, is_over));
            }
            Ok(Cosigner { url: format!("{scheme}://{bound}"), shutdown, serving })
        })
    }

    /// Ends: no new connections, what is in flight is answered.
    pub async fn stop(mut self) {
        let _gone = self.shutdown.send(true);
        if tokio::time::timeout(DRAIN_MAX, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
    }
}

/// Where checkpoints are handed in.
struct Desk {
    heads: Heads,
    role: Role,
}

/// What a request came to that is not cosigned.
enum Fault {
    Refused(Refusal),
    /// 404: it signs nothing of this log.
    Unknown(String),
    /// 403: another log has taken its place.
    Frozen(String),
    /// 500: nothing was signed.
    Broken(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault::Refused(refusal)
    }
}

impl From<whodid_store::Error> for Fault {
    fn from(error: whodid_store::Error) -> Self {
        Fault::Broken(error.to_string())
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/policy", get(policy))
        .layer(DefaultBodyLimit::max(AddCheckpoint::BYTES_MAX))
        .with_state(desk)
}

async fn add_checkpoint(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    // SQLite waits for the disk.
    let answered = tokio::task::spawn_blocking(move || desk.add(&body)).await;
    let answered = answered.unwrap_or_else(|error| Err(Fault::Broken(error.to_string())));
    let (status, text) = match answered {
        Ok(signature) => return format!("{signature}\n").into_response(),
        Err(Fault::Frozen(why)) => {
            tracing::warn!(error = %why, "a checkpoint was refused");
            (StatusCode::FORBIDDEN, why)
        }
        Err(Fault::Refused(refusal)) => {
            if let Refusal::Size(size) | Refusal::Fork(size) = refusal {
                let kind = [(header::CONTENT_TYPE, SIZE_TYPE)];
                return (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response();
            }
            let status = StatusCode::from_u16(refusal.status());
            (status.unwrap_or(StatusCode::BAD_REQUEST), refusal.to_string())
        }
        Err(Fault::Unknown(origin)) => {
            tracing::warn!(%origin, "a checkpoint of an unknown log was refused");
            (StatusCode::NOT_FOUND, format!("{origin} is not a log that is cosigned here"))
        }
        Err(Fault::Broken(why)) => {
            tracing::error!(error = %why, "nothing can be cosigned");
            (StatusCode::INTERNAL_SERVER_ERROR, "nothing can be cosigned now".to_owned())
        }
    };
    (status, format!("{text}\n")).into_response()
}

/// The keys that it signs with, as lines of a policy. They are public.
async fn policy(State(desk): State<Arc<Desk>>) -> Response {
    match tokio::task::spawn_blocking(move || desk.policy()).await {
        Ok(Ok(text)) => text.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Desk {
    /// Cosigns a checkpoint, or refuses it.
    fn add(&self, body: &[u8]) -> Result<Signature, Fault> {
        let malformed = |why: &dyn ToString| Fault::from(Refusal::Malformed(why.to_string()));
        let body = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let request = AddCheckpoint::parse(body)?;
        let done = self.decide(&request);
        if let Err(Fault::Refused(refusal)) = &done {
            let offered = Checkpoint::parse(request.checkpoint.text());
            let (log, leaves) =
                offered.map_or_else(|_| Default::default(), |of| (of.origin, of.head.size));
            // Whoever has forgotten what was seen last is told, and comes again.
            if matches!(refusal, Refusal::Size(seen) if *seen <= leaves) {
                tracing::debug!(log, leaves, %refusal, "a checkpoint does not follow yet");
            } else {
                tracing::warn!(log, leaves, %refusal, "refused: the log went back");
            }
        }
        done
    }

    fn decide(&self, request: &AddCheckpoint) -> Result<Signature, Fault> {
        let malformed = |why: &dyn ToString| Fault::from(Refusal::Malformed(why.to_string()));
        let origin = request.origin()?;
        let unknown = || Fault::Unknown(origin.clone());
        let key = match &self.role {
            Role::Signer(stores) => {
                let is_its = |store: &&Verifier| {
                    origin.strip_prefix(store.name()).is_some_and(|log| log.starts_with('/'))
                };
                let store = stores.iter().find(is_its).ok_or_else(unknown)?;
                let signed = request.checkpoint.verify(store);
                signed.map_err(|error| Refusal::Unsigned(error.into()))?;
                let checkpoint = Checkpoint::parse(request.checkpoint.text());
                let head = checkpoint.map_err(|error| malformed(&error))?.head;
                if let Some(next) = successor(&origin, store.name())
                    && self.heads.knows(&next)?
                {
                    return Err(Fault::Frozen(format!("{origin} was frozen, and {next} goes on")));
                }
                self.heads.advance(&origin, |last| request.follow(last, head))??;
                self.heads.key(&origin, Kind::Ed25519)?
            }
            Role::Witness { name, policy } => {
                let policy = read_policy(policy).map_err(Fault::Broken)?;
                // A log may have several keys while one takes the other's place.
                let of_log: Vec<&Verifier> =
                    policy.logs().iter().filter(|log| log.name() == origin).collect();
                let signed = |log: &&&Verifier| request.checkpoint.verify(log).is_ok();
                let log = of_log.iter().find(signed).or(of_log.first()).ok_or_else(unknown)?;
                self.heads.advance(&origin, |last| request.check(last, log))??;
                self.heads.key(name, Kind::Cosignature)?
            }
        };
        Ok(key.sign(request.checkpoint.text(), now()))
    }

    fn policy(&self) -> whodid_store::Result<String> {
        if let Role::Witness { name, .. } = &self.role {
            self.heads.key(name, Kind::Cosignature)?;
        }
        Ok(policy_lines(&self.heads.keys()?))
    }
}

/// The log that goes on where one was frozen (docs/format/ledger.md, Names).
fn successor(origin: &str, store: &str) -> Option<String> {
    let name = origin.strip_prefix(store)?.strip_prefix('/')?;
    match name.split_once('/') {
        None => Some(format!("{origin}/2")),
        Some((name, generation)) => {
            let next = generation.parse::<u64>().ok()?.checked_add(1)?;
            Some(format!("{store}/{name}/{next}"))
        }
    }
}

/// Keys as lines of a policy (c2sp.org/tlog-policy).
pub fn policy_lines(keys: &[Signer]) -> String {
    let line = |key: &Signer| {
        let key = key.verifier();
        match key.kind() {
            Kind::Ed25519 => format!("log {key}\n"),
            Kind::Cosignature => format!("witness {} {key}\n", key.name()),
        }
    };
    keys.iter().map(line).collect()
}

/// Reads the policy that says which logs are cosigned.
fn read_policy(path: &std::path::Path) -> std::result::Result<Policy, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    #[expect(clippy::disallowed_methods, reason = "the user's file")]
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    Policy::parse(&text).map_err(|error| failed(&error))
}

fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a cosignature says when it was made")]
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
