//! The server: one writer of the record, and everything that is asked of it over HTTP. Taking
//! events in is `whodid-ingest`'s business, answers are `whodid-engine`'s; here are sockets, who
//! may do what, health, and an orderly end.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use whodid_engine::Cache;
use whodid_engine::live::Feed;
use whodid_ingest::{BUDGET_BYTES, Budget, Ingest};
use whodid_store::{Options, State, Writer};

mod cosigner;
mod cosigning;
mod counts;
mod error;
mod following;
mod health;
mod keeping;
mod listener;
mod metrics;
mod objects;
mod problem;
mod read;
mod retaining;
mod routes;
mod sql;
mod stamping;
mod tailing;
mod tls;
mod upkeep;
mod webhook;

pub use cosigner::{Cosigner, CosignerSettings, Role, policy_lines};
pub use cosigning::CosigningSettings;
pub use error::{Error, Result};
pub use keeping::plan_json;
pub use retaining::{BY_COMMAND, Retained, let_go};
pub use tailing::TailedLog;
pub use tls::{Authority, Identity, usual_names};

use cosigning::{Cosigning, Fault};
use metrics::Metrics;
use stamping::Stamping;
use tls::Tls;

/// Requests in flight have so long to end once the server is told to.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the record.
    pub data_dir: PathBuf,
    /// Where it is asked; only addresses of this machine.
    pub listen: SocketAddr,
    /// Where events are sent, if not there.
    pub ingest_listen: Option<SocketAddr>,
    /// Its certificate; `None` means HTTP without TLS, on addresses of this machine only.
    pub identity: Option<Identity>,
    /// Logs of API servers on this machine, which it follows.
    pub tails: Vec<TailedLog>,
    /// Who signs checkpoints, beside the record itself.
    pub cosigning: CosigningSettings,
    /// The authority that time-stamps checkpoints (RFC 3161), as a URL.
    pub timestamp_authority: Option<String>,
    /// How much is kept; without a rule, everything.
    pub retained: Vec<Retained>,
    /// How the record is written.
    pub options: Options,
}

impl Settings {
    /// Everything that makes no sense, a line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.listen.ip().is_loopback() {
            faults.push(format!(
                "--listen {}: only addresses of this machine can be read from without login; use \
                 127.0.0.1, and --ingest-listen for API servers elsewhere",
                self.listen
            ));
        }
        let ingest = self.ingest_listen.unwrap_or(self.listen);
        faults.extend(self.cosigning.faults());
        faults.extend(self.timestamp_authority.as_deref().and_then(stamping::fault));
        for log in &self.tails {
            faults.extend(log.fault());
        }
        if self.identity.is_none() && !ingest.ip().is_loopback() {
            faults.push(format!("--insecure-http: {ingest} is not an address of this machine"));
        }
        faults
    }
}

/// What all requests share.
pub(crate) type App = Arc<Shared>;

pub(crate) struct Shared {
    writer: Arc<Writer>,
    ingest: Ingest,
    feed: Feed,
    cache: Cache,
    state: State,
    metrics: Metrics,
    budget: Budget,
    /// The SHA-256 of the token that reading takes.
    read_token: [u8; 32],
    is_ready: AtomicBool,
    /// Clusters of which no more may be taken in.
    full: Mutex<BTreeSet<String>>,
    /// Becomes true when the server ends.
    shutdown: watch::Receiver<bool>,
}

