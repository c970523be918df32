//! A bundle of evidence, checked by the verifier that every bundle comes with, which is a part of
//! this program, too: what an auditor runs and what is run here cannot differ.

use std::path::Path;
use std::process::Command;

use crate::args::VerifyArgs;
use crate::command::export::VERIFIER;
use crate::failure::Failure;

/// Whether a path is a bundle's.
pub fn is_bundle(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|extension| extension == "tar")
}

/// Checks a bundle; what does not hold is said by the verifier.
pub fn run(args: &VerifyArgs, bundle: &Path) -> Result<(), Failure> {
    let unavailable = |error: std::io::Error| Failure::Unavailable(format!("verify.py: {error}"));
    let folder = tempfile::tempdir().map_err(unavailable)?;
    let script = folder.path().join("verify.py");
    std::fs::write(&script, VERIFIER).map_err(unavailable)?;
    let mut python = Command::new("python3");
    python.arg("-I").arg("-B").arg(&script).arg(bundle);
    let given = [
        ("--policy", &args.policy),
        ("--export-key", &args.export_key),
        ("--tsa-ca", &args.tsa_ca),
    ];
    for (flag, file) in given {
        if let Some(file) = file {
            python.arg(flag).arg(file);
        }
    }
    let ended = python.status().map_err(|error| {
        let why = "a bundle is checked by verify.py, which needs python3 and openssl";
        Failure::Unavailable(format!("python3: {error}; {why}"))
    })?;
    match ended.code() {
        Some(0) => Ok(()),
        Some(1) => Err(Failure::Refuted(format!("{} is not what was signed", bundle.display()))),
        Some(2) => Err(Failure::Usage(format!("{} could not be checked", bundle.display()))),
        _ => Err(Failure::Unavailable(format!("verify.py: {ended}"))),
    }
}
