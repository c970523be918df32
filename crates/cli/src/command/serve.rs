//! `whodid serve`: the server, until it is told to end or the record cannot be written any more.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use whodid_server::{Identity, Server, Settings, usual_names};
use whodid_store::Options;

use super::import::rules;
use crate::args::{self, ServeArgs};
use crate::config::{self, Config, Log, LogFormat};
use crate::failure::Failure;
use crate::output::print;

pub async fn run(args: ServeArgs, config: Config) -> Result<(), Failure> {
    let settings = settings(args, config.serve, &config.log)?;
    log_to_stderr(&config.log)?;
    // Before anything is said: whoever reads it may end the server at once.
    let ended = until_ended()?;
    let server = Server::start(settings).await?;
    print(&format!("{}\n", server.url))?;
    if server.ingest_url != server.url {
        print(&format!("{}\n", server.ingest_url))?;
    }
    // Not a log line: logs are kept and passed on. That nobody reads it is no reason to end.
    let _gone = writeln!(std::io::stderr(), "read token: {}", server.read_token);
    tokio::select! {
        // Nothing may be acknowledged any more, so nothing is waited for either.
        error = server.failed() => return Err(error.into()),
        () = ended => {}
    }
    tracing::info!("shutting down");
    Ok(server.stop().await?)
}

/// Waits for Ctrl-C or a request to end, from now on.
pub fn until_ended() -> Result<impl Future<Output = ()>, Failure> {
    let of = |kind| {
        signal(kind)
            .map_err(|error| Failure::Unavailable(format!("cannot wait for signals: {error}")))
    };
    let (mut interrupted, mut terminated) =
        (of(SignalKind::interrupt())?, of(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

/// Says everything that makes no sense about a configured server.
pub fn check(config: Config) -> Result<(), Failure> {
    settings(ServeArgs::default(), config.serve, &config.log).map(drop)
}

/// Flags over the configuration, over defaults; everything that makes no sense is said at once.
fn settings(args: ServeArgs, config: config::Serve, log: &Log) -> Result<Settings, Failure> {
    let mut faults = Vec::new();
    if let Err(Failure::Usage(why)) = filter(log) {
        faults.push(why);
    }
    let listen = args.listen.or(config.listen).unwrap_or(args::LISTEN);
    let ingest_listen = args.ingest_listen.or(config.ingest_listen);
    let names = if args.tls_name.is_empty() { config.tls_names } else { args.tls_name };
    let certificate = args.tls_cert.or(config.tls_cert);
    let identity = match (certificate, args.tls_key.or(config.tls_key)) {
        (None, None) if args.insecure_http || config.insecure_http => {
            if !names.is_empty() {
                faults.push("--insecure-http has no certificate that --tls-name could name".into());
            }
            None
        }
        (None, None) => {
            let own = usual_names(ingest_listen.unwrap_or(listen).ip());
            Some(Identity::Own { names: [own, names].concat() })
        }
        (certificate, key) => {
            if args.insecure_http || config.insecure_http {
                faults.push("--insecure-http takes no --tls-cert and no --tls-key".into());
            }
            if !names.is_empty() {
                faults.push("--tls-name is for the own certificate, not for --tls-cert".into());
            }
            if certificate.is_none() || key.is_none() {
                faults.push("--tls-cert and --tls-key belong together".into());
            }
            let file = |path: Option<PathBuf>| path.unwrap_or_default();
            Some(Identity::Files { certificate: file(certificate), key: file(key) })
        }
    };
    let mut options = Options::default();
    let redaction = args.redaction.or(config.redaction);
    match rules(redaction.as_deref().unwrap_or("default")) {
        Ok(rules) => options.rules = rules,
        Err(Failure::Usage(why)) => faults.push(why),
        Err(other) => return Err(other),
    }
    let data_dir = args.store.data_dir.or(config.data_dir).unwrap_or_else(|| args::DATA_DIR.into());
    let tails = if args.tail.is_empty() { config.tails } else { args.tail };
    let settings = Settings { data_dir, listen, ingest_listen, identity, tails, options };
    faults.extend(settings.faults());
    if faults.is_empty() { Ok(settings) } else { Err(Failure::Usage(faults.join("\n"))) }
}

fn filter(log: &Log) -> Result<EnvFilter, Failure> {
    let asked = std::env::var("WHODID_LOG").ok().or_else(|| log.filter.clone());
    let filter =
        asked.as_deref().unwrap_or("warn,whodid=info,whodid_ingest=info,whodid_server=info");
    EnvFilter::try_new(filter)
        .map_err(|error| Failure::Usage(format!("log.filter {filter:?}: {error}")))
}

/// Logs for people on a terminal, for programs elsewhere.
pub fn log_to_stderr(log: &Log) -> Result<(), Failure> {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter(log)?)
        .with_writer(std::io::stderr)
        // It would say on stderr that stderr is gone, and panic.
        .log_internal_errors(false);
    let is_text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // Where logs are set up already, those stay.
    let _set = if is_text { logs.try_init() } else { logs.json().flatten_event(true).try_init() };
    Ok(())
}