/// A server that runs.
pub struct Server {
    /// Where it is asked, as a URL.
    pub url: String,
    /// Where events are sent, as a URL.
    pub ingest_url: String,
    /// What reading takes over TCP; through the socket in the data directory, nothing.
    pub read_token: String,
    app: App,
    socket: PathBuf,
    shutdown: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens the record and listens.
    ///
    /// # Errors
    /// The settings make no sense, the record cannot be written, an address is taken.
    pub fn start(settings: Settings) -> BoxFuture<'static, Result<Self>> {
        Box::pin(async move {
            let faults = settings.faults();
            if !faults.is_empty() {
                return Err(Error::Config(faults));
            }
            // Addresses first: a server that cannot be reached must not open the record.
            let main = listen(settings.listen).await?;
            let other = match settings.ingest_listen {
                Some(address) => Some(listen(address).await?),
                None => None,
            };
            let writer = Arc::new(Writer::open_dir(&settings.data_dir, settings.options).await?);
            let cosigning = first_cosigned(&writer, &settings.cosigning).await?;
            let state = State::open(&settings.data_dir)?;
            let tls = settings.identity.map(|identity| Tls::open(&settings.data_dir, identity));
            let tls = tls.transpose()?.map(Arc::new);
            let budget = Budget::new(BUDGET_BYTES);
            let (shutdown, is_over) = watch::channel(false);
            let read_token = token()?;
            let app = Arc::new(Shared {
                ingest: Ingest::new(Arc::clone(&writer), budget.clone()),
                feed: Feed::new(Arc::clone(&writer)),
                cache: Cache::default(),
                writer,
                state,
                metrics: Metrics::new(),
                budget,
                read_token: Sha256::digest(&read_token).into(),
                is_ready: AtomicBool::new(true),
                full: Mutex::default(),
                shutdown: is_over.clone(),
            });
            let scheme = if tls.is_some() { "https" } else { "http" };
            let url = |listener: &TcpListener| -> Result<String> {
                let address = listener.local_addr();
                let address =
                    address.map_err(|source| Error::Listen { address: "?".into(), source })?;
                Ok(format!("{scheme}://{address}"))
            };
            let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
            let server_url = url(&main)?;
            let ingest_url = other.as_ref().map_or_else(|| Ok(server_url.clone()), url)?;
            let mut tasks = Vec::new();
            for log in settings.tails {
                tasks.push(tailing::start(log, &settings.data_dir, &app.ingest, is_over.clone())?);
            }
            let upkeep = upkeep::run(Arc::clone(&app), settings.retained, is_over.clone());
            tasks.push(tokio::spawn(upkeep));
            if let Some(url) = &settings.timestamp_authority {
                let stamping = Stamping::new(Arc::clone(&app.writer), url)?;
                tasks.push(tokio::spawn(stamping.run(is_over.clone())));
            }
            if let Some(cosigning) = cosigning {
                tasks.push(tokio::spawn(cosigning.run(is_over.clone())));
            }
            if let Some(other) = other {
                let router = routes::ingest(Arc::clone(&app));
                let serving = listener::serve(other, acceptor.clone(), router, is_over.clone());
                tasks.push(tokio::spawn(serving));
            }
            let router = routes::all(Arc::clone(&app));
            let (socket, owners) = listener::socket(&settings.data_dir)?;
            let serving = listener::serve_owner(owners, router.clone(), is_over.clone());
            tasks.push(tokio::spawn(serving));
            tasks.push(tokio::spawn(listener::serve(main, acceptor, router, is_over.clone())));
            if let Some(tls) = tls {
                tokio::spawn(renew(tls, is_over));
            }
            Ok(Server { url: server_url, ingest_url, read_token, app, socket, shutdown, tasks })
        })
    }

    /// Waits until the record cannot be written any more.
    pub async fn failed(&self) -> whodid_store::Error {
        self.app.writer.failed().await
    }

    /// Ends in order: not ready, no new connections, what is in flight is answered, the record is
    /// closed. It does not take longer than half a minute.
    ///
    /// # Errors
    /// The record could not be closed; what was acknowledged is in its log all the same.
    pub fn stop(self) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            self.app.is_ready.store(false, Ordering::Relaxed);
            // Every listener may have gone already.
            let _gone = self.shutdown.send(true);
            for mut task in self.tasks {
                if tokio::time::timeout(DRAIN_MAX, &mut task).await.is_err() {
                    tracing::warn!("requests that did not end are cut off");
                    task.abort();
                    let _aborted = task.await;
                }
            }
            // Another server may have made its own since; then this removes one too many, and only
            // a restart of that one is lost, nothing of the record.
            listener::remove(&self.socket);
            // Streams may still hold it; dropping it afterwards loses nothing.
            Ok(self.app.writer.flush().await?)
        })
    }
}

/// Has all logs cosigned before anything is taken in: a record that went back or was rewritten must
/// not be gone on with. Who cannot be reached is asked again later.
async fn first_cosigned(
    writer: &Arc<Writer>,
    settings: &CosigningSettings,
) -> Result<Option<Cosigning>> {
    if settings.is_empty() {
        tracing::info!(custody = "detects edits", "the logs' keys are in the data directory alone");
        for name in writer.logs()? {
            if writer.checkpoint(&name)?.is_some_and(|newest| newest.is_cosigned()) {
                tracing::warn!(log = name, "others have signed it before, and nobody is asked now");
            }
        }
        return Ok(None);
    }
    tracing::info!("checkpoints are to be signed elsewhere, too");
    let mut cosigning = Cosigning::new(Arc::clone(writer), settings)?;
    let mut refused = Vec::new();
    for fault in cosigning.all().await {
        match fault {
            Fault::Refused(why) => refused.push(why),
            Fault::Later(why) => tracing::warn!(error = %why, "a checkpoint is not cosigned yet"),
        }
    }
    if refused.is_empty() { Ok(Some(cosigning)) } else { Err(Error::Refused(refused)) }
}

/// A token that cannot be guessed.
fn token() -> Result<String> {
    let mut secret = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut secret).map_err(|error| Error::File {
        path: "random bytes".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(format!("whodid_read_{}", URL_SAFE_NO_PAD.encode(secret)))
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address: address.to_string(), source })
}

/// Looks for a renewed certificate until shutdown.
async fn renew(tls: Arc<Tls>, mut shutdown: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(tls::LOOK_EVERY) => {}
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        }
        match tls.renew() {
            Ok(true) => tracing::info!("the server's certificate was renewed"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the renewed certificate cannot be used"),
        }
    }
}
