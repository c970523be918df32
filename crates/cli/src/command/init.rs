//! `whodid init`: everything that a control plane needs to be recorded, in one folder, with the
//! order of steps and how to undo them. What each kind of cluster needs is `targets`' to say; only
//! `apply` touches a host.

use std::fs;
use std::path::{Path, PathBuf};

use whodid_policy::Profile;
use whodid_server::Authority;

use super::credential;
use super::folder::{self, File};
use crate::args::InitArgs;
use crate::failure::Failure;
use crate::output::print;

mod apply;
mod targets;

use targets::{Plan, Setup};

/// Who sends, in the record.
const SOURCE: &str = "control-plane";

/// Stands in the place of the token where nothing is written.
const NO_TOKEN: &str = "(a token is made when the files are written)";

pub fn run(args: &InitArgs) -> Result<(), Failure> {
    if args.dry_run {
        let (files, _) = files(args)?;
        return Ok(print(&folder::shown(&files))?);
    }
    let out = args.out.clone().unwrap_or_else(|| format!("whodid-init-{}", args.cluster).into());
    // On another host than the server's, it was made there and copied.
    if !(args.apply && out.is_dir()) {
        check(args)?;
        // Before a token is made, which nobody would have otherwise.
        folder::create(&out)?;
        let (files, readme) = files(args)?;
        folder::write(&out, &files)?;
        print(&format!("{}\n\n{readme}", out.display()))?;
    }
    if !args.apply {
        return Ok(());
    }
    let data_dir = args.store.dir();
    apply::apply(args.target, &setup(args, &data_dir), (&out, &args.host_root))
}

/// What is the same for all kinds of clusters, as far as flags say it.
fn setup<'a>(args: &'a InitArgs, data_dir: &'a Path) -> Setup<'a> {
    Setup {
        cluster: &args.cluster,
        url: args.url.as_deref().unwrap_or_default().trim_end_matches('/'),
        token: NO_TOKEN,
        authority: "",
        profile: "",
        host_dir: &args.host_dir,
        log_dir: &args.log_dir,
        data_dir,
    }
}

/// What the folder holds, and what its README says.
fn files(args: &InitArgs) -> Result<(Vec<File>, String), Failure> {
    let plan = plan(args)?;
    let readme = plan.readme(&args.cluster);
    let mut files = plan.files;
    files.push(File { name: "README.md", text: readme.clone() });
    Ok((files, readme))
}

/// Where API servers send to, if they can.
fn check(args: &InitArgs) -> Result<(), Failure> {
    match args.url.as_deref() {
        _ if targets::managed(args.target, &args.cluster).is_some() => Ok(()),
        None => Err(Failure::Usage(
            "name with --url where API servers reach whodid, https://HOST:8443".into(),
        )),
        Some(url) if !url.starts_with("https://") => {
            Err(Failure::Usage(format!("--url {url}: write https://HOST:PORT")))
        }
        Some(_) => Ok(()),
    }
}

/// What the target needs; unless nothing is written, a token is made for it.
fn plan(args: &InitArgs) -> Result<Plan, Failure> {
    check(args)?;
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
    let setup =
        Setup { token: &token, authority: &authority, profile: &profile, ..setup(args, &dir) };
    Ok(targets::plan(args.target, &setup))
}

/// Joins a path on a host of the control plane.
fn on_host(dir: &Path, name: &str) -> String {
    let path: PathBuf = dir.join(name);
    path.display().to_string()
}
