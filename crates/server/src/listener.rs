//! Accepting connections, and bounding what each may cost: how many there are, how long a
//! handshake or a head may take, how long a head may be. What is asked over them is
//! [`crate::routes`]'s.

#![expect(clippy::disallowed_methods, reason = "a socket is a file beside the record")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Result};

/// So many connections may be open; others wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;

/// A handshake, or the head of a request, has to be there after this long.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: u32 = 64 << 10;
const STREAMS_MAX: u32 = 250;

/// A connection over HTTP/2 that does not answer for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Who is at the other end, as far as the connection tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The SHA-256 of the client's certificate, which our authority has signed.
    pub(crate) certificate: Option<[u8; 32]>,
    /// Whether it came through the socket in the data directory, which only its owner can open.
    pub(crate) is_owner: bool,
}

/// Accepts connections until shutdown, then waits until those that are open have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|is_over| *is_over) => break,
        };
        while connections.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Of one connection, or there are no more file descriptors: either passes.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, tls, router, shutdown).await;
            drop(permit);
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Makes the socket in the data directory: whoever can open it owns the record's files anyway.
pub(crate) fn socket(data_dir: &Path) -> Result<(PathBuf, UnixListener)> {
    let path = data_dir.join("whodid.sock");
    // Left behind by a server that was killed; the lock says that none runs.
    remove(&path);
    let made = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match made {
        Ok(listener) => Ok((path, listener)),
        Err(source) => Err(Error::File { path, source }),
    }
}

/// Removes the socket; one that is gone already does no harm.
pub(crate) fn remove(path: &Path) {
    let _gone = std::fs::remove_file(path);
}

/// Serves the owner of the data directory.
pub(crate) async fn serve_owner(
    listener: UnixListener,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|is_over| *is_over) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let peer = Peer { is_owner: true, certificate: None };
                connections.spawn(speak(stream, peer, router.clone(), shutdown.clone()));
            }
            Err(error) => tracing::warn!(%error, "cannot accept a connection"),
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    shutdown: watch::Receiver<bool>,
) {
    // Answers are small and awaited.
    let _best_effort = stream.set_nodelay(true);
    let Some(tls) = tls else { return speak(stream, Peer::default(), router, shutdown).await };
    match timeout(HEAD_TIME_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = certificates.first().map(|der| Sha256::digest(der).into());
            speak(stream, Peer { certificate, is_owner: false }, router, shutdown).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        Err(_) => tracing::debug!("a handshake took too long"),
    }
}

/// Speaks HTTP/1.1 or HTTP/2 on a connection.
pub(crate) async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    mut shutdown: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(SILENCE_MAX)
        .keep_alive_timeout(SILENCE_MAX)
        // Batches of an API server are large, and several are on their way at once.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // What it resolves to must not be held for the rest of the connection.
    let is_over = async { drop(shutdown.wait_for(|is_over| *is_over).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = is_over => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
