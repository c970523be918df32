//! The webhook: every captured body is stored item by item, byte for byte, however it is sent.

use std::io::Write;

use reqwest::Version;
use reqwest::header::CONTENT_ENCODING;
use serde_json::value::RawValue;
use whodid_testkit::captures;

use crate::support::{Running, TOKEN};

/// The items of the captured bodies, as they stand in them.
fn items(bodies: &[String]) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        items: Vec<&'a RawValue>,
    }
    let lists = bodies.iter().map(|body| serde_json::from_str::<List<'_>>(body).unwrap());
    lists.flat_map(|list| list.items.into_iter().map(|item| item.get().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_bodies_are_stored_byte_for_byte() {
    let bodies = captures::webhook_bodies();
    let expected = items(&bodies);
    assert_eq!(expected.len(), 529);
    for (is_tls, encoding) in
        [(false, ""), (true, ""), (true, "gzip"), (true, "zstd"), (false, "gzip")]
    {
        let running = Running::start(is_tls).await;
        let client = running.client();
        for body in &bodies {
            let packed = match encoding {
                "gzip" => {
                    let mut gzip =
                        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    gzip.write_all(body.as_bytes()).unwrap();
                    gzip.finish().unwrap()
                }
                "zstd" => zstd::encode_all(body.as_bytes(), 3).unwrap(),
                _ => body.clone().into_bytes(),
            };
            let request = client.post(running.url()).bearer_auth(TOKEN).body(packed);
            let answer = request.header(CONTENT_ENCODING, encoding).send().await.unwrap();
            let version = if is_tls { Version::HTTP_2 } else { Version::HTTP_11 };
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        }
        let stored = running.originals().await;
        println!("{} of 529 items stored byte for byte (TLS {is_tls}, {encoding:?})", stored.len());
        assert!(stored == expected, "TLS {is_tls}, {encoding:?}");
        running.server.stop().await.unwrap();
    }
}

/// The negative control: an item that does not arrive, or not as it was sent, is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn another_item_is_noticed() {
    let bodies: Vec<String> = captures::webhook_bodies().into_iter().take(1).collect();
    let expected = items(&bodies);
    for altered in ["", &expected[0].replacen("auditID", "auditId", 1)] {
        let running = Running::start(false).await;
        let body = bodies[0].replacen(&format!("{},", expected[0]), altered, 1);
        assert_ne!(body, bodies[0]);
        let request = running.client().post(running.url()).bearer_auth(TOKEN).body(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
        assert!(running.originals().await != expected, "{altered:.20}");
        running.server.stop().await.unwrap();
    }
}

/// Cut into pieces of any length, a body is the same body.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_make_no_difference() {
    let bodies: Vec<String> = captures::webhook_bodies().into_iter().take(3).collect();
    let expected = items(&bodies);
    for length in [1, 2, 3, 7, 64, 1_000, 65_536] {
        let running = Running::start(false).await;
        for body in &bodies {
            let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
                body.as_bytes().chunks(length).map(|piece| Ok(piece.to_vec())).collect();
            let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
            let request = running.client().post(running.url()).bearer_auth(TOKEN).body(body);
            assert_eq!(request.send().await.unwrap().status(), 200);
        }
        assert!(running.originals().await == expected, "pieces of {length}");
        running.server.stop().await.unwrap();
    }
}

/// Hundreds of bodies of one event at once, from two senders: each event is there once, as that of
/// its own sender, and what is no event among them is kept.
#[tokio::test(flavor = "multi_thread")]
async fn single_events_go_together() {
    let running = Running::start(true).await;
    running.add_sender("cp-2", "another-token");
    let event = |i: usize| match i % 50 {
        7 => format!("no event {i}"),
        _ => format!(r#"{{"kind":"Event","auditID":"{i}","stage":"ResponseComplete"}}"#),
    };
    let mut sending = tokio::task::JoinSet::new();
    for i in 0..600 {
        let token = if i % 2 == 0 { TOKEN } else { "another-token" };
        let request = running.client().post(running.url()).bearer_auth(token).body(event(i));
        sending.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    assert!(sending.join_all().await.iter().all(|status| *status == 200));
    let mut stored = running.originals().await;
    let mut expected: Vec<String> = (0..600).map(event).collect();
    stored.sort_unstable();
    expected.sort_unstable();
    assert!(stored == expected, "{} stored", stored.len());
    let of_sender = async |source: &str| {
        let q = format!("source:webhook/{source} (stage:* OR raw:true)");
        let url = format!("{}/api/v1/events", running.server.url);
        let request = running.client().get(url).bearer_auth(&running.server.read_token);
        let answer = request.query(&[("q", &*q), ("limit", "1000")]).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()["items"].as_array().unwrap().len()
    };
    assert_eq!((of_sender("cp-1").await, of_sender("cp-2").await), (300, 300));
    running.server.stop().await.unwrap();
}

/// What is no event is kept and answered 200: a refusal would only have it sent five times and
/// lost.
#[tokio::test(flavor = "multi_thread")]
async fn poison_is_kept() {
    let running = Running::start(false).await;
    let client = running.client();
    let long = format!(r#"{{"kind":"Event","x":"{}"}}"#, "a".repeat(17 << 20));
    for body in ["", "no JSON", "{", "[]", "null", r#"{"kind":"EventList","items":[1,{}]}"#, &long]
    {
        let request = client.post(running.url()).bearer_auth(TOKEN).body(body.to_owned());
        assert_eq!(request.send().await.unwrap().status(), 200, "{body:.40}");
    }
    assert!(running.originals().await.contains(&"no JSON".to_owned()));
    let request = client.post(running.url()).bearer_auth(TOKEN).body("x");
    let answer = request.header(CONTENT_ENCODING, "br").send().await.unwrap();
    assert_eq!(answer.status(), 415);
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("gzip"), "{problem}");
    running.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let running = Running::start(true).await;
    let client = running.client();
    let get = async |path: &str| {
        let answer = client.get(format!("{}{path}", running.server.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/livez").await, (200, "ok\n".into()));
    let (status, ready) = get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    let body = captures::webhook_bodies().remove(0);
    client.post(running.url()).bearer_auth(TOKEN).body(body).send().await.unwrap();
    let (_, metrics) = get("/metrics").await;
    assert!(metrics.contains("whodid_ingest_requests_total{code=\"200\"} 1"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    assert_eq!(get("/api/v1/events").await.0, 401, "reading takes a token");
    running.server.stop().await.unwrap();
}

/// A part of a log file whose answer was lost is sent again, years later perhaps: it is known by
/// its position, and not there twice. The negative control: without a position it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_file_is_taken_in_once() {
    let running = Running::start(true).await;
    let client = running.client();
    let (id, digest) = ("ab".repeat(32), "cd".repeat(32));
    let position = format!("{id} 0 110 0 2 {digest}");
    let item = |n| format!("{{\"auditID\":\"{n}\",\"stage\":\"ResponseComplete\"}}\n");
    let send = async |body: String, position: Option<&str>| {
        let mut request = client.post(running.url()).bearer_auth(TOKEN).body(body);
        if let Some(position) = position {
            request = request.header("Whodid-Position", position);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let known = async || {
        let url = format!("{}/positions/{id}", running.url());
        let answer = client.get(url).bearer_auth(TOKEN).send().await.unwrap();
        answer.json::<serde_json::Value>().await.unwrap()["items"].clone()
    };
    assert_eq!(known().await, serde_json::json!([]));
    let part = item(1) + &item(2);
    for _ in 0..2 {
        assert_eq!(send(part.clone(), Some(&position)).await, 200);
    }
    assert_eq!(known().await, serde_json::json!([position]));
    assert_eq!(running.originals().await.len(), 2);
    // Another part that ends there is not the same.
    let other = format!("{id} 0 110 0 2 {}", "ef".repeat(32));
    assert_eq!(send(item(3), Some(&other)).await, 200);
    assert_eq!(running.originals().await.len(), 3);
    assert_eq!(send(item(3), Some("somewhere")).await, 400);
    assert_eq!(running.originals().await.len(), 3);
    assert_eq!(send(part, None).await, 200);
    let leaf = async |seq: u64| {
        let url = format!("{}/api/v1/events/prod/{seq}", running.server.url);
        let request = client.get(url).bearer_auth(&running.server.read_token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((leaf(4).await, leaf(5).await), (200, 404));
    running.server.stop().await.unwrap();
}
