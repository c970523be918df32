//! What the server counts, in the OpenMetrics text format. Labels are bounded: no names that a
//! client chose, no queries.

use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use whodid_ingest::Taken;

use crate::problem::Problem;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    kind: &'static str,
}

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    events: Family<Event, Counter>,
    bytes: Counter,
    seconds: Histogram,
    in_flight: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // From a millisecond to the 30 seconds after which kube-apiserver gives up.
        const BOUNDS: [f64; 12] =
            [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
        let mut metrics = Metrics {
            registry: Registry::with_prefix("whodid"),
            requests: Family::default(),
            events: Family::default(),
            bytes: Counter::default(),
            seconds: Histogram::new(BOUNDS),
            in_flight: Gauge::default(),
        };
        let Metrics { registry, requests, events, bytes, seconds, in_flight } = &mut metrics;
        registry.register("ingest_requests", "Requests to the webhook", requests.clone());
        registry.register("ingest_events", "Events taken in", events.clone());
        registry.register_with_unit(
            "ingest",
            "Length of bodies taken in, unpacked",
            Unit::Bytes,
            bytes.clone(),
        );
        registry.register_with_unit(
            "ingest_request_duration",
            "Time until a request to the webhook was answered",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register_with_unit(
            "ingest_in_flight",
            "Memory reserved for bodies in flight",
            Unit::Bytes,
            in_flight.clone(),
        );
        metrics
    }

    /// Counts a request to the webhook.
    pub(crate) fn request(&self, took: Duration, result: &Result<Taken, Problem>) {
        let code = result.as_ref().map_or_else(Problem::status, |_| 200);
        self.requests.get_or_create(&Answer { code }).inc();
        self.seconds.observe(took.as_secs_f64());
        let Ok(taken) = result else { return };
        self.bytes.inc_by(taken.bytes);
        let new = taken.events.saturating_sub(taken.duplicates + taken.raw);
        let kinds = [("new", new), ("duplicate", taken.duplicates), ("raw", taken.raw)];
        for (kind, count) in kinds {
            self.events.get_or_create(&Event { kind }).inc_by(count);
        }
    }

    /// Writes them all.
    pub(crate) fn answer(&self, in_flight: usize) -> Response {
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _written = encode(&mut text, &self.registry);
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], text).into_response()
    }
}
