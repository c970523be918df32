//! Formatting is rustfmt's.

use crate::command;

pub(super) fn run() -> anyhow::Result<()> {
    command::require("rustfmt", "run `rustup component add rustfmt`")?;
    command::run(command::cargo().args(["fmt", "--check"]))?;
    command::run(command::cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
}
