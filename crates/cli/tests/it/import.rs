//! Taking events in: every form of file, interrupted and gone on with, twice, and what is no event.

use std::io::Write;
use std::process::{Command, Stdio};

use whodid_testkit::captures;
use whodid_testkit::generate::{Generator, Options};

use crate::support::{Record, event};

/// The bar of the record: every captured event comes back byte for byte.
#[test]
fn captures_come_back_byte_for_byte() {
    let record = Record::of_captures();
    let mut expected = captures::typical();
    expected.extend(captures::broad());
    expected.sort_unstable();
    let seen = record.originals();
    println!("{} of {} captured events came back byte for byte", seen.len(), expected.len());
    assert!(expected.len() >= 11_825 && seen == expected);
    // The same check sees one changed byte.
    expected[100].push(' ');
    assert!(seen != expected);
    record.run(&["compact"]).ok();
    expected[100].pop();
    assert!(record.originals() == expected, "compaction changed something");
}

#[test]
fn bodies_of_the_webhook_come_back_item_by_item() {
    let bodies = captures::webhook_bodies();
    let mut expected: Vec<String> = Vec::new();
    for body in &bodies {
        let list: serde_json::Value = serde_json::from_str(body).unwrap();
        expected.extend(list["items"].as_array().unwrap().iter().map(ToString::to_string));
    }
    let record = Record::new();
    record
        .run_with_input(&["import", "--redaction", "off", "-"], bodies.join("\n").as_bytes())
        .ok();
    let seen = record.originals();
    assert_eq!(seen.len(), 529);
    // The items have no order of their own here, and their members are compared as values.
    let values = |texts: &[String]| {
        let mut values: Vec<String> = texts
            .iter()
            .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap().to_string())
            .collect();
        values.sort_unstable();
        values
    };
    assert!(values(&seen) == values(&expected));
    // And as bytes: each stands in the bodies as it came back.
    let all = bodies.concat();
    assert!(seen.iter().all(|text| all.contains(text.as_str())));
}

#[test]
fn forms_of_files() {
    let lines: Vec<String> = captures::typical().into_iter().take(500).collect();
    let text = lines.join("\n") + "\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let list = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#,
        lines.join(",")
    );
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    for (name, bytes) in [
        ("a.log", text.clone().into_bytes()),
        ("a.log.gz", gzip.finish().unwrap()),
        ("a.log.zst", zstd::encode_all(text.as_bytes(), 3).unwrap()),
        ("list.json", list.into_bytes()),
        ("array.json", format!("[{}]", lines.join(",\n")).into_bytes()),
        ("no-line-end", text.trim_end().as_bytes().to_vec()),
    ] {
        let record = Record::new();
        let file = record.file(name, &bytes);
        record.run(&["import", "--redaction", "off", &file]).ok();
        assert!(record.originals() == sorted, "{name}");
        let again = record.run(&["import", "--redaction", "off", &file]).ok();
        assert!(
            again.contains("imported 0 events") && again.contains("500 imported before"),
            "{again}"
        );
        let record = Record::new();
        record.run_with_input(&["import", "--redaction", "off", "-"], &bytes).ok();
        assert!(record.originals() == sorted, "{name} from standard input");
    }
}

/// A file that grew since adds only what is new; one that was rotated away is known by its content.
#[test]
fn a_file_that_grows() {
    let lines: Vec<String> = captures::typical().into_iter().take(300).collect();
    let record = Record::new();
    let file = record.file("audit.log", (lines[..100].join("\n") + "\n").as_bytes());
    record.run(&["import", &file]).ok();
    record.file("audit.log", (lines[..200].join("\n") + "\n").as_bytes());
    let out = record.run(&["import", &file]).ok();
    assert!(out.contains("imported 100 events") && out.contains("100 imported before"), "{out}");
    let rotated = record.file("audit-2026.log", (lines[..200].join("\n") + "\n").as_bytes());
    let new = record.file("audit.log", (lines[200..].join("\n") + "\n").as_bytes());
    let out = record.run(&["import", &rotated, &new]).ok();
    assert!(out.contains("imported 100 events") && out.contains("200 imported before"), "{out}");
    assert_eq!(record.originals().len(), 300);
}

