//! The record proved, verified and exported, as an auditor would.

use std::fs;
use std::path::Path;
use std::process::Command;

use whodid_testkit::captures;

use crate::support::{Ran, Record};

/// Checks a bundle with nothing but Python and openssl.
fn python(bundle: &Path, more: &[&str]) -> Ran {
    let script = captures::repository().join("crates/cli/src/command/export/verify.py");
    Ran::of(Command::new("python3").arg(script).arg(bundle).args(more).output().unwrap())
}

/// The one file below a folder whose path has such a part.
fn file(dir: &Path, part: &str) -> std::path::PathBuf {
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().contains(part) {
                return path;
            }
        }
    }
    panic!("no {part} in {}", dir.display());
}

#[test]
fn a_record_is_verified_and_an_event_proved() {
    let record = Record::of_captures();
    let policy = record.run(&["ledger", "policy"]).ok();
    let policy = record.file("policy.txt", policy.as_bytes());
    let out = record.run(&["verify", "--policy", &policy]).ok();
    for says in ["read 11825 events", "/default, ", "/meta, ", "Custody: detects edits"] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let dir = record.folder.path().join("proof");
    let dir = dir.to_str().unwrap();
    let out = record.run(&["prove", "default/100", "--out", dir]).ok();
    assert!(out.contains("default-100.tlog-proof"), "{out}");
    let (proof, entry) =
        (format!("{dir}/default-100.tlog-proof"), format!("{dir}/default-100.json"));
    let out = record.run(&["verify", &proof, "--entry", &entry, "--policy", &policy]).ok();
    assert!(out.contains("leaf 100 of whodid.invalid/"), "{out}");
    let entry = fs::read_to_string(entry).unwrap().replacen("\"seq\":100", "\"seq\":101", 1);
    let entry = record.file("entry.json", entry.as_bytes());
    assert_eq!(record.run(&["verify", &proof, "--entry", &entry, "--policy", &policy]).code, 1);
    let ran = record.run(&["verify", &proof, "--entry", &entry]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let nobody = record.run(&["prove", "default/999999"]);
    assert!(nobody.code != 0 && nobody.out.is_empty(), "{}", nobody.err);
}

#[test]
fn what_was_altered_is_named() {
    let record = Record::of_captures();
    let segment = file(&record.dir(), "events/cluster=default");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = record.run(&["verify"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(ran.err.contains(name) && ran.err.contains("default/0 to 11824"), "{}", ran.err);
    assert!(!ran.out.contains("/default, "), "{}", ran.out);
    assert!(ran.out.contains("/meta, "), "{}", ran.out);
}

#[test]
fn evidence_is_checked_without_the_record() {
    let record = Record::of_captures();
    let policy = record.file("policy.txt", record.run(&["ledger", "policy"]).ok().as_bytes());
    let out = record.folder.path().join("evidence");
    let text = out.to_str().unwrap();
    let args = ["export", "verb:delete", "--cluster", "default", "--with-bodies", "--out", text];
    let range = ["--complete-range", "default/1000..3000", "--purpose", "case 17"];
    record.run(&[args.as_slice(), &range].concat()).ok();
    let key = out.join("export.vkey").display().to_string();
    let trusted = ["--policy", &policy, "--export-key", &key];
    let ran = python(&out, &trusted);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(!ran.err.contains("proves nothing"), "{}", ran.err);
    // The same, from the program that wrote it.
    let verify = [&["verify", text][..], &trusted].concat();
    assert!(record.run(&verify).ok().contains("verified: "));
    // Written a second time, nothing is written over.
    assert_eq!(record.run(&[args.as_slice(), &range].concat()).code, 2);
    // One withheld leaf, one event, one opened body, one byte of an entry less.
    for (part, from) in [
        ("default/range", "\nleaf "),
        ("default/disclosures.jsonl", "{\"seq\""),
        ("default/entries/", "\"verb\":\"delete\""),
        ("manifest.json", "case 17"),
    ] {
        let harmed = file(&out, part);
        let whole = fs::read_to_string(&harmed).unwrap();
        assert!(whole.contains(from), "{part}");
        fs::write(&harmed, whole.replacen(from, "", 1)).unwrap();
        assert_eq!(python(&out, &trusted).code, 1, "{part}");
        assert_eq!(record.run(&verify).code, 1, "{part}");
        fs::write(&harmed, whole).unwrap();
    }
    let proof = file(&out, "default/proofs/");
    let whole = fs::read(&proof).unwrap();
    fs::remove_file(&proof).unwrap();
    assert_eq!(python(&out, &trusted).code, 1);
    fs::write(&proof, whole).unwrap();
    assert_eq!(python(&out, &trusted).code, 0);

    let archive = record.folder.path().join("evidence.tar");
    let text = archive.to_str().unwrap();
    record.run(&["export", "verb:delete", "--limit", "0", "--out", text]).ok();
    let ran = python(&archive, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("proves nothing to you"), "{}", ran.err);
}

#[test]
fn a_log_is_reopened() {
    let record = Record::of_captures();
    fs::remove_file(record.dir().join("ledger/default/checkpoint")).unwrap();
    let ran = record.run(&["compact"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.err.contains("whodid ledger reopen"), "{}", ran.err);
    assert_eq!(record.run(&["verify"]).code, 1);
    let out = record.run(&["ledger", "reopen", "default", "--reason", "a test"]).ok();
    assert!(out.contains("/default/2"), "{out}");
    let out = record.run(&["verify"]).ok();
    assert!(out.contains("/default/2, 11826 leaves"), "{out}");
    let raw = record.run(&["ingest", "status"]).ok();
    assert!(raw.contains("whodid/ledger"), "{raw}");
}

#[test]
fn a_part_of_the_record_is_verified() {
    let record = Record::of_captures();
    let kept = fs::read(record.dir().join("ledger/default/checkpoint")).unwrap();
    let kept = record.file("kept", &kept);
    let more = record.run(&["show", "default/1", "-o", "raw"]).ok();
    let more =
        record.file("more.jsonl", more.replacen("\"auditID\":\"", "\"auditID\":\"f", 1).as_bytes());
    record.run(&["import", "--redaction", "off", &more]).ok();
    for (events, says) in [("default/7", "1 events"), ("default/250..800", "550 events")] {
        let out = record.run(&["verify", "--events", events]).ok();
        assert!(out.contains(says), "{out}");
    }
    let out = record.run(&["verify", "--checkpoint", &kept]).ok();
    assert!(out.contains("has grown from 11825 leaves to 11826"), "{out}");
    for (args, code) in [
        (["verify", "--events", "default/11826"], 1),
        (["verify", "--events", "nobody/0"], 1),
        (["verify", "--events", "default"], 2),
        (["verify", "--checkpoint", "/no/such/file"], 2),
    ] {
        assert_eq!(record.run(&args).code, code, "{args:?}");
    }
    // Of another record, or of this one before it was written anew.
    let other = Record::of(&[record.run(&["show", "default/1", "-o", "raw"]).ok()]);
    let foreign = fs::read(other.dir().join("ledger/default/checkpoint")).unwrap();
    let foreign = record.file("foreign", &foreign);
    assert_eq!(record.run(&["verify", "--checkpoint", &foreign]).code, 1);
    let forged = fs::read_to_string(&kept).unwrap().replacen("11825", "11824", 1);
    let forged = record.file("forged", forged.as_bytes());
    assert_eq!(record.run(&["verify", "--checkpoint", &forged]).code, 1);
}

#[test]
fn nothing_goes_that_is_held_or_young() {
    let record = Record::of_captures();
    for more in [&["--apply"] as &[&str], &[]] {
        let ran = record.run(&[&["retention", "--retain", "*=1d"], more].concat());
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("nothing is past its retention"), "{}", ran.err);
    }
    let wrong = record.run(&["retention", "--retain", "default=soon"]);
    assert!(wrong.code == 2 && wrong.err.contains("CLUSTER=AGE"), "{}", wrong.err);
    let add = ["hold", "add", "case-17", "--cluster", "default", "--reason", "court order"];
    record.run(&add).ok();
    assert_eq!(record.run(&add).code, 2);
    let out = record.run(&["hold", "list"]).ok();
    assert!(out.contains("case-17"), "{out}");
    record.run(&["hold", "release", "case-17", "--reason", "closed"]).ok();
    assert_eq!(record.run(&["hold", "list"]).code, 1);
    let since = [&add as &[&str], &["--since", "yesterday"]].concat();
    assert_eq!(record.run(&since).code, 2);
    record.run(&["verify"]).ok();
}

/// What was shown once can be checked for ever, whatever the record still has.
#[test]
fn evidence_outlives_what_is_deleted() {
    let record = Record::of_captures();
    let policy = record.file("policy.txt", record.run(&["ledger", "policy"]).ok().as_bytes());
    let out = |name: &str| record.folder.path().join(name);
    let export = |name: &str| {
        let text = out(name).display().to_string();
        let range = ["--complete-range", "default/1000..3000", "--with-bodies", "--limit", "0"];
        let args = ["export", "verb:create", "--cluster", "default", "--out", &text];
        record.run(&[args.as_slice(), &range].concat()).ok();
    };
    export("before");
    let disclosed = fs::read_to_string(file(&out("before"), "disclosures.jsonl")).unwrap();
    let of_request = disclosed.lines().find(|line| line.contains("\"requestObject\"")).unwrap();
    let seq = of_request.split([':', ',']).nth(1).unwrap();
    let id = format!("default/{seq}");
    let before = folder_bytes(&record.dir().join("bodies"), ".parquet");

    let wrong = record.run(&["redact", "default/999999", "--reason", "a test"]);
    assert!(wrong.code == 1 || wrong.code == 2, "{}", wrong.err);
    let said = record.run(&["redact", &id, "--request", "--reason", "a password"]).ok();
    assert_eq!(said, format!("redacted: {id} requestObject\n"));
    assert_eq!(record.run(&["redact", &id, "--reason", " "]).code, 2);
    let shown = record.run(&["show", &id, "-o", "json"]).ok();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["record"]["gone"], serde_json::json!(["requestObject"]));
    assert!(shown["event"]["requestObject"]["$c"].is_string(), "{shown}");
    let verified = record.run(&["verify", "--policy", &policy]).ok();
    assert!(verified.contains("\n1 bodies went"), "{verified}");

    let rule = ["retention", "--retain", "default=bodies=1Ki"];
    let plan = record.run(&rule).ok();
    assert!(plan.contains("bodies") && plan.contains("MAY GO"), "{plan}");
    record.run(&[rule.as_slice(), &["--apply"]].concat()).ok();
    assert_eq!(record.run(&rule).code, 1);
    let verified = record.run(&["verify", "--policy", &policy]).ok();
    assert!(verified.contains(" bodies went") && verified.contains(" 0 bodies"), "{verified}");
    export("after");
    assert!(!out("after").join("default/disclosures.jsonl").exists());
    assert_eq!(python(&out("after"), &["--policy", &policy]).code, 0);
    let key = out("before").join("export.vkey").display().to_string();
    let trusted = ["--policy", &policy, "--export-key", &key];

    // What was replaced stays for readers for ten minutes.
    let after = folder_bytes(&record.dir().join("bodies"), ".erased.parquet");
    println!("bodies of 11,825 events: {before} bytes, {after} once they expired");
    assert!(after > 0, "nothing was erased");
    // With no store at hand, the bundle of before shows what it showed.
    fs::remove_dir_all(record.dir()).unwrap();
    let ran = python(&out("before"), &trusted);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    // The control: one withheld leaf less.
    let range = file(&out("before"), "default/range");
    let text = fs::read_to_string(&range).unwrap();
    let (begin, rest) = text.split_once("\nleaf ").unwrap();
    fs::write(&range, format!("{begin}{}", &rest[rest.find('\n').unwrap()..])).unwrap();
    assert_eq!(python(&out("before"), &trusted).code, 1);
}

/// The bytes of all files whose names end like this.
fn folder_bytes(folder: &Path, ending: &str) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let of = |entry: fs::DirEntry| {
        if entry.file_type().unwrap().is_dir() {
            folder_bytes(&entry.path(), ending)
        } else if entry.path().to_str().unwrap().ends_with(ending) {
            entry.metadata().unwrap().len()
        } else {
            0
        }
    };
    entries.map(of).sum()
}

/// A time-stamping authority in a folder: `openssl ts`.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Authority {
        let authority = Authority(tempfile::tempdir().unwrap());
        let settings = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\n\
            default_policy = 1.2.3.4.1\ndigests = sha256\n\
            signer_digest = sha256\ness_cert_id_alg = sha256\n";
        fs::write(authority.0.path().join("tsa.cnf"), settings).unwrap();
        let key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let names = ["-nodes", "-keyout", "tsa.key", "-out", "tsa.crt", "-subj", "/CN=TSA"];
        let usage = ["-days", "2", "-addext", "extendedKeyUsage=critical,timeStamping"];
        authority.openssl(&[&key[..], &names, &usage].concat());
        authority
    }

    fn openssl(&self, args: &[&str]) {
        let mut openssl = Command::new("openssl");
        Ran::of(openssl.args(args).current_dir(self.0.path()).output().unwrap()).ok();
    }

    fn certificate(&self) -> String {
        self.0.path().join("tsa.crt").display().to_string()
    }

    /// The answer about these bytes.
    fn stamp(&self, bytes: &[u8]) -> Vec<u8> {
        fs::write(self.0.path().join("data"), bytes).unwrap();
        self.openssl(&["ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query"]);
        let reply = ["ts", "-reply", "-queryfile", "query", "-out", "answer", "-config", "tsa.cnf"];
        self.openssl(&[&reply[..], &["-signer", "tsa.crt", "-inkey", "tsa.key"]].concat());
        fs::read(self.0.path().join("answer")).unwrap()
    }
}

