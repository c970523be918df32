//! `whodid serve`: the server, until it is told to end or the record cannot be written any more.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use whodid_server::{Identity, Server, Settings, usual_names};
use whodid_store::Options;

use super::import::rules;
use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::output::print;

pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    log_to_stderr();
    let settings = settings(&args)?;
    let server = Server::start(settings).await?;
    print(&format!("{}\n", server.url))?;
    if server.ingest_url != server.url {
        print(&format!("{}\n", server.ingest_url))?;
    }
    // Not a log line: logs are kept and passed on.
    eprintln!("read token: {}", server.read_token);
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| Failure::Unavailable(format!("cannot wait for signals: {error}")))?;
    tokio::select! {
        // Nothing may be acknowledged any more, so nothing is waited for either.
        error = server.failed() => return Err(error.into()),
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    tracing::info!("shutting down");
    Ok(server.stop().await?)
}

fn settings(args: &ServeArgs) -> Result<Settings, Failure> {
    let identity = match (&args.tls_cert, &args.tls_key) {
        _ if args.insecure_http => None,
        (Some(certificate), Some(key)) => {
            Some(Identity::Files { certificate: certificate.clone(), key: key.clone() })
        }
        _ => {
            let mut names = usual_names(args.ingest_listen.unwrap_or(args.listen).ip());
            names.extend(args.tls_name.iter().cloned());
            Some(Identity::Own { names })
        }
    };
    Ok(Settings {
        data_dir: args.store.data_dir.clone(),
        listen: args.listen,
        ingest_listen: args.ingest_listen,
        identity,
        options: Options { rules: rules(&args.redaction)?, ..Options::default() },
    })
}

/// Logs for people on a terminal, for programs elsewhere.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WHODID_LOG").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new("warn,whodid=info,whodid_server=info")
    });
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Where logs are set up already, those stay.
    let _set = if std::io::stderr().is_terminal() {
        logs.try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    };
}
