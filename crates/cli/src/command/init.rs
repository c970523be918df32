//! `whodid init`: everything that a control plane needs to be recorded, in one folder, with the
//! order of steps and how to undo them. It touches no cluster. What each kind of cluster needs is
//! `targets`' to say.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use whodid_policy::Profile;
use whodid_server::Authority;

use super::credential;
use crate::args::InitArgs;
use crate::failure::Failure;
use crate::output::print;

mod targets;

use targets::{Plan, Setup};

/// Who sends, in the record.
const SOURCE: &str = "control-plane";

/// Stands in the place of the token where nothing is written.
const NO_TOKEN: &str = "(a token is made when the files are written)";

pub fn run(args: &InitArgs) -> Result<(), Failure> {
    if args.dry_run {
        let plan = plan(args)?;
        let readme = plan.readme(&args.cluster);
        let shown = |(name, text): (&str, &str)| format!("==> {name}\n{text}\n");
        let files = plan.files.iter().map(|file| shown((file.name, &file.text)));
        return Ok(print(&files.chain([shown(("README.md", &readme))]).collect::<String>())?);
    }
    check(args)?;
    // Before a token is made, which nobody would have otherwise.
    let out = args.out.clone().unwrap_or_else(|| format!("whodid-init-{}", args.cluster).into());
    fs::DirBuilder::new().mode(0o700).create(&out).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "; name another folder with --out",
            _ => "",
        };
        Failure::Unavailable(format!("{}: {error}{hint}", out.display()))
    })?;
    let plan = plan(args)?;
    let readme = plan.readme(&args.cluster);
    for file in &plan.files {
        write(&out.join(file.name), &file.text)?;
    }
    write(&out.join("README.md"), &readme)?;
    print(&format!("{}\n\n{readme}", out.display()))?;
    Ok(())
}

/// Where API servers send to, if they can.
fn check(args: &InitArgs) -> Result<&str, Failure> {
    match args.url.as_deref() {
        _ if targets::managed(args.target, &args.cluster).is_some() => Ok(""),
        None => Err(Failure::Usage(
            "name with --url where API servers reach whodid, https://HOST:8443".into(),
        )),
        Some(url) if !url.starts_with("https://") => {
            Err(Failure::Usage(format!("--url {url}: write https://HOST:PORT")))
        }
        Some(url) => Ok(url.trim_end_matches('/')),
    }
}

/// What the target needs; unless nothing is written, a token is made for it.
fn plan(args: &InitArgs) -> Result<Plan, Failure> {
    let url = check(args)?;
    if let Some(plan) = targets::managed(args.target, &args.cluster) {
        return Ok(plan);
    }
    let profile = Profile::of(&args.profile).map(Profile::text).unwrap_or_default();
    let dir = args.store.dir();
    let (token, authority) = if args.dry_run {
        (NO_TOKEN.to_owned(), String::new())
    } else {
        Authority::open(&dir.join("tls"))?;
        let authority = dir.join("tls/ca.crt");
        let authority = fs::read_to_string(&authority)
            .map_err(|error| Failure::Unavailable(format!("{}: {error}", authority.display())))?;
        (credential::create(&args.store, &args.cluster, SOURCE)?, authority)
    };
    let setup = Setup {
        cluster: &args.cluster,
        url,
        token: &token,
        authority: &authority,
        profile: &profile,
        host_dir: &args.host_dir,
        log_dir: &args.log_dir,
        data_dir: &dir,
    };
    Ok(targets::plan(args.target, &setup))
}

/// Writes a file that is not there yet; some of them hold secrets.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::Unavailable(format!("{}: {error}", path.display())))
}

/// Joins a path on a host of the control plane.
fn on_host(dir: &Path, name: &str) -> String {
    let path: PathBuf = dir.join(name);
    path.display().to_string()
}
