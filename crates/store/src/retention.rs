//! Retention: what of a cluster may go, oldest first, and letting it go: events in whole units of
//! the tree, bodies a file at a time. That it went is in the meta log before; what is held stays.
//! The trees stay whole: tiles and commitments are kept, so that every proof and every checkpoint
//! there ever was can still be checked.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use futures::future::BoxFuture;
use whodid_event::time::{self, Micros};

use crate::compact;
use crate::disk::Disk;
use crate::erase::{erase, is_erased};
use crate::error::{Error, Result};
use crate::keys;
use crate::ledger::{Hold, Record, Signed, meta};
use crate::memtable::Files;
use crate::reader::Reader;
use crate::snapshot::{Snapshot, Table};
use crate::table::DataFile;
use crate::writer::Writer;

/// Leaves go in units of so many, which a tile of the tree has the hashes above.
pub const UNIT_LEAVES: u64 = 65_536;

/// What is kept of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What may go of it as a whole,
    pub events: Limit,
    /// and of the bodies alone.
    pub bodies: Limit,
}

/// What is kept at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// What was taken in longer ago may go, in microseconds.
    pub age_max: Option<Micros>,
    /// The oldest may go while the files are larger, in bytes.
    pub bytes_max: Option<u64>,
}

/// What may go of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// Whether events go as a whole, or what is in the table of bodies alone.
    pub table: Table,
    /// The first leaf that has something to go,
    pub from: u64,
    /// and the first from which nothing goes.
    pub to: u64,
    /// When the last that goes was taken in, at the latest.
    pub last_received: Micros,
    /// The bytes of files that go as a whole, those of commitments that stay included; more becomes
    /// free where a file is cut.
    pub bytes: u64,
    /// The hold without which more would go.
    pub held_by: Option<String>,
}

/// What there is of a cluster.
struct Stock<'a> {
    cluster: &'a str,
    events: Vec<&'a DataFile>,
    /// Files of bodies that have some, in the order of the log.
    bodies: Vec<&'a DataFile>,
    all: Vec<&'a DataFile>,
    /// The tree is durable up to here, and everybody who signs it has seen it.
    settled: u64,
}

impl<'a> Stock<'a> {
    fn of(snapshot: &'a Snapshot, cluster: &'a str, settled: u64) -> Self {
        let of_cluster = |file: &&DataFile| file.cluster == cluster;
        let events: Vec<&DataFile> = snapshot.files.events.iter().filter(of_cluster).collect();
        let end = events.iter().map(|file| file.stats.seq.1).max();
        let bodies = || snapshot.files.bodies.iter().filter(of_cluster);
        let all = events.iter().copied().chain(bodies()).collect();
        // What a crash left above the watermark has no events in the table yet.
        let has_events = |file: &&DataFile| end.is_some_and(|end| file.stats.seq.1 <= end);
        let mut bodies: Vec<&DataFile> =
            bodies().filter(has_events).filter(|file| !is_erased(file)).collect();
        bodies.sort_by_key(|file| file.stats.seq);
        Stock { cluster, events, bodies, all, settled }
    }

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
    fn end(&self, limit: Limit, now: Micros) -> u64 {
        let total: u64 = self.all.iter().map(|file| file.bytes).sum();
        let is_old = |to: u64| {
            let age = self.last_received(to).map(|last| now.saturating_sub(last));
            age.zip(limit.age_max).is_some_and(|(age, max)| age > max)
        };
        // While what is left before this unit goes, too, is still too much.
        let is_too_much = |to: u64| {
            limit.bytes_max.is_some_and(|max| total - self.bytes_before(to - UNIT_LEAVES) > max)
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

    /// Which events go, unless a hold forbids it.
    fn plan(&self, limit: Limit, holds: &BTreeMap<String, Hold>, now: Micros) -> Option<Plan> {
        let mut to = self.end(limit, now);
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
        Some(Plan { cluster, table: Table::Events, from, to, last_received, bytes, held_by })
    }

    /// Whose bodies go, unless a hold forbids it.
    fn plan_bodies(
        &self,
        limit: Limit,
        holds: &BTreeMap<String, Hold>,
        now: Micros,
    ) -> Option<Plan> {
        let mut left: u64 = self.bodies.iter().map(|file| file.bytes).sum();
        let is_due = |file: &&&DataFile| {
            let age = now.saturating_sub(file.stats.received.1);
            let is_due = limit.age_max.is_some_and(|max| age > max)
                || limit.bytes_max.is_some_and(|max| left > max);
            left -= file.bytes;
            is_due
        };
        let due: Vec<&&DataFile> = self.bodies.iter().take_while(is_due).collect();
        let free = due.iter().take_while(|file| holding(holds, file).is_none()).count();
        let from = due.first()?.stats.seq.0;
        let going = || due.iter().take(free);
        Some(Plan {
            cluster: self.cluster.to_owned(),
            table: Table::Bodies,
            from,
            to: going().map(|file| file.stats.seq.1 + 1).max().unwrap_or(from),
            last_received: going().map(|file| file.stats.received.1).max().unwrap_or_default(),
            bytes: going().map(|file| file.bytes).sum(),
            held_by: due.get(free).and_then(|file| holding(holds, file)).map(str::to_owned),
        })
    }
}

/// What a person says stands in the meta log, and is read there years later.
pub(crate) fn check_line(what: &str, text: &str) -> Result<()> {
    let is_line = !text.trim().is_empty() && !text.contains(char::is_control);
    is_line.then_some(()).ok_or_else(|| Error::Invalid(format!("a {what} is a line of text")))
}

/// The hold that covers some of a file.
pub(crate) fn holding<'h>(holds: &'h BTreeMap<String, Hold>, file: &DataFile) -> Option<&'h str> {
    let is_held = |hold: &Hold| hold.cluster == file.cluster && hold.covers(file.stats.received);
    holds.iter().find(|(_, hold)| is_held(hold)).map(|(name, _)| &**name)
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
        let stock = Stock::of(snapshot, cluster, settled);
        plans.extend(stock.plan(rule.events, holds, now));
        plans.extend(stock.plan_bodies(rule.bodies, holds, now));
    }
    Ok(plans)
}

