//! Who judges a forged record: `whodid verify`, a start of the writer, `verify` once more behind
//! it, and an auditor with a proof or a checkpoint from before the attack.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::expected::Hand;
use super::forger::{Attack, Check};
use super::records::Records;
use super::whodid::Whodid;

/// So much is shown of what a judge says.
const SHOWN_CHARS: usize = 200;

/// What a judge found, in the judge's own words, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    Found(String),
    #[default]
    Missed,
    /// Another judge has spared it the question.
    NotAsked,
}

impl Verdict {
    fn of(found: Option<String>) -> Verdict {
        found.map_or(Verdict::Missed, |said| {
            let first = said.lines().find(|line| !line.is_empty()).unwrap_or_default();
            Verdict::Found(first.chars().take(SHOWN_CHARS).collect())
        })
    }
}

/// What all judges found.
#[derive(Debug)]
pub(super) struct Verdicts {
    pub(super) verify: Verdict,
    /// The writer does not start.
    pub(super) start: Verdict,
    /// `verify` after the writer has started.
    pub(super) after: Verdict,
    /// Whoever holds a proof of the event from before, and asks for it again.
    pub(super) proof: Verdict,
    /// Whoever holds the checkpoints from before, and is shown all rows.
    pub(super) checkpoint: Verdict,
}

impl Verdicts {
    pub(super) fn of(
        whodid: &Whodid,
        records: &Records,
        forged: &Path,
        attack: &Attack,
        evidence: &Evidence,
    ) -> anyhow::Result<Verdicts> {
        let verify = Verdict::of(whodid.verify(forged, &records.policy)?);
        let proof = Verdict::of(evidence.differs(whodid, records, forged)?);
        let told = attack.told.join(", ");
        let told = (!told.is_empty()).then(|| format!("another tree: {told}"));
        // Last, because it writes.
        let started = whodid.run(forged, ["compact"])?;
        let is_started = started.status.success();
        let start = Verdict::of((!is_started).then_some(started.err));
        let after = if is_started {
            Verdict::of(whodid.verify(forged, &records.policy)?)
        } else {
            Verdict::NotAsked
        };
        Ok(Verdicts { verify, start, after, proof, checkpoint: Verdict::of(told) })
    }

    /// In the order of the columns.
    pub(super) fn all(&self) -> [&Verdict; 5] {
        [&self.verify, &self.start, &self.after, &self.proof, &self.checkpoint]
    }
}

/// A proof that was made before the attack.
pub(super) struct Evidence {
    target: String,
    folder: PathBuf,
}

impl Evidence {
    pub(super) fn of(
        whodid: &Whodid,
        records: &Records,
        attack: &Attack,
    ) -> anyhow::Result<Evidence> {
        let evidence =
            Evidence { target: attack.target.clone(), folder: records.folder.join("before") };
        ensure!(
            evidence.prove(whodid, &records.today, &evidence.folder)?.is_none(),
            "the true record has no proof of {}",
            evidence.target
        );
        Ok(evidence)
    }

    /// Proves the event; returns why that cannot be done.
    fn prove(&self, whodid: &Whodid, record: &Path, out: &Path) -> anyhow::Result<Option<String>> {
        let out = out.to_str().context("the path of the proof is no text")?;
        let ended = whodid.run(record, ["prove", &self.target, "--out", out])?;
        Ok((!ended.status.success()).then_some(ended.err))
    }

    fn file(&self, folder: &Path, extension: &str) -> PathBuf {
        folder.join(format!("{}.{extension}", self.target.replace('/', "-")))
    }

    /// The proof still holds; whether the record still proves the same.
    fn differs(
        &self,
        whodid: &Whodid,
        records: &Records,
        forged: &Path,
    ) -> anyhow::Result<Option<String>> {
        let (proof, entry) =
            (self.file(&self.folder, "tlog-proof"), self.file(&self.folder, "json"));
        let words = ["verify".as_ref(), proof.as_os_str(), "--entry".as_ref(), entry.as_os_str()];
        let policy = ["--policy".as_ref(), records.policy.as_os_str()];
        let held = whodid.run(forged, words.into_iter().chain(policy))?;
        ensure!(held.status.success(), "a proof from before does not hold: {}", held.err);
        let again = records.folder.join("again");
        if let Some(why) = self.prove(whodid, forged, &again)? {
            return Ok(Some(why));
        }
        let is_same = fs::read(&entry)? == fs::read(self.file(&again, "json"))?;
        fs::remove_dir_all(again)?;
        Ok((!is_same).then(|| format!("{} is another event now", self.target)))
    }
}

/// Whether the forged record reads like any other, and shows what the true one does not.
pub(super) fn readable(
    whodid: &Whodid,
    today: &Path,
    forged: &Path,
    attack: &Attack,
    hand: Hand,
) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    // Whatever else it shows, there is nothing about it that a search stumbles over.
    whodid.output(forged, &["search", "verb:create", "--limit", "5", "-o", "name"])?;
    for check in &attack.checks {
        for (record, is_wanted) in [(today, false), (forged, true)] {
            if shows(whodid, record, check)? != is_wanted {
                let which =
                    if is_wanted { "forged record does not show" } else { "true one shows" };
                let (run, hand) = (check.run.join(" "), hand.name);
                faults.push(format!("{}, {hand}: the {which} it: {run}", attack.title));
            }
        }
    }
    Ok(faults)
}

fn shows(whodid: &Whodid, record: &Path, check: &Check) -> anyhow::Result<bool> {
    let ended = whodid.run(record, &check.run)?;
    // That something is not there is said by exit code 1; a record that cannot be read, by others.
    let is_nothing = ended.status.code() == Some(1) && ended.out.is_empty();
    let has_all = || check.has.iter().all(|text| ended.out.contains(text));
    Ok(if check.fails { is_nothing } else { ended.status.success() && has_all() })
}
