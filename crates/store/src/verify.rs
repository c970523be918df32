//! Verifying a store: every event is read, taken in once more the way it came, and held against
//! what is stored of it and what was signed over it. A finding names the file, the leaves and the
//! time.
//!
//! What a green result is worth depends on who holds the keys of the logs; that is for the caller
//! to say.

use std::collections::{BTreeSet, HashMap};

use futures::future::BoxFuture;
use whodid_event::time::Micros;
use whodid_tlog::proof::Head;
use whodid_tlog::{Checkpoint, Hash, Policy};

use crate::descriptor::{self, Descriptor};
use crate::error::Result;
use crate::keys;
use crate::ledger::meta::Standing;
use crate::ledger::{MetaEntry, Record, Seal, Signed, log, meta, stamps};
use crate::reader::Reader;
use crate::snapshot::Snapshot;

mod cluster;
mod listed;
mod present;
mod rows;
mod tree;

use cluster::Work;
use tree::Blocks;

/// More findings about files and logs as a whole are counted, not kept.
const FILES_MAX: usize = 10_000;

/// More findings about some leaves of a file are counted, not kept; these have a limit of their
/// own, so that one file with many does not hide another.
const LEAVES_MAX: usize = 1_000;

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the data directory.
    pub path: String,
    /// The cluster, and the first and the last leaf that it can be about.
    pub leaves: Option<(String, u64, u64)>,
    /// When the first of these was taken in, in microseconds since 1970.
    pub received: Option<Micros>,
    /// What is wrong.
    pub what: String,
}

/// A log whose tree was computed anew and is the one that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLog {
    /// The name of the log to the world; of one that was not signed yet, that of its cluster.
    pub origin: String,
    /// Leaves that the checkpoint is about; 0 if there is none yet.
    pub size: u64,
    /// Leaves that came since, of which no checkpoint says anything yet.
    pub unsigned: u64,
    /// Leaves at its beginning that were pruned: their hashes stand for them.
    pub pruned: u64,
    /// Checkpoints of it that are time-stamped; whether the stamps are, is for `openssl ts` to say.
    pub stamps: usize,
}

/// What was verified, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The logs that are as they were signed.
    pub logs: Vec<VerifiedLog>,
    /// Events that were read.
    pub events: u64,
    /// Bodies that were held against their commitments.
    pub bodies: u64,
    /// Bodies of which only commitments are left, as the meta log says.
    pub gone: u64,
    /// Files that were held against their seals.
    pub files: u64,
    /// The first findings, in the order of the logs.
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub findings_in_all: u64,
    /// How many of the first ones are about some leaves of a file.
    about_leaves: usize,
    /// Logs that were frozen, and those that went on, in sentences for the user.
    pub reopened: Vec<String>,
    /// Whether others have signed checkpoints, too.
    pub has_cosigned: bool,
    /// Whether the policy believes no log for the signatures alone that the record itself can make.
    pub detects_rewriting: bool,
}

impl Verification {
    /// Notes what is wrong with a file or a log as a whole.
    fn found(&mut self, finding: Finding) {
        self.findings_in_all += 1;
        if self.findings.len() - self.about_leaves < FILES_MAX {
            self.findings.push(finding);
        }
    }

    /// Notes what is wrong with some leaves, of which a file may have many.
    fn found_in_leaves(&mut self, finding: Finding) {
        self.findings_in_all += 1;
        if self.about_leaves < LEAVES_MAX {
            self.about_leaves += 1;
            self.findings.push(finding);
        }
    }

    /// Notes what is wrong with a file as a whole.
    fn file(&mut self, path: &str, what: &dyn ToString) {
        let (path, what) = (path.to_owned(), what.to_string());
        self.found(Finding { path, leaves: None, received: None, what });
    }

    /// Says of a log whether its tree is the one that was signed.
    fn close(&mut self, path: &str, name: &str, log: &Log, blocks: &mut Blocks<'_>, pruned: u64) {
        let (end, stamps) = (blocks.end(), log.stamped().len());
        let (signed, believed) = match log {
            Log::Signed(signed) => (&signed.0, &signed.1),
            Log::NotYet => {
                let (origin, unsigned) = (name.to_owned(), end);
                let size = 0;
                return self.logs.push(VerifiedLog { origin, size, unsigned, pruned, stamps });
            }
            Log::Wrong => return,
        };
        let size = signed.checkpoint.head.size;
        let what = if size > end {
            Some(format!(
                "the checkpoint was signed over {size} leaves, and there are {end}: the record was \
                 put back to an older state, or its end was taken away"
            ))
        } else {
            blocks.wrong()
        };
        let Some(what) = what else {
            let (origin, size) = (believed.origin.clone(), believed.head.size);
            let unsigned = end - size;
            return self.logs.push(VerifiedLog { origin, size, unsigned, pruned, stamps });
        };
        let leaves = Some((name.to_owned(), 0, size.saturating_sub(1)));
        self.found(Finding { path: path.to_owned(), leaves, received: None, what });
    }
}