/// A bundle says why what is missing is missing, and by when its log was what it is.
#[test]
fn what_was_done_and_what_was_stamped_go_along() {
    let record = Record::of_captures();
    let (authority, other) = (Authority::new(), Authority::new());
    let stamped = fs::read(record.dir().join("ledger/default/checkpoint")).unwrap();
    let place = |checkpoint: &[u8], answer: &[u8]| {
        let folder = record.dir().join("ledger/default/stamps");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("000000000011825.checkpoint"), checkpoint).unwrap();
        fs::write(folder.join("000000000011825.tsr"), answer).unwrap();
    };
    place(&stamped, &authority.stamp(&stamped));
    let more = crate::support::event("more", "get", "jane", "/api", "");
    record.run(&["import", &record.file("more.jsonl", (more + "\n").as_bytes())]).ok();
    let with_body = record.run(&["search", "verb:patch", "--limit", "1", "-o", "name"]).ok();
    let id = with_body.trim().trim_start_matches("event/");
    record.run(&["redact", id, "--reason", "a password in it"]).ok();
    let trusted = |authority: &Authority| ["--tsa-ca".to_owned(), authority.certificate()];
    let mut made = 0;
    let mut export = || {
        made += 1;
        let out = record.folder.path().join(format!("bundle-{made}"));
        let query = format!("id:{id}");
        record.run(&["export", &query, "--limit", "0", "--out", out.to_str().unwrap()]).ok();
        out
    };
    let check = |bundle: &Path, authority: &Authority| {
        let trusted = trusted(authority);
        python(bundle, &trusted.each_ref().map(String::as_str))
    };
    let bundle = export();
    let ran = check(&bundle, &authority);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for says in ["the first 11825 leaves were stamped ", "\"kind\":\"Redact\"", "a password in it"]
    {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    let nobody = python(&bundle, &[]);
    assert_eq!((nobody.code, nobody.out.contains("nobody looked")), (0, true), "{}", nobody.err);
    // The controls: another authority; a stamp of something else, looked at or not; a checkpoint
    // that the log has not signed; one that the tree did not grow from.
    assert_eq!(check(&bundle, &other).code, 1);
    place(&stamped, &authority.stamp(b"something else"));
    let harmed = export();
    assert_eq!((check(&harmed, &authority).code, python(&harmed, &[]).code), (1, 1));
    let foreign = String::from_utf8(stamped.clone()).unwrap().replacen("11825", "11824", 1);
    place(foreign.as_bytes(), &authority.stamp(foreign.as_bytes()));
    assert_eq!(check(&export(), &authority).code, 1);
    let another = Record::of_captures();
    let another = fs::read(another.dir().join("ledger/default/checkpoint")).unwrap();
    place(&another, &authority.stamp(&another));
    assert_eq!(check(&export(), &authority).code, 1);
    let hashes = file(&bundle, "default/stamp.hashes");
    fs::write(&hashes, "stamp 11825\n").unwrap();
    let ran = check(&bundle, &authority);
    assert!(ran.code == 1 && ran.err.contains("stamp.hashes"), "{}", ran.err);
}
