//! Fifty senders of bodies of 20 MiB at once, more than there is room for. Each does what
//! kube-apiserver does with a body that is refused: within an attempt of 30 seconds it waits as
//! long as `Retry-After` says, ten times at most, and there are five attempts, 10 seconds and then
//! half as much again apart (`staging/src/k8s.io/apiserver/pkg/util/webhook`, `client-go/rest`).

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use whodid_api::{Client, Error, SEARCH_SECONDS};

use crate::figures::millis;
use crate::{Args, CLUSTER};

const SENDERS: usize = 50;
const BODY_BYTES: usize = 20 << 20;
const EVENTS_PER_BODY: usize = 50;

const ATTEMPTS: u32 = 5;
const ATTEMPT: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_secs(10);
const RETRIES_WITHIN: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How one body fared.
#[derive(Default)]
struct Fate {
    is_delivered: bool,
    attempts: u32,
    refused_after: Vec<Duration>,
    broken: u32,
}

pub(crate) async fn run(args: &Args) {
    let mut sending = JoinSet::new();
    for sender in 0..SENDERS {
        let (client, token) = (args.client(), args.token.clone());
        // Its connection is open, as that of an API server is.
        client.newest("", 1, SEARCH_SECONDS).await.expect("an answer");
        let body = body(sender);
        sending.spawn(async move { send(&client, &token, &body).await });
    }
    let fates = sending.join_all().await;
    let delivered = fates.iter().filter(|fate| fate.is_delivered).count();
    let refused: Vec<Duration> = fates.iter().flat_map(|fate| fate.refused_after.clone()).collect();
    println!(
        "{:#}",
        json!({
            "senders": SENDERS, "delivered": delivered, "events": SENDERS * EVENTS_PER_BODY,
            "attempts_max": fates.iter().map(|fate| fate.attempts).max(),
            "broken": fates.iter().map(|fate| fate.broken).sum::<u32>(),
            "refused_ms": millis(refused),
        })
    );
}

fn body(sender: usize) -> Vec<u8> {
    let padding = "x".repeat(BODY_BYTES / EVENTS_PER_BODY);
    let line = |i| {
        format!(
            r#"{{"kind":"Event","auditID":"{sender}-{i}","stage":"ResponseComplete","requestObject":"{padding}"}}"#
        )
    };
    (0..EVENTS_PER_BODY).map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

async fn send(client: &Client, token: &str, body: &[u8]) -> Fate {
    let mut fate = Fate::default();
    let mut wait = FIRST_WAIT;
    while fate.attempts < ATTEMPTS && !fate.is_delivered {
        if fate.attempts > 0 {
            sleep(wait).await;
            wait = wait * 3 / 2;
        }
        fate.attempts += 1;
        // What is not done in time is tried again.
        let _elapsed = timeout(ATTEMPT, attempt(client, token, body, &mut fate)).await;
    }
    fate
}

async fn attempt(client: &Client, token: &str, body: &[u8], fate: &mut Fate) {
    for _ in 0..RETRIES_WITHIN {
        let body = body.to_vec();
        let begin = Instant::now();
        match client.send(CLUSTER, token, body).await {
            Ok(()) => {
                fate.is_delivered = true;
                return;
            }
            Err(Error::Refused { status: 429, .. }) => fate.refused_after.push(begin.elapsed()),
            Err(_) => {
                fate.broken += 1;
                return;
            }
        }
        sleep(RETRY_AFTER).await;
    }
}
