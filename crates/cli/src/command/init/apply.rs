//! `whodid init --apply`: what a folder of `init` asks for, done on this host of the control plane.
//! Everything is looked at before anything is changed, and nothing that is there is written over.

use std::fs;
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::targets::{Setup, authority, flags};
use crate::args::InitTarget;
use crate::failure::Failure;
use crate::output::say;

/// Where kubeadm keeps the static pod.
const MANIFEST: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";

/// What is done on the host, in order.
enum Act {
    MakeDir(PathBuf),
    /// A new file of this text, readable by root alone.
    Write(PathBuf, String),
    /// A file gets another text; what it was is kept beside.
    Replace {
        path: PathBuf,
        before: PathBuf,
        text: String,
    },
    Run([&'static str; 3]),
}

/// Does on the host below `root` what `dir` asks for.
pub fn apply(
    target: InitTarget,
    setup: &Setup<'_>,
    (dir, root): (&Path, &Path),
) -> Result<(), Failure> {
    let acts = acts(target, setup, (dir, root))?;
    for act in &acts {
        check(act)?;
    }
    warn_if_nobody_answers(dir);
    for act in &acts {
        act_out(act, root)?;
    }
    if target == InitTarget::Generic {
        say!("left to do: add the flags of flags.txt to kube-apiserver, and restart it");
    }
    Ok(())
}

fn acts(
    target: InitTarget,
    setup: &Setup<'_>,
    (dir, root): (&Path, &Path),
) -> Result<Vec<Act>, Failure> {
    let on_host = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let (host_dir, log_dir) = (on_host(setup.host_dir), on_host(setup.log_dir));
    let copy =
        |name: &str, to: &Path| read(&dir.join(name)).map(|text| Act::Write(to.join(name), text));
    let mut acts = vec![
        Act::MakeDir(host_dir.clone()),
        copy("policy.yaml", &host_dir)?,
        copy("webhook.yaml", &host_dir)?,
        Act::MakeDir(log_dir),
    ];
    match target {
        InitTarget::Generic => {}
        InitTarget::K3s | InitTarget::Rke2 => {
            let is_k3s = target == InitTarget::K3s;
            let name = if is_k3s { "k3s" } else { "rke2" };
            let drop_ins = root.join(format!("etc/rancher/{name}/config.yaml.d"));
            acts.push(Act::MakeDir(drop_ins.clone()));
            acts.push(copy("90-whodid.yaml", &drop_ins)?);
            let unit = if is_k3s { "k3s" } else { "rke2-server" };
            acts.push(Act::Run(["systemctl", "restart", unit]));
        }
        InitTarget::Kubeadm => {
            let path = root.join(MANIFEST);
            let text = with_auditing(&read(&path)?, setup)
                .map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))?;
            // Elsewhere, as kubelet runs every file of that folder.
            let before = host_dir.join("kube-apiserver.yaml.before");
            acts.push(Act::Replace { path, before, text });
        }
        _ => {
            return Err(Failure::Usage(
                "--apply is for hosts of a control plane: generic, kubeadm, k3s and rke2; the \
                 others are set up with their own tools, as the README of the folder says"
                    .into(),
            ));
        }
    }
    Ok(acts)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::Unavailable(format!("{}: {error}", path.display())))
}

fn check(act: &Act) -> Result<(), Failure> {
    let taken = |path: &Path| {
        let why = "it is there already; look at it, and move it away or add the flags yourself";
        Err(Failure::Usage(format!("{}: {why}", path.display())))
    };
    match act {
        Act::Write(path, text) if path.exists() && read(path)? != *text => taken(path),
        Act::Replace { before, .. } if before.exists() => taken(before),
        _ => Ok(()),
    }
}

