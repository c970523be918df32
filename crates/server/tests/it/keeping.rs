//! What only the owner of a record may have done to it: through the socket in the data directory,
//! and by nobody else.

use std::path::PathBuf;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use whodid_testkit::captures;

use crate::support::{Running, TOKEN};

fn owner(running: &Running) -> Client {
    let socket: PathBuf = running.folder.path().join("whodid.sock");
    Client::builder().unix_socket(socket).build().unwrap()
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_asks_is_done_and_on_record() {
    let running = Running::start(false).await;
    let client = running.client();
    let body = captures::webhook_bodies().swap_remove(0);
    let sent = client.post(running.url()).bearer_auth(TOKEN).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let own = owner(&running);
    let policy = "0".repeat(64);
    let hold = json!({ "cluster": "prod", "since": "2026-01-01T00:00:00Z", "reason": "a case" });
    let mode = |policy: &str, until: &str| {
        let mode = json!({ "name": "investigation", "policy": policy, "until": until });
        json!({ "mode": mode, "reason": "a case" })
    };
    let later = "2999-01-01T00:00:00Z";
    let nothing = Value::Null;
    for (method, path, body, status) in [
        (Method::PUT, "holds/case%2017", hold.clone(), 204),
        (Method::PUT, "holds/case%2017", hold, 400),
        (Method::PUT, "holds/other", json!({ "cluster": "other", "reason": "a case" }), 400),
        (Method::PUT, "holds/other", json!({ "cluster": "prod", "reason": "" }), 400),
        (Method::PUT, "holds/other", json!({ "cluster": "prod", "why": "a case" }), 400),
        (Method::DELETE, "holds/other?reason=closed", nothing.clone(), 400),
        (Method::DELETE, "holds/case%2017", nothing.clone(), 400),
        (Method::POST, "retention", json!({ "retain": ["prod=1h"] }), 200),
        (Method::POST, "retention", json!({ "retain": ["prod=1h"], "apply": true }), 200),
        (Method::POST, "retention", json!({ "retain": ["prod=now"] }), 400),
        (Method::PUT, "modes/prod", mode(&policy, later), 204),
        (Method::PUT, "modes/other", mode(&policy, later), 400),
        (Method::PUT, "modes/prod", mode("0", later), 400),
        (Method::PUT, "modes/prod", mode(&policy, "later"), 400),
    ] {
        let request = |client: &Client, url: &str| {
            let request = client.request(method.clone(), format!("{url}/api/v1/{path}"));
            if body.is_null() { request } else { request.body(body.to_string()) }
        };
        // The token that reading takes is not enough.
        let others = request(&client, &running.server.url).bearer_auth(&running.server.read_token);
        let (refused, problem) = answer(others).await;
        assert_eq!(refused, 403, "{method} {path}: {problem}");
        let (found, problem) = answer(request(&own, "http://localhost")).await;
        assert_eq!(found, status, "{method} {path} {body}: {problem}");
    }
    let list = async |client: &Client, url: &str, path: &str| {
        let request = client.get(format!("{url}/api/v1/{path}"));
        answer(request.bearer_auth(&running.server.read_token)).await.1["items"].clone()
    };
    let held = list(&client, &running.server.url, "holds").await;
    assert_eq!(
        held,
        json!([{ "name": "case 17", "cluster": "prod", "since": "2026-01-01T00:00:00Z" }])
    );
    let modes = list(&client, &running.server.url, "modes").await;
    assert_eq!(
        modes,
        json!([{ "cluster": "prod", "name": "investigation", "policy": policy, "until": later }])
    );
    let release = own.delete("http://localhost/api/v1/holds/case%2017?reason=closed");
    assert_eq!(answer(release).await.0, 204);
    assert_eq!(list(&own, "http://localhost", "holds").await, json!([]));
    running.server.stop().await.unwrap();
}
