//! Licences, bans and sources of everything that is compiled in, by cargo-deny and `deny.toml`.
//! Advisories are left out: they need a network, and turn red without a change.

use std::process::Command;

use crate::{cache, command, repository};

/// Of cargo-deny.
const VERSION: &str = "0.20.2";

pub(super) fn run() -> anyhow::Result<()> {
    println!("advisories are not looked up: their list is not on crates.io");
    command::run(
        Command::new(cache::tool("cargo-deny", VERSION)?)
            .args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
            .current_dir(repository::root()),
    )
}
