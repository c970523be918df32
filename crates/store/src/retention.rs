//! Retention: what of a cluster may go, oldest first and in whole units of the tree, and letting it
//! go. That it went is in the meta log before; what is held stays. The trees stay whole: their
//! tiles are kept, so that every proof and every checkpoint there ever was can still be checked.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use whodid_event::time::{self, Micros};

use crate::compact;
use crate::error::{Error, Result};
use crate::keys;
use crate::ledger::{Hold, Record, Signed, meta};
use crate::reader::Reader;
use crate::snapshot::Snapshot;
use crate::table::DataFile;
use crate::writer::Writer;

/// Leaves go in units of so many, which a tile of the tree has the hashes above.
pub const UNIT_LEAVES: u64 = 65_536;

/// What is kept of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Events that were taken in longer ago may go, in microseconds.
    pub age_max: Option<Micros>,
    /// The oldest may go while the files of the cluster are larger, in bytes.
    pub bytes_max: Option<u64>,
}

/// Leaves of one cluster that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// The first leaf that there is,
    pub from: u64,
    /// and the first that stays.
    pub to: u64,
    /// When the last that goes was taken in, at the latest.
    pub last_received: Micros,
    /// The bytes of files that go as a whole; more becomes free where a file is cut.
    pub bytes: u64,
    /// The hold without which more would go.
    pub held_by: Option<String>,
}

/// What there is of a cluster.
struct Stock<'a> {
    cluster: &'a str,
    events: Vec<&'a DataFile>,
    all: Vec<&'a DataFile>,
    /// The tree is durable up to here, and everybody who signs it has seen it.
    settled: u64,
}

impl Stock<'_> {
    fn from(&self) -> u64 {
        self.events.iter().map(|file| file.stats.seq.0).min().unwrap_or(0)
    }

    /// The files of which something goes when everything before `to` does.
    fn going(&self, to: u64) -> impl Iterator<Item = &&DataFile> {
        self.events.iter().filter(move |file| file.stats.seq.0 < to)
    }

    /// When the last event before `to` was taken in, at the latest.
    fn last_received(&self, to: u64) -> Option<Micros> {
        self.going(to).map(|file| file.stats.received.1).max()
    }

    fn bytes_before(&self, to: u64) -> u64 {
        let gone = self.all.iter().filter(|file| file.stats.seq.1 < to);
        gone.map(|file| file.bytes).sum()
    }

    /// How far the oldest may go by a rule, whatever holds it.
    fn end(&self, rule: Rule, now: Micros) -> u64 {
        let total: u64 = self.all.iter().map(|file| file.bytes).sum();
        let is_old = |to: u64| {
            let age = self.last_received(to).map(|last| now.saturating_sub(last));
            age.zip(rule.age_max).is_some_and(|(age, max)| age > max)
        };
        // While what is left before this unit goes, too, is still too much.
        let is_too_much = |to: u64| {
            rule.bytes_max.is_some_and(|max| total - self.bytes_before(to - UNIT_LEAVES) > max)
        };
        self.units().take_while(|to| is_old(*to) || is_too_much(*to)).last().unwrap_or(0)
    }

    /// Where units end that may go.
    fn units(&self) -> impl Iterator<Item = u64> {
        let first = self.from() / UNIT_LEAVES + 1;
        let end = self.events.iter().map(|file| file.stats.seq.1).max().unwrap_or(0);
        // The newest events stay, whatever the rule says.
        (first..=self.settled.min(end) / UNIT_LEAVES).map(|unit| unit * UNIT_LEAVES)
    }

    /// What goes, unless a hold forbids it.
    fn plan(&self, rule: Rule, holds: &BTreeMap<String, Hold>, now: Micros) -> Option<Plan> {
        let mut to = self.end(rule, now);
        let from = self.from();
        if to <= from {
            return None;
        }
        let mut held_by = None;
        for (name, hold) in holds.iter().filter(|(_, hold)| hold.cluster == self.cluster) {
            let is_free = |to: &u64| {
                let files = self.going(*to).map(|file| file.stats.received);
                !files.into_iter().any(|received| hold.covers(received))
            };
            let free = self.units().take_while(is_free).last().unwrap_or(from);
            if free < to {
                (to, held_by) = (free.max(from), Some(name.clone()));
            }
        }
        let last_received = self.last_received(to).unwrap_or_default();
        let bytes = self.bytes_before(to);
        let cluster = self.cluster.to_owned();
        Some(Plan { cluster, from, to, last_received, bytes, held_by })
    }
}

/// What may go by these rules; a plan whose `to` is its `from` is held as a whole.
fn plans(
    snapshot: &Snapshot,
    holds: &BTreeMap<String, Hold>,
    rule: impl Fn(&str) -> Rule,
    now: Micros,
) -> Result<Vec<Plan>> {
    let mut plans = Vec::new();
    let clusters: Vec<&str> = snapshot.segment_ends().into_keys().collect();
    for cluster in clusters {
        let rule = rule(cluster);
        let Some(settled) = settled(snapshot, cluster)?.filter(|_| rule != Rule::default()) else {
            continue;
        };
        let of_cluster = |file: &&DataFile| file.cluster == cluster;
        let events: Vec<&DataFile> = snapshot.files.events.iter().filter(of_cluster).collect();
        let bodies = snapshot.files.bodies.iter().filter(of_cluster);
        let all = events.iter().copied().chain(bodies).collect();
        plans.extend(Stock { cluster, events, all, settled }.plan(rule, holds, now));
    }
    Ok(plans)
}

