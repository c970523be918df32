//! Programs in Python that share nothing with the product: one makes the published test vectors of
//! entries again from their specification, another tests the verifier of evidence with bundles of
//! its own making.

use std::process::Command;

use anyhow::ensure;

use crate::{command, repository};

pub(super) fn run() -> anyhow::Result<()> {
    command::require("python3", "install it to rebuild the test vectors")?;
    command::require("openssl", "install it to check signatures in evidence")?;
    let python = |script: &str| {
        command::output(
            Command::new("python3").args(["-B", script]).current_dir(repository::root()),
        )
    };
    let printed = python("docs/format/entry_vectors.py")?;
    print!("{printed}");
    let expected = "12 entries and their root agree";
    ensure!(printed.trim_end() == expected, "it did not print {expected:?}");
    print!("{}", python("crates/cli/src/command/export/verify_test.py")?);
    Ok(())
}
