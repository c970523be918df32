//! Where the repository is and which files it holds.

use std::path::PathBuf;
use std::process::Command;

use crate::command;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    whodid_testkit::captures::repository()
}

/// The paths of all files that git tracks, or would if they were added, relative to the root.
pub(crate) fn files() -> anyhow::Result<Vec<String>> {
    let listed = command::output(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"])
            .current_dir(root()),
    )?;
    // What was deleted but not yet committed is still listed.
    let exists = |path: &&str| !path.is_empty() && root().join(path).is_file();
    Ok(listed.split('\0').filter(exists).map(str::to_owned).collect())
}
