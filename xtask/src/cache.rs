//! What outlives a clone of the repository: tools, built once, beside the build cache; and the
//! files of benches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::command::{self, Missing};

/// The folder beside the one that `CARGO_TARGET_DIR` names, else `$HOME/.cache/whodid`.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let beside = std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .filter(|target| target.is_absolute())
        .and_then(|target| target.parent().map(Path::to_owned));
    let at_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/whodid"));
    beside.or_else(at_home).context("neither CARGO_TARGET_DIR nor HOME says where the cache is")
}

/// A tool from crates.io of exactly this version, installed unless it is there already.
///
/// It is built without optimisation: it is built more often than it has much to do.
pub(crate) fn tool(package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let tools = folder()?.join("tools");
    let binary = tools.join("bin").join(package);
    let is_installed = || {
        let probe = Command::new(&binary).arg("--version").output();
        probe.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).trim_end().ends_with(&format!(" {version}"))
        })
    };
    if !is_installed() {
        let build = tools.join("build");
        let installed = command::run(
            command::cargo()
                .args(["install", "--debug", "--locked", package, "--version", version, "--root"])
                .arg(&tools)
                .env("CARGO_TARGET_DIR", &build),
        );
        // Half a gigabyte that nobody needs again.
        let _removed = fs::remove_dir_all(&build);
        installed.map_err(|error| Missing(format!("{package} {version}: {error:#}")))?;
    }
    Ok(binary)
}

/// A Python interpreter in the folder `name`, with exactly these packages from PyPI,
/// `NAME==VERSION` each.
pub(crate) fn python(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    venv(name, &packages.join("\n"), |pip| pip.args(packages))
}

/// A Python interpreter in the folder `name`, with exactly the packages that a file lists by their
/// hashes.
pub(crate) fn python_locked(name: &str, requirements: &Path) -> anyhow::Result<PathBuf> {
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    venv(name, &wanted, |pip| pip.args(["--require-hashes", "--requirement"]).arg(requirements))
}

/// An environment in the folder `name`, made anew unless what is `wanted` is there already.
fn venv(
    name: &str,
    wanted: &str,
    packages: impl FnOnce(&mut Command) -> &mut Command,
) -> anyhow::Result<PathBuf> {
    command::require("python3", "install it with its module `venv`")?;
    let folder = folder()?.join(name);
    let python = folder.join("bin/python");
    let installed = folder.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let missing = |error: anyhow::Error| Missing(format!("packages of Python: {error:#}"));
    let mut venv = Command::new("python3");
    command::run(venv.args(["-m", "venv", "--clear"]).arg(&folder)).map_err(missing)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    command::run(packages(&mut pip)).map_err(missing)?;
    fs::write(installed, wanted)?;
    Ok(python)
}
