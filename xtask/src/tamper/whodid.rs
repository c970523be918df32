//! The program under judgement, run on whichever record; it may fail, which is what is looked at.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::command::{self, Ended};

/// Longer than anything takes that it is asked here.
const LIMIT: Duration = Duration::from_mins(5);

/// `whodid`: it is not what was signed, or not what was asked for.
const REFUTED: i32 = 1;

pub(super) struct Whodid {
    pub(super) program: PathBuf,
}

impl Whodid {
    /// Runs it on a record, to whatever end, but for a crash.
    pub(super) fn run<S: AsRef<std::ffi::OsStr>>(
        &self,
        record: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Ended> {
        let mut command = Command::new(&self.program);
        command.args(args).env("WHODID_DATA_DIR", record);
        let ended = command::output_within(&mut command, LIMIT)?;
        let has_panicked = ended.err.contains("panicked at");
        if has_panicked || ended.status.code().is_none() {
            bail!("{} crashed: {}\n{}", command::shown(&command), ended.status, ended.err);
        }
        Ok(ended)
    }

    /// Runs it where it has to succeed; returns what it printed.
    pub(super) fn output(&self, record: &Path, args: &[&str]) -> anyhow::Result<String> {
        let ended = self.run(record, args)?;
        ensure!(ended.status.success(), "whodid {}: {}", args.join(" "), ended.err);
        Ok(ended.out)
    }

    /// Verifies a record by a policy that was handed out before; returns what is wrong with it.
    pub(super) fn verify(&self, record: &Path, policy: &Path) -> anyhow::Result<Option<String>> {
        let policy = policy.to_str().context("the path of the policy is no text")?;
        let ended = self.run(record, ["verify", "--policy", policy])?;
        match ended.status.code() {
            Some(0) => Ok(None),
            Some(REFUTED) => Ok(Some(ended.err)),
            _ => bail!("`whodid verify` ended with {}: {}", ended.status, ended.err),
        }
    }
}
