//! Splitting: a table of streams, every one cut at every place, and the captured webhook bodies.

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use whodid_testkit::captures;

use super::*;

fn value(text: &str) -> String {
    format!("+{text}")
}

fn broken(text: &str) -> String {
    format!("!{text}")
}

/// Feeds the stream in the given pieces; values come out marked `+`, broken items `!`.
fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut splitter = Splitter::default();
    let mut out = Vec::new();
    let drain = |splitter: &mut Splitter, out: &mut Vec<String>| {
        while let Some(item) = splitter.next_item() {
            out.push(match item {
                Item::Value(bytes) => value(&String::from_utf8_lossy(bytes)),
                Item::Broken(bytes) => broken(&String::from_utf8_lossy(bytes)),
                Item::Oversized(oversized) => format!(
                    "~{} {} {}",
                    oversized.bytes,
                    oversized.head.len(),
                    hex(&oversized.sha256)
                ),
            });
        }
    };
    for piece in pieces {
        splitter.push(piece);
        drain(&mut splitter, &mut out);
    }
    splitter.finish();
    drain(&mut splitter, &mut out);
    assert!(splitter.next_item().is_none());
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn check(stream: &str, expected: &[String]) {
    assert_eq!(split([stream.as_bytes()]), expected, "whole: {stream}");
    assert_eq!(split(stream.as_bytes().chunks(1)), expected, "bytewise: {stream}");
    for cut in 0..stream.len() {
        let (head, tail) = stream.as_bytes().split_at(cut);
        assert_eq!(split([head, tail]), expected, "cut at {cut}: {stream}");
    }
}

