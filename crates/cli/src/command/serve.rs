//! `whodid serve`: the server, until it is told to end or the record cannot be written any more.

use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use whodid_server::{CosigningSettings, Identity, Server, Settings, usual_names};
use whodid_store::Options;
use whodid_tlog::Policy;

use super::import::rules;
use super::verify::read_policy;
use crate::args::{self, ServeArgs, TlsArgs};
use crate::config::{self, Config, Log, LogFormat};
use crate::failure::Failure;
use crate::output::print;

pub async fn run(args: ServeArgs, config: Config) -> Result<(), Failure> {
    let settings = settings(args, config.serve, &config.log)?;
    log_to_stderr(&config.log)?;
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        tracing::warn!(
            "running in a cluster: whoever administers it can read the keys and the record; record \
             its events elsewhere, or have checkpoints signed elsewhere (docs/custody.md)"
        );
    }
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
    let tls = TlsArgs {
        tls_cert: args.tls.tls_cert.or(config.tls_cert),
        tls_key: args.tls.tls_key.or(config.tls_key),
        tls_name: if args.tls.tls_name.is_empty() { config.tls_names } else { args.tls.tls_name },
        insecure_http: args.tls.insecure_http || config.insecure_http,
    };
    let identity = identity(tls, ingest_listen.unwrap_or(listen).ip(), &mut faults);
    let cosigning = CosigningSettings {
        signer: args.signer.or(config.signer),
        witnesses: witnesses(args.witnesses.or(config.witnesses), &mut faults),
        authority: args.cosigner_ca.or(config.cosigner_ca),
    };
    let mut options = Options::default();
    let redaction = args.redaction.or(config.redaction);
    match rules(redaction.as_deref().unwrap_or("default")) {
        Ok(rules) => options.rules = rules,
        Err(Failure::Usage(why)) => faults.push(why),
        Err(other) => return Err(other),
    }
    let data_dir = args.store.data_dir.or(config.data_dir).unwrap_or_else(|| args::DATA_DIR.into());
    let retained = if args.retain.is_empty() { config.retain } else { args.retain };
    let tails = if args.tail.is_empty() { config.tails } else { args.tail };
    let timestamp_authority = args.timestamp_authority.or(config.timestamp_authority);
    let settings = Settings {
        data_dir,
        listen,
        ingest_listen,
        identity,
        tails,
        cosigning,
        timestamp_authority,
        retained,
        options,
    };
    faults.extend(settings.faults());
    if faults.is_empty() { Ok(settings) } else { Err(Failure::Usage(faults.join("\n"))) }
}

/// What a server shows to be itself; `None` if it speaks HTTP without TLS.
pub fn identity(tls: TlsArgs, address: IpAddr, faults: &mut Vec<String>) -> Option<Identity> {
    let TlsArgs { tls_cert, tls_key, tls_name: names, insecure_http } = tls;
    match (tls_cert, tls_key) {
        (None, None) if insecure_http => {
            if !names.is_empty() {
                faults.push("--insecure-http has no certificate that --tls-name could name".into());
            }
            None
        }
        (None, None) => Some(Identity::Own { names: [usual_names(address), names].concat() }),
        (certificate, key) => {
            if insecure_http {
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
    }
}

/// The witnesses that a policy names.
fn witnesses(policy: Option<PathBuf>, faults: &mut Vec<String>) -> Option<Policy> {
    let found = read_policy(&policy?).map_err(|failure| {
        faults.push(match failure {
            Failure::Usage(why) => why,
            other => format!("{other:?}"),
        });
    });
    found.ok()
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
