//! The generator: the same again, events in every line, and cardinalities.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::*;

fn lines(seed: u64, options: Options, count: usize) -> Vec<String> {
    let mut generator = Generator::new(seed, options);
    let mut out = Vec::new();
    (0..count).for_each(|_| generator.next_into(&mut out));
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_seed_decides() {
    let options = Options { odd: true, ..Options::default() };
    assert_eq!(lines(7, options, 3_000), lines(7, options, 3_000));
    assert_ne!(lines(7, options, 10), lines(8, options, 10));
}

#[test]
fn every_line_is_an_event() {
    let keys = "kind apiVersion level auditID stage requestURI verb user sourceIPs userAgent \
        requestReceivedTimestamp stageTimestamp";
    let lines = lines(1, Options::default(), 20_000);
    assert_eq!(lines.len(), 20_000);
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap();
        for key in keys.split_whitespace() {
            assert!(event.get(key).is_some(), "no {key}: {line}");
        }
        let is_receipt = event["stage"] == "RequestReceived";
        assert_eq!(event.get("responseStatus").is_none(), is_receipt, "{line}");
        assert!(!is_receipt || event["requestReceivedTimestamp"] == event["stageTimestamp"]);
    }
    let mean = lines.iter().map(|line| line.len() + 1).sum::<usize>() / lines.len();
    assert!((1_600..2_100).contains(&mean), "{mean} bytes");
}

#[test]
fn cardinalities_are_those_of_a_cluster() {
    let events: Vec<Value> = lines(1, Options::default(), 40_000)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let distinct = |pointer: &str| -> usize {
        let texts = events.iter().filter_map(|event| event.pointer(pointer)?.as_str());
        texts.collect::<HashSet<_>>().len()
    };
    // One in a hundred comes again; one request in ten has two stages.
    assert!((35_000..36_500).contains(&distinct("/auditID")), "{}", distinct("/auditID"));
    assert!((60..75).contains(&distinct("/objectRef/namespace")));
    assert!((390..=401).contains(&distinct("/sourceIPs/0")));
    assert!((3_500..6_000).contains(&distinct("/objectRef/name")));
    let people = |event: &Value| {
        event["user"]["username"].as_str()?.strip_suffix("@example.com").map(str::to_owned)
    };
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in events.iter().filter_map(people) {
        *counts.entry(name).or_default() += 1;
    }
    let busiest = counts.values().max().unwrap() * 100 / counts.values().sum::<usize>();
    assert!(counts.len() >= 40 && (25..75).contains(&busiest), "{counts:?}");
}

/// The corpus that peers were measured on has 1,830 bytes an event, and 166 once zstd -3 is through
/// with it; repetition is as rare here, so that figures can be compared.
#[test]
fn events_are_as_long_and_as_various_as_those_of_the_peers() {
    let mut generator = Generator::new(7, Options::default());
    let mut text = Vec::new();
    (0..50_000).for_each(|_| generator.next_into(&mut text));
    let packed = zstd::bulk::compress(&text, 3).unwrap();
    let (length, packed) = (text.len() / 50_000, packed.len() / 50_000);
    assert!((1_700..1_900).contains(&length), "{length} bytes");
    assert!((150..185).contains(&packed), "{packed} bytes, packed");
}

#[test]
fn time_passes_at_the_rate_asked_for() {
    let options =
        Options { start_micros: 0, events_per_second: 1_000.0, resent: false, odd: false };
    let lines = lines(1, options, 20_000);
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let last = last["requestReceivedTimestamp"].as_str().unwrap();
    // 20,000 lines are about 18,300 requests.
    assert!(("1970-01-01T00:00:17"..="1970-01-01T00:00:19.5").contains(&last), "{last}");
}

#[test]
fn stages_of_one_request_share_its_identity() {
    let options = Options { resent: false, ..Options::default() };
    let lines = lines(1, options, 10_000);
    let mut pairs = 0;
    for pair in lines.windows(2) {
        let [first, second]: [Value; 2] = [0, 1].map(|i| serde_json::from_str(&pair[i]).unwrap());
        if first["stage"] == "RequestReceived" {
            pairs += 1;
            assert_eq!(second["stage"], "ResponseComplete");
            for key in ["auditID", "requestReceivedTimestamp", "user", "verb", "requestURI"] {
                assert_eq!(first[key], second[key], "{first}");
            }
        }
    }
    assert!((700..1_100).contains(&pairs), "{pairs} of 10,000 lines are receipts");
}

#[test]
fn one_in_a_hundred_comes_again_within_two_thousand() {
    let lines = lines(1, Options::default(), 50_000);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut again = 0;
    for (number, line) in lines.iter().enumerate() {
        if let Some(before) = seen.insert(line, number) {
            again += 1;
            assert!(number - before <= RESENT_WITHIN + 50, "{before} again at {number}");
        }
    }
    assert!((350..650).contains(&again), "{again} of 50,000");
    let once = self::lines(1, Options { resent: false, ..Options::default() }, 5_000);
    assert_eq!(once.iter().collect::<HashSet<_>>().len(), once.len());
}

#[test]
fn odd_lines_are_odd_in_four_ways() {
    let options = Options { odd: true, resent: false, ..Options::default() };
    let mut found = [0; 4];
    for line in lines(1, options, 50_000) {
        let way = match serde_json::from_str::<Value>(&line) {
            Err(_) if line.starts_with('{') => 2,
            Err(_) => 3,
            Ok(event) if event.get("stage").is_none() => 1,
            Ok(_) if !line.starts_with("{\"kind\"") => 0,
            Ok(_) => continue,
        };
        found[way] += 1;
    }
    let all: usize = found.iter().sum();
    assert!((25..90).contains(&all) && found.iter().all(|count| *count > 0), "{found:?}");
}

#[test]
fn values_are_found_where_they_stand() {
    let text = r#"{"auditID":"x-1","a":"web-6759c697b8-x7k2m","data":{"\"data\":":1},"ns":"data","p":"bob@example.com","n":["system:node:node-17","no-node-x"],"i":"10.2.3.4","v":"10.2","u":"0b0e1d6e-5f0a-4c3b-9d2e-111213141516","t":"2026-11-22T17:24:59Z","resourceVersion":"809","h":"sha256:HASH"}"#
        .replace("HASH", &"0f".repeat(32));
    let template = Template::cut(&text);
    let form = &template.answered;
    let ends = form.pieces.iter().skip(1).map(|piece| piece.text.start).chain([form.tail.start]);
    let values: Vec<_> =
        form.pieces.iter().zip(ends).map(|(piece, end)| &text[piece.text.end..end]).collect();
    let sum = "0f".repeat(32);
    let expected = [
        "x-1",
        "-6759c697b8-x7k2m",
        "data",
        "bob@example.com",
        "node-17",
        "10.2.3.4",
        "0b0e1d6e-5f0a-4c3b-9d2e-111213141516",
        "2026-11-22T17:24:59Z",
        "809",
        &sum,
    ];
    assert_eq!(values, expected);
}
