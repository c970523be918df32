//! A load as API servers and readers make it: `cargo run --release -p whodid-api --example load`.
//! It sends generated events at a steady rate while tails of different queries read, and prints as
//! JSON how long answers and events took, and whether every tail saw exactly what it should have.
//!
//! What is too slow is for others to judge.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "whatever fails here is a finding")]

mod events;
mod figures;
mod overload;
mod tails;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use whodid_api::{Client, Endpoint, SEARCH_SECONDS};

use events::Source;
use figures::millis;
use tails::Times;

#[derive(Clone, Debug, Parser)]
struct Args {
    #[arg(long)]
    url: String,
    #[arg(long)]
    ca: Option<PathBuf>,
    /// To send with.
    #[arg(long)]
    token: String,
    /// To read with.
    #[arg(long)]
    read_token: String,
    #[arg(long)]
    mode: Mode,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Events in a second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    #[arg(long, default_value_t = 20)]
    tails: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A negative control: one event in 10,000 is counted as sent, and is not.
    #[arg(long)]
    lose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Bodies of 400 events, as kube-apiserver batches them.
    Batches,
    /// Bodies of one event over 64 connections, as in its blocking modes.
    Singles,
    /// 50 senders of bodies of 20 MiB, who come again as kube-apiserver does.
    Overload,
}

impl Args {
    fn client(&self) -> Client {
        let (url, authority) = (self.url.clone(), self.ca.clone());
        let token = Some(self.read_token.clone());
        Client::new(Endpoint::Url { url, token, authority }).expect("a client")
    }
}

const CLUSTER: &str = "load";
const BATCH: usize = 400;
const CONNECTIONS: usize = 64;

#[tokio::main]
async fn main() {
    let args = Args::parse();
    match args.mode {
        Mode::Overload => overload::run(&args).await,
        Mode::Batches | Mode::Singles => steady(&args).await,
    }
}

async fn steady(args: &Args) {
    let tails = tails::start(args).await;
    let answered = Times::default();
    let mut source = Source::new(args.seed, args.lose);
    let (events, connections) = match args.mode {
        Mode::Batches => (BATCH, 1),
        _ => (1, CONNECTIONS),
    };
    let clients: Vec<Client> = (0..connections).map(|_| args.client()).collect();
    for client in &clients {
        // Connections are open already, as those of an API server are.
        client.newest("", 1, SEARCH_SECONDS).await.expect("an answer");
    }
    let bodies = args.rate * args.seconds / events as u64;
    let begin = Instant::now();
    let mut sending = JoinSet::new();
    for (i, client) in (0..bodies).zip(clients.iter().cycle()) {
        let body = source.body(events);
        let due = begin + Duration::from_nanos(1_000_000_000 * events as u64 * i / args.rate);
        // A load that waited for answers would hide how slow they are.
        sleep_until(due).await;
        let (client, token, answered) = (client.clone(), args.token.clone(), Arc::clone(&answered));
        sending.spawn(async move {
            let begin = Instant::now();
            client.send(CLUSTER, &token, body.text).await.expect("an answer");
            let end = Instant::now();
            let mut answered = answered.lock().expect("no panic");
            answered.extend(body.shown.into_iter().map(|key| (key, end)));
            (due, due.elapsed(), begin.elapsed())
        });
    }
    let (mut since_due, mut answers, mut by_minute) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (due, late, took) in sending.join_all().await {
        since_due.push(late);
        answers.push(took);
        let minute = due.duration_since(begin).as_secs() / 60;
        by_minute.entry(minute).or_insert_with(Vec::new).push(took);
    }
    let by_minute: Vec<_> = by_minute.into_values().map(millis).collect();
    let took = begin.elapsed();
    let seen = tails::end(tails, &source, &answered).await;
    println!(
        "{:#}",
        json!({
            "events": source.sent(), "requests": answers.len(), "seconds": took.as_secs_f64(),
            "answer_ms": millis(answers), "answer_ms_by_minute": by_minute,
            "answer_since_due_ms": millis(since_due),
            "tails": seen.tails, "expected": seen.expected, "seen": seen.came,
            "wrong_tails": seen.wrong, "visible_ms": millis(seen.visible),
        })
    );
}
