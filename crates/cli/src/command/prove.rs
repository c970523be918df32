//! `whodid prove`: the proof that a log has an event, with the entry that it is about and the key
//! that it is checked with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use whodid_store::{Evidence, Proven, Reader};

use super::Place;
use super::show::Source;
use crate::args::ProveArgs;
use crate::failure::Failure;
use crate::output::print;

/// A checkpoint is signed every second while events come in.
const WAIT: Duration = Duration::from_millis(200);
const WAITS_MAX: u32 = 15;

pub async fn run(args: ProveArgs) -> Result<(), Failure> {
    let source = Source::open(Place::Record(args.store.clone())).await?;
    let id = source.find(&args.id).await?;
    let reader = Reader::open_dir(&args.store.dir())?;
    let ends = reader.snapshot().await?.ends();
    if ends.get(&id.cluster).is_none_or(|end| *end <= id.seq) {
        return Err(Failure::NothingFound(format!("there is no event {id}")));
    }
    let evidence = evidence(&reader, &id.cluster, &[id.seq].into()).await?;
    let [Proven { leaf, proof: held }] = evidence.proven() else {
        return Err(Failure::Unavailable(format!("{id} is not in the record")));
    };
    let Some(dir) = &args.out else { return Ok(print(&held.to_string())?) };
    let name = format!("{}-{}", id.cluster, id.seq);
    let (proof, entry) = (format!("{name}.tlog-proof"), format!("{name}.json"));
    fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    write(&dir.join(&proof), held.to_string().as_bytes())?;
    write(&dir.join(&entry), &leaf.entry)?;
    write(&dir.join("policy.txt"), evidence.policy().as_bytes())?;
    print(&format!(
        "wrote {proof}, {entry} and policy.txt; to check them:\n  cd {} && whodid verify {proof} \
         --entry {entry} --policy policy.txt\n",
        dir.display()
    ))?;
    Ok(())
}

/// The proofs of events, once a checkpoint covers them.
pub async fn evidence(
    reader: &Reader,
    cluster: &str,
    seqs: &BTreeSet<u64>,
) -> Result<Evidence, Failure> {
    for _ in 0..WAITS_MAX {
        if let Some(evidence) = reader.prove(cluster, seqs).await? {
            return Ok(evidence);
        }
        tokio::time::sleep(WAIT).await;
    }
    Err(Failure::Unavailable(format!(
        "no checkpoint covers the newest events of {cluster} yet; one is signed within a second \
         while a writer runs, so ask again, and if none writes to the record, `whodid compact` \
         signs one too"
    )))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Unavailable(format!("{}: {error}", path.display()))
}
