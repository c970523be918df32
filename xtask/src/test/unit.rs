//! All tests of the workspace, in the profile the product is built in.

use std::time::Duration;

use crate::command;

/// Wall-clock time for building and running them.
const LIMIT: Duration = Duration::from_mins(40);

pub(super) fn run() -> anyhow::Result<()> {
    let args = ["test", "--release", "--workspace", "--locked", "--no-fail-fast"];
    command::run_within(command::cargo().args(args), LIMIT)
}
