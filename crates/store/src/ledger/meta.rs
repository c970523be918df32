//! The meta log: what was done with the record itself, as leaves of a log of their own. It is
//! small, so its entries are kept as tlog-tiles lays them out: full bundles in files that never
//! change, and those of the unfinished bundle in one file that is replaced.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use whodid_event::time::{self, Micros};
use whodid_tlog::{Hash, Tile, tile};

use super::log::{self, Log, path};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::reader::Reader;

/// The name of the meta log; no cluster may have it.
pub(crate) const NAME: &str = "meta";

/// The entries of the unfinished bundle.
const UNFINISHED: &str = "entries";

/// What was done with the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Record {
    /// A file of a table is about to be listed: it has these bytes and will not change.
    Seal(Seal),
    /// Leaves of a cluster are about to be deleted, as their retention ended.
    Prune {
        /// The cluster.
        cluster: String,
        /// The first leaf that goes,
        from: u64,
        /// and the first that stays, a multiple of 65,536.
        to: u64,
        /// When the last that goes was taken in, at the latest (RFC 3339, UTC).
        last_received: String,
        /// By which rule, or why.
        reason: String,
    },
    /// The bodies of a cluster's first events are about to be deleted, as their retention ended.
    Expire {
        /// The cluster.
        cluster: String,
        /// The first leaf that keeps its bodies.
        to: u64,
        /// When the last of the others was taken in, at the latest (RFC 3339, UTC).
        last_received: String,
        /// By which rule, or why.
        reason: String,
    },
    /// Bodies of one event are about to be deleted, and what could tell guesses of them.
    Redact {
        /// The cluster.
        cluster: String,
        /// The event's leaf.
        seq: u64,
        /// Which bodies: `requestObject`, `responseObject`.
        members: BTreeSet<String>,
        /// Why.
        reason: String,
    },
    /// Events must not be deleted, whatever their retention says.
    Hold {
        /// What it is called.
        name: String,
        /// Which events.
        hold: Hold,
        /// Why.
        reason: String,
    },
    /// A hold ended.
    Release {
        /// What it is called.
        name: String,
        /// Why.
        reason: String,
    },
    /// A cluster is to be recorded in another way from now on.
    Mode {
        /// The cluster.
        cluster: String,
        /// How.
        mode: Mode,
        /// Why.
        reason: String,
    },
    /// A log was frozen at its last head, and another goes on.
    Reopen {
        /// The origin of the frozen log.
        frozen: String,
        /// Its last checkpoint.
        checkpoint: String,
        /// The origin of the log that goes on.
        origin: String,
        /// Why, in its user's words.
        reason: String,
    },
}

/// A file of a table, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// Its path in the data directory.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// Events that must not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The cluster.
    pub cluster: String,
    /// Those that were taken in from then on; without it, all (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Those that were taken in until then; without it, all that will be, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// How a cluster is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mode {
    /// What it is called, `daily` or `investigation` for example.
    pub name: String,
    /// The SHA-256 of the policy's bytes, in hexadecimal.
    pub policy: String,
    /// When it has to end (RFC 3339, UTC); without it, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Hold {
    /// Whether it is about some of the events that were taken in from one instant to another.
    pub(crate) fn covers(&self, (first, last): (Micros, Micros)) -> bool {
        let instant = |text: &Option<String>| text.as_deref().and_then(time::parse);
        instant(&self.since).is_none_or(|since| since <= last)
            && instant(&self.until).is_none_or(|until| first <= until)
    }
}

/// What the meta log says of the record as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The first leaf of each cluster that was not pruned.
    pub(crate) pruned: BTreeMap<String, u64>,
    /// The first leaf of each cluster whose bodies have not expired.
    pub(crate) expired: BTreeMap<String, u64>,
    /// By cluster and leaf, the bodies that were redacted.
    pub(crate) redacted: BTreeMap<String, BTreeMap<u64, BTreeSet<String>>>,
    /// The holds that are in force, by name.
    pub(crate) holds: BTreeMap<String, Hold>,
    /// How each cluster is to be recorded.
    pub(crate) modes: BTreeMap<String, Mode>,
}

impl Standing {
    /// Takes in what the next entry says.
    pub(crate) fn follow(&mut self, record: Record) {
        match record {
            Record::Prune { cluster, to, .. } => {
                let pruned = self.pruned.entry(cluster).or_default();
                *pruned = to.max(*pruned);
            }
            Record::Expire { cluster, to, .. } => {
                let expired = self.expired.entry(cluster).or_default();
                *expired = to.max(*expired);
            }
            Record::Redact { cluster, seq, members, .. } => {
                let of_cluster = self.redacted.entry(cluster).or_default();
                of_cluster.entry(seq).or_default().extend(members);
            }
            Record::Hold { name, hold, .. } => {
                self.holds.insert(name, hold);
            }
            Record::Release { name, .. } => {
                self.holds.remove(&name);
            }
            Record::Mode { cluster, mode, .. } => {
                self.modes.insert(cluster, mode);
            }
            Record::Seal(_) | Record::Reopen { .. } => {}
        }
    }

