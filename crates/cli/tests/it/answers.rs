//! Answers: who did what, told apart from what only looks like it.

use std::process::Command;

use crate::support::{Record, event};

/// A review that was asked for as a dry run is no change either.
#[test]
fn a_review_is_no_change() {
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?dryRun=All";
    let review = event(ID, "create", "ann", uri, "").replace(
        r#""resource":"pods""#,
        r#""resource":"selfsubjectaccessreviews","apiGroup":"authorization.k8s.io""#,
    );
    let change = event("c-1", "delete", "ann", "/api/v1/namespaces/shop/pods/web", "");
    let record = Record::of(&[review, change]);
    let rows = |sql: &str| record.run(&["sql", "--no-headers", sql]).ok();
    let dry = "SELECT action FROM events WHERE action = 'review' AND dry_run";
    assert_eq!(rows(dry).trim(), "review");
    assert_eq!(rows("SELECT action FROM changes").trim(), "delete");
}

const ID: &str = "74a11df0-238a-4a01-954e-95fbbb60a371";

fn get() -> String {
    event(ID, "get", "mallory", "/api/v1/namespaces/shop/pods/web", "")
}

/// Whether an exec under the audit ID of an earlier request is found.
fn is_exec_found(record: &Record) -> bool {
    let who = record.run(&["who", "exec", "pod/web", "-n", "shop"]);
    let both = record.run(&["search", "actor:mallory", "-o", "name"]);
    who.out.contains("mallory")
        && who.out.contains("default/1")
        && both.out == "event/default/0\nevent/default/1\n"
}

/// A client may choose its audit ID: repeating that of a harmless request hides nothing.
#[test]
fn an_exec_under_the_audit_id_of_an_earlier_get_is_found() {
    let exec =
        event(ID, "create", "mallory", "/api/v1/namespaces/shop/pods/web/exec?command=sh", "");
    let record = Record::of(&[get(), exec]);
    assert!(is_exec_found(&record));
    let ran = record.run(&["show", ID]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("default/0") && ran.err.contains("default/1"), "{}", ran.err);
    // The negative control: what is hidden, as the same request twice is, is not found.
    assert!(!is_exec_found(&Record::of(&[get(), get()])));
}

