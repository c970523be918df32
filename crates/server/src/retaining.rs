//! How long events are kept: rules, warnings before a limit is reached, and letting the oldest go.
//! What may go, and how, is the store's to say; when it is looked for, [`crate::upkeep`]'s.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::PoisonError;

use whodid_store::{
    Clock, DataFile, Error, Limit, Plan, Rule, Snapshot, SystemClock, Table, VACUUM_GRACE, Writer,
    check_cluster,
};

use crate::App;

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// A cluster's growth is that of its last days.
const GROWTH_DAYS: i64 = 7;

/// A limit that will be reached in so many days is warned of, and then alarmed of.
const WARN_DAYS: f64 = 7.0;
const ALARM_DAYS: f64 = 2.0;

/// How much of a cluster is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// The cluster; `None` stands for all that have no rule of their own.
    pub cluster: Option<String>,
    /// How long events are kept, and in how many bytes of files.
    pub events: Limit,
    /// Whether the oldest goes when there are more; otherwise no more is taken in.
    pub prunes_when_full: bool,
    /// The same of bodies, of which the oldest always go.
    pub bodies: Limit,
}

/// `CLUSTER=[AGE][,SIZE][,refuse|prune][,bodies=AGE][,bodies=SIZE]`.
impl FromStr for Retained {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write CLUSTER=AGE, CLUSTER=SIZE or CLUSTER=AGE,SIZE,prune,bodies=AGE, with ages such \
             as 400d and sizes such as 200Gi; * stands for all other clusters"
                .to_owned()
        };
        let (cluster, limits) = text.split_once('=').ok_or_else(wrong)?;
        if cluster != "*" {
            check_cluster(cluster).map_err(|error| error.to_string())?;
        }
        let cluster = (cluster != "*").then(|| cluster.to_owned());
        let mut retained = Retained { cluster, ..Retained::default() };
        let mut on_full = None;
        for limit in limits.split(',') {
            let is_new = match limit {
                "refuse" => on_full.replace(false).is_none(),
                "prune" => on_full.replace(true).is_none(),
                limit => {
                    let (of, limit) = match limit.strip_prefix("bodies=") {
                        Some(limit) => (&mut retained.bodies, limit),
                        None => (&mut retained.events, limit),
                    };
                    match (age(limit), size(limit)) {
                        (Some(age), _) => of.age_max.replace(age).is_none(),
                        (_, Some(size)) => of.bytes_max.replace(size).is_none(),
                        _ => false,
                    }
                }
            };
            if !is_new {
                return Err(wrong());
            }
        }
        if on_full.is_some() && retained.events.bytes_max.is_none() {
            return Err("refuse and prune are for when a size is reached; name one".to_owned());
        }
        retained.prunes_when_full = on_full.unwrap_or(false);
        Ok(retained)
    }
}

/// Microseconds: a number and `h`, `d`, `w` or `y`.
fn age(text: &str) -> Option<i64> {
    let units = [("h", DAY / 24), ("d", DAY), ("w", 7 * DAY), ("y", 365 * DAY)];
    amount(text, &units).filter(|age| *age > 0)
}

/// Bytes: a number and `Ki`, `Mi`, `Gi` or `Ti`, as Kubernetes writes quantities.
fn size(text: &str) -> Option<u64> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1_i64 << 40)];
    amount(text, &units).and_then(|bytes| u64::try_from(bytes).ok())
}

fn amount(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    units.iter().find_map(|(suffix, unit)| {
        let digits = text.strip_suffix(suffix)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(*unit)
    })
}

impl Retained {
    /// The rule of a cluster.
    pub fn of<'a>(rules: &'a [Retained], cluster: &str) -> Option<&'a Retained> {
        let own = rules.iter().find(|rule| rule.cluster.as_deref() == Some(cluster));
        own.or_else(|| rules.iter().find(|rule| rule.cluster.is_none()))
    }

    /// What may go of a cluster.
    pub fn rule(rules: &[Retained], cluster: &str) -> Rule {
        Self::of(rules, cluster).map_or_else(Rule::default, |of| Rule {
            events: Limit {
                bytes_max: of.events.bytes_max.filter(|_| of.prunes_when_full),
                ..of.events
            },
            bodies: of.bodies,
        })
    }
}

/// Why it goes where somebody asked for it.
pub const BY_COMMAND: &str = "retention, by command";

/// Lets go what is past its retention; `why` is put on record with it. What comes back is what
/// could go of each cluster, whether that was anything or not.
///
/// # Errors
/// The disk refuses, or the record cannot be read.
pub async fn let_go(writer: &Writer, rules: &[Retained], why: &str) -> Result<Vec<Plan>, Error> {
    let plans = writer.retention(|cluster| Retained::rule(rules, cluster), SystemClock.now())?;
    for plan in plans.iter().filter(|plan| plan.to > plan.from) {
        writer.let_go(plan, why).await?;
    }
    writer.vacuum(VACUUM_GRACE).await?;
    Ok(plans)
}