/// Ends what a crash has cut off: keys of what was pruned go when nothing of it is listed any more.
///
/// # Errors
/// The meta log is damaged, or the disk refuses.
pub(crate) fn finish(disk: &dyn Disk, live: &Files) -> Result<()> {
    for (cluster, to) in meta::standing(disk)?.pruned {
        let is_left = |file: &DataFile| file.cluster == cluster && file.stats.seq.0 < to;
        if !live.events.iter().chain(&live.bodies).any(is_left) {
            keys::forget(disk, &cluster, to)?;
        }
    }
    Ok(())
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
    /// The holds that are in force, by name.
    ///
    /// # Errors
    /// The meta log is damaged.
    pub fn holds(&self) -> Result<BTreeMap<String, Hold>> {
        Ok(meta::standing(&*self.disk)?.holds)
    }

    /// What may go by these rules, which are asked for by cluster.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn retention(&self, rule: impl Fn(&str) -> Rule, now: Micros) -> Result<Vec<Plan>> {
        plans(&self.snapshot(), &self.holds()?, rule, now)
    }

    /// Lets go what a plan says; when it returns, that it went is on record, and nothing finds it
    /// any more. Files stay ten minutes for those who still read them.
    ///
    /// # Errors
    /// A hold forbids it, or the disk refuses; it can be repeated then.
    pub async fn let_go(&self, plan: &Plan, reason: &str) -> Result<()> {
        let _alone = self.upkeep.lock().await;
        self.check_holds(plan)?;
        match plan.table {
            Table::Events => self.prune(plan, reason).await,
            Table::Bodies => self.expire(plan, reason).await,
        }
    }

    fn check_holds(&self, plan: &Plan) -> Result<()> {
        let Plan { cluster, to, .. } = plan;
        let snapshot = self.snapshot();
        let is_going = |file: &&DataFile| file.cluster == *cluster && file.stats.seq.0 < *to;
        // What went before is not in anybody's way.
        let mut going =
            snapshot.files(plan.table).iter().filter(is_going).filter(|f| !is_erased(f));
        let holds = meta::standing(&*self.disk)?.holds;
        match going.find_map(|file| holding(&holds, file)) {
            None => Ok(()),
            Some(name) => Err(Error::Invalid(format!(
                "the hold {name:?} forbids to delete anything of {cluster}"
            ))),
        }
    }

    fn expire<'a>(&'a self, plan: &'a Plan, reason: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Plan { cluster, to, last_received, .. } = plan;
            let record = Record::Expire {
                cluster: cluster.clone(),
                to: *to,
                last_received: time::format(*last_received),
                reason: reason.to_owned(),
            };
            self.record(vec![record]).await?;
            let is_wanted = |file: &DataFile| {
                file.cluster == *cluster && file.stats.seq.1 < *to && !is_erased(file)
            };
            erase(&self.writing(), is_wanted, |_, _| true).await
        })
    }

    fn prune<'a>(&'a self, plan: &'a Plan, reason: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Plan { cluster, from, to, last_received, .. } = plan;
            if to % UNIT_LEAVES != 0
                || settled(&self.snapshot(), cluster)?.is_none_or(|end| end < *to)
            {
                return Err(Error::Invalid(format!(
                    "leaf {to} of {cluster} is no place to prune to"
                )));
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
        })
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
        check_line("name", name)?;
        check_line("reason", reason)?;
        if let Some(hold) = &hold {
            self.check_hold(hold)?;
        }
        let known = self.holds()?.contains_key(name);
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
