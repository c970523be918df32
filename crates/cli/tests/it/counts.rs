//! Counts: what is counted is what `search` lists, of a record and of a server alike.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::serve::Server;
use crate::support::{Record, event};

fn items(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["kind"], "CountList");
    document["items"].as_array().unwrap().clone()
}

/// The counts of a field, or of spans, as they are and as the rows of a search give them.
fn both(record: &Record, query: &str, field: &str) -> [BTreeMap<String, u64>; 2] {
    let listed = record.run(&["search", query, "--limit", "0", "-o", "json"]).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let mut from_rows = BTreeMap::<String, u64>::new();
    for row in listed["items"].as_array().unwrap() {
        let value = match field {
            "time" => row["time"].as_str().unwrap()[..13].to_owned() + ":00:00.000000Z",
            field => row[field].as_str().unwrap_or_default().to_owned(),
        };
        *from_rows.entry(value).or_default() += 1;
    }
    let counted = match field {
        "time" => record.run(&["search", query, "--histogram", "1h", "-o", "json"]),
        field => record.run(&["search", query, "--top", field, "--limit", "0", "-o", "json"]),
    };
    let name = if field == "time" { "time" } else { "value" };
    let counts = items(&counted.ok()).into_iter().map(|item| {
        let value = item[name].as_str().unwrap_or_default().to_owned();
        (value, item["requests"].as_u64().unwrap())
    });
    [counts.collect(), from_rows]
}

#[test]
fn what_is_counted_is_what_is_listed() {
    let record = Record::of_captures();
    let mut compared = 0;
    for query in
        ["", "outcome:denied", "verb:(create OR watch) -actor_kind:node", "stage:*", "body:image"]
    {
        for field in ["actor", "action", "namespace", "outcome", "resource", "time"] {
            // `namespace` is called `ns` in queries.
            let asked = if field == "namespace" { "ns" } else { field };
            let [counted, listed] = both(&record, query, field);
            let counted = if asked == field {
                counted
            } else {
                let text =
                    record.run(&["search", query, "--top", asked, "--limit", "0", "-o", "json"]);
                let pair = |item: Value| {
                    let value = item["value"].as_str().unwrap_or_default().to_owned();
                    (value, item["requests"].as_u64().unwrap())
                };
                items(&text.ok()).into_iter().map(pair).collect()
            };
            assert_eq!(counted, listed, "{query:?} by {field}");
            compared += listed.values().sum::<u64>();
        }
    }
    assert!(compared > 30_000, "{compared}");
    println!("{compared} requests counted in two ways");
}

/// A request that went on is counted where it ended, whatever its client wrote as its audit ID.
#[test]
fn a_request_is_counted_once() {
    const ID: &str = "74a11df0-238a-4a01-954e-95fbbb60a371";
    let uri = "/api/v1/namespaces/shop/pods/web/log?follow=true";
    let at = |stage: &str, user: &str| {
        event(ID, "get", user, uri, "").replace("\"ResponseComplete\"", &format!("{stage:?}"))
    };
    let stages = ["RequestReceived", "ResponseStarted", "ResponseComplete"];
    let record = Record::of(&stages.map(|stage| at(stage, "ann")));
    let count = |record: &Record, query: &str| {
        record.run(&["search", query, "--top", "actor", "-o", "jsonl", "--limit", "0"]).out
    };
    assert_eq!(count(&record, ""), "{\"requests\":1,\"value\":\"ann\"}\n");
    assert!(count(&record, "stage:*").contains("\"requests\":3"));
    // Another's request under the same audit ID is another request.
    let record = Record::of(&[at("ResponseStarted", "ann"), at("ResponseComplete", "bob")]);
    let expected = "{\"requests\":1,\"value\":\"ann\"}\n{\"requests\":1,\"value\":\"bob\"}\n";
    assert_eq!(count(&record, ""), expected);
}

