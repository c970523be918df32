//! One writer at a time: an advisory lock on the file `lock` of the data directory, which says who
//! holds it. The kernel lets go of it when the process ends, however it ends.

#![expect(clippy::disallowed_methods, reason = "locks are between processes, beside the disk")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Error, Result};

const NAME: &str = "lock";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a data directory.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that holds it.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let failed = |source| Error::Unavailable { path: NAME.into(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(NAME))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // What the holder wrote is a help, not a need.
                let _read = Read::take(&file, 1_024).read_to_string(&mut holder);
                let holder = holder.lines().next().unwrap_or("another process").to_owned();
                return Err(Error::Locked { dir: dir.display().to_string(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let command: Vec<String> = std::env::args().take(2).collect();
        let holder = format!("process {} ({})\n", std::process::id(), command.join(" "));
        file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(failed)?;
        Ok(Lock { _file: file })
    }
}
