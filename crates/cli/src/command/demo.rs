//! `whodid demo`: a server on a record of its own, to which recorded events of a real cluster are
//! sent through the webhook, at the pace they were made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use whodid_api::{Client, Endpoint};
use whodid_event::time;
use whodid_server::{CosigningSettings, Server, Settings};
use whodid_store::{CredentialKind, Options, State};

use super::now;
use super::serve::until_ended;
use crate::args::DemoArgs;
use crate::failure::Failure;
use crate::output::print;

/// What kube-apiserver 1.36 wrote under the policy most clusters use, while people and
/// controllers worked with it for seven minutes.
const EVENTS: &[u8] = include_bytes!("../../../../testdata/captures/typical-policy.jsonl.zst");

/// The last minutes of it are replayed at their pace; what was before is there at once.
const LIVE_MICROS: i64 = 2 * 60 * 1_000_000;

/// What kube-apiserver sends at most in one body.
const BATCH_EVENTS: usize = 400;

/// How often events that are due are sent.
const PACE: Duration = Duration::from_millis(250);

/// What can be tried meanwhile.
const QUESTIONS: [&str; 3] =
    ["who deleted ns", "search outcome:denied --limit 5", "tail actor_kind:human --last 5"];

const CLUSTER: &str = "demo";

pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let scratch = match &args.keep {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| {
            Failure::Unavailable(format!("cannot make a folder for the demo: {error}"))
        })?),
    };
    let record = record_of(&args, scratch.as_ref());
    let stopped = until_ended()?;
    let server = Server::start(Settings {
        data_dir: record.clone(),
        listen: ([127, 0, 0, 1], 0).into(),
        ingest_listen: None,
        identity: None,
        tails: Vec::new(),
        cosigning: CosigningSettings::default(),
        timestamp_authority: None,
        retained: Vec::new(),
        options: Options::default(),
    })
    .await?;
    let mut replay = Replay::new(&server, &record)?;
    replay.send_until(now()).await?;
    introduce(&server, &record, args.keep.is_none())?;
    let ended = tokio::select! {
        ended = replay.go_on() => ended,
        error = server.failed() => return Err(error.into()),
        () = stopped => Ok(()),
    };
    server.stop().await?;
    if let Some(scratch) = scratch {
        scratch.close().map_err(|error| Failure::Unavailable(format!("{error}")))?;
    }
    ended
}

fn record_of(args: &DemoArgs, scratch: Option<&TempDir>) -> PathBuf {
    let scratch = scratch.map(|scratch| scratch.path().join("record"));
    scratch.or_else(|| args.keep.clone()).unwrap_or_default()
}

/// Says what is going on and what can be tried.
fn introduce(server: &Server, record: &Path, is_removed: bool) -> Result<(), Failure> {
    let program = std::env::args().next().unwrap_or_default();
    let program = if program.contains('/') { program } else { "whodid".to_owned() };
    let record = record.display();
    let mut text = format!(
        "Events of a real cluster (Kubernetes 1.36) are replayed, with their times moved to now.\n\
         The record is in {record}, its server is {}.\n\nTry in another terminal:\n",
        server.url
    );
    for question in QUESTIONS {
        text.push_str(&format!("  {program} {question} --data-dir {record}\n"));
    }
    let removed = if is_removed { " and removes the record" } else { "" };
    text.push_str(&format!("\nCtrl-C ends it{removed}.\n"));
    Ok(print(&text)?)
}

/// The events, each with the moment at which it is due.
struct Replay {
    events: std::vec::IntoIter<(i64, String)>,
    waiting: Option<(i64, String)>,
    client: Client,
    token: String,
}

impl Replay {
    fn new(server: &Server, record: &Path) -> Result<Self, Failure> {
        // As hard to guess, and another one.
        let token = URL_SAFE_NO_PAD.encode(Sha256::digest(&server.read_token));
        let print_of = Sha256::digest(token.as_bytes()).into();
        State::open(record)?.add_credential(
            &print_of,
            CredentialKind::Token,
            CLUSTER,
            "recorded",
        )?;
        let url = server.ingest_url.clone();
        let client = Client::new(Endpoint::Url { url, token: None, authority: None })?;
        let text = zstd::decode_all(EVENTS)
            .map_err(|error| Failure::Unavailable(format!("the recorded events: {error}")))?;
        let events = moved(&String::from_utf8_lossy(&text), now() + LIVE_MICROS);
        Ok(Replay { events: events.into_iter(), waiting: None, client, token })
    }

    /// Sends what is due by then, in bodies as an API server makes them.
    async fn send_until(&mut self, moment: i64) -> Result<(), Failure> {
        loop {
            let mut items = Vec::new();
            while items.len() < BATCH_EVENTS {
                let Some((due, event)) = self.waiting.take().or_else(|| self.events.next()) else {
                    break;
                };
                if due > moment {
                    self.waiting = Some((due, event));
                    break;
                }
                items.push(event);
            }
            if items.is_empty() {
                return Ok(());
            }
            let body = format!(
                r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#,
                items.join(",")
            );
            self.client.send(CLUSTER, &self.token, body.into_bytes()).await?;
        }
    }

    /// Sends the rest as it becomes due, and then waits for the end of the demo.
    async fn go_on(&mut self) -> Result<(), Failure> {
        loop {
            self.send_until(now()).await?;
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Moves all times so that the last event is due at `end`.
fn moved(text: &str, end: i64) -> Vec<(i64, String)> {
    let stamp = |line: &str, name: &str| {
        let key = format!("\"{name}\":\"");
        let at = line.rfind(&key)? + key.len();
        let length = line.get(at..)?.find('"')?;
        Some((at, length, time::parse(line.get(at..at + length)?)?))
    };
    let last = text.lines().filter_map(|line| Some(stamp(line, "stageTimestamp")?.2)).max();
    let shift = end - last.unwrap_or(end);
    let mut events: Vec<(i64, String)> = text
        .lines()
        .filter_map(|line| {
            let due = stamp(line, "stageTimestamp")?.2 + shift;
            let mut line = line.to_owned();
            for name in ["requestReceivedTimestamp", "stageTimestamp"] {
                let (at, length, was) = stamp(&line, name)?;
                line.replace_range(at..at + length, &time::format(was + shift));
            }
            Some((due, line))
        })
        .collect();
    events.sort_by_key(|(due, _)| *due);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_move_and_nothing_else() {
        let text = String::from_utf8(zstd::decode_all(EVENTS).unwrap()).unwrap();
        let end = 1_900_000_000_000_000;
        let events = moved(&text, end);
        assert_eq!(events.len(), text.lines().count());
        assert_eq!(events.last().unwrap().0, end);
        let lengths = |lines: &mut dyn Iterator<Item = &str>| {
            let mut all: Vec<usize> = lines.map(str::len).collect();
            all.sort_unstable();
            all
        };
        let moved_lengths = lengths(&mut events.iter().map(|(_, line)| line.as_str()));
        assert_eq!(moved_lengths, lengths(&mut text.lines()));
        let live = events.iter().filter(|(due, _)| *due > end - LIVE_MICROS).count();
        assert!((500..events.len()).contains(&live), "{live}");
    }
}
