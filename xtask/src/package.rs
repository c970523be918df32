//! `cargo xtask package`: the program for machines without a compiler, as a tarball and a Debian
//! package, and a look at both: it needs no library there, and works from where it was unpacked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::{cache, command, corpus, repository};

/// Files of the repository that go along, and their places in the package; those that stand for
/// another place of the program are adapted.
const FILES: [(&str, &str); 6] = [
    ("README.md", "usr/share/doc/whodid/README.md"),
    ("LICENSE", "usr/share/doc/whodid/copyright"),
    ("CHANGELOG.md", "usr/share/doc/whodid/CHANGELOG.md"),
    ("deploy/systemd/whodid.service", "usr/lib/systemd/system/whodid.service"),
    ("deploy/systemd/whodid-ship.service", "usr/lib/systemd/system/whodid-ship.service"),
    ("deploy/deb/whodid.sysusers", "usr/lib/sysusers.d/whodid.conf"),
];

/// Where the program puts what it completes, for each shell.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/whodid"),
    ("zsh", "usr/share/zsh/vendor-completions/_whodid"),
    ("fish", "usr/share/fish/vendor_completions.d/whodid.fish"),
];

/// So many events are taken in by what was unpacked.
const EVENTS: u64 = 1_000;

/// Make a tarball and a Debian package of the program, linked statically.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to put them in [default: `package` in the build cache]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The negative control: the program is linked as usual. It has to end in red.
    #[arg(long = "break")]
    is_broken: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    command::require("dpkg-deb", "install the package dpkg")?;
    let out =
        args.out.clone().map_or_else(|| cache::folder().map(|dir| dir.join("package")), Ok)?;
    fs::create_dir_all(&out)?;
    let program = build(args.is_broken)?;
    check_static(&program)?;
    let version = env!("CARGO_PKG_VERSION");
    let stage = out.join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    let name = format!("whodid-{version}-{}-linux", std::env::consts::ARCH);
    let tarball = tarball(&program, &stage.join(&name), &out)?;
    let deb = deb(&program, &stage.join("deb"), &out)?;
    for (made, place) in [(&tarball, format!("{name}/whodid")), (&deb, "usr/bin/whodid".into())] {
        check(made, &place, &stage)?;
    }
    fs::remove_dir_all(&stage)?;
    for made in [tarball, deb] {
        println!("{} ({} bytes)", made.display(), fs::metadata(&made)?.len());
    }
    Ok(())
}

/// Links the program; what it is made of is compiled as it is for the tests.
fn build(is_broken: bool) -> anyhow::Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo.args(["rustc", "--release", "--locked", "--package", "whodid-cli", "--bin", "whodid"]);
    cargo.args(["--", "-C", "strip=symbols"]);
    if !is_broken {
        cargo.args(["-C", "target-feature=+crt-static"]);
    }
    command::run(&mut cargo)?;
    let program = std::env::current_exe()?.with_file_name("whodid");
    ensure!(program.is_file(), "run it as `cargo xtask`, which builds in release");
    Ok(program)
}

/// A program that names an interpreter needs the libraries of the machine that it was built on.
fn check_static(program: &Path) -> anyhow::Result<()> {
    let headers = command::output(Command::new("readelf").arg("--program-headers").arg(program))?;
    ensure!(headers.contains("LOAD"), "readelf says nothing of {}", program.display());
    ensure!(!headers.contains("INTERP"), "the program needs libraries of the machine it runs on");
    Ok(())
}

fn tarball(program: &Path, stage: &Path, out: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(stage)?;
    install(program, &stage.join("whodid"), 0o755)?;
    for (file, place) in FILES {
        let name = Path::new(place).file_name().context("a place has no name")?;
        if !file.starts_with("deploy/deb") {
            install(&repository::root().join(file), &stage.join(name), 0o644)?;
        }
    }
    let name = stage.file_name().context("a stage has no name")?;
    let tarball = out.join(name).with_added_extension("tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-czf"]).arg(&tarball);
    command::run(tar.arg("-C").arg(stage.parent().context("a stage has no folder")?).arg(name))?;
    Ok(tarball)
}

fn deb(program: &Path, stage: &Path, out: &Path) -> anyhow::Result<PathBuf> {
    install(program, &stage.join("usr/bin/whodid"), 0o755)?;
    for (file, place) in FILES {
        let text = fs::read_to_string(repository::root().join(file))?;
        write(
            &stage.join(place),
            &text.replace("/usr/local/bin/whodid", "/usr/bin/whodid"),
            0o644,
        )?;
    }
    for (shell, place) in COMPLETIONS {
        let text = command::output(Command::new(program).args(["completion", shell]))?;
        write(&stage.join(place), &text, 0o644)?;
    }
    for script in ["postinst", "prerm"] {
        install(
            &repository::root().join("deploy/deb").join(script),
            &stage.join("DEBIAN").join(script),
            0o755,
        )?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let control = format!(
        "Package: whodid\nVersion: {version}\nArchitecture: {architecture}\nSection: admin\n\
         Priority: optional\nMaintainer: the authors of whodid\n\
         Description: who did what in a Kubernetes cluster\n Records audit events of \
         kube-apiserver, keeps them provably, and finds them again.\n"
    );
    write(&stage.join("DEBIAN/control"), &control, 0o644)?;
    let deb = out.join(format!("whodid_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    command::run(build.args(["--root-owner-group", "-Zxz", "--build"]).arg(stage).arg(&deb))?;
    Ok(deb)
}

fn install(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("a file has no folder")?)?;
    fs::copy(from, to).with_context(|| format!("{}", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

fn write(to: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("a file has no folder")?)?;
    fs::write(to, text)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

/// Unpacks what was made, and has the program take events in, find and prove them.
fn check(made: &Path, place: &str, stage: &Path) -> anyhow::Result<()> {
    let folder = stage.join("check");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    if made.extension().is_some_and(|extension| extension == "deb") {
        command::run(Command::new("dpkg-deb").arg("-x").arg(made).arg(&folder))?;
    } else {
        command::run(Command::new("tar").arg("-xzf").arg(made).arg("-C").arg(&folder))?;
    }
    corpus::write(&folder.join("events.jsonl"), 1, EVENTS, false)?;
    let run = |words: &[&str]| {
        let mut command = Command::new(folder.join(place));
        command.args(words).current_dir(&folder).env_clear().env("WHODID_DATA_DIR", "record");
        command::output(&mut command)
    };
    let said = run(&["--version"])?;
    ensure!(said.trim() == format!("whodid {}", env!("CARGO_PKG_VERSION")), "it says {said}");
    run(&["import", "--quiet", "events.jsonl"])?;
    let found = run(&["sql", "SELECT count(*) FROM events", "-o", "csv"])?;
    let found = found.lines().last().unwrap_or_default();
    ensure!(found == EVENTS.to_string(), "{found} of {EVENTS} events are found");
    run(&["verify"])?;
    println!("{}: {EVENTS} events taken in, found and proved", made.display());
    Ok(())
}
