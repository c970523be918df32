//! Whether a log that there was is still there: who removes a cluster with its keys and its log
//! leaves nothing that could be verified, but others remember it, the policy and the seals.

use std::collections::{BTreeSet, HashMap};

use whodid_tlog::{Checkpoint, Note, Policy, Verifier};

use super::{Verification, Wanted};
use crate::disk::Disk;
use crate::error::Result;
use crate::ledger::{Seal, log, meta};

/// Finds logs that are gone.
///
/// # Errors
/// The ledger cannot be read.
pub(super) fn check(
    disk: &dyn Disk,
    seals: &HashMap<String, Seal>,
    clusters: &BTreeSet<String>,
    wanted: Wanted<'_>,
    verification: &mut Verification,
) -> Result<()> {
    let is_wanted = |name: &str| wanted.cluster.is_none_or(|cluster| cluster == name);
    let sealed: BTreeSet<&str> = seals.keys().filter_map(|path| cluster_of(path)).collect();
    let gone = |cluster: &&str| is_wanted(cluster) && !clusters.contains(*cluster);
    for cluster in sealed.into_iter().filter(gone) {
        let what = format!("files of {cluster} were sealed, and neither it nor its log is there");
        verification.file(&format!("ledger/{cluster}"), &what);
    }
    let Some(policy) = wanted.policy else { return Ok(()) };
    let present = origins(disk, policy)?;
    let prefix = present.iter().find_map(|(name, origin)| {
        let rest = origin.get(..origin.rfind(&format!("/{}", meta::NAME))?)?;
        (name == meta::NAME).then_some(rest)
    });
    let is_here = |origin: &str| present.iter().any(|(_, present)| present == origin);
    for log in policy.logs().iter().filter(|log| !is_here(log.name())) {
        // A policy may be about several records; which this is, its meta log says.
        let name = match prefix {
            Some(prefix) => log.name().strip_prefix(prefix).and_then(|name| name.strip_prefix('/')),
            None => Some(log.name()),
        };
        let is_about = |name: &str| name.split('/').next().is_some_and(is_wanted);
        if name.is_some_and(is_about) {
            let what = format!(
                "the policy names the log {}, and nothing that it signed is there",
                log.name()
            );
            verification.file(log::FOLDER, &what);
        }
    }
    Ok(())
}

/// The cluster that a file of a table is of, by its path.
fn cluster_of(path: &str) -> Option<&str> {
    path.split('/').nth(1)?.strip_prefix("cluster=")
}

/// The logs of the policy that have signed a checkpoint here, frozen ones too: folder and origin.
fn origins(disk: &dyn Disk, policy: &Policy) -> Result<Vec<(String, String)>> {
    let mut origins = Vec::new();
    for folder in log::folders(disk)? {
        for file in [log::CHECKPOINT, log::COSIGNED] {
            let note = log::read(disk, &folder, file)?;
            let note = note.and_then(|note| Note::parse(&String::from_utf8(note).ok()?).ok());
            let Some(note) = note else { continue };
            // Whether enough witnesses have seen it is looked at elsewhere.
            let is_its = |log: &&Verifier| Checkpoint::open(&note, log).is_ok();
            let log = policy.logs().iter().find(is_its);
            origins.extend(log.map(|log| (folder.clone(), log.name().to_owned())));
        }
    }
    Ok(origins)
}