/// Up to where the tree of a cluster is durable without its leaves, and seen by all who sign it.
fn settled(snapshot: &Snapshot, cluster: &str) -> Result<Option<u64>> {
    let signed = Signed::read(&snapshot.disk, cluster)?;
    Ok(signed.map(|signed| {
        let least = signed.heads().map(|head| head.size).min().unwrap_or(0);
        least.min(signed.edge_head().size)
    }))
}

impl Reader {
    /// What may go by these rules, which are asked for by cluster.
    ///
    /// # Errors
    /// The record cannot be read.
    pub async fn retention(&self, rule: impl Fn(&str) -> Rule, now: Micros) -> Result<Vec<Plan>> {
        let snapshot = self.snapshot().await?;
        plans(&snapshot, &self.holds()?, rule, now)
    }

    /// The holds that are in force, by name.
    ///
    /// # Errors
    /// The meta log is damaged.
    pub fn holds(&self) -> Result<BTreeMap<String, Hold>> {
        Ok(meta::standing(&*self.disk)?.holds)
    }
}

impl Writer {
    /// What may go by these rules, which are asked for by cluster.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn retention(&self, rule: impl Fn(&str) -> Rule, now: Micros) -> Result<Vec<Plan>> {
        plans(&self.snapshot(), &meta::standing(&*self.disk)?.holds, rule, now)
    }

    /// Lets go what a plan says; when it returns, that it went is on record, and nothing finds it
    /// any more. Files stay ten minutes for those who still read them.
    ///
    /// # Errors
    /// A hold forbids it, or the disk refuses; it can be repeated then.
    pub async fn prune(&self, plan: &Plan, reason: &str) -> Result<()> {
        let Plan { cluster, from, to, last_received, .. } = plan;
        if to % UNIT_LEAVES != 0 || settled(&self.snapshot(), cluster)?.is_none_or(|end| end < *to)
        {
            return Err(Error::Invalid(format!("leaf {to} of {cluster} is no place to prune to")));
        }
        let files = self.snapshot().files;
        let is_going = |file: &&DataFile| file.cluster == *cluster && file.stats.seq.0 < *to;
        let going = || files.events.iter().filter(is_going);
        let holds = meta::standing(&*self.disk)?.holds;
        let of_cluster = holds.iter().filter(|(_, hold)| hold.cluster == *cluster);
        for (name, hold) in of_cluster {
            if going().any(|file| hold.covers(file.stats.received)) {
                return Err(Error::Invalid(format!(
                    "the hold {name:?} forbids to prune {cluster}"
                )));
            }
        }
        let record = Record::Prune {
            cluster: cluster.clone(),
            from: *from,
            to: *to,
            last_received: time::format(*last_received),
            reason: reason.to_owned(),
        };
        self.record(vec![record]).await?;
        compact::cut(&self.writing(), cluster, *to).await?;
        // Commitments to what is gone say nothing without them.
        keys::forget(&*self.disk, cluster, *to)
    }

    /// Deletes the files of both tables that nothing has listed for so long.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn vacuum(&self, grace: TimeDelta) -> Result<usize> {
        compact::vacuum(&self.writing(), grace).await
    }

    /// A hold that is about nothing protects nothing, and nobody would notice.
    fn check_hold(&self, hold: &Hold) -> Result<()> {
        if !keys::clusters(&*self.disk)?.contains(&hold.cluster) {
            let why = format!("there is no cluster {} in the record", hold.cluster);
            return Err(Error::Invalid(why));
        }
        let instant = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => time::parse(text).map(Some).ok_or_else(|| {
                Error::Invalid(format!("{text:?} is no time; write 2026-01-31T00:00:00Z"))
            }),
        };
        match (instant(&hold.since)?, instant(&hold.until)?) {
            (Some(since), Some(until)) if until < since => {
                Err(Error::Invalid("the hold ends before it begins".into()))
            }
            _ => Ok(()),
        }
    }

    /// Puts a hold on events, or takes one away.
    ///
    /// # Errors
    /// There is one of this name already, or none.
    pub async fn hold(&self, name: &str, hold: Option<Hold>, reason: &str) -> Result<()> {
        let is_text = |text: &str| !text.trim().is_empty() && !text.contains(char::is_control);
        if !is_text(name) || !is_text(reason) {
            return Err(Error::Invalid("a hold has a name and a reason, of one line".into()));
        }
        if let Some(hold) = &hold {
            self.check_hold(hold)?;
        }
        let known = meta::standing(&*self.disk)?.holds.contains_key(name);
        let (name, reason) = (name.to_owned(), reason.to_owned());
        let record = match hold {
            Some(_) if known => {
                return Err(Error::Invalid(format!("there is a hold {name:?} already")));
            }
            None if !known => return Err(Error::Invalid(format!("there is no hold {name:?}"))),
            Some(hold) => Record::Hold { name, hold, reason },
            None => Record::Release { name, reason },
        };
        self.record(vec![record]).await
    }
}
