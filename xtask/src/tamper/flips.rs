//! Flipped bits: every byte of a record in the tests of the store, and one in 97 through the
//! program itself, which has to say which file it is, whatever the flip makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use super::records;
use super::whodid::Whodid;
use crate::command;

/// Bytes between two flips through the program.
const EVERY: usize = 97;

/// With fewer flips than this, something was not looked at.
const FLIPS_MIN: usize = 600;

/// Wall-clock time for building the tests and flipping every byte.
const LIMIT: Duration = Duration::from_hours(2);

/// Leaves of a block that has one key of 32 bytes.
const BLOCK_LEAVES: usize = 256;
const KEY_BYTES: usize = 32;

/// Flips bytes in the tests of the store.
pub(super) fn tests(every: u32) -> anyhow::Result<()> {
    let args = ["test", "--release", "--locked", "--workspace", "--test", "it", "--"];
    let test = ["ledger::a_flipped_bit_is_found", "--nocapture"];
    let mut cargo = command::cargo();
    cargo.args(args).args(test).env("WHODID_FLIP_EVERY", every.to_string());
    // Libraries panic at what is damaged; to say from where takes most of the time.
    cargo.env("RUST_BACKTRACE", "0");
    command::run_within(&mut cargo, LIMIT)
}

/// Flips bytes and asks the program; returns what is not as it should be.
pub(super) fn binary(whodid: &Whodid, folder: &Path) -> anyhow::Result<Vec<String>> {
    let records = records::small(whodid, folder)?;
    let mut faults = Vec::new();
    let mut counts = BTreeMap::<&str, [usize; 2]>::new();
    for path in records::files(&records.today)? {
        let Some(kind) = kind(&path) else { continue };
        let file = records.today.join(&path);
        let whole = fs::read(&file)?;
        let used = if kind == "keys" { used_keys(&path) } else { whole.len() };
        for at in (0..used).step_by(EVERY) {
            let mut flipped = whole.clone();
            if let Some(byte) = flipped.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            fs::write(&file, flipped)?;
            let shown = format!("{} with byte {at} flipped", path.display());
            let [flips, named] = counts.entry(kind).or_default();
            *flips += 1;
            match whodid.verify(&records.today, &records.policy) {
                Ok(None) => faults.push(format!("{shown}: not found")),
                Ok(Some(said)) if said.contains(&*path.to_string_lossy()) => *named += 1,
                Ok(Some(_)) if is_nameless(kind) => {}
                Ok(Some(said)) => faults.push(format!("{shown}: not named: {said}")),
                Err(error) => faults.push(format!("{shown}: {error}")),
            }
        }
        fs::write(&file, whole)?;
    }
    println!("\nOne byte in {EVERY} flipped, `whodid verify` asked:");
    for (kind, [flips, named]) in &counts {
        println!("{kind:12} {flips:5} flips, the file named {named:5} times");
    }
    let flips: usize = counts.values().map(|[flips, _]| flips).sum();
    ensure!(flips >= FLIPS_MIN, "only {flips} flips");
    Ok(faults)
}

/// What a file is, if the ledger is about it (`docs/format/ledger.md`).
fn kind(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    if name == "store.json" {
        return Some("descriptor");
    }
    let mut folders = path.iter().filter_map(|folder| folder.to_str());
    match (folders.next()?, folders.next()?) {
        ("events", below) if below.starts_with("cluster=") => Some("events"),
        ("bodies", below) if below.starts_with("cluster=") => Some("bodies"),
        ("keys", _) => Some("keys"),
        ("ledger", _) if name.ends_with("key") => None,
        ("ledger", _) if name == "edge" => Some("edge"),
        ("ledger", _) => Some("ledger"),
        _ => None,
    }
}

/// Of these the leaves are named that they lead to.
fn is_nameless(kind: &str) -> bool {
    ["keys", "edge"].contains(&kind)
}

/// Bytes of a file of keys that leaves were made with.
fn used_keys(path: &Path) -> usize {
    let cluster = path.iter().nth(1).and_then(|cluster| cluster.to_str());
    let small = records::SMALL.iter().find(|(name, ..)| Some(*name) == cluster);
    small.map_or(0, |(.., events)| events.div_ceil(BLOCK_LEAVES) * KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_ledger_is_about_is_flipped() {
        for (path, expected) in [
            ("events/cluster=c/day=2026-01-02/0-1-a.parquet", Some("events")),
            ("events/_delta_log/00000000000000000000.json", None),
            ("bodies/cluster=c/day=2026-01-02/0-1-a.parquet", Some("bodies")),
            ("keys/c/000000000000.keys", Some("keys")),
            ("ledger/c/key", None),
            ("ledger/export.key", None),
            ("ledger/c/edge", Some("edge")),
            ("ledger/meta/entries", Some("ledger")),
            ("store.json", Some("descriptor")),
            ("state.sqlite", None),
        ] {
            assert_eq!(kind(Path::new(path)), expected, "{path}");
        }
        assert_eq!(used_keys(Path::new("keys/prod/000000000000.keys")), 64);
        assert_eq!(used_keys(Path::new("keys/staging/000000000000.keys")), 32);
    }
}
