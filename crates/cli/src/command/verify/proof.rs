//! A proof, checked: whether a transparency log has an entry, from files alone. The log is
//! whoever's keeps to C2SP's formats; what its entry means is left to others.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use whodid_tlog::{Policy, ProofFile, file, policy};

use crate::failure::Failure;
use crate::output::print;

/// An entry of a log is at most so long (C2SP tlog-tiles), and one byte more is too long.
const ENTRY_BYTES_MAX: u64 = 65_535;

/// Checks a proof of an entry.
pub fn run(proof: &Path, entry: &Path, policy: &Path) -> Result<(), Failure> {
    let entry = read(entry, ENTRY_BYTES_MAX)?;
    let (path, policy) = (proof.display(), read_policy(policy)?);
    let proof = text(proof, file::FILE_BYTES_MAX)?;
    let failed = |why: &dyn std::fmt::Display| Failure::Refuted(format!("{path}: {why}"));
    let proof = ProofFile::parse(&proof).map_err(|error| failed(&error))?;
    let checkpoint = policy.open(&proof.checkpoint).map_err(|error| failed(&error))?;
    let held = proof.verify_in(&entry, &checkpoint);
    held.map_err(|error| failed(&file::Error::from(error)))?;
    print(&format!(
        "verified: leaf {} of {}, in its tree of {} leaves\n",
        proof.index, checkpoint.origin, checkpoint.head.size
    ))?;
    Ok(())
}

/// Reads whose signatures are believed.
pub fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let policy = Policy::parse(&text(path, policy::POLICY_BYTES_MAX)?);
    policy.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

pub fn text(path: &Path, bytes_max: usize) -> Result<String, Failure> {
    let bytes = read(path, bytes_max as u64)?;
    let text = String::from_utf8(bytes);
    text.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        let path = path.display();
        return Err(Failure::Usage(format!("{path} is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}
