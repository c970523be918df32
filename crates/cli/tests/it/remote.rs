//! A server on one machine, its users on another: configuration, contexts and asking over HTTP.

use std::process::Stdio;

use crate::serve::Server;
use crate::support::{Record, event};

const ID: &str = "74a11df0-238a-4a01-954e-95fbbb60a371";

fn record() -> Record {
    Record::of(&[event(ID, "delete", "ann", "/api/v1/namespaces/shop/pods/web", "")])
}

#[test]
fn a_context_says_what_is_asked() {
    let (there, here) = (record(), Record::new());
    let server = Server::with(&there, &["--listen", "127.0.0.1:0"]);
    let token = here.file("token", format!("{}\n", server.read_token).as_bytes());
    let ca = there.dir().join("tls/ca.crt").display().to_string();
    let (url, local) = (server.url.clone(), there.dir().display().to_string());
    let text = format!(
        "contexts:\n  prod: {{server: \"{url}\", token_file: {token}, ca: {ca}}}\n  \
         local: {{data_dir: {local}}}\ncurrent_context: prod\n"
    );
    let config = here.file("config.yaml", text.as_bytes());
    let run = |args: &[&str]| {
        let mut command = here.command(&[&["--config", &config], args].concat());
        crate::support::Ran::of(command.env_remove("WHODID_DATA_DIR").output().unwrap())
    };
    let expected = "event/default/0\n";
    assert_eq!(run(&["search", "-o", "name"]).ok(), expected);
    assert_eq!(run(&["search", "--context", "local", "-o", "name"]).ok(), expected);
    let original = there.originals().remove(0) + "\n";
    for id in ["default/0", ID] {
        assert_eq!(run(&["show", id, "-o", "raw"]).ok(), original);
        let remote = run(&["show", id]).ok();
        assert_eq!(remote, run(&["show", "--context", "local", id]).ok());
        assert!(remote.contains("user: ") || remote.contains("ann"), "{remote}");
    }
    assert_eq!(run(&["show", "default/7"]).code, 1);
    let ran = run(&["search", "--context", "staging"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("staging") && ran.err.contains("local prod"), "{}", ran.err);
    let table = run(&["config", "get-contexts"]).ok();
    assert!(table.lines().any(|line| line.starts_with("*         prod")), "{table}");
    let ran = run(&["search", "--limit", "0"]);
    assert!(ran.code == 2 && ran.err.contains("10000"), "{}", ran.err);
    assert_eq!(server.end("TERM"), 0);
}

/// A server is asked as the record is, and says the same.
#[test]
fn a_server_says_who_did_it_and_what_changed() {
    let record = Record::of_captures();
    let server = Server::with(&record, &["--listen", "127.0.0.1:0"]);
    let ca = record.dir().join("tls/ca.crt").display().to_string();
    let there = ["--server", &server.url, "--ca", &ca, "--token", &server.read_token];
    let without_cost = |text: &str| {
        let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
        let members = answer.as_object_mut().unwrap();
        assert_eq!(members.remove("cost").unwrap()["is_partial"], false);
        answer
    };
    let mut seen = 0;
    for asked in [
        &["who", "deleted", "ns"][..],
        &["who", "exec", "pod", "-n", "shop", "--attempts"],
        &["who", "deleted", "pod", "--limit", "1000", "-o", "csv"],
        &["who", "deleted", "pod", "--limit", "3", "-o", "wide"],
        &["who", "deleted", "shop/pod/web*", "-o", "jsonl", "--since", "2020-01-01"],
        &["history", "deploy/web", "-n", "shop"],
        &["history", "deploy/web", "--limit", "2", "--with-status"],
        &["history", "deploy/web", "-n", "shop", "--at", "2030-01-01", "-o", "yaml"],
        &["history", "deploy/no-such-thing"],
        &["who", "deleted", "ns/no-such-thing"],
    ] {
        let (here, there) = (record.run(asked), record.run(&[asked, &there].concat()));
        assert_eq!((here.code, &here.out, &here.err), (there.code, &there.out, &there.err));
        seen += here.lines().len();
    }
    println!("{seen} lines compared");
    assert!(seen > 100);
    for asked in [&["who", "deleted", "pod"][..], &["history", "deploy/web"]] {
        let asked = [asked, &["-o", "json"]].concat();
        let (here, there) = (record.run(&asked).ok(), record.run(&[&asked[..], &there].concat()));
        let (here, there) = (without_cost(&here), without_cost(&there.ok()));
        assert!(here["items"].as_array().unwrap().len() > 2);
        assert_eq!(here, there);
    }
    for (asked, part) in [
        (&["who", "deleted", "pod", "--limit", "0"][..], "1000"),
        (&["history", "deploy/web", "--limit", "1001"], "1000"),
        (&["who", "deleted", "pod", "-o", "raw"], "--data-dir"),
    ] {
        let ran = record.run(&[asked, &there].concat());
        assert!(ran.code == 2 && ran.err.contains(part), "{asked:?}: {}", ran.err);
    }
    assert_eq!(server.end("TERM"), 0);
}

/// What went wrong, and what to do about it.
#[test]
fn a_server_that_cannot_be_asked() {
    let (there, here) = (record(), Record::new());
    let server = Server::with(&there, &["--listen", "127.0.0.1:0"]);
    let (url, ca) = (server.url.clone(), there.dir().join("tls/ca.crt").display().to_string());
    let plain = url.replace("https", "http");
    for (args, code, part) in [
        (&["--server", &*url][..], 3, "--ca FILE"),
        (&["--server", &*plain], 3, "https://"),
        (&["--server", "whodid.example.com"], 2, "https://HOST:PORT"),
        (&["--server", "https://"], 2, "https://HOST:PORT"),
        (&["--server", &*url, "--ca", &*ca], 3, "bearer token"),
        (&["--server", &*url, "--ca", &*ca, "--token", "wrong"], 3, "bearer token"),
        (&["--server", &*url, "--ca", "/no/such/file"], 3, "/no/such/file"),
        (&["--server", "http://127.0.0.1:1"], 3, "refused"),
        (&["--server", &*format!("{url}/elsewhere"), "--ca", &*ca], 3, "there is no"),
    ] {
        let ran = here.run(&[&["search"], args].concat());
        assert_eq!(ran.code, code, "{args:?}: {}", ran.err);
        assert!(ran.err.contains(part), "{args:?}: {}", ran.err);
    }
    assert_eq!(server.end("TERM"), 0);
}

/// The file, then the environment, then flags.
#[test]
fn serve_is_configured() {
    let record = Record::new();
    let data = record.dir().display().to_string();
    let text = format!(
        "serve:\n  data_dir: {data}\n  listen: 127.0.0.1:1\n  insecure_http: true\n  \
         redaction: \"off\"\nlog: {{format: json, filter: info}}\n"
    );
    let config = record.file("config.yaml", text.as_bytes());
    let mut command = record.command(&["serve", "--config", &config]);
    command.env_remove("WHODID_DATA_DIR").env("WHODID_SERVE__LISTEN", "127.0.0.1:0");
    let server = Server::spawn(&mut command);
    assert!(server.url.starts_with("http://127.0.0.1:") && !server.url.ends_with(":1"));
    assert!(record.dir().join("store.json").is_file());
    assert_eq!(server.end("TERM"), 0);
    assert_eq!(record.run(&["config", "check", "--config", &config]).ok(), "ok\n");
    for (text, part) in [
        ("serve: {redaction: /nope}", "--redaction /nope"),
        ("serve: {insecure_http: true, ingest_listen: \"0.0.0.0:8443\"}", "--insecure-http"),
        ("serve: {listen: \"0.0.0.0:7443\"}", "--listen"),
        ("log: {filter: \"a=b=c\"}\nserve: {redaction: /nope}", "log.filter"),
        ("log: {filter: \"a=b=c\"}\nserve: {redaction: /nope}", "--redaction /nope"),
        ("contexts: {a: {server: \"ftp://b\"}}", "contexts.a: \"ftp://b\""),
        ("contexts: {a: {server: \"https://b\", token_file: /nope}}", "contexts.a: /nope"),
    ] {
        let config = record.file("wrong.yaml", text.as_bytes());
        let ran = record.run(&["config", "check", "--config", &config]);
        assert!(ran.code == 2 && ran.err.contains(part), "{text}: {}{}", ran.out, ran.err);
    }
}

/// A server takes events in, also when nobody reads what it says any more.
#[test]
fn a_server_outlives_the_reader_of_its_log() {
    let record = Record::new();
    let mut server = Server::start(&record, "127.0.0.1:0");
    server.close_output();
    let event = event(ID, "get", "ann", "/api/v1/namespaces/shop/pods/web", "");
    // What is refused is logged.
    assert_eq!(server.send("wrong", event.as_bytes()), 401);
    assert_eq!(server.end("TERM"), 0);
}

#[test]
fn every_fault_of_a_configuration_is_named_at_once() {
    let record = Record::new();
    let text = "serve:\n  lisen: 127.0.0.1:1\n  listen: nowhere\ncontexts:\n  a: {}\n";
    let config = record.file("config.yaml", text.as_bytes());
    for args in [&["config", "check"][..], &["serve"], &["search"], &["tail"]] {
        let ran = record.run(&[args, &["--config", &config]].concat());
        assert_eq!(ran.code, 2, "{args:?}");
        for part in ["serve.lisen", "serve.listen: \"nowhere\"", "contexts"] {
            assert!(ran.err.contains(part), "{args:?} {part}: {}", ran.err);
        }
    }
    let mut command = record.command(&["serve", "--tls-cert", "a", "--insecure-http"]);
    command.args(["--listen", "0.0.0.0:0", "--redaction", "/no/such/file"]).stdin(Stdio::null());
    let ran = crate::support::Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 2);
    for part in ["--tls-key belong", "--insecure-http takes no", "--listen 0.0.0.0", "--redaction"]
    {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert!(!record.dir().exists());
}
