//! Going on after damage to the write-ahead log: what can be read stays where it is, and every
//! event that was acknowledged and cannot be read any more gets a raw leaf in its place that says
//! so. The files as they were found are kept beside the new ones. Deciding to do that is the
//! user's; a start only refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use whodid_event::redact::RuleSet;
use whodid_event::split::Item;
use whodid_event::time::Micros;

use crate::batch::{BATCH_ROWS_MAX, Preparer};
use crate::clock::{Clock, SystemClock};
use crate::dedupe::Fingerprints;
use crate::descriptor::Descriptor;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::health::Health;
use crate::keys::{self, Keys};
use crate::lock::Lock;
use crate::object::DiskStore;
use crate::recover::Watermarks;
use crate::wal::replay::{self, Flaw, Piece, WalFile};
use crate::wal::{self, FILE_MAGIC, frame::Frame};
use crate::writer::{open_tables, watermarks};

/// The source of the leaves that stand for what is lost.
const SOURCE: &str = "whodid/repair";

/// A gap larger than this is no damage to a log file.
const GAP_MAX: u64 = 100_000_000;

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// The events that are lost.
    pub lost: Vec<Lost>,
    /// Where the log was damaged: file and offset.
    pub damage: Vec<(String, u64)>,
    /// The clusters that may have lost more than that, as nothing of theirs stands behind the
    /// damage. The log of each now ends with a leaf that says so.
    pub uncertain: Vec<String>,
    /// Where the files are kept as they were found.
    pub kept: Vec<String>,
}

/// Events of one cluster that are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The cluster.
    pub cluster: String,
    /// The first lost leaf.
    pub from: u64,
    /// The last lost leaf.
    pub to: u64,
}

/// Repairs the write-ahead log of the store in a folder of this machine.
///
/// # Errors
/// Another process writes to it, or the disk refuses; it can be repeated then.
pub async fn repair_dir(dir: &Path) -> Result<Repair> {
    let _lock = Lock::take(dir)?;
    repair(Arc::new(RealDisk::new(dir))).await
}

/// Repairs the write-ahead log of the store on a disk that no one else writes to.
///
/// # Errors
/// As [`repair_dir`].
pub fn repair(disk: Arc<dyn Disk>) -> BoxFuture<'static, Result<Repair>> {
    Box::pin(async move {
        Descriptor::load(&*disk)?.ok_or_else(|| Error::NoStore { dir: ".".into() })?;
        let store = DiskStore::new(Arc::clone(&disk), Health::default());
        let tables = open_tables(&store).await?;
        let covered = watermarks(&tables, &*disk).await?;
        let ends = covered.iter().map(|(cluster, last)| (cluster.clone(), last + 1)).collect();
        let files = replay::open_all(&*disk)?;
        let keys = Keys::new(Arc::clone(&disk), store.clone());
        let uncertain = keys::clusters(&*disk)?.into_iter().collect();
        let mut work =
            Work { disk, store, keys, ends, uncertain, received: 0, repair: Repair::default() };
        for (i, file) in files.iter().enumerate() {
            work.file(file, i + 1 == files.len(), &covered)?;
        }
        if files.is_empty() {
            work.repair.damage.push((wal::FOLDER.into(), 0));
        }
        if !work.repair.damage.is_empty() {
            work.end_with_notes(files.last().map_or(1, |file| file.number + 1))?;
        }
        Ok(work.repair)
    })
}

struct Work {
    disk: Arc<dyn Disk>,
    store: DiskStore,
    keys: Keys,
    /// The leaf index behind the last event of each cluster.
    ends: BTreeMap<String, u64>,
    /// The clusters of which nothing stands behind the last damage: what they lost there leaves no
    /// gap.
    uncertain: BTreeSet<String>,
    received: Micros,
    repair: Repair,
}

impl Work {
    /// Writes a file anew if it is damaged, or if events are missing before its frames.
    fn file(&mut self, file: &WalFile, is_last: bool, covered: &Watermarks) -> Result<()> {
        let is_covered = |cluster: &str, end_seq: u64| {
            covered.get(cluster).is_some_and(|last| end_seq <= last + 1)
        };
        let before = (self.repair.damage.len(), self.repair.lost.len());
        let mut bytes = FILE_MAGIC.to_vec();
        file.read(is_last, is_covered, |piece| {
            match piece {
                Piece::Frame(frame) => return self.keep(frame, &file.path, &mut bytes),
                Piece::Flaw(Flaw::Damaged { offset, .. }) => {
                    self.repair.damage.push((file.path.clone(), offset));
                    self.uncertain = keys::clusters(&*self.disk)?.into_iter().collect();
                }
                // The writer cuts it off: it was never acknowledged.
                Piece::Flaw(Flaw::Torn(_)) => {}
            }
            Ok(())
        })?;
        let is_changed = before != (self.repair.damage.len(), self.repair.lost.len());
        if is_changed { self.replace(&file.path, bytes) } else { Ok(()) }
    }

