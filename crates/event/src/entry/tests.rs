//! Entries: the published vectors, their root by another author's tree, and the way there and back.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;

use super::*;
use crate::Event;
use crate::split::{EVENT_BYTES_MAX, HEAD_BYTES};

/// One vector of `docs/format/entry-vectors.json`, as far as it is input.
struct Case {
    why: &'static str,
    source: &'static str,
    input: Input,
}

enum Input {
    Event(String),
    RedactedRequest(String),
    Raw(Vec<u8>),
    Oversized(Vec<u8>),
}

fn event(more: &str) -> Input {
    Input::Event(format!(r#"{{"level":"Request","auditID":"a","verb":"create"{more}}}"#))
}

fn cases() -> Vec<Case> {
    let plain = "webhook/a";
    let case = |why, input| Case { why, source: plain, input };
    let long = |n: usize| "x".repeat(n);
    vec![
        case("an item without bodies", event("")),
        case("a line of a log file", Input::Event(r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"b","verb":"get"}"#.into())),
        case("a request body", event(r#","requestObject":{"spec":{"replicas":3}}"#)),
        case("both bodies; white space in a value counts", event(r#","requestObject":{ "a" : 1 },"responseObject":[1, "\u0026"]"#)),
        case("a request body redacted as a whole", Input::RedactedRequest(format!(r#"{{"verb":"create","requestObject":{},"responseObject":{{}}}}"#, placeholder()))),
        case("a body that looks like a commitment is committed like any other", event(r#","requestObject":{"$c":"AAAA"}"#)),
        Case { why: "a source and a name outside ASCII", source: "import/\"ä\\.log", input: event(r#","userAgent":"\u00e4😀""#) },
        case("too long: the largest value goes, of equals the first", event(&format!(r#","x":"{}","y":"{}","z":1"#, long(40_000), long(40_000)))),
        case("exactly as long as an entry may be", event(&format!(r#","x":"{}""#, long(ENTRY_BYTES_MAX - 159)))),
        case("one byte longer", event(&format!(r#","x":"{}""#, long(ENTRY_BYTES_MAX - 158)))),
        case("no event", Input::Raw(b"\xff\xfe no event".to_vec())),
        case("an event too long to keep", Input::Oversized(vec![b' '; EVENT_BYTES_MAX + 1])),
    ]
}

/// Writes a text as pieces, long runs of one character as `[character, count]`.
fn runs(text: &str) -> serde_json::Value {
    let mut pieces: Vec<serde_json::Value> = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|c| *c == first).count();
        let bytes = run * first.len_utf8();
        if run < 64 {
            plain.push_str(&rest[..bytes]);
        } else {
            pieces.push(std::mem::take(&mut plain).into());
            pieces.push(serde_json::json!([first.to_string(), run]));
        }
        rest = &rest[bytes..];
    }
    pieces.push(plain.into());
    pieces.into()
}

fn placeholder() -> String {
    crate::redact::placeholder("secrets", 17)
}

const KEY: BlockKey = [7; 32];
const SALTS: Salts<'_> = Salts::Key(&KEY);

fn place(seq: u64, source: &str) -> Place<'_> {
    Place {
        seq,
        cluster: "prod",
        source,
        received: 1_767_323_045_678_900 + (seq % 1_000).cast_signed(),
    }
}

fn build(seq: u64, case: &Case) -> Vec<u8> {
    let oversized;
    let content = match &case.input {
        Input::Event(text) => Content::Event { text, bodies: Bodies::default() },
        Input::RedactedRequest(text) => {
            let bodies = Bodies { request: Body::AsItIs, response: Body::Committed };
            Content::Event { text, bodies }
        }
        Input::Raw(bytes) => Content::Raw(bytes),
        Input::Oversized(bytes) => {
            use sha2::Digest;
            oversized = Oversized {
                head: bytes[..HEAD_BYTES].to_vec(),
                bytes: bytes.len() as u64,
                sha256: Sha256::digest(bytes).into(),
            };
            Content::Oversized(&oversized)
        }
    };
    entry(&place(seq, case.source), content, SALTS).unwrap()
}

/// The vectors as published. `WHODID_BLESS=1` writes them anew; the Python script beside them,
/// which shares no code with this, must agree.
#[test]
fn published_vectors() {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut vectors = Vec::new();
    for (seq, case) in (0..).zip(cases()) {
        let bytes = build(seq, &case);
        assert!(bytes.len() <= ENTRY_BYTES_MAX, "{}: {}", case.why, bytes.len());
        let entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(entry["seq"], seq);
        let input = match &case.input {
            Input::Event(text) => serde_json::json!({ "event": runs(text) }),
            Input::RedactedRequest(text) => {
                serde_json::json!({ "event": runs(text), "redacted": ["requestObject"] })
            }
            Input::Raw(bytes) => serde_json::json!({ "raw": BASE64.encode(bytes) }),
            Input::Oversized(bytes) => {
                serde_json::json!({ "oversized": runs(std::str::from_utf8(bytes).unwrap()) })
            }
        };
        vectors.push(serde_json::json!({
            "why": case.why,
            "seq": seq,
            "cluster": "prod",
            "source": case.source,
            "received": time::format(place(seq, case.source).received),
            "block_key": BASE64.encode(KEY),
            "input": input,
            "entry": runs(std::str::from_utf8(&bytes).unwrap()),
        }));
        tree.push(bytes);
    }
    assert_eq!(vectors.len(), 12);
    let root = BASE64.encode(tree.root().as_bytes());
    let published = serde_json::json!({ "root": root, "vectors": vectors });
    let path = whodid_testkit::captures::repository().join("docs/format/entry-vectors.json");
    if std::env::var_os("WHODID_BLESS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&published).unwrap() + "\n").unwrap();
    }
    let read: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        read == published,
        "entries changed; if the format did, WHODID_BLESS=1 writes the vectors anew"
    );
}

/// The entry of a case by way of a draft.
fn build_later(seq: u64, case: &Case) -> Vec<u8> {
    let mut drafts = Drafts::default();
    let mut values = [String::new(), String::new(), String::new()];
    match &case.input {
        Input::Event(text) | Input::RedactedRequest(text) => {
            let event = Event::parse(text.as_bytes()).unwrap();
            let is_whole = matches!(case.input, Input::RedactedRequest(_));
            let request = event.request_object.filter(|_| !is_whole);
            let bodies = [request, event.response_object];
            values = [bodies[0].unwrap_or_default(), bodies[1].unwrap_or_default(), ""]
                .map(str::to_owned);
            drafts.push_event(text, bodies);
        }
        Input::Raw(bytes) => drafts.push_raw(bytes),
        Input::Oversized(bytes) => {
            use sha2::Digest;
            let head = bytes[..HEAD_BYTES].to_vec();
            values[2] = format!("\"{}\"", BASE64.encode(&head));
            let sha256 = Sha256::digest(bytes).into();
            drafts.push_oversized(&Oversized { head, bytes: bytes.len() as u64, sha256 });
        }
    }
    let place = place(seq, case.source);
    let received = drafts.received(place.cluster, place.source, place.received);
    let value = |member: &str| match member {
        "requestObject" => &*values[0],
        "responseObject" => &*values[1],
        _ => &*values[2],
    };
    let mut out = b"of an entry before".to_vec();
    received.entry(0, seq, SALTS, value, &mut out).unwrap();
    out
}

#[test]
fn a_draft_becomes_the_same_entry() {
    for (seq, case) in (0..).zip(cases()) {
        assert_eq!(build_later(seq, &case), build(seq, &case), "{}", case.why);
    }
    let mut drafted = 0;
    for (_, events) in crate::testdata::captures() {
        for (seq, text) in (0..).zip(events) {
            let case = Case { why: "captured", source: "file/a", input: Input::Event(text) };
            assert_eq!(build_later(seq, &case), build(seq, &case), "event {seq}");
            drafted += 1;
        }
    }
    assert!(drafted > 5_000, "only {drafted} events");
}

#[test]
fn the_longest_entry_that_fits_is_not_committed() {
    let all = cases();
    assert_eq!(build(8, &all[8]).len(), ENTRY_BYTES_MAX);
    assert!(!String::from_utf8(build(8, &all[8])).unwrap().contains("\"$c\""));
    assert!(String::from_utf8(build(9, &all[9])).unwrap().contains(r#""x":{"$c":""#));
    let two = String::from_utf8(build(7, &all[7])).unwrap();
    assert!(two.contains(r#""x":{"$c":""#) && !two.contains(r#""y":{"$c":""#));
}

/// A commitment stands in for a value that is gone, also where more had to be committed to.
#[test]
fn a_body_that_is_gone_leaves_the_same_entry() {
    let at = place(300, "webhook/a");
    let long = "v".repeat(ENTRY_BYTES_MAX);
    for text in [
        r#"{"verb":"create","requestObject":{"a":1}}"#.to_owned(),
        format!(r#"{{"verb":"create","x":"{long}","requestObject":{{"a":1}},"y":"{long}"}}"#),
    ] {
        let content = Content::Event { text: &text, bodies: Bodies::default() };
        let whole = entry(&at, content, SALTS).unwrap();
        let members = committed(&whole).unwrap();
        let is_long = text.len() > ENTRY_BYTES_MAX;
        let shown_now: &[&str] =
            if is_long { &["x", "requestObject", "y"] } else { &["requestObject"] };
        assert_eq!(members, shown_now);
        let known = commitment(&salt(&KEY, 300, "requestObject"), "requestObject", br#"{"a":1}"#);
        let cut = without_bodies(&text, [true, false]).unwrap();
        let gone = with_bodies(&cut, [Some(&shown(&known)), None]).unwrap();
        let bodies = Bodies { request: Body::AsItIs, response: Body::Committed };
        // Its salt is not needed any more; those of others are.
        let salts = ["x", "y"].map(|name| (name.to_owned(), salt(&KEY, 300, name)));
        let kept = KeptSalts::from([(300, salts.into())]);
        for salts in [SALTS, Salts::Kept(&kept)] {
            let content = Content::Event { text: &gone, bodies };
            assert_eq!(entry(&at, content, salts).unwrap(), whole);
        }
        let content = Content::Event { text: &text, bodies: Bodies::default() };
        assert_ne!(entry(&at, content, Salts::Kept(&kept)).unwrap(), whole);
    }
}

#[test]
fn every_capture_fits_an_entry_and_comes_back() {
    let mut committed = 0;
    for (_, events) in crate::testdata::captures() {
        for (seq, text) in (0..).zip(&events) {
            let event = Event::parse(text.as_bytes()).unwrap();
            let content = Content::Event { text, bodies: Bodies::default() };
            let bytes = entry(&place(seq, "import/x"), content, SALTS).unwrap();
            assert!(bytes.len() <= ENTRY_BYTES_MAX);
            let shown = String::from_utf8(bytes).unwrap();
            for body in [event.request_object, event.response_object].into_iter().flatten() {
                assert!(body.len() < 80 || !shown.contains(body), "a body is in the leaf");
                committed += 1;
            }
            let cut = without_bodies(text, [true, true]).unwrap();
            let bodies = [event.request_object, event.response_object];
            assert_eq!(with_bodies(&cut, bodies).unwrap(), *text);
        }
    }
    assert!(committed > 5_000, "only {committed} bodies");
}

proptest! {
    /// However long its members are, an event has an entry that fits.
    #[test]
    fn every_event_has_an_entry(
        lengths in proptest::collection::vec(0_usize..30_000, 0..200),
        key_length in 1_usize..100,
    ) {
        let (key, value) = ("k".repeat(key_length), |n: &usize| "v".repeat(*n));
        let members = (0..)
            .zip(&lengths)
            .fold(String::new(), |all, (i, n)| all + &format!(r#","{key}{i}":"{}""#, value(n)));
        let text = format!(r#"{{"verb":"get"{members}}}"#);
        prop_assert!(Event::parse(text.as_bytes()).is_ok());
        let content = Content::Event { text: &text, bodies: Bodies::default() };
        let bytes = entry(&place(u64::MAX >> 1, &"\u{1}".repeat(512)), content, SALTS).unwrap();
        prop_assert!(bytes.len() <= ENTRY_BYTES_MAX, "{}", bytes.len());
    }

    #[test]
    fn hostile_text_never_panics(text in "\\PC{0,80}") {
        let content = Content::Event { text: &text, bodies: Bodies::default() };
        let _entry = entry(&place(0, "x"), content, SALTS);
        let _without = without_bodies(&text, [true, true]);
        let _with = with_bodies(&text, [Some("{}"), None]);
    }
}
