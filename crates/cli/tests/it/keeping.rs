//! What the owner of a record has done to it, by command: while nobody writes it, and while a
//! server does; and how clusters are to be recorded.

use std::fs;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::serve::Server;
use crate::support::{Ran, Record, event};

fn record() -> Record {
    Record::of(&[event("one", "get", "jane", "/api", "")])
}

/// The records of the meta log, in order.
fn meta(record: &Record) -> Vec<Value> {
    let bytes = fs::read(record.dir().join("ledger/meta/entries")).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let entries = text.split("{\"v\":1,").skip(1);
    let entry = |text: &str| {
        let text = format!("{{\"v\":1,{text}");
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        values.next().unwrap().unwrap()["record"].clone()
    };
    entries.map(entry).filter(|record| record["kind"] != "Seal").collect()
}

#[test]
fn holds_are_put_and_released_with_and_without_a_server() {
    let record = record();
    let hold = |name: &str| {
        let args = ["hold", "add", name, "--cluster", "default", "--reason", "court order"];
        record.run(&args)
    };
    hold("case/17 a?b").ok();
    let server = Server::start(&record, "127.0.0.1:0");
    hold("case 18").ok();
    let again = hold("case/17 a?b");
    assert_eq!((again.code, again.err.contains("already")), (2, true), "{}", again.err);
    assert_eq!(record.run(&["hold", "list"]).lines().len(), 3);
    let release = |name: &str| record.run(&["hold", "release", name, "--reason", "closed"]);
    release("case/17 a?b").ok();
    assert_eq!(release("case/17 a?b").code, 2);
    let retention =
        |flags: &[&str]| record.run(&[&["retention", "--retain", "*=1h"][..], flags].concat());
    // It is younger than an hour, so that nothing goes; a rule that makes no sense is refused.
    for flags in [&[][..], &["--apply"]] {
        let ran = retention(flags);
        assert_eq!((ran.code, ran.err.contains("nothing is past")), (1, true), "{}", ran.err);
    }
    assert_eq!(record.run(&["retention", "--retain", "*=now", "--apply"]).code, 2);
    assert_eq!(server.end("TERM"), 0);
    release("case 18").ok();
    let kinds: Vec<Value> = meta(&record).into_iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["Hold", "Hold", "Release", "Release"]);
    assert_eq!(record.run(&["verify"]).code, 0);
}

#[test]
fn an_investigation_is_on_record_and_reminds_of_its_end() {
    let record = record();
    let out = record.dir().with_file_name("out").display().to_string();
    let mode = |words: &[&str]| record.run(&[&["policy", "mode"][..], words].concat());
    let begin = |cluster: &str, span: &str, out: &str| -> Ran {
        let span = ["--for", span, "--reason", "who took the tokens", "--out", out];
        mode(&[&["investigation", "--cluster", cluster][..], &span].concat())
    };
    for (cluster, span) in [("other", "1h"), ("default", "soon"), ("default", "0h")] {
        assert_eq!(begin(cluster, span, &out).code, 2, "{cluster} {span}");
    }
    let steps = begin("default", "1s", &out).ok();
    assert!(steps.contains("switch.sh investigation"), "{steps}");
    let policy = fs::read(format!("{out}/investigation.yaml")).unwrap();
    let lint = ["policy", "lint", "--fail-on", "error", &format!("{out}/investigation.yaml")];
    assert_eq!(record.run(&lint).code, 0);
    // What is there is not written over, and nothing is put on record then.
    assert_eq!(begin("default", "1h", &out).code, 3);
    let status = || mode(&["status"]).err;
    while !status().contains("which is past") {
        assert!(status().contains("default is to be in mode investigation until "));
    }
    let doctor = record.run(&["doctor", "-o", "json"]).out;
    let found: Value = serde_json::from_str(&doctor).unwrap();
    let checks = found["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "mode").unwrap();
    assert_eq!(check["outcome"], "FAIL", "{check}");

    let server = Server::start(&record, "127.0.0.1:0");
    mode(&["daily", "--cluster", "default", "--reason", "found"]).ok();
    assert!(status().contains("default is to be in mode daily\n"), "{}", status());
    assert_eq!(server.end("TERM"), 0);
    let [first, last] = meta(&record).try_into().unwrap();
    assert_eq!((&first["kind"], &first["reason"]), (&"Mode".into(), &"who took the tokens".into()));
    let digest: String = Sha256::digest(policy).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        (&first["mode"]["name"], &first["mode"]["policy"]),
        (&"investigation".into(), &digest.into())
    );
    assert_eq!((&last["mode"]["name"], &last["mode"]["until"]), (&"daily".into(), &Value::Null));
    assert_eq!(record.run(&["verify"]).code, 0);
}

/// The script of the folder, on a host that only has the policy, and a command in the place of a
/// restart.
#[test]
fn the_script_switches_there_and_back() {
    let record = record();
    let host = record.dir().with_file_name("a host's folder");
    let out = record.dir().with_file_name("out").display().to_string();
    let (dir, restarts) = (host.display().to_string(), host.join("restarts"));
    fs::create_dir(&host).unwrap();
    let restart = format!(
        "if [ -e \"{dir}/broken\" ]; then exit 7; fi; echo restarted >> \"{}\"",
        restarts.display()
    );
    let own = record.file(
        "own.yaml",
        b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n",
    );
    record
        .run(&[
            "policy",
            "mode",
            "investigation",
            "--cluster",
            "default",
            "--for",
            "2h",
            "--reason",
            "a test",
            "--policy",
            &own,
            "--host-dir",
            &dir,
            "--restart",
            &restart,
            "--out",
            &out,
        ])
        .ok();
    // Where systemd runs, nothing of it must be asked for by a test.
    let bin = host.join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/true", bin.join("systemd-run")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let switch = |to: &str| {
        let mut command = Command::new("sh");
        command.arg(format!("{out}/switch.sh")).arg(to).env("PATH", &path);
        Ran::of(command.output().unwrap())
    };
    assert_eq!(switch("back").code, 2);
    let ran = switch("investigation");
    assert_eq!((ran.code, ran.err.contains("policy.yaml")), (1, true), "{}", ran.err);
    let policy = || fs::read(host.join("policy.yaml")).unwrap();
    let [more, daily] =
        ["investigation", "daily"].map(|name| fs::read(format!("{out}/{name}.yaml")).unwrap());
    assert_eq!(daily, fs::read(own).unwrap());
    fs::write(host.join("policy.yaml"), "what was in force").unwrap();
    // A restart that failed is tried again, although the policy is in its place already.
    fs::write(host.join("broken"), "").unwrap();
    assert_eq!((switch("investigation").code, policy()), (7, more.clone()));
    fs::remove_file(host.join("broken")).unwrap();
    let count = || fs::read_to_string(&restarts).unwrap().lines().count();
    for (to, expected, restarted) in
        [("investigation", &more, 1), ("investigation", &more, 1), ("daily", &daily, 2)]
    {
        let said = switch(to).ok();
        assert_eq!((&policy(), count()), (expected, restarted), "{to}");
        let ends =
            said.contains("goes back by itself") || said.contains("run `sh switch.sh daily`");
        assert_eq!(ends, to == "investigation", "{said}");
    }
}