#[test]
fn documents_and_lists() {
    for (stream, items) in [
        ("", vec![]),
        (" \n\t\r\n ", vec![]),
        ("{}", vec!["{}"]),
        ("\u{feff}{}\n{}", vec!["{}", "{}"]),
        ("\u{feff}", vec![]),
        ("{\"a\":1}\r\n{\"a\":[2,{}]}\n\n", vec!["{\"a\":1}", "{\"a\":[2,{}]}"]),
        (
            "{\n  \"a\": \"}\\\"\",\n  \"b\": [\n1]\n}\n{}",
            vec!["{\n  \"a\": \"}\\\"\",\n  \"b\": [\n1]\n}", "{}"],
        ),
        ("{}{} {}", vec!["{}", "{}", "{}"]),
        (
            r#"{"kind":"EventList","metadata":{"items":[1]},"items":[{"a":"]"}, {"b":[{}]} ],"x":["y",{}]}"#,
            vec![r#"{"a":"]"}"#, r#"{"b":[{}]}"#],
        ),
        (r#"{"items":[]}{"items":[{}]}{"a":0}"#, vec!["{}", r#"{"a":0}"#]),
        (r#"{"kind":"Event","items":[{}]}"#, vec![r#"{"kind":"Event","items":[{}]}"#]),
        (r#"{"a":{"items":[{}]},"items":"none"}"#, vec![r#"{"a":{"items":[{}]},"items":"none"}"#]),
        ("[{}, 1 ,\"x\",[2],null]\n{}", vec!["{}", "1", "\"x\"", "[2]", "null", "{}"]),
        (r#"{"\u0061":"\\","b":-1.5e+3}"#, vec![r#"{"\u0061":"\\","b":-1.5e+3}"#]),
    ] {
        check(stream, &items.into_iter().map(value).collect::<Vec<_>>());
    }
}

#[test]
fn broken_lines_cost_no_other_line() {
    for (stream, items) in [
        ("hello world\n{}\n", vec![broken("hello world"), value("{}")]),
        ("{\"a\":\"cut\n{}\n", vec![broken("{\"a\":\"cut"), value("{}")]),
        ("{\"a\":\n{}\n{}\n", vec![broken("{\"a\":"), value("{}"), value("{}")]),
        ("{\"a\":{\"b\":1\n{}\n", vec![broken("{\"a\":{\"b\":1"), value("{}")]),
        ("{} trailing\n{}", vec![value("{}"), broken("trailing"), value("{}")]),
        ("{}\n}\n{}", vec![value("{}"), broken("}"), value("{}")]),
        ("{\"a\" 1}\n{}", vec![broken("{\"a\" 1}"), value("{}")]),
        ("[1,]\n{}", vec![value("1"), broken("]"), value("{}")]),
        (
            "{\"items\":[{},oops:1]}\n{}",
            vec![value("{}"), value("oops"), broken(":1]}"), value("{}")],
        ),
        ("{\"a\":1", vec![broken("{\"a\":1")]),
        ("{\"a\":1,\n{}\n\"b\"", vec![broken("{\"a\":1,"), value("{}"), broken("\"b\"")]),
        ("\u{0}\u{0}\n{}", vec![broken("\u{0}\u{0}"), value("{}")]),
        ("\"text\"\n{}", vec![broken("\"text\""), value("{}")]),
    ] {
        check(stream, &items);
    }
}

/// Found by the fuzzer: a pause between the break and its line end started the count anew.
#[test]
fn patience_does_not_depend_on_pieces() {
    // Each time, the first line is the shell of a list, and the second a broken item of it.
    let stream = "[\n".repeat(22) + "}\n{}";
    let mut expected = vec![broken("["); 9];
    expected.extend([broken("[\n[\n[\n}"), value("{}")]);
    check(&stream, &expected);
}

#[test]
fn captured_webhook_bodies_hold_529_items() {
    let bodies = captures::webhook_bodies();
    let mut items = 0;
    for body in &bodies {
        let whole = split([body.as_bytes()]);
        for size in [1, 2, 3, 7, 4_096] {
            assert_eq!(split(body.as_bytes().chunks(size)), whole);
        }
        let joined = whole.iter().map(|item| item.strip_prefix('+').unwrap()).collect::<Vec<_>>();
        let shell = r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#;
        assert_eq!(*body, format!("{shell}{}]}}", joined.join(",")));
        items += whole.len();
    }
    assert_eq!(items, 529);
}

/// Whatever position a stream was left at, going on from there gives the rest, none twice.
#[test]
fn every_position_resumes() {
    let stream = "{\"a\":1}\n{\"items\":[{\"b\":1},{\"b\":2},{\"b\":3}]}\nbad\n[{\"c\":1},{\"c\":2}]{\"d\":1}\n";
    let whole = split([stream.as_bytes()]);
    let mut splitter = Splitter::default();
    splitter.push(stream.as_bytes());
    splitter.finish();
    for taken in 0..=whole.len() {
        let position = splitter.position();
        let mut resumed = Splitter::resume(position);
        let rest = stream.as_bytes().split_at(usize::try_from(position.offset).unwrap()).1;
        resumed.push(rest);
        resumed.finish();
        let mut count = 0;
        while resumed.next_item().is_some() {
            count += 1;
        }
        assert_eq!(taken + count, whole.len(), "after {taken} items, from {position:?}");
        assert_eq!(splitter.next_item().is_some(), taken < whole.len());
    }
}

#[test]
fn an_oversized_item_leaves_size_hash_and_head() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(EVENT_BYTES_MAX));
    let stream = format!("{{\"items\":[{{}},{long},{{}}]}}\n{long}\n{{}}");
    let sum = hex(&Sha256::digest(&long));
    let expected = vec![
        value("{}"),
        format!("~{} {HEAD_BYTES} {sum}", long.len()),
        value("{}"),
        format!("~{} {HEAD_BYTES} {sum}", long.len()),
        value("{}"),
    ];
    assert_eq!(split(stream.as_bytes().chunks(1 << 16)), expected);
}

#[test]
fn memory_stays_bounded_by_one_event() {
    let mut splitter = Splitter::default();
    let endless = "y".repeat(1 << 20);
    splitter.push(b"{\"a\":\"");
    for _ in 0..64 {
        splitter.push(endless.as_bytes());
        assert!(splitter.next_item().is_none());
        assert!(splitter.buffer.len() <= EVENT_BYTES_MAX + (2 << 20), "{}", splitter.buffer.len());
    }
}

/// 40,000 lines that each open an array make the splitter start anew at most a few times per
/// byte, not once per line.
#[test]
fn hostile_nesting_is_read_in_linear_time() {
    let stream = "[\n".repeat(40_000) + "}\n";
    let items = split([stream.as_bytes()]);
    assert!(items.len() < 100, "{}", items.len());
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\""),
                Just("\n"), Just("\\"), Just("\"items\""), Just("\"kind\":\"Event\""), Just("{}"),
                Just("{\"items\":["), Just("1"), Just(" "), Just("x"), Just("\u{feff}")
            ], 0..40),
        cut in 1_usize..9,
    ) {
        let stream = pieces.concat();
        let whole = split([stream.as_bytes()]);
        prop_assert_eq!(&split(stream.as_bytes().chunks(cut)), &whole);
        // Nothing but white space and list shells is left out: every quoted word stays.
        let out: String = whole.iter().map(|item| item[1..].to_owned()).collect();
        prop_assert!(out.len() <= stream.len());
    }
}
