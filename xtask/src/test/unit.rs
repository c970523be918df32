//! All tests of the workspace, in the profile the product is built in.

use std::time::Duration;

use crate::command;

/// Wall-clock time for building and running them.
const LIMIT: Duration = Duration::from_mins(40);

pub(super) fn run() -> anyhow::Result<()> {
    let args = ["test", "--release", "--workspace", "--locked", "--no-fail-fast"];
    // Some tests print what they counted: how often a crash was hit, for one.
    let shown = ["--", "--show-output"];
    command::run_within(command::cargo().args(args).args(shown), LIMIT)
}
