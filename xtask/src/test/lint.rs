//! Clippy over every target of the workspace, warnings denied.
//!
//! `cargo clippy` would first check all dependencies, which takes as long as a third of the build
//! and serves nothing else. So Clippy stands in for the compiler of the workspace's own crates in
//! an ordinary build, which finds its dependencies compiled.

use crate::{command, repository};

pub(super) fn run() -> anyhow::Result<()> {
    command::require("clippy-driver", "run `rustup component add clippy`")?;
    command::run(
        command::cargo()
            .args(["build", "--release", "--workspace", "--all-targets", "--locked"])
            .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
            // How `cargo clippy` hands its arguments on. RUSTFLAGS would reach the dependencies.
            .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__")
            .env("CLIPPY_CONF_DIR", repository::root()),
    )
}
