//! The programs that are asked, in the cache: `testbed/oracle`, built and checked; its Python
//! packages; and `fsck`, as its authors released it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::command::{self, Missing};
use crate::testbed::build as testbed;
use crate::{cache, repository};

/// Of `github.com/transparency-dev/tessera`.
const TESSERA: &str = "v1.0.4";

pub(super) struct Programs {
    /// Where they are, and where the log may be written.
    pub(super) folder: PathBuf,
    pub(super) go: PathBuf,
    pub(super) python: PathBuf,
    pub(super) fsck: PathBuf,
}

impl Programs {
    /// The oracles in Python.
    pub(super) fn python(&self) -> Command {
        let mut python = Command::new(&self.python);
        // It would write its bytecode into the repository.
        python.arg("-B").arg(module().join("oracle.py"));
        python
    }
}

fn module() -> PathBuf {
    repository::root().join("testbed/oracle")
}

fn go() -> Command {
    let mut go = testbed::go();
    go.current_dir(module());
    go
}

/// Builds what is not there yet.
pub(super) fn build() -> anyhow::Result<Programs> {
    command::require("go", "install Go 1.26 or newer from https://go.dev/dl")?;
    let folder = cache::folder()?.join("oracle");
    fs::create_dir_all(&folder)?;
    let programs = Programs { go: folder.join("oracle"), python: python()?, fsck: fsck()?, folder };
    let build = ["build", "-trimpath", "-mod=readonly", "-o"];
    command::run(go().args(build).arg(&programs.go).arg("."))?;
    let mut format = Command::new("gofmt");
    format.args(["-l", "."]).current_dir(module());
    let unformatted = command::output(&mut format)?;
    ensure!(unformatted.is_empty(), "not formatted, run gofmt:\n{unformatted}");
    command::run(go().args(["vet", "-trimpath", "-mod=readonly", "./..."]))?;
    command::run(go().args(["test", "-trimpath", "-mod=readonly", "./..."]))?;
    Ok(programs)
}

fn python() -> anyhow::Result<PathBuf> {
    command::require("python3", "install Python 3.11 or newer with its module `venv`")?;
    let mut version = Command::new("python3");
    version.args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]);
    let hint = || Missing("proofbundle wants Python 3.11 or newer".into());
    command::run(&mut version).map_err(|_| hint())?;
    cache::python_locked("oracle-python", &module().join("requirements.txt"))
}

/// Tessera's `fsck`. Of a released version nothing is ever built again.
pub(crate) fn fsck() -> anyhow::Result<PathBuf> {
    let folder = cache::folder()?.join("oracle");
    let folder = folder.join(format!("tessera-{TESSERA}"));
    let program = folder.join("fsck");
    if !program.is_file() {
        println!("building Tessera's fsck; half a minute, the first time");
        let package = format!("github.com/transparency-dev/tessera/cmd/fsck@{TESSERA}");
        let mut install = go();
        install.args(["install", "-trimpath", &package]).env("GOBIN", &folder);
        command::run(&mut install).map_err(|error| Missing(format!("{package}: {error:#}")))?;
    }
    Ok(program)
}
