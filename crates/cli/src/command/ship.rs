//! `whodid ship`: the log of an API server, from the host it lies on to a server. How far each file
//! is sent the server knows, with the events themselves; nothing is kept here that could be wrong.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use whodid_api::{Client, Endpoint, Error};
use whodid_ingest::tail::{Portion, Sink, Tail, Trouble};
use whodid_store::{SourcePosition, SystemClock, hex};

use super::serve::{log_to_stderr, until_ended};
use crate::args::ShipArgs;
use crate::config::Config;
use crate::failure::Failure;

/// Statuses that pass by themselves; any other is a mistake that only a person can mend.
const PASSING: [u16; 6] = [408, 429, 500, 502, 503, 504];

pub async fn run(args: ShipArgs, config: &Config) -> Result<(), Failure> {
    whodid_store::check_cluster(&args.cluster)?;
    log_to_stderr(&config.log)?;
    let token = token(&args)?;
    std::fs::create_dir_all(&args.state_dir)
        .map_err(|error| Failure::Usage(format!("{}: {error}", args.state_dir.display())))?;
    let ended = until_ended()?;
    let (stop, is_over) = watch::channel(false);
    let mut tails = JoinSet::new();
    for (log, notes) in args.files.iter().zip(notes(&args)?) {
        let endpoint = Endpoint::Url {
            url: args.server.clone(),
            token: None,
            authority: args.ca.clone().filter(|_| args.server.starts_with("https:")),
        };
        let (cluster, token) = (args.cluster.clone(), token.clone());
        let sink = Remote { client: Client::new(endpoint)?, cluster, token };
        let clock = Arc::new(SystemClock);
        let tail = Tail::new(log, &notes, sink, is_over.clone(), clock).map_err(Failure::from)?;
        tails.spawn_blocking(move || tail.run());
    }
    let mut first = tokio::select! {
        first = tails.join_next() => first,
        () = ended => None,
    };
    // Whoever waits for the server stops waiting.
    let _gone = stop.send(true);
    while let Some(next) = tails.join_next().await {
        first = first.filter(|first| matches!(first, Ok(Err(_)))).or(Some(next));
    }
    match first {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(panic)) => Err(Failure::Unavailable(panic.to_string())),
    }
}

fn token(args: &ShipArgs) -> Result<String, Failure> {
    let Some(file) = &args.token_file else { return Ok(args.token.clone().unwrap_or_default()) };
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    Ok(text.trim().to_owned())
}

/// A file of notes for each log.
fn notes(args: &ShipArgs) -> Result<Vec<PathBuf>, Failure> {
    let of = |log: &PathBuf| {
        let path = std::path::absolute(log)
            .map_err(|error| Failure::Usage(format!("{}: {error}", log.display())))?;
        let name = path.to_string_lossy().replace('/', "_");
        Ok(args.state_dir.join(format!("{}{name}.json", args.cluster)))
    };
    let notes: Vec<PathBuf> = args.files.iter().map(of).collect::<Result<_, Failure>>()?;
    let is_twice = |(i, file): (usize, &PathBuf)| notes.iter().take(i).any(|other| other == file);
    if notes.iter().enumerate().any(is_twice) {
        return Err(Failure::Usage("the same log is named twice".to_owned()));
    }
    Ok(notes)
}

/// Lines into the record of a server.
struct Remote {
    client: Client,
    cluster: String,
    token: String,
}

impl Sink for Remote {
    async fn known(&self, id: &[u8; 32]) -> Result<Vec<SourcePosition>, Trouble> {
        let known = self.client.positions(&self.cluster, &self.token, &hex(id)).await;
        let parse = |text: &String| {
            text.parse().map_err(|why| Trouble::Lasting(format!("the server says {text:?}: {why}")))
        };
        known.map_err(trouble)?.iter().map(parse).collect()
    }

    async fn take(&self, portion: &Portion) -> Result<(), Trouble> {
        let position = portion.position.map(|position| position.to_string());
        let (cluster, token, body) = (&self.cluster, &self.token, portion.body());
        let sent = self.client.send_part(cluster, token, body, position.as_deref());
        sent.await.map_err(trouble)
    }
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::Unreachable { .. } => Trouble::Passing(error.to_string()),
        Error::Refused { status, ref detail } if PASSING.contains(&status) => {
            Trouble::Passing(detail.clone())
        }
        other => Trouble::Lasting(other.to_string()),
    }
}
