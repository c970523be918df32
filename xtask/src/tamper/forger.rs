//! The forger: a program in Python, which knows the record by its published format alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::records::Records;
use crate::{cache, command, repository};

pub(super) struct Forger {
    python: PathBuf,
    program: PathBuf,
}

/// What was forged.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) title: String,
    /// The event that it is about.
    pub(super) target: String,
    /// How the forged record shows that it is forged.
    pub(super) checks: Vec<Check>,
    /// The logs that an earlier checkpoint tells from what they are now.
    pub(super) told: Vec<String>,
}

/// What a command says of the forged record, and not of the true one.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) run: Vec<String>,
    pub(super) has: Vec<String>,
    /// It finds nothing.
    pub(super) fails: bool,
}

impl Forger {
    pub(super) fn new() -> anyhow::Result<Forger> {
        let folder = repository::root().join("testbed/forger");
        let python = cache::python_locked("forger-python", &folder.join("requirements.txt"))?;
        Ok(Forger { python, program: folder.join("forge.py") })
    }

    fn command(&self, task: &str) -> Command {
        let mut python = Command::new(&self.python);
        // It would write its bytecode into the repository.
        python.arg("-B").arg(&self.program).arg(task);
        python
    }

    /// Makes the trees of a true record, and compares them with what was signed.
    pub(super) fn check(&self, record: &Path) -> anyhow::Result<String> {
        command::output(self.command("check").arg(record))
    }

    /// The names of all attacks.
    pub(super) fn attacks(&self) -> anyhow::Result<Vec<String>> {
        let printed = command::output(&mut self.command("attacks"))?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// Forges a record, once for each hand, in folders of `out`.
    pub(super) fn forge(
        &self,
        records: &Records,
        name: &str,
        out: &Path,
    ) -> anyhow::Result<Attack> {
        let mut command = self.command("forge");
        command.args([&records.today, &records.yesterday]).arg(out).arg(name);
        let printed = command::output(&mut command)?;
        let said = serde_json::from_str(&printed).ok();
        let attack = said.and_then(|said| attack(&said));
        attack.with_context(|| format!("what was forged is not said: {printed}"))
    }
}

fn attack(said: &Value) -> Option<Attack> {
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    let texts = |value: &Value| value.as_array()?.iter().map(text).collect::<Option<Vec<_>>>();
    let check = |check: &Value| {
        Some(Check {
            run: texts(check.get("run")?)?,
            has: texts(check.get("has")?)?,
            fails: check.get("fails")?.as_bool()?,
        })
    };
    Some(Attack {
        title: text(said.get("title")?)?,
        target: text(said.get("target")?)?,
        checks: said.get("checks")?.as_array()?.iter().map(check).collect::<Option<_>>()?,
        told: texts(said.get("told")?)?,
    })
}