/// Requests whose stages do not fit on one page of a search, and another under the audit ID of the
/// newest of them.
#[test]
fn stages_of_a_request_make_one_row_over_pages() {
    const REQUESTS: usize = 200;
    let id = |at: usize| format!("00000000-0000-4000-8000-{at:012}");
    let pod = |at: usize| format!("/api/v1/namespaces/shop/pods/web-{at}");
    let staged = |at: usize, stage: &str, time: &str| {
        let time = format!(r#""stageTimestamp":"{time}""#);
        event(&id(at), "get", "ann", &pod(at), "")
            .replace("ResponseComplete", stage)
            .replace(r#""stageTimestamp":"2026-01-02T03:04:05.000000Z""#, &time)
    };
    let at = |hour: usize, at: usize| {
        format!("2026-01-02T{hour:02}:{:02}:{:02}.000000Z", at / 60, at % 60)
    };
    let newest = REQUESTS - 1;
    let other = staged(newest, "ResponseComplete", &at(1, 0)).replace("ann", "mallory");
    let begun = (0..REQUESTS).map(|request| staged(request, "RequestReceived", &at(2, request)));
    let ended = (0..REQUESTS).map(|request| staged(request, "ResponseComplete", &at(3, request)));
    let record = Record::of(&[other].into_iter().chain(begun).chain(ended).collect::<Vec<_>>());
    let rows = |query: &str, limit: usize| {
        let limit = limit.to_string();
        record.run(&["search", query, "-o", "name", "--limit", &limit]).lines().len()
    };
    for limit in [1, 100, REQUESTS, REQUESTS + 1, 250, 0] {
        let wanted = if limit == 0 { usize::MAX } else { limit };
        assert_eq!(rows("verb:get", limit), wanted.min(REQUESTS + 1), "limit {limit}");
    }
    // The negative control: whoever asks for a stage is given each event of it.
    assert_eq!(rows("verb:get stage:*", 0), 2 * REQUESTS + 1);
}

fn batch(user: &str) -> Vec<String> {
    let id = |i| format!("00000000-0000-4000-8000-{i:012}");
    (0..50).map(|i| event(&id(i), "get", user, "/api/v1/namespaces/shop/pods/web", "")).collect()
}

/// How many rows a query shows after one batch and then another, and how many of the second the
/// record had already.
fn two_batches(second: &[String]) -> (Record, [usize; 3], u64) {
    let record = Record::of(&batch("ann"));
    // From a pipe, as the file itself would be known.
    record.run_with_input(&["import", "-"], (second.join("\n") + "\n").as_bytes()).ok();
    let rows = |query: &str| {
        let ran = record.run(&["search", "verb:get", query, "-o", "name", "--limit", "0"]);
        ran.lines().len()
    };
    let rows = ["verb:*", "duplicate:true", "duplicate:*"].map(rows);
    let status = record.run(&["ingest", "status", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let sources = status["sources"].as_array().unwrap();
    let duplicates = sources.iter().map(|source| source["duplicates"].as_u64().unwrap()).sum();
    (record, rows, duplicates)
}

/// A batch that is sent again is hidden, and shown on request.
#[test]
fn a_batch_that_arrives_again_is_hidden() {
    let (_record, rows, duplicates) = two_batches(&batch("ann"));
    assert_eq!((rows, duplicates), ([50, 50, 100], 50));
    // The negative control: what only looks like it is not hidden, and counted.
    let (_record, rows, duplicates) = two_batches(&batch("bob"));
    assert_eq!((rows, duplicates), ([100, 0, 100], 0));
}

/// One byte of difference is no duplicate: both stay visible, and say so.
#[test]
fn two_versions_of_one_event_are_both_shown() {
    let uri = "/api/v1/namespaces/shop/pods/web";
    let record = Record::of(&[
        event(ID, "delete", "ann", uri, ""),
        event(ID, "delete", "ann", uri, r#""userAgent":"kubectl","#),
    ]);
    let out = record.run(&["search", "verb:delete"]).ok();
    assert_eq!(out.matches("conflict").count(), 2, "{out}");
}

/// Who deleted the namespaces of the captures, and what else happened there.
#[test]
fn questions_to_the_captures() {
    let record = Record::of_captures();
    let who = |args: &[&str]| record.run(&[&["who"], args].concat());
    let deleted = who(&["deleted", "ns", "--no-headers"]).ok();
    assert_eq!(deleted.lines().count(), 5, "{deleted}");
    assert!(deleted.lines().all(|line| line.contains("bob@example.com")), "{deleted}");
    let one = who(&["deleted", "ns/scratch1"]).ok();
    assert_eq!(one.lines().count(), 2, "{one}");
    let exec = who(&["exec", "pod", "-n", "shop"]);
    assert!(exec.lines().len() > 1 && exec.err.contains("attempts"), "{}{}", exec.out, exec.err);
    let attempts = who(&["exec", "pod", "-n", "shop", "--attempts"]);
    assert!(attempts.lines().len() > exec.lines().len());
    let nobody = who(&["deleted", "ns/no-such-namespace"]);
    assert_eq!((nobody.code, &*nobody.out), (1, ""));
    assert!(nobody.err.contains("no-such-namespace"), "{}", nobody.err);
    // A garbage collector's deletion leads back to the person's.
    let cascade = who(&["deleted", "pod", "--limit", "0"]).ok();
    assert!(cascade.contains("BECAUSE"), "{cascade}");
}

#[test]
fn sql_answers_and_changes_nothing() {
    let record = Record::of_captures();
    let out = record.run(&["sql", "SELECT count(*) AS n FROM events"]).ok();
    assert_eq!(out, "N\n11825\n");
    let grouped = "SELECT verb, count(*) AS n FROM events GROUP BY verb ORDER BY n DESC, verb";
    let csv = record.run(&["sql", grouped, "-o", "csv"]).ok();
    let counted: u64 = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap())
        .sum();
    assert!(csv.starts_with("verb,n\n") && counted == 11_825, "{csv}");
    let json = record.run(&["sql", &format!("{grouped} LIMIT 2"), "-o", "json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    let id = "SELECT audit_id FROM events WHERE seq = 7 AND cluster = 'default'";
    let id = record.run(&["sql", "--no-headers", id]).ok();
    let original = record.run(&["show", "default/7", "-o", "raw"]).ok();
    assert!(original.contains(&format!("\"auditID\":\"{}\"", id.trim_end())), "{id} {original}");
    // Bodies are those of their events, and what changed something is told from what did not.
    let joined = "SELECT count(*) FROM events e JOIN bodies b ON b.cluster = e.cluster AND \
                  b.seq = e.seq WHERE e.request_object = '$c' AND b.member = 'requestObject'";
    let bodies = "SELECT count(*) FROM bodies WHERE member = 'requestObject'";
    let count = |sql: &str| record.run(&["sql", "--no-headers", sql]).ok();
    assert_eq!(count(joined), count(bodies));
    assert!(count("SELECT count(*) FROM changes").trim_end().parse::<u64>().unwrap() > 100);
    assert_eq!(count("SELECT count(*) FROM changes WHERE action = 'read'"), "0\n");
    assert!(record.run(&["sql", "EXPLAIN SELECT * FROM events"]).ok().contains("PLAN"));
    let cut = record.run(&["sql", "SELECT seq FROM events", "--limit", "5"]);
    assert!(
        cut.code == 0 && cut.lines().len() == 6 && cut.err.contains("more rows"),
        "{}",
        cut.err
    );
    for wrong in [
        "SELECT nothing FROM events",
        "SELECT * FROM '/etc/passwd'",
        "INSERT INTO events SELECT * FROM events",
        "CREATE TABLE t AS SELECT 1",
        "DROP TABLE events",
        "COPY events TO 'copy.csv'",
        "SET datafusion.execution.batch_size = 1",
        "",
    ] {
        let ran = record.run(&["sql", wrong]);
        assert!(ran.code == 2 && ran.out.is_empty() && !ran.err.is_empty(), "{wrong}: {ran:?}");
    }
    let parquet = Command::new(env!("CARGO_BIN_EXE_whodid"))
        .args(["sql", "SELECT * FROM changes", "-o", "parquet", "--data-dir"])
        .arg(record.dir())
        .output()
        .unwrap();
    assert!(parquet.status.success() && parquet.stdout.starts_with(b"PAR1"));
}

/// A request about the Deployment shop/web.
fn deployment(at: u64, verb: &str, subresource: &str, request: &str, response: &str) -> String {
    let name = match subresource {
        "" => String::new(),
        name => format!(r#","subresource":"{name}""#),
    };
    let body = |name: &str, body: &str| match body {
        "" => String::new(),
        body => format!(r#","{name}":{body}"#),
    };
    let (request, response) = (body("requestObject", request), body("responseObject", response));
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"0000000{at}-0000-4000-8000-000000000000","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/shop/deployments/web","verb":"{verb}","user":{{"username":"alice"}},"objectRef":{{"resource":"deployments","namespace":"shop","name":"web","apiGroup":"apps","apiVersion":"v1"{name}}},"responseStatus":{{"metadata":{{}},"code":200}}{request}{response},"requestReceivedTimestamp":"2026-01-02T03:0{at}:00.000000Z","stageTimestamp":"2026-01-02T03:0{at}:00.000000Z"}}"#
    )
}

#[test]
fn a_history_says_what_changed_and_how_well_it_is_known() {
    let state = |replicas: u64, image: &str| {
        format!(
            r#"{{"kind":"Deployment","metadata":{{"name":"web","resourceVersion":"{replicas}","managedFields":[{{"manager":"x{replicas}"}}]}},"spec":{{"replicas":{replicas},"template":{{"spec":{{"containers":[{{"name":"app","image":"{image}"}}]}}}}}}}}"#
        )
    };
    let scale = r#"{"kind":"Scale","metadata":{"name":"web"},"spec":{"replicas":5}}"#;
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"v3"}]}}}}"#;
    let record = Record::of(&[
        deployment(1, "create", "", &state(2, "v1"), &state(2, "v1")),
        deployment(2, "update", "", &state(2, "v2"), &state(2, "v2")),
        deployment(3, "update", "scale", scale, scale),
        deployment(4, "patch", "", patch, ""),
        deployment(5, "update", "", "", ""),
        deployment(6, "delete", "", "", ""),
    ]);
    let out = record.run(&["history", "deploy/web", "-n", "shop", "--utc"]).ok();
    for says in [
        "    + spec.template.spec.containers[name=app].image: v1\n",
        "    ~ spec.template.spec.containers[name=app].image: v1 -> v2\n",
        "    ~ spec.replicas: 2 -> 5\n",
        "    ~ spec.template.spec.containers[name=app].image: v2 -> v3\n",
        "    (its bodies are not in the record)\n",
    ] {
        assert!(out.contains(says), "{says}{out}");
    }
    assert!(!out.contains("managedFields") && !out.contains("resourceVersion"), "{out}");
    let at = |time: &str| {
        record.run(&["history", "deploy/web", "-n", "shop", "--at", time, "-o", "json"])
    };
    let then = at("2026-01-02T03:03:30Z");
    assert!(then.err.contains("put together from patches"), "{}", then.err);
    let then: serde_json::Value = serde_json::from_str(&then.ok()).unwrap();
    assert_eq!(then["spec"]["replicas"], 5);
    assert_eq!(then["spec"]["template"]["spec"]["containers"][0]["image"], "v2");
    assert!(at("2026-01-02T03:05:30Z").err.contains("does not say"));
    assert!(at("2026-01-02T03:06:30Z").err.contains("was not there"));
    assert_eq!(at("2026-01-02T03:00:30Z").code, 1);
    // The same name elsewhere is another object.
    let elsewhere = deployment(7, "update", "", &state(9, "v9"), &state(9, "v9"));
    let elsewhere = elsewhere.replace("shop", "bank");
    record.run_with_input(&["import", "-"], (elsewhere + "\n").as_bytes()).ok();
    let all = record.run(&["history", "deploy/web", "--utc"]).ok();
    let last = all.lines().last().unwrap();
    assert_eq!(last, "    (what it was before is not in the record)", "{all}");
    let two = record.run(&["history", "deploy/web", "--at", "2026-01-02T03:08:00Z"]);
    assert!(two.code == 2 && two.err.contains("several objects"), "{}", two.err);
    let json = record.run(&["history", "deploy/web", "-n", "shop", "-o", "json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let basis: Vec<_> =
        json["items"].as_array().unwrap().iter().map(|item| item["basis"].clone()).collect();
    assert_eq!(basis, ["answer", "answer", "patch", "patch", "nothing", "gone"]);
}

/// What is redacted in one event may stand in another of the same request.
#[test]
fn who_redacts_is_told_where_else_it_may_stand() {
    let secret = r#"{"data":"hunter2"}"#;
    let sent = deployment(1, "update", "", secret, "");
    let started = sent.replace("ResponseComplete", "ResponseStarted");
    let record = Record::of(&[started, sent, deployment(2, "update", "", secret, "")]);
    let redact = |id: &str| record.run(&["redact", id, "--reason", "a password"]);
    let first = redact("default/0");
    assert!(first.code == 0 && first.err.contains(": default/1; look at them"), "{}", first.err);
    let second = redact("default/1");
    assert!(second.code == 0 && second.err.is_empty(), "{}", second.err);
    record.run(&["verify"]).ok();
}
