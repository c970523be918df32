//! Whether tests and product share their dependencies as compiled: a feature that only a test's
//! dependency switches on would have all of DataFusion compiled a second time. It runs behind the
//! tests and finds everything compiled, or says what was not.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::command;

/// Fewer packages than this would mean that nothing was looked at.
const PACKAGES_MIN: usize = 300;

pub(super) fn run() -> anyhow::Result<()> {
    let built = command::cargo()
        .args(["build", "--release", "--locked", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(built.status.success(), "the build failed: {}", built.status);
    let (foreign, compiled) = artifacts(&String::from_utf8_lossy(&built.stdout));
    println!("{foreign} artifacts of dependencies, {} compiled again", compiled.len());
    ensure!(foreign >= PACKAGES_MIN, "only {foreign} artifacts; {PACKAGES_MIN} are expected");
    ensure!(compiled.is_empty(), "compiled again for the product: {}", compiled.join(", "));
    Ok(())
}

/// How many artifacts are of packages from elsewhere, and the names of those that were not fresh.
fn artifacts(messages: &str) -> (usize, Vec<String>) {
    let mut foreign = 0;
    let mut compiled = Vec::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("reason") == "compiler-artifact" && text("package_id").starts_with("registry+") {
            foreign += 1;
            if message.get("fresh") != Some(&Value::Bool(true)) {
                compiled.push(text("package_id").rsplit('#').next().unwrap_or_default().to_owned());
            }
        }
    }
    (foreign, compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_again_is_named() {
        let printed = r#"
            {"reason":"compiler-artifact","package_id":"registry+https://x#a@1.0.0","fresh":true}
            {"reason":"compiler-artifact","package_id":"registry+https://x#b@2.0.0","fresh":false}
            {"reason":"compiler-artifact","package_id":"path+file:///x#c@0.1.0","fresh":false}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(artifacts(printed), (2, vec!["b@2.0.0".to_owned()]));
    }
}
