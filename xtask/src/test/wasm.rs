//! Proofs are checked in browsers, too: what checks them has to compile to WebAssembly.

use std::process::Command;

use crate::command;

const TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn run() -> anyhow::Result<()> {
    command::require("rustup", "install it from https://rustup.rs for the target of WebAssembly")?;
    command::run(Command::new("rustup").args(["target", "add", TARGET]))?;
    let check = ["check", "--release", "--locked", "--package", "whodid-tlog", "--target", TARGET];
    command::run(command::cargo().args(check))
}
