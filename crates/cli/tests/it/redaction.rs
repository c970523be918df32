//! What redaction takes out, and that it takes out nothing else.

use serde_json::Value;
use whodid_testkit::captures;

use crate::support::Record;

/// The paths at which two documents differ.
fn differences(a: &Value, b: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => {
            for (key, value) in x {
                differences(value, &y[key], &format!("{path}.{key}"), found);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                differences(x, y, &format!("{path}[{i}]"), found);
            }
        }
        _ if a == b => {}
        _ => found.push((path.to_owned(), b.clone())),
    }
}

/// What a record gives back, beside what came in.
struct Comparison {
    events: usize,
    unchanged: usize,
    /// Where values differ, and what is there now.
    different: Vec<(String, Value)>,
}

impl Comparison {
    fn of(came_in: Vec<String>, record: &Record) -> Self {
        let parsed = |texts: Vec<String>| {
            let key = |value: &Value| {
                let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                (text("auditID"), text("stage"), text("stageTimestamp"))
            };
            let parse = |text: &String| serde_json::from_str::<Value>(text).unwrap();
            let mut all: Vec<(String, Value)> =
                texts.into_iter().map(|text| (text.clone(), parse(&text))).collect();
            all.sort_by_key(|(_, value)| key(value));
            all
        };
        let (before, after) = (parsed(came_in), parsed(record.originals()));
        assert_eq!(before.len(), after.len());
        let mut different = Vec::new();
        let mut unchanged = 0;
        for ((old, a), (new, b)) in before.iter().zip(&after) {
            unchanged += usize::from(old == new);
            differences(a, b, "", &mut different);
        }
        println!(
            "{} events, {unchanged} unchanged, {} values differ",
            before.len(),
            different.len()
        );
        Comparison { events: before.len(), unchanged, different }
    }

    /// Whether exactly the 14 tokens of service accounts are gone, of a cluster that no longer
    /// exists.
    fn lists_the_tokens(&self) -> bool {
        let is_token = |(path, value): &(String, Value)| {
            path == ".responseObject.status.token"
                && value["$redacted"].is_string()
                && value["n"].as_u64() > Some(100)
        };
        self.unchanged == self.events - 14
            && self.different.len() == 14
            && self.different.iter().all(is_token)
    }
}

/// The difference to what came in lists exactly the redacted values.
#[test]
fn the_difference_is_what_was_redacted() {
    let file = captures::folder().join("broad-policy-all-stages.jsonl.zst").display().to_string();
    let record = Record::new();
    let said = record.run(&["import", &file]).ok();
    assert!(Comparison::of(captures::broad(), &record).lists_the_tokens());
    assert!(said.contains("14 values redacted by"), "{said}");
    let tokens = record.run(&["search", "body:eyJhbGciOi*", "-o", "name"]);
    assert_eq!(tokens.code, 1, "{}", tokens.out);
}

/// The negative controls: nothing redacted, and one value too many gone, are seen.
#[test]
fn another_difference_is_noticed() {
    let off = Record::of(&captures::broad());
    let nothing = Comparison::of(captures::broad(), &off);
    assert!(nothing.different.is_empty() && !nothing.lists_the_tokens());
    let mut altered = captures::broad();
    let event = altered.iter_mut().find(|event| event.contains(r#""verb":"delete""#)).unwrap();
    *event = event.replace(r#""verb":"delete""#, r#""verb":"remove""#);
    let record = Record::new();
    let file = record.file("events.jsonl", (altered.join("\n") + "\n").as_bytes());
    record.run(&["import", &file]).ok();
    assert!(!Comparison::of(captures::broad(), &record).lists_the_tokens());
}

#[test]
fn rules_of_ones_own() {
    let record = Record::new();
    let file = captures::folder().join("typical-policy.jsonl.zst").display().to_string();
    let rules = record.file("rules.yaml", b"rules: 7\n");
    let ran = record.run(&["import", "--redaction", &rules, &file]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--redaction") && ran.err.contains("rules.yaml"), "{}", ran.err);
    let ran = record.run(&["import", "--redaction", "/no/such/file", &file]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(!record.dir().exists(), "nothing was written");
}
