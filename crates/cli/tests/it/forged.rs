//! A record that somebody changed: what is said to whoever asks it before verifying it.

use std::fs;

use serde_json::Value;

use crate::support::Record;

/// What becomes of the statistics of a file.
type Lie<'a> = &'a dyn Fn(&mut Value);

/// Changes what the log of `events` says of each file, by `change` of its statistics.
fn forge(record: &Record, change: impl Fn(&mut Value)) {
    let mut forged = 0;
    for entry in fs::read_dir(record.dir().join("events/_delta_log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut lines = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let mut action: Value = serde_json::from_str(line).unwrap();
            if let Some(stats) = action.pointer_mut("/add/stats") {
                let mut said: Value = serde_json::from_str(stats.as_str().unwrap()).unwrap();
                change(&mut said);
                *stats = said.to_string().into();
                forged += 1;
            }
            lines += &format!("{action}\n");
        }
        fs::write(&path, lines).unwrap();
    }
    assert!(forged > 0);
}

/// What the log of a table says of a file is held against the file where rows are chosen by it: a
/// lie is said, or changes nothing; it never shows other events, nor stops the program.
#[test]
fn a_table_that_lies_about_its_files_is_found_out() {
    let add = |value: &mut Value, by: i64| *value = (value.as_i64().unwrap() + by).into();
    let rows = |by: i64| move |said: &mut Value| add(&mut said["numRecords"], by);
    let moved = |said: &mut Value| {
        add(&mut said["minValues"]["seq"], 3);
        add(&mut said["maxValues"]["seq"], 3);
    };
    let lies: [(&str, Lie<'_>); 3] =
        [("5 rows less", &rows(-5)), ("5 rows more", &rows(5)), ("3 leaves on", &moved)];
    let (mut said, mut harmless) = (0, 0);
    for (lie, change) in lies {
        for is_settled in [false, true] {
            let record = Record::of_captures();
            let any = record.run(&["search", "verb:get", "--limit", "1", "-o", "json"]).ok();
            let any: Value = serde_json::from_str(&any).unwrap();
            let id = format!("audit_id:{}", any["items"][0]["audit_id"].as_str().unwrap());
            if is_settled {
                record.run(&["compact"]).ok();
            }
            let ask = |query: &str| record.run(&["search", query, "--limit", "100", "-o", "name"]);
            let queries = ["verb:get", "body:image", id.as_str(), "resource:pods -verb:list"];
            let truth = queries.map(|query| ask(query).ok());
            forge(&record, change);
            for (query, truth) in queries.iter().zip(truth) {
                let ran = ask(query);
                let case = format!("{lie}, settled: {is_settled}, {query}: {}", ran.err);
                assert!(!ran.err.contains("panicked"), "{case}");
                match ran.code {
                    0 => assert_eq!(ran.out, truth, "{case}"),
                    _ => assert!(ran.out.is_empty(), "{case}"),
                }
                said += u32::from(ran.err.contains("the log of its table"));
                harmless += u32::from(ran.code == 0);
            }
        }
    }
    println!("{said} lies said, {harmless} without effect, of 24");
    assert!(said >= 12, "{said} lies said, {harmless} without effect");
}
