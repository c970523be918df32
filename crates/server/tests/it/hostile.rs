//! Peers that mean harm, or are broken: others are served meanwhile.

use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Running, TOKEN};

/// Opens connections that each send these bytes and then stay silent.
async fn silent(running: &Running, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(running.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        streams.push(stream);
    }
    streams
}

/// An honest sender has to be answered after this long.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Whether an honest sender is answered in time.
async fn answers(client: &Client, url: &str) -> bool {
    let event = r#"{"kind":"Event","auditID":"x","stage":"ResponseComplete"}"#;
    let request = client.post(url).bearer_auth(TOKEN).body(event).send();
    let answer = tokio::time::timeout(ANSWER_MAX, request).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 200))
}

async fn is_served(running: &Running, what: &str) {
    assert!(answers(&running.client(), &running.url()).await, "{what}");
}

/// The negative control: a server that one silent peer keeps busy is noticed.
#[tokio::test]
async fn a_server_that_is_kept_busy_is_noticed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ingest/prod", listener.local_addr().unwrap());
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let busy = tokio::spawn(async move {
        // One at a time, and the first says nothing.
        let (mut stream, _) = listener.accept().await.unwrap();
        let _read = stream.read(&mut [0; 64]).await;
    });
    assert!(!answers(&Client::builder().no_proxy().build().unwrap(), &url).await);
    busy.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_peers_keep_nobody_from_being_served() {
    let head =
        format!("POST /ingest/prod HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n");
    let running = Running::start(false).await;
    for (what, bytes) in [
        ("slow head", "POST /ingest/prod HT".to_owned()),
        ("slow body", format!("{head}Content-Length: 1000\r\n\r\n{{")),
        ("wrong length", format!("{head}Content-Length: 5\r\n\r\n{{\"kind\":\"Event\"}}")),
        ("negative length", format!("{head}Content-Length: -1\r\n\r\n")),
        ("two lengths", format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n12")),
        ("many headers", format!("{head}{}\r\n", "a: b\r\n".repeat(100_000))),
        ("garbage", "\u{16}\u{3}\u{1}\u{0}garbage\r\n\r\n".to_owned()),
    ] {
        let mut peers = JoinSet::new();
        for _ in 0..20 {
            let (address, bytes) = (running.address(), bytes.clone());
            peers.spawn(async move {
                let mut stream = TcpStream::connect(address).await?;
                // The server may have hung up already.
                let _written = stream.write_all(bytes.as_bytes()).await;
                let mut answer = [0; 64];
                let read = stream.read(&mut answer);
                tokio::time::timeout(Duration::from_millis(300), read).await.ok();
                std::io::Result::Ok(stream)
            });
        }
        is_served(&running, what).await;
        let kept: Vec<_> = peers.join_all().await;
        is_served(&running, what).await;
        drop(kept);
    }
    running.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_a_handshake() {
    let running = Running::start(true).await;
    let streams = silent(&running, 50, b"GET / HTTP/1.1\r\n\r\n").await;
    let more = silent(&running, 50, &[0x16, 3, 1, 0x40, 0]).await;
    is_served(&running, "garbage").await;
    drop((streams, more));
    running.server.stop().await.unwrap();
}

/// A small body that unpacks to a huge one ends at the limit, and takes time, not memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb() {
    use std::io::Write;
    let running = Running::start(false).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..1_100 {
        gzip.write_all(&zeros).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 2 << 20);
    let request = running.client().post(running.url()).bearer_auth(TOKEN).body(bomb);
    let sending = tokio::spawn(request.header("content-encoding", "gzip").send());
    is_served(&running, "bomb").await;
    assert_eq!(sending.await.unwrap().unwrap().status(), 413);
    running.server.stop().await.unwrap();
}

/// A body without end ends at the limit, whatever it says of its length.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end() {
    let running = Running::start(false).await;
    let piece = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    let pieces = futures::stream::repeat_with(move || std::io::Result::Ok(piece.clone()));
    let request = running.client().post(running.url()).bearer_auth(TOKEN);
    let sending = tokio::spawn(request.body(reqwest::Body::wrap_stream(pieces)).send());
    is_served(&running, "endless").await;
    // Its sender may be cut off before it reads the answer.
    if let Ok(answer) = sending.await.unwrap() {
        assert_eq!(answer.status(), 413);
    }
    is_served(&running, "after the endless").await;
    running.server.stop().await.unwrap();
}

/// More bodies at once than there is memory for: some are told at once to come again, and with
/// retries everything arrives.
#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_at_once_and_nothing_is_lost() {
    let running = Running::start(false).await;
    let body = |sender: usize| {
        let padding = "x".repeat(400_000);
        let items: Vec<String> = (0..50)
            .map(|i| format!(r#"{{"kind":"Event","auditID":"{sender}-{i}","stage":"ResponseComplete","requestObject":"{padding}"}}"#))
            .collect();
        items.join("\n")
    };
    let mut senders = JoinSet::new();
    for sender in 0..50 {
        let (client, url, body) = (running.client(), running.url(), body(sender));
        senders.spawn(async move {
            let (mut refused, mut slowest) = (0, Duration::ZERO);
            loop {
                let begin = Instant::now();
                let request = client.post(&url).bearer_auth(TOKEN).body(body.clone());
                match request.send().await {
                    Ok(answer) if answer.status() == 200 => return (refused, slowest),
                    Ok(answer) => {
                        assert_eq!(answer.status(), 429);
                        assert_eq!(answer.headers()["retry-after"], "1");
                        refused += 1;
                        slowest = slowest.max(begin.elapsed());
                    }
                    // The connection broke before the answer was read: as any other failure.
                    Err(_) => refused += 1,
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let outcomes = senders.join_all().await;
    let refused: usize = outcomes.iter().map(|(refused, _)| refused).sum();
    let slowest = outcomes.iter().map(|(_, slowest)| *slowest).max().unwrap();
    println!("{refused} bodies refused, the slowest refusal after {slowest:?}");
    assert!(refused > 0, "there was room for all");
    assert_eq!(running.originals().await.len(), 50 * 50);
    running.server.stop().await.unwrap();
}
