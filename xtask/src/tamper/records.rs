//! The records that are forged: two clusters of recorded events and lines that are none, with
//! duplicates, conflicts and redactions, as they are today and as they were yesterday.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::whodid::Whodid;
use crate::repository;

/// With these in one cluster, the tree has a full tile above its leaves.
const NOISE_LINES: usize = 65_000;

/// Events of the first day, and how many of them come again on the second.
const FIRST_DAY: usize = 1_000;
const AGAIN: usize = 100;

/// Events that come again with another verb.
const CONFLICTS: usize = 10;

/// Clusters, recordings and their first events, for a record that can be looked at often.
pub(super) const SMALL: [(&str, &str, usize); 2] =
    [("prod", "typical-policy", 280), ("staging", "broad-policy-all-stages", 150)];

/// No capture is longer when it is unpacked.
const CAPTURE_BYTES_MAX: usize = 256 << 20;

pub(super) struct Records {
    pub(super) today: PathBuf,
    pub(super) yesterday: PathBuf,
    /// The keys of the logs, as they were handed out.
    pub(super) policy: PathBuf,
    /// Where there is room for more.
    pub(super) folder: PathBuf,
}

impl Records {
    pub(super) fn make(whodid: &Whodid, folder: &Path) -> anyhow::Result<Records> {
        fs::create_dir_all(folder)?;
        let records = Records {
            today: folder.join("today"),
            yesterday: folder.join("yesterday"),
            policy: folder.join("policy.txt"),
            folder: folder.to_owned(),
        };
        let (typical, broad) = (capture("typical-policy")?, capture("broad-policy-all-stages")?);
        let (before, after) = halves(&typical, FIRST_DAY)?;
        let noise = (0..NOISE_LINES).map(|number| format!("line {number} of another log\n"));
        let first_day = before.concat() + &noise.collect::<String>();
        records.import(whodid, "prod", &first_day)?;
        let (before_broad, after_broad) = halves(&broad, 2 * FIRST_DAY)?;
        records.import(whodid, "staging", &before_broad.concat())?;
        // So that some files are settled, and have an index of words.
        whodid.output(&records.today, &["compact"])?;
        copy(&records.today, &records.yesterday)?;
        let again =
            |lines: &[String]| lines.get(lines.len() - AGAIN..).unwrap_or_default().concat();
        let conflicts: String =
            before.iter().take(CONFLICTS).map(|line| other_verb(line)).collect();
        let second_day = conflicts + &again(before) + &after.concat();
        records.import(whodid, "prod", &second_day)?;
        let second_day = again(before_broad) + &after_broad.concat();
        records.import(whodid, "staging", &second_day)?;
        fs::write(&records.policy, whodid.output(&records.today, &["ledger", "policy"])?)?;
        let wrong = whodid.verify(&records.today, &records.policy)?;
        ensure!(wrong.is_none(), "the true record is not found to be true: {wrong:?}");
        Ok(records)
    }

    fn import(&self, whodid: &Whodid, cluster: &str, events: &str) -> anyhow::Result<()> {
        let file = self.folder.join(format!("{cluster}.jsonl"));
        fs::write(&file, events)?;
        let file = file.to_str().context("the path of the events is no text")?;
        let said =
            whodid.output(&self.today, &["import", "--quiet", "--cluster", cluster, file])?;
        print!("{cluster}: {said}");
        Ok(())
    }
}

/// The lines of a recording, each with its end.
fn capture(name: &str) -> anyhow::Result<Vec<String>> {
    let path = repository::root().join(format!("testdata/captures/{name}.jsonl.zst"));
    let packed = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(zstd::bulk::decompress(&packed, CAPTURE_BYTES_MAX)?)?;
    Ok(text.split_inclusive('\n').map(str::to_owned).collect())
}

/// The first lines of a recording, and those behind them.
fn halves(lines: &[String], first: usize) -> anyhow::Result<(&[String], &[String])> {
    lines.split_at_checked(first).context("the capture is too short")
}

/// The same event with another verb: of the same key, and in conflict.
fn other_verb(line: &str) -> String {
    line.replacen("\"verb\":\"", "\"verb\":\"un", 1)
}

/// Copies a folder and what is in it.
pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The files in a folder, relative to it.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder)?.to_owned());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A record of [`SMALL`].
pub(super) fn small(whodid: &Whodid, folder: &Path) -> anyhow::Result<Records> {
    fs::create_dir_all(folder)?;
    let records = Records {
        today: folder.join("record"),
        yesterday: folder.join("none"),
        policy: folder.join("policy.txt"),
        folder: folder.to_owned(),
    };
    for (cluster, name, events) in SMALL {
        let lines = capture(name)?;
        records.import(whodid, cluster, &halves(&lines, events)?.0.concat())?;
    }
    fs::write(&records.policy, whodid.output(&records.today, &["ledger", "policy"])?)?;
    Ok(records)
}