    /// Copies a frame, with what is missing before it.
    fn keep(&mut self, mut frame: Frame, path: &str, bytes: &mut Vec<u8>) -> Result<()> {
        self.fill_gap(&frame, path, bytes)?;
        self.uncertain.remove(&*frame.cluster);
        self.ends.insert(frame.cluster.to_string(), frame.end_seq());
        self.received = self.received.max(frame.received);
        frame.durable = bytes.len() as u64;
        frame.encode(bytes);
        Ok(())
    }

    /// Puts leaves in the place of events that are missing before a frame.
    fn fill_gap(&mut self, frame: &Frame, path: &str, bytes: &mut Vec<u8>) -> Result<()> {
        let from = self.ends.get(&*frame.cluster).copied().unwrap_or(0);
        if frame.first_seq <= from {
            return Ok(());
        }
        if frame.first_seq - from > GAP_MAX {
            return Err(Error::Format {
                path: path.to_owned(),
                why: format!(
                    "events {from} to {} are missing, too many for damage to a log file; restore the record from a copy",
                    frame.first_seq - 1
                ),
            });
        }
        let cluster = &frame.cluster;
        let note = |seq| {
            format!(
                "event {cluster}/{seq} was acknowledged and is lost: the write-ahead log was damaged before or in {path}"
            )
        };
        self.keys.ensure(cluster, from, frame.first_seq)?;
        append_notes(bytes, cluster, from..frame.first_seq, frame.received, note)?;
        let (cluster, to) = (cluster.to_string(), frame.first_seq - 1);
        self.repair.lost.push(Lost { cluster, from, to });
        Ok(())
    }

    /// Keeps a file under another name, and puts `bytes` in its place.
    fn replace(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let mut kept = format!("{path}.damaged");
        let mut number = 1;
        while self.disk.stat(&kept).is_ok() {
            number += 1;
            kept = format!("{path}.damaged-{number}");
        }
        let unavailable = |source| Error::Unavailable { path: kept.clone(), source };
        self.disk.link(path, &kept).map_err(unavailable)?;
        self.disk.sync_dir(wal::FOLDER).map_err(unavailable)?;
        self.repair.kept.push(kept);
        self.store.replace(path, bytes)
    }

    /// Ends the log of every uncertain cluster with a leaf that tells of the damage.
    fn end_with_notes(&mut self, number: u64) -> Result<()> {
        let places: Vec<String> =
            self.repair.damage.iter().map(|(path, at)| format!("{path} at byte {at}")).collect();
        let places = places.join(", ");
        let received = SystemClock.now().max(self.received);
        let mut bytes = FILE_MAGIC.to_vec();
        for cluster in std::mem::take(&mut self.uncertain) {
            let end = self.ends.get(&cluster).copied().unwrap_or(0);
            let note = |_| {
                format!(
                    "events of cluster {cluster} may be lost before this one: the write-ahead log was damaged ({places})"
                )
            };
            self.keys.ensure(&cluster, end, end + 1)?;
            append_notes(&mut bytes, &cluster, end..end + 1, received, note)?;
            self.repair.uncertain.push(cluster);
        }
        self.store.create(&wal::path(number), bytes)
    }
}

/// Appends frames with a raw leaf for each of `seqs`.
fn append_notes(
    bytes: &mut Vec<u8>,
    cluster: &str,
    seqs: std::ops::Range<u64>,
    received: Micros,
    note: impl Fn(u64) -> String,
) -> Result<()> {
    let rules = Arc::new(RuleSet::off());
    let preparer = Preparer { rules, fingerprints: Fingerprints::new() };
    let mut first_seq = seqs.start;
    while first_seq < seqs.end {
        let mut builder = preparer.begin(cluster, SOURCE)?;
        let end = seqs.end.min(first_seq + BATCH_ROWS_MAX as u64);
        for seq in first_seq..end {
            builder.add(&Item::Broken(note(seq).as_bytes()))?;
        }
        let batch = builder.finish()?;
        let frame = Frame {
            cluster: batch.cluster,
            source: batch.source,
            first_seq,
            count: u32::try_from(batch.rows).unwrap_or(u32::MAX),
            received,
            durable: bytes.len() as u64,
            position: None,
            marks: Vec::new(),
            unpacked: batch.unpacked,
            payload: batch.payload,
        };
        frame.encode(bytes);
        first_seq = end;
    }
    Ok(())
}
