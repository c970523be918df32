//! The published test vectors of entries, rebuilt from their specification by a program that
//! shares nothing with the product.

use std::process::Command;

use anyhow::ensure;

use crate::{command, repository};

pub(super) fn run() -> anyhow::Result<()> {
    command::require("python3", "install it to rebuild the test vectors")?;
    let printed = command::output(
        Command::new("python3").arg("docs/format/entry_vectors.py").current_dir(repository::root()),
    )?;
    print!("{printed}");
    let expected = "12 entries and their root agree";
    ensure!(printed.trim_end() == expected, "it did not print {expected:?}");
    Ok(())
}