/// A log as its files show it.
enum Log {
    /// And the checkpoint of it that is believed, and the heads that were time-stamped.
    Signed(Box<(Signed, Checkpoint, Vec<Head>)>),
    /// Its writer ended before it began.
    NotYet,
    /// Why is a finding.
    Wrong,
}

impl Log {
    fn of(signed: Signed, believed: Option<Checkpoint>, stamped: Vec<Head>) -> Self {
        let believed = believed.unwrap_or_else(|| signed.checkpoint.clone());
        Log::Signed(Box::new((signed, believed, stamped)))
    }

    fn stamped(&self) -> &[Head] {
        match self {
            Log::Signed(signed) => &signed.2,
            Log::NotYet | Log::Wrong => &[],
        }
    }

    fn signed(&self) -> Option<&Signed> {
        match self {
            Log::Signed(signed) => Some(&signed.0),
            Log::NotYet | Log::Wrong => None,
        }
    }
}

/// That a log was frozen, in a sentence.
fn reopened(record: &Record, received: &str) -> Option<String> {
    let Record::Reopen { frozen, checkpoint, origin, reason } = record else { return None };
    let size = checkpoint.lines().nth(1).unwrap_or("?");
    Some(format!(
        "reopened on {received}: {frozen} was frozen at {size} leaves, {origin} goes on; reason: \
         {reason}"
    ))
}

/// What the meta log says.
#[derive(Default)]
struct Said {
    seals: HashMap<String, Seal>,
    standing: Standing,
}

/// Is told how many events of how many were read.
type Progress<'a> = dyn FnMut(u64, u64) + Send + 'a;

/// What is to be verified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// One cluster, or all of them.
    pub cluster: Option<&'a str>,
    /// Whose signatures are believed; without it, the keys that the store itself names.
    pub policy: Option<&'a Policy>,
}

impl Reader {
    /// Verifies what the store has acknowledged. `progress` is told how many events of how many
    /// were read.
    ///
    /// # Errors
    /// The store cannot be read at all. What is wrong with it is a finding.
    pub async fn verify(
        &self,
        wanted: Wanted<'_>,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<Verification> {
        self.verify_telling(wanted, &mut progress).await
    }