    /// What a meta log that begins anew has to say of it.
    pub(super) fn records(&self, reason: &str) -> Vec<Record> {
        let reason = || reason.to_owned();
        let pruned = self.pruned.iter().map(|(cluster, to)| Record::Prune {
            cluster: cluster.clone(),
            from: 0,
            to: *to,
            last_received: String::new(),
            reason: reason(),
        });
        let expired = self.expired.iter().map(|(cluster, to)| Record::Expire {
            cluster: cluster.clone(),
            to: *to,
            last_received: String::new(),
            reason: reason(),
        });
        let each = |(cluster, leaves): (&String, &BTreeMap<u64, BTreeSet<String>>)| {
            let record = |(seq, members): (&u64, &BTreeSet<String>)| Record::Redact {
                cluster: cluster.clone(),
                seq: *seq,
                members: members.clone(),
                reason: reason(),
            };
            leaves.iter().map(record).collect::<Vec<_>>()
        };
        let redacted = self.redacted.iter().flat_map(each);
        let holds = self.holds.iter().map(|(name, hold)| Record::Hold {
            name: name.clone(),
            hold: hold.clone(),
            reason: reason(),
        });
        let modes = self.modes.iter().map(|(cluster, mode)| Record::Mode {
            cluster: cluster.clone(),
            mode: mode.clone(),
            reason: reason(),
        });
        pruned.chain(expired).chain(redacted).chain(holds).chain(modes).collect()
    }
}

/// An entry of the meta log, as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MetaEntry {
    /// The leaf's index.
    pub seq: u64,
    /// When it was written (RFC 3339, UTC).
    pub received: String,
    /// What was done.
    pub record: Record,
}

impl Reader {
    /// The records of the meta log that are signed, but for seals of files, in order.
    ///
    /// # Errors
    /// A file of the meta log is damaged.
    pub fn records(&self) -> Result<Vec<MetaEntry>> {
        let mut entries = signed_entries(&*self.disk)?;
        entries.retain(|entry| !matches!(entry.record, Record::Seal(_)));
        Ok(entries)
    }
}

/// The meta log, being written.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) log: Log,
    unfinished: Vec<Vec<u8>>,
    received: Micros,
}

impl Meta {
    /// Goes on with a log whose tree is whole.
    ///
    /// # Errors
    /// A file is damaged.
    pub(super) fn open(log: Log) -> Result<Self> {
        let size = log.tree.size();
        let begin = size - size % u64::from(Tile::WIDTH);
        let mut unfinished = entries_from(&*log.files.disk, begin)?;
        let signed = usize::try_from(size - begin).unwrap_or(usize::MAX);
        let is_whole = unfinished.len() <= signed;
        unfinished.truncate(signed);
        let meta = Meta { log, unfinished, received: 0 };
        if !is_whole {
            meta.forget_unsigned(begin / u64::from(Tile::WIDTH))?;
        }
        Ok(meta)
    }

    /// Removes the entries that are in no checkpoint: a crash left them, or a forger, and they must
    /// not be signed now.
    fn forget_unsigned(&self, mut bundle: u64) -> Result<()> {
        let disk = &*self.log.files.disk;
        let remove = |file: &str| {
            let path = path(NAME, file);
            disk.remove(&path).map_err(|source| Error::Unavailable { path, source })
        };
        if !self.unfinished.is_empty() {
            self.write_unfinished(self.log.tree.size())?;
        } else if log::read(disk, NAME, UNFINISHED)?.is_some() {
            remove(UNFINISHED)?;
        }
        loop {
            let full = tile::bundle_path(bundle, Tile::WIDTH);
            if log::read(disk, NAME, &full)?.is_none() {
                return Ok(());
            }
            remove(&full)?;
            bundle += 1;
        }
    }

    /// Adds a record; when it returns, it is durable.
    ///
    /// # Errors
    /// The disk refuses, and nothing was added.
    pub(super) fn append(&mut self, record: &Record, now: Micros) -> Result<()> {
        self.received = self.received.max(now);
        let seq = self.log.tree.size();
        let entry = entry(seq, self.received, record)?;
        let hash = Hash::of_leaf(&entry);
        self.unfinished.push(entry);
        if let Err(error) = self.write(seq) {
            self.unfinished.pop();
            return Err(error);
        }
        if self.unfinished.len() == usize::from(Tile::WIDTH) {
            self.unfinished.clear();
        }
        self.log.extend([hash]);
        Ok(())
    }

    fn write(&self, seq: u64) -> Result<()> {
        if self.unfinished.len() < usize::from(Tile::WIDTH) {
            return self.write_unfinished(seq);
        }
        let file = tile::bundle_path(seq / u64::from(Tile::WIDTH), Tile::WIDTH);
        self.log.files.store.replace(&path(NAME, &file), self.bundle(seq)?)
    }

