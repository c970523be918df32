//! Building the testbed and the components of Kubernetes as `testbed/README.md` says, into the
//! cache, once for each state of its sources.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::{cache, command, repository};

/// Everything that a testbed consists of.
const PROGRAMS: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "testbed"];

/// The packages of `k8s.io/kubernetes` that are built.
const COMPONENTS: [&str; 4] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];

/// Where programs keep who they are.
const VERSION_PACKAGES: [&str; 2] =
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

/// The module of etcd and of the testbed itself.
const OWN_MODULE: &str = "go.mod";

/// A release of Kubernetes that the testbed can be built from.
pub(crate) struct Release {
    minor: &'static str,
    version: &'static str,
    commit: &'static str,
    module: &'static str,
}

const RELEASES: [Release; 2] = [
    Release {
        minor: "1.36",
        version: "1.36.2",
        commit: "24e2b02af5543d7910c2bb074c7264df5a8f0467",
        module: OWN_MODULE,
    },
    Release { minor: "1.34", version: "1.34.3", commit: "df11db1", module: "go-1.34.mod" },
];

/// The releases by the names that `--kubernetes` takes; the first is the default.
pub(crate) const MINORS: [&str; 2] = ["1.36", "1.34"];

/// Go, at the testbed's module. Without C, because the programs should not depend on the machine's.
pub(crate) fn go() -> Command {
    let mut go = Command::new("go");
    go.current_dir(module()).env("CGO_ENABLED", "0");
    go
}

/// Where the testbed's sources are.
pub(crate) fn module() -> PathBuf {
    repository::root().join("testbed")
}

/// Builds what is not there yet; returns the folder of the programs.
pub(crate) fn build(minor: &str) -> anyhow::Result<PathBuf> {
    // Go takes no `--version`, but starts.
    command::require("go", "install Go 1.26 or newer from https://go.dev/dl")?;
    let release = RELEASES.iter().find(|release| release.minor == minor);
    let release = release.with_context(|| format!("there is no testbed of Kubernetes {minor}"))?;
    let folder = cache::folder()?.join("testbed").join(release.version);
    let stamp = folder.join("stamp");
    let wanted = state(&module(), release, &command::output(go().arg("version"))?)?;
    let is_built = PROGRAMS.iter().all(|program| folder.join(program).is_file());
    if is_built && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        println!("the testbed of Kubernetes {} is up to date", release.version);
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    println!("building the testbed of Kubernetes {}; minutes, the first time", release.version);
    let flags = linker_flags(release);
    let build = |module: &str, output: PathBuf, packages: &[String]| {
        let mut command = go();
        command.args(["build", "-trimpath", "-mod=readonly", "-ldflags", &flags]);
        command.arg(format!("-modfile={module}"));
        command::run(command.arg("-o").arg(output).args(packages))
    };
    // These two are the same for all releases.
    build(OWN_MODULE, folder.join("etcd"), &["go.etcd.io/etcd/server/v3".into()])?;
    build(OWN_MODULE, folder.join("testbed"), &[".".into()])?;
    let components = COMPONENTS.map(|component| format!("k8s.io/kubernetes/cmd/{component}"));
    build(release.module, folder.join(""), &components)?;
    fs::write(stamp, wanted)?;
    Ok(folder)
}

/// With these, programs say who they are as those of the release do.
fn linker_flags(release: &Release) -> String {
    let mut flags = "-s -w".to_owned();
    let (major, minor) = release.minor.split_once('.').unwrap_or((release.minor, ""));
    for package in VERSION_PACKAGES {
        for (name, value) in [
            ("gitVersion", format!("v{}", release.version).as_str()),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitCommit", release.commit),
            ("gitTreeState", "clean"),
        ] {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

/// What a build depends on, in short.
fn state(module: &Path, release: &Release, go: &str) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        // So that nothing moves from one part to the next unseen.
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(module)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_part = matches!(extension, Some("go" | "mod" | "sum"));
        if is_part && !name.ends_with("_test.go") {
            files.push(name.to_owned());
        }
    }
    files.sort();
    for file in &files {
        add(file.as_bytes());
        add(&fs::read(module.join(file)).with_context(|| format!("cannot read {file}"))?);
    }
    add(linker_flags(release).as_bytes());
    add(go.as_bytes());
    let mut text = String::new();
    for byte in hash.finalize() {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_has_a_name_and_a_module() {
        assert_eq!(RELEASES.each_ref().map(|release| release.minor), MINORS);
        for release in &RELEASES {
            assert!(release.version.starts_with(release.minor));
            assert!(module().join(release.module).is_file());
        }
    }

    #[test]
    fn another_go_or_another_file_is_another_state() {
        let [first, second] = &RELEASES;
        let of = |release, go| state(&module(), release, go).unwrap();
        assert_eq!(of(first, "go1.26"), of(first, "go1.26"));
        assert_ne!(of(first, "go1.26"), of(first, "go1.27"));
        assert_ne!(of(first, "go1.26"), of(second, "go1.26"));
        assert!(state(&module().join("no such folder"), first, "go1.26").is_err());
    }
}
