//! The control plane of the end-to-end test: that it can be built, and its own checks.

use std::process::Command;

use anyhow::ensure;

use crate::command;
use crate::testbed::build;

pub(super) fn run(kubernetes: &str) -> anyhow::Result<()> {
    build::build(kubernetes)?;
    let mut format = Command::new("gofmt");
    format.args(["-l", "."]).current_dir(build::module());
    let unformatted = command::output(&mut format)?;
    ensure!(unformatted.is_empty(), "not formatted, run gofmt:\n{unformatted}");
    // With the flags of the build, so that what it compiled serves here, too.
    command::run(build::go().args(["vet", "-trimpath", "-mod=readonly", "./..."]))?;
    command::run(build::go().args(["test", "-trimpath", "-mod=readonly", "./..."]))
}