/// The same, as a server does it by itself, which says what it did.
pub(crate) async fn prune(writer: &Writer, rules: &[Retained]) -> Result<(), Error> {
    for plan in let_go(writer, rules, "retention").await? {
        let Plan { cluster, table, from, to, held_by, .. } = plan;
        if let Some(hold) = held_by {
            tracing::info!(cluster, hold, "a hold keeps events that are past their retention");
        }
        if to > from {
            let what = table.name();
            tracing::info!(cluster, from, to, what, "what is past its retention was deleted");
        }
    }
    Ok(())
}

/// Looks which clusters are full, and warns of those that will be.
pub(crate) fn look(app: &App, rules: &[Retained], may_warn: bool) {
    if rules.is_empty() {
        return;
    }
    let snapshot = app.writer.snapshot();
    let clusters: BTreeSet<&str> =
        snapshot.files(Table::Events).iter().map(|file| &*file.cluster).collect();
    let mut full = BTreeSet::new();
    for cluster in clusters {
        let Some(rule) = Retained::of(rules, cluster) else { continue };
        let Some(max) = rule.events.bytes_max.filter(|_| !rule.prunes_when_full) else { continue };
        let (bytes, growth) = growth(&snapshot, cluster, SystemClock.now());
        if bytes >= max {
            full.insert(cluster.to_owned());
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let days = (max - bytes) as f64 / growth as f64;
        if may_warn && days <= ALARM_DAYS {
            tracing::error!(
                cluster,
                bytes,
                max,
                days,
                "no events will be taken in when it is full"
            );
        } else if may_warn && days <= WARN_DAYS {
            tracing::warn!(cluster, bytes, max, days, "it will be full");
        }
    }
    let mut known = app.full.lock().unwrap_or_else(PoisonError::into_inner);
    for cluster in full.difference(&known) {
        tracing::error!(cluster, "it is full: no events are taken in; raise its size, or prune");
    }
    *known = full;
}

/// The bytes of a cluster, and by how many it grows in a day.
fn growth(snapshot: &Snapshot, cluster: &str, now: i64) -> (u64, u64) {
    let tables = [Table::Events, Table::Bodies].map(|table| snapshot.files(table));
    let files = || tables.iter().copied().flatten().filter(|file| file.cluster == cluster);
    let sum = |files: &mut dyn Iterator<Item = &DataFile>| -> u64 { files.map(|f| f.bytes).sum() };
    let since = now.saturating_sub(GROWTH_DAYS * DAY);
    let first = files().map(|file| file.stats.received.0).min().unwrap_or(now).max(since);
    let days = now.saturating_sub(first).div_euclid(DAY).max(1).unsigned_abs();
    let newest = sum(&mut files().filter(|file| file.stats.received.0 >= since));
    (sum(&mut files()), (newest / days).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let cases = [
            ("prod=400d", Some("prod"), (Some(400 * DAY), None), false, (None, None)),
            ("*=1y,200Gi,prune", None, (Some(365 * DAY), Some(200 << 30)), true, (None, None)),
            ("a=10Ti,refuse", Some("a"), (None, Some(10 << 40)), false, (None, None)),
            ("a=2w,1Mi", Some("a"), (Some(14 * DAY), Some(1 << 20)), false, (None, None)),
            ("a=bodies=30d", Some("a"), (None, None), false, (Some(30 * DAY), None)),
            (
                "a=400d,bodies=30d,bodies=1Gi",
                Some("a"),
                (Some(400 * DAY), None),
                false,
                (Some(30 * DAY), Some(1 << 30)),
            ),
        ];
        let limit = |(age_max, bytes_max)| Limit { age_max, bytes_max };
        for (text, cluster, events, prunes_when_full, bodies) in cases {
            let cluster = cluster.map(str::to_owned);
            let (events, bodies) = (limit(events), limit(bodies));
            let wanted = Retained { cluster, events, prunes_when_full, bodies };
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        let wrong = [
            "",
            "prod",
            "prod=",
            "=400d",
            "a b=1d",
            "a=0d",
            "a=1d,2d",
            "a=1d,prune",
            "a=-1d",
            "a=+1d",
            "a=1m",
            "a=bodies=1d,bodies=2d",
            "a=bodies=prune",
            "a=bodies=1Gi,prune",
            "a=1Gi,2Gi",
            "a=1Gi,prune,refuse",
            "a=99999999999999y",
            "meta=1d",
        ];
        for text in wrong {
            assert!(text.parse::<Retained>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_own_rule_goes_before_that_of_all() {
        let rules = ["*=1d", "prod=2d,1Gi", "other=1Gi,prune"].map(|rule| rule.parse().unwrap());
        let age = |cluster| Retained::rule(&rules, cluster).events.age_max;
        assert_eq!((age("prod"), age("dev"), age("other")), (Some(2 * DAY), Some(DAY), None));
        let bytes = |cluster| Retained::rule(&rules, cluster).events.bytes_max;
        assert_eq!((bytes("prod"), bytes("other")), (None, Some(1 << 30)));
    }
}
