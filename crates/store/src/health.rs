//! Whether the disk can still be trusted: a failed sync is remembered here by whoever saw it, so
//! that every later write of this process is refused. After a failed `fsync` the kernel may have
//! dropped the pages, and a second try that succeeds proves nothing.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};

/// Shared by everything that writes to one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<OnceLock<Failure>>);

#[derive(Debug)]
struct Failure {
    path: String,
    kind: io::ErrorKind,
    os_error: Option<i32>,
    message: String,
}

impl Health {
    /// Passes a sync's result on, remembering a failure.
    pub(crate) fn synced(&self, path: &str, result: io::Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        self.0.get_or_init(|| Failure {
            path: path.to_owned(),
            kind: error.kind(),
            os_error: error.raw_os_error(),
            message: error.to_string(),
        });
        self.check()
    }

    /// Refuses once a sync has failed.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(failure) = self.0.get() else { return Ok(()) };
        let source = match failure.os_error {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(failure.kind, failure.message.clone()),
        };
        Err(Error::SyncFailed { path: failure.path.clone(), source })
    }
}