    fn write_unfinished(&self, seq: u64) -> Result<()> {
        self.log.files.store.replace(&path(NAME, UNFINISHED), self.bundle(seq)?)
    }

    fn bundle(&self, seq: u64) -> Result<Vec<u8>> {
        tile::bundle(self.unfinished.iter().map(Vec::as_slice)).ok_or_else(|| too_long(seq))
    }
}

fn too_long(seq: u64) -> Error {
    Error::Invalid(format!("record {seq} of the meta log is longer than an entry may be"))
}

/// The bytes of a leaf.
fn entry(seq: u64, received: Micros, record: &Record) -> Result<Vec<u8>> {
    let record =
        serde_json::to_string(record).map_err(|error| Error::Invalid(error.to_string()))?;
    let received = time::format(received);
    let mut entry = String::new();
    // Writing to a String cannot fail.
    let _written = write!(
        entry,
        r#"{{"v":1,"seq":{seq},"cluster":"{NAME}","source":"whodid","received":"{received}","record":{record}}}"#
    );
    Ok(entry.into_bytes())
}

/// The entries of the meta log from a leaf on.
///
/// # Errors
/// A file is damaged, or gone.
pub(crate) fn entries_from(disk: &dyn Disk, from: u64) -> Result<Vec<Vec<u8>>> {
    let width = u64::from(Tile::WIDTH);
    let mut entries = Vec::new();
    let mut bundle = from / width;
    while let Some(full) = read(disk, &tile::bundle_path(bundle, Tile::WIDTH))? {
        if full.len() != usize::from(Tile::WIDTH) {
            return Err(damaged(&tile::bundle_path(bundle, Tile::WIDTH)));
        }
        entries.extend(full);
        bundle += 1;
    }
    // One that was replaced by a full bundle is left over.
    if let Some((at, unfinished)) = newest(disk)?
        && at == bundle * width
    {
        entries.extend(unfinished);
    }
    let skipped = usize::try_from(from % width).unwrap_or(0);
    if entries.len() < skipped {
        return Err(damaged(UNFINISHED));
    }
    entries.drain(..skipped);
    Ok(entries)
}

/// What the entries that are signed say of the record as it is now.
///
/// # Errors
/// A file of the meta log is damaged.
pub(crate) fn standing(disk: &dyn Disk) -> Result<Standing> {
    let mut standing = Standing::default();
    signed(disk)?.into_iter().for_each(|record| standing.follow(record));
    Ok(standing)
}

/// What the bytes of files were, by their paths.
///
/// # Errors
/// A file of the meta log is damaged.
pub(crate) fn seals(disk: &dyn Disk) -> Result<HashMap<String, Seal>> {
    let seal = |record| match record {
        Record::Seal(seal) => Some((seal.path.clone(), seal)),
        _ => None,
    };
    Ok(signed(disk)?.into_iter().filter_map(seal).collect())
}

/// The records that are signed, in order.
fn signed(disk: &dyn Disk) -> Result<Vec<Record>> {
    Ok(signed_entries(disk)?.into_iter().map(|entry| entry.record).collect())
}

fn signed_entries(disk: &dyn Disk) -> Result<Vec<MetaEntry>> {
    let Some((_, policy)) = log::policy(disk, NAME)? else { return Ok(Vec::new()) };
    let size = log::checkpoint(disk, NAME, &policy)?.1.head.size;
    let entries = entries_from(disk, 0)?;
    let entries = entries.iter().take(usize::try_from(size).unwrap_or(usize::MAX));
    entries.map(|entry| serde_json::from_slice(entry).map_err(|_| damaged(UNFINISHED))).collect()
}

/// The unfinished bundle, and the leaf that it begins with.
fn newest(disk: &dyn Disk) -> Result<Option<(u64, Vec<Vec<u8>>)>> {
    #[derive(Deserialize)]
    struct Place {
        seq: u64,
    }
    let Some(entries) = read(disk, UNFINISHED)? else { return Ok(None) };
    let Some(first) = entries.first() else { return Err(damaged(UNFINISHED)) };
    let place: Place = serde_json::from_slice(first).map_err(|_| damaged(UNFINISHED))?;
    Ok(Some((place.seq, entries)))
}

fn read(disk: &dyn Disk, file: &str) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(bytes) = log::read(disk, NAME, file)? else { return Ok(None) };
    let entries = tile::entries(&bytes).ok_or_else(|| damaged(file))?;
    Ok(Some(entries.into_iter().map(<[u8]>::to_vec).collect()))
}

fn damaged(file: &str) -> Error {
    Error::Format {
        path: path(NAME, file),
        why:
            "the entries of the meta log are not all there, or are damaged; put the file back from \
              a copy, or run `whodid ledger reopen meta` to go on with this on record"
                .into(),
    }
}
