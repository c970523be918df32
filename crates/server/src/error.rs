//! Why a server cannot start or go on.

use std::io;
use std::path::PathBuf;

/// Result of a server operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key or certificate cannot be used.
    #[error("{}: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The configuration makes no sense; every fault is a line.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// Others have signed another record than this.
    #[error(
        "{}\nFind out who did it. To go on with it on record: `whodid ledger reopen LOG… --reason \
         TEXT`, LOG being each of these, a cluster or meta",
        .0.join("\n")
    )]
    Refused(Vec<String>),
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] whodid_store::Error),
}
