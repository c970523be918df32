//! The API against its description, `docs/openapi.json`: every path is there, and answers are of
//! the shapes that it promises.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use whodid_testkit::captures;

use crate::support::{Running, TOKEN};

fn description() -> Value {
    let text = include_str!("../../../../docs/openapi.json");
    serde_json::from_str(text).unwrap()
}

/// What a value does not keep of a schema: of JSON Schema, as much as the description uses.
fn faults(all: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = all.pointer(name.trim_start_matches('#'));
        return faults(all, target.expect(name), value, at, found);
    }
    if schema.get("const").is_some_and(|wanted| wanted != value) {
        found.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    let is_of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("the check does not know the type {other}"),
        None => true,
    };
    if !is_of_type {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.get(required.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {required} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => found.push(format!("{at}: unknown")),
            (Value::Null, more) => faults(all, more, member, &at, found),
            (known, _) => faults(all, known, member, &at, found),
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        faults(all, &schema["items"], item, &format!("{at}[{i}]"), found);
    }
}

fn check(all: &Value, name: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    faults(
        all,
        &json!({ "$ref": format!("#/components/schemas/{name}") }),
        value,
        name,
        &mut found,
    );
    found
}

pub async fn send_captures(running: &Running) {
    for body in captures::webhook_bodies() {
        let request = running.client().post(running.url()).bearer_auth(TOKEN).body(body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

/// The same events come, whatever is given of them.
#[tokio::test(flavor = "multi_thread")]
async fn fields_are_chosen() {
    let running = Running::start(true).await;
    send_captures(&running).await;
    let client = running.client();
    let items = async |path: &str| -> Vec<Value> {
        let request = client.get(format!("{}{path}", running.server.url));
        let answer = request.bearer_auth(&running.server.read_token).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["items"].as_array().unwrap().clone()
    };
    let mut seen = 0;
    for query in ["stage:*", "verb:get", "verb:get%20stage:ResponseComplete"] {
        let whole = items(&format!("/api/v1/events?q={query}&limit=200")).await;
        let path = format!("/api/v1/events?q={query}&limit=200&fields=audit_id,%20verb");
        let part = |event: &Value| json!({ "id": event["id"], "audit_id": event["audit_id"], "verb": event["verb"] });
        assert_eq!(items(&path).await, whole.iter().map(part).collect::<Vec<_>>(), "{query}");
        seen += whole.len();
    }
    let ids = items("/api/v1/events?limit=10&fields=id").await;
    assert!(ids.len() == 10 && ids.iter().all(|event| event.as_object().unwrap().len() == 1));
    println!("{seen} events with some of their fields");
    assert!(seen > 200);
    running.server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_of_the_shapes_that_are_promised() {
    let all = description();
    let running = Running::start(true).await;
    let client = running.client();
    send_captures(&running).await;
    let poison = client.post(running.url()).bearer_auth(TOKEN).body("no event");
    assert_eq!(poison.send().await.unwrap().status(), 200);
    let get = async |path: &str| {
        let request = client.get(format!("{}{path}", running.server.url));
        let answer = request.bearer_auth(&running.server.read_token).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.bytes().await.unwrap())
    };
    let mut seen = 0;
    for (path, status, shape) in [
        ("/api/v1/events", 200, "EventList"),
        ("/api/v1/events?q=stage:*%20OR%20raw:true&limit=10000", 200, "EventList"),
        ("/api/v1/events?after=prod/100&limit=10", 200, "EventList"),
        ("/api/v1/events?fields=time,audit_id&limit=10", 200, "EventList"),
        ("/api/v1/events?after=prod/100&fields=verb&limit=10", 200, "EventList"),
        ("/api/v1/events/prod/0", 200, "EventDocument"),
        ("/api/v1/events/prod/529", 200, "EventDocument"),
        ("/api/v1/values/ns", 200, "ValueList"),
        ("/api/v1/who?verb=created&object=pods&limit=5", 200, "ActList"),
        ("/api/v1/who?verb=deleted&object=pods&q=ns:shop&attempts=true&timeout=9", 200, "ActList"),
        ("/api/v1/history?object=pods/*&limit=20&status=true", 200, "History"),
        ("/api/v1/history?object=nodes/nowhere", 200, "History"),
        ("/api/v1/who?verb=bakes&object=pods", 400, "Problem"),
        ("/api/v1/who?verb=deleted", 400, "Problem"),
        ("/api/v1/who?verb=deleted&object=pods&limit=1001", 400, "Problem"),
        ("/api/v1/who?verb=deleted&object=pods&q=(", 400, "Problem"),
        ("/api/v1/history?object=(", 400, "Problem"),
        ("/api/v1/history?object=pods/web&timeout=0", 400, "Problem"),
        ("/api/v1/history?object=pods/web&colour=red", 400, "Problem"),
        ("/api/v1/holds", 200, "HoldList"),
        ("/api/v1/modes", 200, "ModeList"),
        ("/api/v1/values/name?q=resource:pods&prefix=web&limit=3", 200, "ValueList"),
        ("/api/v1/events?q=(", 400, "Problem"),
        ("/api/v1/events?limit=10001", 400, "Problem"),
        ("/api/v1/events?limit=many", 400, "Problem"),
        ("/api/v1/events?colour=red", 400, "Problem"),
        ("/api/v1/events?fields=colour", 400, "Problem"),
        ("/api/v1/events?fields=text", 400, "Problem"),
        ("/api/v1/events?after=nowhere", 400, "Problem"),
        ("/api/v1/events/stream?q=(", 400, "Problem"),
        ("/api/v1/events/prod/530", 404, "Problem"),
        ("/api/v1/events/prod/x", 404, "Problem"),
        ("/api/v1/events/prod/530/original", 404, "Problem"),
        ("/api/v1/values/colour", 404, "Problem"),
        ("/api/v1/values/time", 404, "Problem"),
        ("/api/v1/events?after=prod/531", 400, "Problem"),
        ("/api/v1/events/stream?after=other/1", 400, "Problem"),
        ("/nothing", 404, "Problem"),
        ("/ingest/prod", 405, "Problem"),
        ("/ingest/prod/positions/x", 401, "Problem"),
    ] {
        let (code, kind, bytes) = get(path).await;
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(code, status, "{path}: {value}");
        let expected = if code == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(kind, expected, "{path}");
        assert_eq!(check(&all, shape, &value), Vec::<String>::new(), "{path}");
        seen += value["items"].as_array().map_or(1, Vec::len);
    }
    println!("{seen} documents are of the shapes that are promised");
    assert!(seen > 529);
    let (_, kind, original) = get("/api/v1/events/prod/529/original").await;
    assert_eq!((kind.as_str(), &original[..]), ("application/octet-stream", &b"no event"[..]));
    for (path, status, shape) in [
        (format!("/ingest/prod/positions/{}", "0".repeat(64)), 200, "PositionList"),
        ("/ingest/prod/positions/x".to_owned(), 400, "Problem"),
        (format!("/ingest/other/positions/{}", "0".repeat(64)), 403, "Problem"),
    ] {
        let asked = client.get(format!("{}{path}", running.server.url)).bearer_auth(TOKEN);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let value: Value = answer.json().await.unwrap();
        assert_eq!(check(&all, shape, &value), Vec::<String>::new(), "{path}");
    }
    let (_, _, served) = get("/api/v1/openapi.json").await;
    assert_eq!(serde_json::from_slice::<Value>(&served).unwrap(), all);
    running.server.stop().await.unwrap();
}

/// The negative control: a shape that an answer does not have is noticed.
#[test]
fn another_shape_is_noticed() {
    let mut all = description();
    let list = json!({
        "apiVersion": "whodid/v1", "kind": "EventList", "cursor": "",
        "items": [{
            "id": "a/1", "cluster": "a", "seq": 1, "source": "s",
            "received": "2026-01-02T03:04:05.000000Z",
        }],
    });
    assert_eq!(check(&all, "EventList", &list), Vec::<String>::new());
    let (mut without, mut other) = (list.clone(), list.clone());
    without["items"][0].as_object_mut().unwrap().remove("id");
    other["items"][0]["seq"] = "1".into();
    for wrong in [without, other, json!({ "kind": "EventList" }), json!([])] {
        assert_ne!(check(&all, "EventList", &wrong), Vec::<String>::new(), "{wrong}");
    }
    all["components"]["schemas"]["Event"]["properties"].as_object_mut().unwrap().remove("seq");
    assert_eq!(check(&all, "EventList", &list), ["EventList.items[0].seq: unknown"]);
}

/// Every path of the description is served, by no other method.
#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_served() {
    let running = Running::start(false).await;
    let client = running.client();
    for (path, methods) in description()["paths"].as_object().unwrap() {
        let path = path.replace("{cluster}", "prod").replace("{seq}", "0").replace("{field}", "ns");
        let path = path.replace("{id}", "0").replace("{name}", "one");
        let url = format!("{}{path}", running.server.url);
        let methods = methods.as_object().unwrap().keys().map(|name| name.to_uppercase());
        let mut expected: BTreeSet<String> = methods.collect();
        if expected.contains("GET") {
            expected.insert("HEAD".into());
        }
        let answer = client.patch(&url).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = answer.headers()["allow"].to_str().unwrap().split(',');
        assert_eq!(allowed.map(str::to_owned).collect::<BTreeSet<_>>(), expected, "{path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(check(&description(), "Problem", &problem), Vec::<String>::new(), "{path}");
    }
    running.server.stop().await.unwrap();
}
