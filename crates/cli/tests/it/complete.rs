//! Completion, asked as bash, zsh and kubectl ask.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::serve::Server;
use crate::support::{Record, event, whodid};

fn record() -> Record {
    let uri = |ns: &str, pod: &str| format!("/api/v1/namespaces/{ns}/pods/{pod}");
    let of = |ns: &str, id: &str| {
        event(id, "delete", "ann", &uri(ns, "web"), "").replace(r#""shop""#, &format!("\"{ns}\""))
    };
    Record::of(&[of("shop", "1"), of("shop", "2"), of("staging", "3"), of("payments", "4")])
}

/// What a shell that does not cut words at colons offers.
fn offered(record: &Record, words: &[&str]) -> Vec<String> {
    let mut command = record.command(&[&["--", "whodid"], words].concat());
    command.env("COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines()
        .map(|line| line.replace("\\:", "\u{0}").split(':').next().unwrap().replace('\u{0}', ":"))
        .collect()
}

#[test]
fn values_come_from_the_record() {
    let record = record();
    for (words, expected) in [
        (&["search", "-n", ""][..], &["shop", "payments", "staging"][..]),
        (&["search", "-n", "s"], &["shop", "staging"]),
        (&["tail", "--cluster", ""], &["default"]),
        (&["search", "ns:pa"], &["ns:payments"]),
        (&["search", "verb:delete", "-ns:sta"], &["-ns:staging"]),
        (&["search", "action:ex"], &["action:exec"]),
        (&["search", "audit"], &["audit_id:"]),
        (&["who", "deleted", "pods/w"], &["pods/web"]),
        (&["who", "deleted", "po"], &["pods/"]),
        (&["search", "-n", "nothing"], &[]),
    ] {
        assert_eq!(offered(&record, words), expected, "{words:?}");
    }
    assert!(offered(&record, &["sea"]).contains(&"search".to_owned()));
    assert!(offered(&Record::new(), &["search", "-n", ""]).is_empty(), "there is no record");
}

#[test]
fn values_come_from_a_server() {
    let record = record();
    let server = Server::start(&record, "127.0.0.1:0");
    assert_eq!(offered(&record, &["search", "ns:sh"]), ["ns:shop"]);
    let (url, token) = (server.url.clone(), server.read_token.clone());
    let elsewhere = Record::new();
    let words = ["search", "--server", &url, "--token", &token, "-n", "st"];
    assert_eq!(offered(&elsewhere, &words), ["staging"]);
    assert_eq!(server.end("TERM"), 0);
}

/// bash hands words over cut at colons, and replaces what is behind the last.
#[test]
fn bash_completes_what_it_asks_for() {
    let record = record();
    let script = String::from_utf8(whodid().args(["completion", "bash"]).output().unwrap().stdout);
    let script = record.file("complete.bash", script.unwrap().as_bytes());
    let folder = record.folder.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    symlink(env!("CARGO_BIN_EXE_whodid"), folder.join("whodid")).unwrap();
    for (words, current, expected) in [
        (&["whodid", "search", "ns", ":", "sta"][..], "sta", "staging"),
        (&["whodid", "search", "ns", ":"], "", "shop"),
        (&["whodid", "search", "-n", "pay"], "pay", "payments"),
        (&["whodid", "ser"], "ser", "serve"),
    ] {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let ask = format!(
            "source {script}; COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; \
             _clap_complete_whodid whodid '{current}' x; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            quoted.join(" "),
            words.len() - 1,
        );
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &ask]).env("PATH", path).env("WHODID_DATA_DIR", record.dir());
        let out = bash.output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text.lines().next(), Some(expected), "{words:?}: {text}");
    }
}

/// kubectl runs `kubectl_complete-whodid WORD…` and reads candidates up to `:4`.
#[test]
fn kubectl_completes_the_plugin() {
    let record = record();
    let program = record.folder.path().join("kubectl_complete-whodid");
    symlink(env!("CARGO_BIN_EXE_whodid"), &program).unwrap();
    let ask = |words: &[&str]| {
        let out = Command::new(&program).args(words).env("WHODID_DATA_DIR", record.dir()).output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    assert_eq!(ask(&["search", "-n", "st"]), "staging\t1 events\n:4\n");
    assert_eq!(ask(&["search", "ns:sh"]), "ns:shop\t2 events\n:4\n");
    assert!(ask(&["sea"]).starts_with("search\t"), "{}", ask(&["sea"]));
    assert!(ask(&[""]).lines().count() > 8);
}

#[test]
fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let out = whodid().args(["completion", shell]).output().unwrap();
        assert!(out.status.success() && !out.stdout.is_empty(), "{shell}");
    }
}
