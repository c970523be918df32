//! Logs of API servers that the server follows itself, as they lie on its own machine. Following
//! them is `whodid-ingest`'s business; here one that breaks off is begun again.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use whodid_ingest::tail::{Local, Tail};
use whodid_ingest::{Ingest, Sender};
use whodid_store::{SystemClock, check_cluster, hex};

use crate::error::{Error, Result};

/// Between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The folder, in that of the record, of what tails know of their files.
const FOLDER: &str = "tail";

/// A log that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailedLog {
    /// The cluster whose events are in it.
    pub cluster: String,
    /// The file; rotated ones beside it belong to it.
    pub file: PathBuf,
}

/// `CLUSTER=FILE`.
impl FromStr for TailedLog {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (cluster, file) = text.split_once('=').ok_or("write CLUSTER=FILE")?;
        check_cluster(cluster).map_err(|error| error.to_string())?;
        if file.is_empty() || file.ends_with('/') {
            return Err("write CLUSTER=FILE".to_owned());
        }
        Ok(TailedLog { cluster: cluster.to_owned(), file: file.into() })
    }
}

impl TailedLog {
    /// Why it cannot be followed, if that is sure.
    pub(crate) fn fault(&self) -> Option<String> {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty())?;
        let is_there = folder.is_dir();
        (!is_there).then(|| {
            format!("--tail {}: there is no folder {}", self.file.display(), folder.display())
        })
    }

    /// What the record calls it.
    fn source(&self) -> String {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        format!("file/{name}")
    }

    fn notes(&self, data_dir: &Path) -> PathBuf {
        let path = hex(&Sha256::digest(self.file.as_os_str().as_encoded_bytes()).into());
        let short = path.get(..16).unwrap_or_default();
        data_dir.join(FOLDER).join(format!("{}-{short}.json", self.cluster))
    }
}

/// Follows a log until shutdown.
#[expect(clippy::disallowed_methods, reason = "notes are no part of the record")]
pub(crate) fn start(
    log: TailedLog,
    data_dir: &Path,
    ingest: &Ingest,
    mut shutdown: watch::Receiver<bool>,
) -> Result<JoinHandle<()>> {
    let folder = data_dir.join(FOLDER);
    std::fs::create_dir_all(&folder)
        .map_err(|source| Error::File { path: folder.clone(), source })?;
    let sender = Sender { cluster: log.cluster.clone(), source: log.source() };
    let (notes, ingest) = (log.notes(data_dir), ingest.clone());
    Ok(tokio::spawn(async move {
        loop {
            let clock = Arc::new(SystemClock);
            let sink = Local::new(ingest.clone(), sender.clone());
            let ended = match Tail::new(&log.file, &notes, sink, shutdown.clone(), clock) {
                Ok(tail) => tokio::task::spawn_blocking(move || tail.run()).await,
                Err(error) => Ok(Err(error)),
            };
            match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!(%error, "a log is not followed"),
                Err(error) => tracing::error!(%error, "following a log broke off"),
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN_AFTER) => {}
                _ = shutdown.wait_for(|is_over| *is_over) => return,
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs() {
        let log: TailedLog = "prod=/var/log/audit.log".parse().unwrap();
        assert_eq!((&*log.cluster, &*log.source()), ("prod", "file/audit.log"));
        for text in ["/var/log/audit.log", "Prod=/a", "prod=", "prod=/var/log/"] {
            assert!(text.parse::<TailedLog>().is_err(), "{text}");
        }
    }
}
