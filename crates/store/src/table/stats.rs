//! What a table's log says about a file's rows, in the JSON of the Delta protocol
//! ("Per-file Statistics"). Only numbers and times: names must not outlive their rows there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use whodid_event::time;

use super::FileStats;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    num_records: u64,
    #[serde(default)]
    min_values: Bounds,
    #[serde(default)]
    max_values: Bounds,
    #[serde(default)]
    null_count: BTreeMap<String, u64>,
}

#[derive(Default, Serialize, Deserialize)]
struct Bounds {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// Writes the statistics of a file.
pub(super) fn write(stats: &FileStats) -> String {
    let bounds = |seq, received, time: Option<i64>| Bounds {
        seq: Some(seq),
        received: Some(time::format(received)),
        time: time.map(time::format),
    };
    let mut null_count: BTreeMap<String, u64> =
        [("seq", 0), ("received", 0)].map(|(column, count)| (column.to_owned(), count)).into();
    if stats.time.is_some() {
        null_count.insert("time".into(), 0);
        null_count.insert("twin".into(), stats.rows - stats.twins);
    }
    let statistics = Statistics {
        num_records: stats.rows,
        min_values: bounds(stats.seq.0, stats.received.0, stats.time.map(|time| time.0)),
        max_values: bounds(stats.seq.1, stats.received.1, stats.time.map(|time| time.1)),
        null_count,
    };
    // Plain numbers and texts always have a JSON form.
    serde_json::to_string(&statistics).unwrap_or_default()
}

/// Reads the statistics of a file; `None` if they are not of this writer's making.
pub(super) fn read(json: &str) -> Option<FileStats> {
    let Statistics { num_records, min_values, max_values, null_count } =
        serde_json::from_str(json).ok()?;
    let instant = |text: Option<String>| time::parse(&text?);
    let time = match (min_values.time, max_values.time) {
        (None, None) => None,
        (low, high) => Some((instant(low)?, instant(high)?)),
    };
    Some(FileStats {
        rows: num_records,
        seq: (min_values.seq?, max_values.seq?),
        received: (instant(min_values.received)?, instant(max_values.received)?),
        time,
        twins: null_count.get("twin").map_or(0, |nulls| num_records.saturating_sub(*nulls)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for time in [None, Some((-1, 1_767_323_045_678_900))] {
            let stats = FileStats {
                rows: 10,
                seq: (5, 14),
                received: (1_767_323_045_678_900, 1_767_323_045_678_901),
                time,
                twins: if time.is_some() { 3 } else { 0 },
            };
            assert_eq!(read(&write(&stats)), Some(stats));
        }
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"numRecords":1}"#), None);
    }
}