fn act_out(act: &Act, root: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::Unavailable(format!("{}: {error}", path.display()))
    };
    match act {
        Act::MakeDir(path) => {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| failed(path, error))?;
        }
        Act::Write(path, text) => {
            write(path, text).map_err(|error| failed(path, error))?;
            say!("wrote {}", path.display());
        }
        Act::Replace { path, before, text } => {
            fs::copy(path, before).map_err(|error| failed(before, error))?;
            // By name and from elsewhere, so that kubelet never sees half of it.
            let new = before.with_extension("new");
            write(&new, text).map_err(|error| failed(&new, error))?;
            fs::rename(&new, path).map_err(|error| failed(path, error))?;
            say!("changed {}; what it was is {}", path.display(), before.display());
        }
        Act::Run(words) if root != Path::new("/") => {
            say!("not done, as it is for the host itself: {}", words.join(" "));
        }
        Act::Run(words) => {
            say!("{}", words.join(" "));
            let [program, rest @ ..] = words;
            let status = Command::new(program).args(rest).status();
            if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
                let why =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(Failure::Unavailable(format!("{}: {why}", words.join(" "))));
            }
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A webhook that nobody answers loses events; the log has them.
fn warn_if_nobody_answers(dir: &Path) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let Ok(webhook) = fs::read_to_string(dir.join("webhook.yaml")) else { return };
    let Some(url) = webhook.lines().find_map(|line| line.trim().strip_prefix("server: ")) else {
        return;
    };
    let (host, port) = authority(url);
    let address = format!("{host}:{port}").to_socket_addrs().ok().and_then(|mut all| all.next());
    let is_there =
        address.is_some_and(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok());
    if !is_there {
        say!("warning: nobody answers at {url} yet; start `whodid serve` there");
    }
}

/// The manifest of kubeadm's static pod, with flags and volumes for auditing.
fn with_auditing(manifest: &str, setup: &Setup<'_>) -> Result<String, String> {
    let flags = flags(setup);
    if let Some((name, _)) = flags.iter().find(|(name, _)| manifest.contains(&format!("--{name}")))
    {
        return Err(format!("it has --{name} already; add the other flags by hand"));
    }
    let (dir, log) = (setup.host_dir.display(), setup.log_dir.display());
    let arguments: Vec<String> =
        flags.iter().map(|(name, value)| format!("- --{name}={value}")).collect();
    let mounts = [
        format!("- mountPath: {dir}"),
        "  name: whodid-policy".into(),
        "  readOnly: true".into(),
        format!("- mountPath: {log}"),
        "  name: whodid-log".into(),
    ];
    let volumes = [
        "- hostPath:".into(),
        format!("    path: {dir}"),
        "    type: Directory".into(),
        "  name: whodid-policy".into(),
        "- hostPath:".into(),
        format!("    path: {log}"),
        "    type: DirectoryOrCreate".into(),
        "  name: whodid-log".into(),
    ];
    let text = insert(manifest, "- kube-apiserver", &arguments)?;
    let text = insert(&text, "volumeMounts:", &mounts)?;
    insert(&text, "volumes:", &volumes)
}

/// Puts lines behind the one line that reads so, indented as those behind it.
fn insert(text: &str, anchor: &str, lines: &[String]) -> Result<String, String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let all: Vec<&str> = text.lines().collect();
    let found: Vec<usize> = (0..all.len())
        .filter(|at| all.get(*at).is_some_and(|line| line.trim() == anchor))
        .collect();
    let unknown = || {
        format!("it is not as kubeadm writes it: there is no single line `{anchor}` with a list")
    };
    let [at] = found.as_slice() else { return Err(unknown()) };
    let next =
        all.get(at + 1).filter(|line| line.trim_start().starts_with("- ")).ok_or_else(unknown)?;
    let by = " ".repeat(indent(next));
    let mut text = String::new();
    for (number, line) in all.iter().enumerate() {
        text.push_str(line);
        text.push('\n');
        if number == *at {
            for line in lines {
                text.push_str(&format!("{by}{line}\n"));
            }
        }
    }
    Ok(text)
}
