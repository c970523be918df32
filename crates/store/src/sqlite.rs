//! A file of SQLite: readable by its owner alone, brought to its version when it is opened, and
//! durable with every commit. What is in it is for others.

#![expect(clippy::disallowed_methods, reason = "SQLite works on its file itself")]

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::{Error, Result};

/// How long one process waits for another's change.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Opens a file in a folder, making it if need be. `migrations` are what was changed, version by
/// version; `user_version` says how far a file is.
///
/// # Errors
/// The file cannot be opened, or a newer program made it.
pub(crate) fn open(dir: &Path, file: &str, migrations: &[&str]) -> Result<Connection> {
    let failed = |error| failed(file, error);
    let path = dir.join(file);
    // SQLite would make it readable by others.
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
    options.open(&path).map_err(|source| Error::Unavailable { path: file.into(), source })?;
    let connection = Connection::open(&path).map_err(failed)?;
    connection.busy_timeout(BUSY_WAIT).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    migrate(&connection, file, migrations)?;
    Ok(connection)
}

fn migrate(connection: &Connection, file: &str, migrations: &[&str]) -> Result<()> {
    let failed = |error| failed(file, error);
    let version: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > migrations.len() {
        return Err(Error::Format {
            path: file.into(),
            why: "a newer whodid made it; use that one".into(),
        });
    }
    for (i, migration) in migrations.iter().enumerate().skip(version) {
        let done = i + 1;
        let step = format!("BEGIN IMMEDIATE; {migration}; PRAGMA user_version = {done}; COMMIT");
        connection.execute_batch(&step).map_err(failed)?;
    }
    Ok(())
}

/// What an error of SQLite comes to.
pub(crate) fn failed(file: &str, error: rusqlite::Error) -> Error {
    Error::Unavailable { path: file.into(), source: std::io::Error::other(error) }
}
