//! How answers look: formats, exit codes, terminals, completion.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{Record, event};

#[test]
fn every_format_can_be_read_by_a_program() {
    let record = Record::of_captures();
    let get = |format: &str| {
        record.run(&["search", "verb:delete ns:shop", "--limit", "7", "-o", format]).ok()
    };
    let list: Value = serde_json::from_str(&get("json")).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"whodid/v1".into(), &"EventList".into()));
    assert_eq!(list["items"].as_array().unwrap().len(), 7);
    let yaml: Value = serde_saphyr::from_str(&get("yaml")).unwrap();
    assert_eq!(yaml, list);
    let lines: Vec<Value> =
        get("jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(&lines, list["items"].as_array().unwrap());
    let names: Vec<String> =
        lines.iter().map(|l| format!("event/{}", l["id"].as_str().unwrap())).collect();
    assert_eq!(get("name").lines().collect::<Vec<_>>(), names);
    let csv = get("csv");
    assert_eq!(csv.lines().count(), 8);
    assert!(csv.starts_with("id,time,actor,"), "{csv}");
    let raw: Vec<Value> = get("raw").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(raw.iter().all(|event| event["verb"] == "delete"));
    let table = get("table");
    assert!(table.starts_with("TIME ") && table.lines().count() == 8, "{table}");
    assert!(get("wide").lines().next().unwrap().contains("TOOL"));
    let shown: Value =
        serde_json::from_str(&record.run(&["show", &names[0], "-o", "json"]).ok()).unwrap();
    assert_eq!(shown["event"]["verb"], "delete");
    assert_eq!(shown["event"], raw[0]);
}

#[test]
fn exit_codes() {
    let record = Record::of(&[event("1", "get", "ann", "/api/v1/x", "")]);
    for (args, code, says) in [
        (&["search", "actor:ann"][..], 0, ""),
        (&["search", "actor:bob"], 1, "nothing matches actor:bob"),
        (&["show", "default/7"], 1, "default/7"),
        (&["search", "actr:bob"], 2, "actor"),
        (&["search", "actor:(bob"], 2, "^"),
        (&["who", "delte", "ns"], 2, "delete"),
        (&["search", "--since", "yesterday"], 2, "--since yesterday"),
        (&["search", "-o", "xml"], 2, "jsonl"),
        (&["import", "/no/such/file"], 2, "/no/such/file"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["search", "--data-dir", "/no/such/dir"], 3, "holds no record"),
        (&["--help"], 0, ""),
    ] {
        let ran = record.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
        assert_eq!(ran.out.is_empty(), code != 0, "{args:?}: {}", ran.out);
    }
}

/// What somebody else chose cannot drive a terminal.
#[test]
fn hostile_names_are_harmless() {
    let user = r"eve\u001b]0;owned\u0007\u202e\u001b[2J";
    let record = Record::of(&[event("1", "get", user, "/api/v1/x", "")]);
    for args in [
        &["search"][..],
        &["search", "-o", "wide"],
        &["who", "read", "pod"],
        &["show", "default/0"],
    ] {
        let ran = record.run(args);
        assert_eq!(ran.code, 0, "{args:?} {}", ran.err);
        let hostile = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!ran.out.contains(hostile), "{args:?}: {:?}", ran.out);
    }
}

#[test]
fn the_plugin_shows_how_it_was_called() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-whodid");
    symlink(env!("CARGO_BIN_EXE_whodid"), &plugin).unwrap();
    let out = std::process::Command::new(plugin).args(["search", "--help"]).output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    assert!(help.contains("Usage: kubectl whodid search"), "{help}");
}
