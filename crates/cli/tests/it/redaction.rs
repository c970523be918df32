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

/// The difference to what came in lists exactly the redacted values: the tokens of service
/// accounts, of a cluster that no longer exists.
#[test]
fn the_difference_is_what_was_redacted() {
    let file = captures::folder().join("broad-policy-all-stages.jsonl.zst").display().to_string();
    let record = Record::new();
    let said = record.run(&["import", &file]).ok();
    let key = |value: &Value| {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        (text("auditID"), text("stage"), text("stageTimestamp"))
    };
    let parse = |text: &String| serde_json::from_str::<Value>(text).unwrap();
    let mut before: Vec<(String, Value)> =
        captures::broad().into_iter().map(|text| (text.clone(), parse(&text))).collect();
    let mut after: Vec<(String, Value)> =
        record.originals().into_iter().map(|text| (text.clone(), parse(&text))).collect();
    before.sort_by_key(|(_, value)| key(value));
    after.sort_by_key(|(_, value)| key(value));
    assert_eq!(before.len(), after.len());
    let mut found = Vec::new();
    let mut unchanged = 0;
    for ((old, a), (new, b)) in before.iter().zip(&after) {
        unchanged += usize::from(old == new);
        differences(a, b, "", &mut found);
    }
    println!("{} events, {unchanged} unchanged, {} values differ", before.len(), found.len());
    assert_eq!((unchanged, found.len()), (before.len() - 14, 14), "{found:?}");
    for (path, value) in &found {
        assert_eq!(path, ".responseObject.status.token", "{value}");
        assert!(value["$redacted"].is_string() && value["n"].as_u64() > Some(100), "{value}");
    }
    assert!(said.contains("14 values redacted by"), "{said}");
    let tokens = record.run(&["search", "body:eyJhbGciOi*", "-o", "name"]);
    assert_eq!(tokens.code, 1, "{}", tokens.out);
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
