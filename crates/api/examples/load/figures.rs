//! How long things took, in a few figures.

use std::time::Duration;

use serde_json::{Value, json};

/// Median, 99th percentile and maximum, in milliseconds.
pub(crate) fn millis(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |part: usize| {
        let place = (times.len() * part / 100).min(times.len().saturating_sub(1));
        times.get(place).map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0)
    };
    json!({ "p50": at(50), "p99": at(99), "max": at(100), "count": times.len() })
}
