//! What one answer may take: more is left out, or refused, and said.

use crate::serve::Server;
use crate::support::{Record, event};

const ID: &str = "74a11df0-238a-4a01-954e-95fbbb60a371";
const POD: &str = "/api/v1/namespaces/shop/pods/web";

/// Counting by a field of long values that are all different has to keep each of them.
#[test]
fn a_count_that_takes_too_much_memory_is_refused() {
    const EVENTS: usize = 24_000;
    let long = "x".repeat(16 << 10);
    let record = Record::new();
    let agents = (0..EVENTS).map(|number| {
        let agent = format!(r#""userAgent":"{number}{long}","#);
        event(ID, if number < 10 { "get" } else { "list" }, "ann", POD, &agent) + "\n"
    });
    let input = agents.collect::<String>();
    record.run_with_input(&["import", "--redaction", "off", "-"], input.as_bytes()).ok();
    let server = Server::start(&record, "127.0.0.1:0");
    for place in [&[][..], &["--server", &server.url, "--token", &server.read_token]] {
        let count = |query: &str| {
            let asked = ["search", query, "--top", "agent", "-o", "jsonl"];
            record.run(&[&asked, place].concat())
        };
        let few = count("verb:get stage:*");
        assert_eq!(few.lines().len(), 10, "{few:?}");
        let all = count("stage:*");
        assert!(all.code == 2 && all.err.contains("more memory"), "{} {}", all.code, all.err);
    }
    assert_eq!(server.end("TERM"), 0);
}

/// The newest changes are shown as far as their bodies fit; the older ones are counted.
#[test]
fn a_history_of_large_objects_keeps_the_newest() {
    const CHANGES: usize = 50;
    const FITTING: usize = 42;
    let long = "x".repeat(3 << 19);
    let update = |number: usize| {
        let body = format!(
            r#""requestObject":{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"web","annotations":{{"note":"{number} {long}"}}}}}},"#
        );
        event(ID, "update", "ann", POD, &body)
            .replace("05.000000Z", &format!("{number:02}.000000Z"))
            .replace("95fbbb60a371", &format!("{number:012}"))
    };
    let record = Record::of(&(0..CHANGES).map(update).collect::<Vec<_>>());
    for (limit, kept) in [("5", 5), ("100", FITTING)] {
        let asked = ["history", "pod/web", "-n", "shop", "--limit", limit, "-o", "json"];
        let history = record.run(&asked);
        let answer: serde_json::Value = serde_json::from_str(&history.out).unwrap();
        let items = answer["items"].as_array().unwrap();
        assert_eq!(items.len(), kept);
        assert_eq!(answer["left_out"], CHANGES - kept);
        let newest = format!("2026-01-02T03:04:{}.000000Z", CHANGES - 1);
        assert_eq!(items[kept - 1]["event"]["time"], newest);
        assert!(history.err.contains("left out"), "{}", history.err);
    }
}