/// Killed at any moment and started again: every event is there once.
#[test]
fn an_interrupted_import_goes_on() {
    let mut events = Vec::new();
    let mut generator = Generator::new(5, Options::default());
    for _ in 0..60_000 {
        generator.next_into(&mut events);
    }
    let mut expected: Vec<String> =
        String::from_utf8(events.clone()).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(expected.len(), 60_000);
    // The generator sends some events twice, as API servers do.
    expected.sort_unstable();
    expected.dedup();
    let record = Record::new();
    let file = record.file("audit.jsonl", &events);
    for (signal, share) in [("KILL", 20), ("INT", 40), ("KILL", 60)] {
        let mut command = record.command(&["import", "--redaction", "off", "--quiet", &file]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // So much of it is on disk at least.
        let enough = (events.len() / 30 * share / 100) as u64;
        while size(&record) < enough && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let kill = ["-s", signal, &child.id().to_string()].map(str::to_owned);
        Command::new("kill").args(kill).status().unwrap();
        let code = child.wait().unwrap().code();
        assert!(signal == "KILL" || matches!(code, Some(130 | 0)), "{code:?}");
    }
    record.run(&["import", "--redaction", "off", &file]).ok();
    let seen = record.originals();
    let all = record.run(&["search", "stage:* duplicate:*", "-o", "name", "--limit", "0"]);
    let taken = all.lines().len();
    println!("{} of {} events are there after three interruptions", seen.len(), expected.len());
    assert!(seen == expected);
    assert_eq!(taken, 60_000, "each was taken in once");
}

/// How many bytes the write-ahead log and the segments have.
fn size(record: &Record) -> u64 {
    let files = |folder: &str| std::fs::read_dir(record.dir().join(folder)).into_iter().flatten();
    files("wal").filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

#[test]
fn what_is_no_event_is_kept_and_named() {
    let record = Record::new();
    let good = event("11111111-1111-4111-8111-111111111111", "get", "ann", "/api/v1/x", "");
    let lines = format!(
        "{good}\nthis is no JSON\n{{\"kind\":\"Event\",\"kind\":\"Event\"}}\n[1,2\n{good}\n"
    );
    let file = record.file("mixed.log", lines.as_bytes());
    let ran = record.run(&["import", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("not an audit event") && ran.err.contains("kept as default/1"),
        "{}",
        ran.err
    );
    let status = record.run(&["ingest", "status"]).ok();
    assert!(status.contains("items are not audit events"), "{status}");
    let raw = record.run(&["search", "raw:true", "-o", "raw"]).ok();
    assert!(raw.contains("this is no JSON"), "{raw}");
    assert_eq!(record.run(&["show", "default/1", "-o", "raw"]).ok(), "this is no JSON");
    let file = record.file("picture.png", &[0x89, b'P', b'N', b'G', 0, 1, 2, 255, b'\n', 7]);
    assert_eq!(record.run(&["import", &file]).code, 1, "nothing in it is an event");
}

/// Events that other people captured; where this machine has none, there is nothing to test.
#[test]
fn other_peoples_files() {
    let Some(folder) = captures::third_party() else {
        println!("0 foreign files: this machine has none");
        return;
    };
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("json" | "jsonl" | "log") => files.push(path.display().to_string()),
                _ => {}
            }
        }
    }
    let record = Record::new();
    let mut events = 0;
    for file in &files {
        let ran = record.run(&["import", "--quiet", file]);
        assert!(matches!(ran.code, 0 | 1), "{file}: {}", ran.err);
        events += usize::from(ran.out.contains("imported 1 events"));
    }
    println!("{} foreign files, {events} with one event", files.len());
    assert!(events >= 40, "{events}");
}

/// What managed clouds export is taken in as it is: events in wrappings, and entries that become
/// events; what is neither stays as it came.
#[test]
fn exports_of_managed_clouds_are_understood() {
    let record = Record::new();
    let event = |id: &str| event(id, "delete", "ann", "/api/v1/namespaces/shop/pods/web", "");
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let azure =
        format!(r#"{{"category":"kube-audit","properties":{{"log":{}}}}}"#, quoted(&event("a-1")));
    let cloud_watch = format!(
        r#"{{"logStream":"kube-apiserver-audit-1","logEvents":[{{"message":{}}},{{"message":{}}}]}}"#,
        quoted(&event("e-1")),
        quoted(&event("e-2"))
    );
    let google = r#"{"insertId":"g-1","timestamp":"2026-01-02T03:04:05Z","protoPayload":{"serviceName":"k8s.io","methodName":"io.k8s.core.v1.secrets.create","resourceName":"core/v1/namespaces/shop/secrets/s","authenticationInfo":{"principalEmail":"bea@example.com"},"request":{"kind":"Secret","data":{"a":"aHVzaA=="}},"status":{"code":7}}}"#;
    let other = r#"{"category":"guard","properties":{"log":"x"}}"#;
    let file =
        record.file("export.json", [&azure, &cloud_watch, google, other].join("\n").as_bytes());
    // With redaction: secrets are taken out of what was wrapped, too.
    record.run(&["import", &file]).ok();
    let raw = record.run(&["search", "stage:*", "--limit", "0", "-o", "raw"]).ok();
    let lines: Vec<&str> = raw.lines().collect();
    assert_eq!(lines.len(), 4, "{raw}");
    assert_eq!(lines.iter().filter(|line| **line == event("a-1")).count(), 1, "{raw}");
    assert_eq!(record.run(&["search", "verb:delete", "-o", "name"]).lines().len(), 3);
    let denied = record.run(&["search", "outcome:denied", "actor:bea*", "-o", "raw"]).ok();
    assert!(denied.contains("whodid/made-of") && !denied.contains("aHVzaA"), "{denied}");
    assert_eq!(record.run(&["search", "raw:true", "-o", "name"]).lines().len(), 1);
    // Of one that was made of something else it says what it lacks, and why.
    for (query, lacks) in [("actor:bea*", true), ("verb:delete", false)] {
        let ids = record.run(&["search", query, "-o", "name"]).ok();
        let shown = record.run(&["show", ids.lines().next().unwrap()]).ok();
        assert_eq!(shown.contains("request_uri: an entry of Cloud Logging has no URL"), lacks);
        assert!(!shown.contains("exec_command"), "{shown}");
    }
    // Imported once more, it is in the record already.
    record.run(&["import", &file]).ok();
    let again = record.run(&["search", "stage:*", "--limit", "0", "-o", "raw"]).ok();
    assert_eq!(again, raw);
    assert_eq!(record.run(&["verify"]).code, 0);
}