    fn verify_telling<'a>(
        &'a self,
        wanted: Wanted<'a>,
        progress: &'a mut Progress<'a>,
    ) -> BoxFuture<'a, Result<Verification>> {
        Box::pin(async move {
            let detects_rewriting = wanted.policy.is_some();
            let mut verification = Verification { detects_rewriting, ..Verification::default() };
            let is_wanted = |name: &String| wanted.cluster.is_none_or(|cluster| cluster == name);
            let mut clusters = log::names(&*self.disk)?;
            clusters.retain(|name| name != meta::NAME);
            clusters.extend(keys::clusters(&*self.disk)?);
            let mut clusters: BTreeSet<String> = clusters.into_iter().filter(is_wanted).collect();
            // Checkpoints first: what they are about is in snapshots that are taken later.
            let mut signed = HashMap::new();
            for cluster in &clusters {
                let log = self.signed(cluster, wanted, &mut verification);
                signed.insert(cluster.clone(), log);
            }
            let snapshot = self.snapshot().await?;
            // Seals behind the files that they are about.
            let Said { seals, standing } = self.meta(wanted, &mut verification);
            for warning in snapshot.warnings() {
                verification.file("wal", &warning);
            }
            self.covered(&snapshot, &signed, wanted, &mut verification);
            present::check(&*self.disk, &seals, &clusters, wanted, &mut verification)?;
            let ends = snapshot.ends();
            clusters.extend(ends.keys().filter(|name| is_wanted(name)).cloned());
            let total = clusters.iter().filter_map(|cluster| ends.get(cluster)).sum();
            let mut work =
                Work { snapshot: &snapshot, seals, standing, verification, progress, total };
            for cluster in clusters {
                // A cluster that has events and no keys has no log either.
                let log = signed.remove(&cluster).unwrap_or(Log::NotYet);
                work.cluster(&cluster, &log).await?;
            }
            Ok(work.verification)
        })
    }

    /// Reads a log; what is wrong with its files is a finding.
    fn signed(&self, name: &str, wanted: Wanted<'_>, verification: &mut Verification) -> Log {
        let opened = Signed::read(&self.disk, name).and_then(|signed| {
            let Some(signed) = signed else { return Ok(Log::NotYet) };
            if signed.is_edge_damaged {
                let what = "it cannot be read; the next start of a writer makes it again";
                verification.file(&format!("ledger/{name}/edge"), &what);
            }
            verification.has_cosigned |= signed.cosigned.is_some();
            let stamped = self.stamped(name, &signed, verification)?;
            let Some(policy) = wanted.policy else { return Ok(Log::of(signed, None, stamped)) };
            let believed = signed.believed(policy)?.clone();
            verification.detects_rewriting &= policy.open(&signed.note).is_err();
            Ok(Log::of(signed, Some(believed), stamped))
        });
        opened.unwrap_or_else(|error| {
            verification.file(&format!("ledger/{name}/checkpoint"), &error);
            Log::Wrong
        })
    }

    /// The heads of a log that were time-stamped.
    fn stamped(
        &self,
        name: &str,
        signed: &Signed,
        verification: &mut Verification,
    ) -> Result<Vec<Head>> {
        let own = log::policy(&*self.disk, name)?;
        let Some((_, own)) = own else { return Ok(Vec::new()) };
        let mut heads = Vec::new();
        for (path, stamp) in stamps::read(&*self.disk, name, &own)? {
            match stamp {
                Ok(stamp) if stamp.head.size <= signed.checkpoint.head.size => {
                    heads.push(stamp.head);
                }
                Ok(stamp) => {
                    let what = format!(
                        "{} leaves were time-stamped, and fewer are signed now: the record was put \
                         back to an older state",
                        stamp.head.size
                    );
                    verification.file(&path, &what);
                }
                Err(error) => verification.file(&path, &error),
            }
        }
        Ok(heads)
    }

    /// Holds segments against checkpoints: they are listed when they are signed.
    fn covered(
        &self,
        snapshot: &Snapshot,
        logs: &HashMap<String, Log>,
        wanted: Wanted<'_>,
        verification: &mut Verification,
    ) {
        let is_wanted = |name: &&str| wanted.cluster.is_none_or(|cluster| cluster == *name);
        for (cluster, end) in snapshot.segment_ends() {
            let log = logs.get(cluster).unwrap_or(&Log::NotYet);
            if !is_wanted(&cluster) || matches!(log, Log::Wrong) {
                continue;
            }
            let size = |signed: &Signed| signed.checkpoint.head.size;
            let mut signed = log.signed().map_or(0, size);
            if signed < end {
                // Of segments that were made since, a newer one says.
                let newer = Signed::read(&self.disk, cluster).ok().flatten();
                signed = newer.as_ref().map_or(0, size);
            }
            if signed < end {
                let what = "they are in segments, which are listed when they are signed, and no \
                            checkpoint is about them: it was put back to an older state, or taken \
                            away";
                verification.found(Finding {
                    path: format!("ledger/{cluster}/checkpoint"),
                    leaves: Some((cluster.to_owned(), signed, end - 1)),
                    received: None,
                    what: what.into(),
                });
            }
        }
    }

    /// Verifies the meta log, and reads from it what the bytes of files were, and what was pruned.
    /// Nobody vouches for entries that are in no checkpoint.
    fn meta(&self, wanted: Wanted<'_>, verification: &mut Verification) -> Said {
        let path = format!("ledger/{}/entries", meta::NAME);
        let log = self.signed(meta::NAME, wanted, verification);
        let entries = meta::entries_from(&*self.disk, 0);
        let entries = entries.map_err(|error| verification.file(&path, &error)).unwrap_or_default();
        if let Log::Signed(signed) = &log {
            let prefix = signed.1.origin.split_once("/meta").map_or("", |(prefix, _)| prefix);
            if let Err(error) = Descriptor::check(&*self.disk, prefix) {
                verification.file(descriptor::FILE, &error);
            }
        }
        let mut blocks = Blocks::new(log.signed(), log.stamped(), 0);
        let signed = match &log {
            Log::Signed(signed) => signed.0.checkpoint.head.size,
            Log::NotYet => 0,
            // That is a finding already; the files can still be told from others.
            Log::Wrong => u64::MAX,
        };
        let mut said = Said::default();
        for (seq, entry) in (0..).zip(&entries) {
            let mut wrong = |first, last, what: String| {
                let leaves = Some((meta::NAME.to_owned(), first, last));
                let (path, received) = (path.clone(), None);
                verification.found_in_leaves(Finding { path, leaves, received, what });
            };
            match blocks.push(Some(Hash::of_leaf(entry))) {
                Ok(None) => {}
                Ok(Some((first, last))) => {
                    wrong(first, last, "they are not what was signed".into());
                }
                Err(error) => wrong(seq, seq, error.to_string()),
            }
            match serde_json::from_slice(entry) {
                Ok(_) if seq >= signed => {}
                Ok(MetaEntry { record: Record::Seal(seal), .. }) => {
                    said.seals.insert(seal.path.clone(), seal);
                }
                Ok(MetaEntry { record, received, .. }) => {
                    verification.reopened.extend(reopened(&record, &received));
                    said.standing.follow(record);
                }
                Err(error) => wrong(seq, seq, format!("it is no record: {error}")),
            }
        }
        verification.close(&path, meta::NAME, &log, &mut blocks, 0);
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_many_findings_hides_no_other() {
        let mut verification = Verification::default();
        for leaf in 0..3 * LEAVES_MAX as u64 {
            verification.found_in_leaves(Finding {
                path: "first".into(),
                leaves: Some(("prod".into(), leaf, leaf)),
                received: None,
                what: "it is not what was signed".into(),
            });
        }
        (0..3 * FILES_MAX).for_each(|_| verification.file("second", &"it cannot be read"));
        let of = |path| verification.findings.iter().filter(|found| found.path == path).count();
        assert_eq!((of("first"), of("second")), (LEAVES_MAX, FILES_MAX));
        assert_eq!(verification.findings_in_all, 3 * (LEAVES_MAX + FILES_MAX) as u64);
    }
}
