//! Clippy over every target of the workspace; a warning is a finding.
//!
//! `cargo clippy` would first check all dependencies, which takes minutes and serves nothing else.
//! So Clippy stands in for the compiler of the workspace's own crates in an ordinary build, which
//! finds its dependencies compiled. Warnings stay warnings for it: as errors they would stop the
//! build of the crates above, and what is wrong there would show only later.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{command, repository};

pub(super) fn run() -> anyhow::Result<()> {
    command::require("clippy-driver", "run `rustup component add clippy`")?;
    let args = ["build", "--release", "--workspace", "--all-targets", "--locked", "--keep-going"];
    let built = command::cargo()
        .args(args)
        .args(["--message-format", "json-diagnostic-rendered-ansi"])
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        .env("CLIPPY_CONF_DIR", repository::root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    let findings = findings(&String::from_utf8_lossy(&built.stdout));
    for finding in &findings {
        eprint!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    ensure!(built.status.success(), "the build failed: {}", built.status);
    Ok(())
}

/// What the compiler found, as it would have shown it. A crate is compiled with and without its
/// tests, and the same is found twice.
fn findings(messages: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let rendered = message.pointer("/message/rendered").and_then(Value::as_str);
        let has_place = message.pointer("/message/spans/0").is_some();
        found.extend(rendered.filter(|_| has_place).map(str::to_owned));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_counts_once() {
        let printed = r#"
            {"reason":"compiler-artifact","fresh":true}
            {"reason":"compiler-message","message":{"rendered":"b\n","spans":[{}]}}
            {"reason":"compiler-message","message":{"rendered":"a\n","spans":[{}]}}
            {"reason":"compiler-message","message":{"rendered":"b\n","spans":[{}]}}
            {"reason":"compiler-message","message":{"rendered":"2 warnings emitted","spans":[]}}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(findings(printed), ["a\n", "b\n"]);
    }
}
