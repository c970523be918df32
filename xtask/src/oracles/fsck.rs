//! Tessera's `fsck` reads the whole log as a folder of files: all of it at every size that it had,
//! and none of it with one byte changed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use whodid_testkit::generate::Random;
use whodid_tlog::Verifier;

use super::Break;
use super::build::Programs;
use super::log::{Log, ORIGIN};
use crate::command::{self, Ended};

/// It takes a second. With a wrong tile it might wait for ever.
const LIMIT: Duration = Duration::from_mins(1);

/// Workers: each gives up at the first wrong tile, and one alone would leave the others to wait.
const WORKERS: &str = "-N=4";

/// Of the largest tree: a tile of each level, full and partial ones, and entries.
const CHANGED: [&str; 7] = [
    "tile/0/000",
    "tile/0/273.p/112",
    "tile/1/000",
    "tile/1/001.p/17",
    "tile/2/000.p/1",
    "tile/entries/101",
    "tile/entries/273.p/112",
];

const CHECKPOINT: &str = "checkpoint";

/// Reads a whole log that is laid out in a folder; returns how many leaves it has.
pub(crate) fn read(program: &Path, folder: &Path, key: &Verifier) -> anyhow::Result<u64> {
    let file = folder.with_extension("vkey");
    fs::write(&file, key.to_string())?;
    let Ended { err, .. } = fsck(program, folder, &file, key.name())?;
    let size = err.split("Successfully fsck'd log with size ").nth(1);
    let size = size.and_then(|rest| rest.split(' ').next()?.parse().ok());
    size.with_context(|| format!("fsck refuses the log of {}: {err}", key.name()))
}

fn fsck(program: &Path, folder: &Path, key: &Path, origin: &str) -> anyhow::Result<Ended> {
    let mut fsck = Command::new(program);
    fsck.arg(format!("--storage_url=file://{}/", folder.display()));
    fsck.arg(format!("--public_key={}", key.display())).arg(format!("--origin={origin}"));
    command::output_within(fsck.args(["--ui=false", WORKERS]), LIMIT)
}

pub(super) fn check(
    programs: &Programs,
    log: &Log,
    folder: &Path,
    random: &mut Random,
    broken: Option<Break>,
) -> anyhow::Result<()> {
    let key = programs.folder.join("log.vkey");
    fs::write(&key, log.keys.log().to_string())?;
    let run = || fsck(&programs.fsck, folder, &key, ORIGIN);
    for size in &log.sizes {
        fs::write(folder.join(CHECKPOINT), log.checkpoint(*size)?.to_string())?;
        let root = log.head(*size)?.root;
        let success = format!("Successfully fsck'd log with size {size} and root {root}");
        let Ended { err, .. } = run()?;
        ensure!(err.contains(&success), "fsck refuses the log of {size} leaves: {err}");
    }
    for path in CHANGED.iter().chain([&CHECKPOINT]) {
        let file = folder.join(path);
        let good = fs::read(&file).with_context(|| format!("the log has no {path}"))?;
        // Below a checkpoint's text are signatures that fsck has no keys for.
        let end = good.windows(2).position(|pair| *path == CHECKPOINT && pair == b"\n\n");
        let at = random.below(end.unwrap_or(good.len()));
        let mut changed = good.clone();
        if let Some(byte) = changed.get_mut(at).filter(|_| broken != Some(Break::Log)) {
            *byte ^= 1 << random.below(8);
        }
        fs::write(&file, changed)?;
        let Ended { err, .. } = run()?;
        fs::write(&file, good)?;
        // It ends with 0 whatever it finds.
        ensure!(!err.contains("Successfully"), "fsck accepts {path} with another byte {at}");
        ensure!(err.contains("fsck failed"), "fsck does not say what is wrong with {path}: {err}");
    }
    println!("fsck: {} logs read, {} changed bytes found", log.sizes.len(), CHANGED.len() + 1);
    Ok(())
}
