//! Small state that changes: credentials of those who send. One SQLite file, so that a command
//! can change it while a server runs; the record itself never depends on it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::batch::check_cluster;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::sqlite;

/// The name of the file in the data directory.
const FILE: &str = "state.sqlite";

const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE credentials (
        sha256   BLOB PRIMARY KEY CHECK (length(sha256) = 32),
        kind     TEXT NOT NULL CHECK (kind IN ('token', 'certificate')),
        cluster  TEXT NOT NULL,
        source   TEXT NOT NULL,
        created  INTEGER NOT NULL,
        revoked  INTEGER,
        UNIQUE (kind, cluster, source, created)
    ) STRICT"];

/// What a sender proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A bearer token.
    Token,
    /// A client certificate.
    Certificate,
}

impl CredentialKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            CredentialKind::Token => "token",
            CredentialKind::Certificate => "certificate",
        }
    }
}

/// Who may send events, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What it is.
    pub kind: CredentialKind,
    /// The cluster whose events it sends.
    pub cluster: String,
    /// The name of its source.
    pub source: String,
    /// When it was made, in microseconds since 1970.
    pub created: i64,
}

/// The state of a data directory.
#[derive(Debug)]
pub struct State(Mutex<Connection>);

impl State {
    /// Opens the state of a data directory, making it if need be.
    ///
    /// # Errors
    /// The file cannot be opened, or a newer program made it.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(State(Mutex::new(sqlite::open(dir, FILE, &MIGRATIONS)?)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A statement is whole or was rolled back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a credential, known by the SHA-256 of the token or the certificate.
    ///
    /// # Errors
    /// A name is impossible, or the file cannot be written.
    pub fn add_credential(
        &self,
        sha256: &[u8; 32],
        kind: CredentialKind,
        cluster: &str,
        source: &str,
    ) -> Result<()> {
        check_cluster(cluster)?;
        check_source(source)?;
        self.connection()
            .execute(
                "INSERT INTO credentials (sha256, kind, cluster, source, created)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![sha256, kind.name(), cluster, source, SystemClock.now()],
            )
            .map_err(failed)?;
        Ok(())
    }

    /// Finds the credential of this SHA-256, unless it was revoked.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn credential(&self, sha256: &[u8; 32]) -> Result<Option<Credential>> {
        let connection = self.connection();
        // Asked with every request.
        let mut statement = connection
            .prepare_cached(
                "SELECT kind, cluster, source, created FROM credentials
                 WHERE sha256 = ?1 AND revoked IS NULL",
            )
            .map_err(failed)?;
        statement.query_row(params![sha256], read_credential).optional().map_err(failed)
    }

    /// Lists the credentials that may be used.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn credentials(&self) -> Result<Vec<Credential>> {
        let connection = self.connection();
        let mut statement = connection
            .prepare(
                "SELECT kind, cluster, source, created FROM credentials
                 WHERE revoked IS NULL ORDER BY cluster, source, created",
            )
            .map_err(failed)?;
        let rows = statement.query_map([], read_credential).map_err(failed)?;
        rows.collect::<std::result::Result<_, _>>().map_err(failed)
    }

    /// Revokes all credentials of a source; returns how many there were.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn revoke(&self, cluster: &str, source: &str) -> Result<usize> {
        self.connection()
            .execute(
                "UPDATE credentials SET revoked = ?3
                 WHERE cluster = ?1 AND source = ?2 AND revoked IS NULL",
                params![cluster, source, SystemClock.now()],
            )
            .map_err(failed)
    }
}

/// Checks the name of a source: short, and harmless wherever it is shown.
fn check_source(name: &str) -> Result<()> {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(is_harmless) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{name:?} cannot name a source: use 1 to 64 letters, digits, `-`, `_` and `.`"
    )))
}

fn read_credential(row: &rusqlite::Row<'_>) -> rusqlite::Result<Credential> {
    let kind: String = row.get(0)?;
    Ok(Credential {
        kind: if kind == "token" { CredentialKind::Token } else { CredentialKind::Certificate },
        cluster: row.get(1)?,
        source: row.get(2)?,
        created: row.get(3)?,
    })
}

fn failed(error: rusqlite::Error) -> Error {
    sqlite::failed(FILE, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let other = State::open(folder.path()).unwrap();
        state.add_credential(&[1; 32], CredentialKind::Token, "prod", "cp-1").unwrap();
        let found = other.credential(&[1; 32]).unwrap().unwrap();
        assert_eq!((&*found.cluster, &*found.source), ("prod", "cp-1"));
        assert_eq!(other.credential(&[2; 32]).unwrap(), None);
        assert_eq!(other.credentials().unwrap(), [found]);
        assert_eq!(other.revoke("prod", "cp-1").unwrap(), 1);
        assert_eq!(state.credential(&[1; 32]).unwrap(), None);
        for source in ["", "a b", "a/b", "\u{1b}"] {
            let added = state.add_credential(&[3; 32], CredentialKind::Token, "prod", source);
            assert!(matches!(added, Err(Error::Invalid(_))), "{source:?}");
        }
    }

    #[test]
    fn a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(State::open(folder.path()).unwrap());
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(State::open(folder.path()), Err(Error::Format { .. })));
    }
}