#[test]
fn a_server_counts_and_answers_sql_as_the_record_does() {
    let record = Record::of_captures();
    let server = Server::start(&record, "127.0.0.1:0");
    let remote = ["--server", &server.url, "--token", &server.read_token];
    for args in [
        &["search", "outcome:denied", "--top", "actor", "--limit", "3"][..],
        &["search", "verb:create", "--histogram", "1m"],
        &["search", "", "--histogram", "1h", "--top", "verb", "-o", "csv"],
        &["stats"],
        &["stats", "actor_kind:human", "-o", "yaml", "--limit", "2"],
        &["sql", "SELECT actor, verb, time, user_groups FROM events ORDER BY seq LIMIT 50"],
        &["sql", "SELECT verb, count(*) FROM events GROUP BY 1 ORDER BY 1", "-o", "csv"],
        &["sql", "SELECT * FROM changes ORDER BY seq", "-o", "jsonl"],
        &["sql", "SELECT seq FROM events", "--limit", "5"],
    ] {
        let (here, there) = (record.run(args), record.run(&[args, &remote].concat()));
        assert_eq!(there.err, here.err, "{args:?}");
        assert_eq!(there.ok(), here.ok(), "{args:?}");
    }
    for (args, code, part) in [
        (&["search", "--histogram", "soon"][..], 2, "1h"),
        (&["search", "--top", "code"], 2, "docs/query.md"),
        (&["search", "ns:nowhere", "--top", "actor"], 1, "nothing matches"),
        (&["search", "--histogram", "1s", "--top", "actor", "-o", "raw"], 2, "originals"),
        (&["stats", "ns:nowhere"], 1, "nothing matches"),
        (&["sql", "SELECT nothing FROM events"], 2, "nothing"),
        (&["sql", "DROP TABLE events"], 2, "DDL"),
    ] {
        for remote in [&[][..], &remote] {
            let ran = record.run(&[args, remote].concat());
            assert!(ran.code == code && ran.err.contains(part), "{args:?} {remote:?}: {}", ran.err);
        }
    }
    assert_eq!(server.end("TERM"), 0);
}

/// Queries for what single events of a record have, each of which finds at least that event.
fn sampled(record: &Record) -> Vec<String> {
    let all = record.run(&["search", "stage:*", "--limit", "0", "-o", "jsonl"]).ok();
    let mut queries = Vec::new();
    for line in all.lines().step_by(211) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = [("audit_id", "audit_id"), ("uid", "object_uid"), ("actor", "actor")];
        for (field, column) in fields.into_iter().chain([("name", "name"), ("agent", "user_agent")])
        {
            if let Some(value) = event[column].as_str() {
                queries.push(format!("{field}:\"{value}\" stage:*"));
            }
        }
        let uri = event["request_uri"].as_str().unwrap_or_default();
        let longest = uri.split(|c: char| !c.is_alphanumeric()).max_by_key(|word| word.len());
        queries.extend(
            longest.filter(|word| !word.is_empty()).map(|word| format!("{word:?} stage:*")),
        );
    }
    queries.sort_unstable();
    queries.dedup();
    queries
}

/// Queries of all kinds.
const QUERIES: [&str; 22] = [
    "body:image",
    "body:\"image\" ns:*",
    "body:nginx*",
    "body:*proxy",
    "body:\"kube-root-ca.crt\"",
    "body:nowheretobefound",
    "request.spec.replicas:>0",
    "body.kind:DeleteOptions",
    "body.metadata.name:*web*",
    "request.spec.containers.*.image:*",
    "-body:image verb:create",
    "kube-proxy",
    "\"nowheretobefound\" OR outcome:denied",
    "-\"kube-proxy\" verb:create",
    "kubectl* verb:delete",
    "actor:system:*controller",
    "name:kube-proxy*",
    "code:404",
    "code:>=400 -code:404",
    "verb:(delete OR patch) actor_kind:human",
    "gvr:apps/v1/deployments outcome:success",
    "authenticated:kubernetes-admin OR tool:kubelet",
];

/// Statements that an index, a join or what is known of a column makes quicker.
const STATEMENTS: [&str; 12] = [
    "SELECT count(*) FROM events WHERE username IN ('kubernetes-admin', 'nobody')",
    "SELECT count(*) FROM events WHERE code = 404 OR verb = 'delete'",
    "SELECT count(*) FROM events WHERE code = 404 AND NOT verb = 'delete'",
    "SELECT count(*) FROM events WHERE 'default' = namespace AND name <> 'x'",
    "SELECT count(*) FROM events WHERE user_agent = 'nowhere' OR reason = 'NotFound'",
    "SELECT count(*), count(DISTINCT audit_id) FROM changes WHERE namespace = 'kube-system'",
    "SELECT DISTINCT resource, verb FROM events WHERE namespace IS NOT NULL ORDER BY 1, 2",
    "SELECT count(DISTINCT namespace), count(DISTINCT code) FROM events WHERE seq % 7 = 3",
    "SELECT verb, count(*) FROM events WHERE seq BETWEEN 100 AND 900 AND code < 300 GROUP BY 1 \
     ORDER BY 1",
    "SELECT seq, time FROM events WHERE verb = 'delete' AND seq > 500 ORDER BY 1",
    "SELECT count(*) FROM events WHERE time >= (SELECT max(time) FROM events WHERE code = 404)",
    "SELECT count(*) FROM events WHERE username IN (SELECT username FROM events WHERE seq < 3)",
];

