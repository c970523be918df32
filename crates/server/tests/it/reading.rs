//! Searches: what they take, and when they end.

use std::time::Duration;

use tokio::time::Instant;
use whodid_engine::{Cache, Count, Engine, Error, Search};
use whodid_store::Reader;

use crate::openapi::send_captures;
use crate::support::Running;

/// A search that has no time left says that it is not whole, and one that has time that it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_ends_in_time() {
    let running = Running::start(true).await;
    send_captures(&running).await;
    let snapshot = Reader::open_dir(running.folder.path()).unwrap().snapshot().await.unwrap();
    let query = whodid_query::parse("stage:*").unwrap();
    let search = Search { query, now: 0, limit: 100 };
    for (seconds, found, is_partial) in [(0, 0, true), (600, 100, false)] {
        let engine = Engine::new(snapshot.clone(), &Cache::default()).await.unwrap();
        let engine = engine.until(Instant::now() + Duration::from_secs(seconds));
        let (rows, _) = engine.newest(&search, &["id"]).await.unwrap();
        assert_eq!((rows.len(), engine.cost().is_partial), (found, is_partial), "{seconds} s");
    }
    // A part of a count says nothing.
    for (seconds, is_too_long) in [(0, true), (600, false)] {
        let engine = Engine::new(snapshot.clone(), &Cache::default()).await.unwrap();
        let engine = engine.until(Instant::now() + Duration::from_secs(seconds));
        let Search { query, now, .. } = search.clone();
        let counted = engine.count(&Count { query, now, step: None, by: None, limit: 1 }).await;
        assert_eq!(matches!(counted, Err(Error::TooLong)), is_too_long, "{counted:?}");
        assert_eq!(matches!(counted, Ok(counts) if counts[0].requests > 100), !is_too_long);
    }
    let client = running.client();
    for (timeout, status) in [("1", 200), ("300", 200), ("0", 400), ("301", 400), ("soon", 400)] {
        let url = format!("{}/api/v1/events?q=verb:get&timeout={timeout}", running.server.url);
        let answer = client.get(url).bearer_auth(&running.server.read_token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{timeout}");
    }
    running.server.stop().await.unwrap();
}
