//! What kube-apiserver counts of its audit events (Kubernetes, "Auditing": metrics), held against
//! what was stored.

use std::collections::BTreeMap;

use super::Check;

/// The counters about auditing, from the text format of Prometheus.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Events that were made, once whatever the number of backends.
    pub events: Option<f64>,
    /// Events that were lost, by plugin.
    pub errors: BTreeMap<String, f64>,
    /// Requests that were refused because they could not be recorded.
    pub rejected: f64,
}

impl Metrics {
    /// Finds the counters in a text; all else is passed over.
    pub fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics::default();
        for line in text.lines().filter(|line| line.starts_with("apiserver_audit_")) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.trim().parse::<f64>() else { continue };
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            match name {
                "apiserver_audit_event_total" => {
                    metrics.events = Some(metrics.events.unwrap_or(0.0) + value);
                }
                "apiserver_audit_error_total" => {
                    let plugin = labels.split("plugin=\"").nth(1).and_then(|l| l.split('"').next());
                    *metrics.errors.entry(plugin.unwrap_or("?").to_owned()).or_default() += value;
                }
                "apiserver_audit_requests_rejected_total" => metrics.rejected += value,
                _ => {}
            }
        }
        metrics
    }
}

/// What is lost where, and what to do.
fn remedy(plugin: &str) -> &'static str {
    match plugin {
        "buffered" => {
            "its queue was full: raise --audit-webhook-batch-buffer-size, and see that whodid \
             answers quickly"
        }
        "webhook" => {
            "whodid did not answer five times, and the batch was dropped: let `whodid ship` read \
             the API server's own log besides, which takes in what the webhook lost"
        }
        "log" => "its log could not be written: is the disk full, or a line larger than maxsize?",
        "truncate" => {
            "events were larger than --audit-*-truncate-max-event-size: raise it, or record fewer \
             bodies"
        }
        _ => "ask the API server's log for `audit plugin`",
    }
}

/// What waits in a queue of the API server's is on its way.
const ON_ITS_WAY: f64 = 20_000.0;

/// What metrics say about loss.
#[expect(clippy::cast_precision_loss, reason = "counters are floating point")]
pub fn checks(metrics: Option<&Metrics>, stored: u64) -> Vec<Check> {
    let Some(metrics) = metrics else {
        let fix = "kubectl get --raw /metrics | whodid doctor --metrics -";
        return vec![Check::unknown("dropped", "kube-apiserver was not asked", fix)];
    };
    let Some(events) = metrics.events else {
        let fix = "is it kube-apiserver's /metrics, and is a policy with a backend set?";
        return vec![Check::fail("dropped", "there is no apiserver_audit_event_total", fix)];
    };
    let lost: Vec<_> = metrics.errors.iter().filter(|(_, count)| **count > 0.0).collect();
    let mut checks = Vec::new();
    if lost.is_empty() {
        checks.push(Check::pass("dropped", "kube-apiserver dropped nothing since it started"));
    }
    for (plugin, count) in lost {
        let what = format!("kube-apiserver lost {count} events since it started ({plugin})");
        checks.push(Check::fail("dropped", what, remedy(plugin)));
    }
    if metrics.rejected > 0.0 {
        let what =
            format!("{} requests were refused as they could not be recorded", metrics.rejected);
        checks.push(Check::fail("rejected", what, "blocking-strict needs a backend that answers"));
    }
    if stored as f64 + ON_ITS_WAY < events {
        let what =
            format!("this API server made {events} events since it started, {stored} are stored");
        let fix = "with several clusters, say which with --cluster; else see what was dropped";
        checks.push(Check::fail("stored", what, fix));
    } else {
        let what =
            format!("it made {events} events since it started; {stored} are stored, of all times");
        checks.push(Check::pass("stored", what));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Outcome;

    #[test]
    fn loss_is_told_by_plugin() {
        let text = "# HELP x\napiserver_audit_event_total 1200\n\
                    apiserver_audit_error_total{plugin=\"buffered\"} 3\n\
                    apiserver_audit_error_total{plugin=\"webhook\"} 0\nother 1\n";
        let metrics = Metrics::parse(text);
        assert_eq!((metrics.events, metrics.errors.len()), (Some(1200.0), 2));
        let outcomes = |metrics, stored| -> Vec<Outcome> {
            checks(metrics, stored).iter().map(|check| check.outcome).collect()
        };
        assert_eq!(outcomes(Some(&metrics), 1_200), [Outcome::Fail, Outcome::Pass]);
        let many = Metrics { events: Some(1e6), ..Metrics::default() };
        assert_eq!(outcomes(Some(&many), 5), [Outcome::Pass, Outcome::Fail]);
        let other = Metrics::parse("x 1");
        assert_eq!(outcomes(Some(&other), 5), [Outcome::Fail]);
        assert_eq!(outcomes(None, 5), [Outcome::NotKnown]);
    }
}