/// Words are found the same with an index and without, and what is not there is not found.
#[test]
fn an_index_of_words_changes_no_answer() {
    let record = Record::of_captures();
    let sampled = sampled(&record);
    let queries: Vec<&str> =
        QUERIES.into_iter().chain(sampled.iter().map(String::as_str)).collect();
    let answers = || {
        let search = |query: &&str| record.run(&["search", query, "--limit", "0", "-o", "name"]);
        let found: Vec<String> = queries.iter().map(search).map(|ran| ran.out).collect();
        let counted = STATEMENTS.map(|sql| record.run(&["sql", sql, "-o", "csv"]).ok());
        (found, counted)
    };
    let (without, counted) = answers();
    record.run(&["compact"]).ok();
    let (with, counted_again) = answers();
    for ((query, without), with) in queries.iter().zip(&without).zip(&with) {
        assert_eq!(without, with, "{query}");
    }
    assert_eq!(counted, counted_again);
    // What was drawn from the record is found in it.
    let drawn = without.iter().rev().take(sampled.len());
    assert!(sampled.len() > 100 && drawn.clone().all(|ids| !ids.is_empty()), "{sampled:?}");
    let found: usize = without.iter().map(|ids| ids.lines().count()).sum();
    assert!(found > 5_000 && without[5].is_empty(), "{found}");
    println!("{found} requests found with and without an index");
}

/// A server keeps columns of files in memory: the first answer is read, the next ones are not, and
/// a program that was started for it reads everything.
#[test]
fn what_stays_in_memory_changes_no_answer() {
    let record = Record::of_captures();
    record.run(&["compact"]).ok();
    let sampled = sampled(&record);
    let sampled = sampled.iter().step_by(3).map(String::as_str);
    let searches = QUERIES.into_iter().chain(sampled);
    let asked = searches.map(|query| vec!["search", query, "--limit", "10000", "-o", "name"]);
    let asked = asked.chain(STATEMENTS.map(|sql| vec!["sql", sql, "-o", "csv"]));
    let joined = "SELECT count(request), count(response), sum(length(request)) FROM changes WHERE ";
    let joined = ["namespace = 'kube-system'", "verb = 'patch'", "name = 'nowhere'", "true"]
        .map(|filter| format!("{joined}{filter}"));
    let asked: Vec<Vec<&str>> =
        asked.chain(joined.iter().map(|sql| vec!["sql", sql, "-o", "csv"])).collect();
    let here: Vec<String> = asked.iter().map(|args| record.run(args).out).collect();
    let server = Server::start(&record, "127.0.0.1:0");
    let remote = ["--server", &server.url, "--token", &server.read_token];
    // At first columns are looked at, then kept, then taken from what is kept.
    for round in 0..3 {
        for (args, here) in asked.iter().zip(&here) {
            let there = record.run(&[args.as_slice(), &remote].concat());
            assert_eq!(&there.out, here, "{args:?}, asked {round} times before");
        }
    }
    let lines: usize = here.iter().map(|answer| answer.lines().count()).sum();
    println!("{} questions, {lines} lines, each answered four times", asked.len());
    assert!(asked.len() > 60 && lines > 3_000, "{} questions, {lines} lines", asked.len());
    assert_eq!(server.end("TERM"), 0);
}

/// What a search took is said, by the record and by a server, and less is read than there is.
#[test]
fn a_search_says_what_it_took() {
    let record = Record::of_captures();
    record.run(&["compact"]).ok();
    let server = Server::start(&record, "127.0.0.1:0");
    let remote = ["--server", &server.url, "--token", &server.read_token];
    for remote in [&[][..], &remote] {
        let took = |query: &str| {
            let ran =
                record.run(&[&["search", query, "--cost", "--limit", "1"][..], remote].concat());
            let line =
                ran.err.lines().find(|line| line.starts_with("looked at ")).map(str::to_owned);
            let line = line.unwrap_or_else(|| panic!("{query}: {}", ran.err));
            let numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
            let numbers: Vec<u64> = numbers.collect();
            let [files, of_files, rows, of_rows, bytes, _millis] = numbers[..] else {
                panic!("{line}")
            };
            assert!(files <= of_files && rows <= of_rows && of_rows > 10_000, "{line}");
            (files, rows, bytes)
        };
        let (files, rows, bytes) = took("verb:get");
        assert!(files > 0 && rows > 1_000 && bytes > 10_000, "{files} {rows} {bytes}");
        let (few_files, few_rows, _) = took("name:nowheretobefound");
        assert!(few_files <= files && few_rows < rows / 2, "{few_files} {few_rows} of {rows}");
    }
    assert_eq!(server.end("TERM"), 0);
}
