//! What tests need beside Rust: `strace`, to see that a sync came before an acknowledgement, a
//! C compiler, for the file system that fails on demand, and Java, for Spark.

use std::process::Command;

use anyhow::ensure;

use crate::command::{self, Missing};

/// A program and the Debian package that holds it.
const TOOLS: [(&str, &str); 3] =
    [("strace", "strace"), ("cc", "build-essential"), ("java", "default-jre-headless")];

pub(super) fn run() -> anyhow::Result<()> {
    let missing = || TOOLS.into_iter().filter(|(program, _)| !command::exists(program));
    let packages: Vec<&str> = missing().map(|(_, package)| package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if is_root() && command::exists("apt-get") {
        let apt = |args: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(args).env("DEBIAN_FRONTEND", "noninteractive");
            command::run(&mut apt)
        };
        let options = ["install", "--yes", "--no-install-recommends"];
        // Whether it worked is seen below.
        let _done = apt(&["update"]).and_then(|()| apt(&[&options, &packages[..]].concat()));
    }
    let missing: Vec<&str> = missing().map(|(program, _)| program).collect();
    let hint = format!("install the packages {}", packages.join(" "));
    ensure!(missing.is_empty(), Missing(format!("missing: {}; {hint}", missing.join(" "))));
    Ok(())
}

fn is_root() -> bool {
    command::output(Command::new("id").arg("-u")).is_ok_and(|user| user.trim_end() == "0")
}
