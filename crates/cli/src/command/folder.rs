//! A new folder of files for its user to take elsewhere; some of them hold secrets.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::failure::Failure;

/// A file of the folder.
pub struct File {
    pub name: &'static str,
    pub text: String,
}

/// The files one after the other, for whoever wants to see them only.
pub fn shown(files: &[File]) -> String {
    files.iter().map(|File { name, text }| format!("==> {name}\n{text}\n")).collect()
}

/// Makes a folder that is not there yet.
pub fn create(dir: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().mode(0o700).create(dir).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AlreadyExists => "; name another folder with --out",
            _ => "",
        };
        Failure::Unavailable(format!("{}: {error}{hint}", dir.display()))
    })
}

/// Writes files that are not there yet.
pub fn write(dir: &Path, files: &[File]) -> Result<(), Failure> {
    for File { name, text } in files {
        let path = dir.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::Unavailable(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}
