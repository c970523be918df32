//! What a cosigner remembers, in a folder of its own: the newest head of each log that it signed,
//! and the keys that it signs with. What may be signed is for others to decide; that nothing is
//! signed before it is remembered is decided here.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use whodid_tlog::Hash;
use whodid_tlog::note::{Kind, Signer};
use whodid_tlog::proof::Head;

use crate::descriptor;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result};
use crate::ledger::log::new_signer;
use crate::lock::Lock;
use crate::sqlite;

/// The name of the file.
const FILE: &str = "cosigner.sqlite";

const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE heads (
        origin  TEXT PRIMARY KEY,
        size    INTEGER NOT NULL,
        root    BLOB NOT NULL CHECK (length(root) = 32)
    ) STRICT;
    CREATE TABLE keys (
        name    TEXT PRIMARY KEY,
        secret  TEXT NOT NULL
    ) STRICT"];

/// The memory of a cosigner.
#[derive(Debug)]
pub struct Heads {
    connection: Mutex<Connection>,
    _lock: Option<Lock>,
}

impl Heads {
    /// Opens the memory in a folder, making both if need be.
    ///
    /// # Errors
    /// The file cannot be opened, or a newer program made it.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.display().to_string();
        let disk = RealDisk::new(dir);
        disk.create_root().map_err(|source| Error::Unavailable { path, source })?;
        if disk.stat(descriptor::FILE).is_ok() {
            return Err(Error::Invalid(format!(
                "{} holds a record: keys beside it are no custody; name another folder, best on \
                 another machine",
                dir.display()
            )));
        }
        Ok(Heads { connection: Mutex::new(sqlite::open(dir, FILE, &MIGRATIONS)?), _lock: None })
    }

    /// Opens the memory for the one who signs; nobody else may meanwhile.
    ///
    /// # Errors
    /// As [`open`](Self::open), or another process signs.
    pub fn open_alone(dir: &Path) -> Result<Self> {
        let heads = Self::open(dir)?;
        Ok(Heads { _lock: Some(Lock::take(dir)?), ..heads })
    }

    /// Opens a memory that is there.
    ///
    /// # Errors
    /// As [`open`](Self::open), or there is none.
    pub fn open_existing(dir: &Path) -> Result<Self> {
        if RealDisk::new(dir).stat(FILE).is_err() {
            let dir = dir.display();
            return Err(Error::Invalid(format!(
                "{dir} is not the folder of a signer or a witness"
            )));
        }
        Self::open(dir)
    }

    /// Whether something of this log was signed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn knows(&self, origin: &str) -> Result<bool> {
        let count = "SELECT count(*) FROM heads WHERE origin = ?1";
        let count: i64 =
            self.connection().query_row(count, [origin], |row| row.get(0)).map_err(failed)?;
        Ok(count > 0)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A transaction is whole or was rolled back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the head that `decide` makes of the last one, if it makes one. Deciding and
    /// remembering are one step, whoever else asks; when it returns, the head is durable.
    ///
    /// # Errors
    /// The file cannot be read or written; nothing may be signed then.
    pub fn advance<E>(
        &self,
        origin: &str,
        decide: impl FnOnce(Option<Head>) -> Result<Head, E>,
    ) -> Result<Result<Head, E>> {
        let mut connection = self.connection();
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let step = step.map_err(failed)?;
        let last = step
            .query_row("SELECT size, root FROM heads WHERE origin = ?1", [origin], |row| {
                let (size, root): (i64, [u8; 32]) = (row.get(0)?, row.get(1)?);
                Ok(Head { size: size.cast_unsigned(), root: Hash(root) })
            })
            .optional()
            .map_err(failed)?;
        let head = match decide(last) {
            Ok(head) => head,
            Err(refusal) => return Ok(Err(refusal)),
        };
        step.execute(
            "INSERT INTO heads (origin, size, root) VALUES (?1, ?2, ?3)
             ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root",
            params![origin, head.size.cast_signed(), head.root.0],
        )
        .map_err(failed)?;
        step.commit().map_err(failed)?;
        Ok(Ok(head))
    }

    /// The key of this name, made when it is first wanted.
    ///
    /// # Errors
    /// The file cannot be read or written, or what is there is no key.
    pub fn key(&self, name: &str, kind: Kind) -> Result<Signer> {
        let made = new_signer(FILE, name, kind)?;
        let connection = self.connection();
        connection
            .execute(
                "INSERT INTO keys (name, secret) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
                [name, &made.to_secret()],
            )
            .map_err(failed)?;
        let secret: String = connection
            .query_row("SELECT secret FROM keys WHERE name = ?1", [name], |row| row.get(0))
            .map_err(failed)?;
        read(&secret)
    }

    /// All keys, by name.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn keys(&self) -> Result<Vec<Signer>> {
        let connection = self.connection();
        let mut found =
            connection.prepare("SELECT secret FROM keys ORDER BY name").map_err(failed)?;
        let secrets = found.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
        secrets.map(|secret| read(&secret.map_err(failed)?)).collect()
    }
}

fn read(secret: &str) -> Result<Signer> {
    let wrong = |error: whodid_tlog::note::Error| Error::Format {
        path: FILE.into(),
        why: format!("{error}; put the file back from a copy"),
    };
    Signer::parse(secret).map_err(wrong)
}

fn failed(error: rusqlite::Error) -> Error {
    sqlite::failed(FILE, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64) -> Head {
        Head { size, root: Hash::of_leaf(&size.to_le_bytes()) }
    }

    #[test]
    fn heads_are_remembered_unless_they_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let heads = Heads::open(folder.path()).unwrap();
        let advance = |heads: &Heads, new: Result<Head, &'static str>| {
            let mut last = None;
            let advanced = heads.advance("a", |known| {
                last = known;
                new
            });
            (last, advanced.unwrap())
        };
        assert_eq!(advance(&heads, Ok(head(3))), (None, Ok(head(3))));
        assert_eq!(advance(&heads, Err("no")), (Some(head(3)), Err("no")));
        assert_eq!(advance(&heads, Ok(head(7))), (Some(head(3)), Ok(head(7))));
        drop(heads);
        let heads = Heads::open(folder.path()).unwrap();
        assert_eq!(advance(&heads, Err("no")), (Some(head(7)), Err("no")));
        assert_eq!(heads.advance("b", |last| last.ok_or("new")).unwrap(), Err("new"));
    }

    #[test]
    fn a_key_stays_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let heads = Heads::open(folder.path()).unwrap();
        let key = heads.key("a/b", Kind::Ed25519).unwrap();
        let again = Heads::open(folder.path()).unwrap().key("a/b", Kind::Ed25519).unwrap();
        assert_eq!(key.to_secret(), again.to_secret());
        let names = |heads: &Heads| -> Vec<String> {
            heads.keys().unwrap().iter().map(|key| key.verifier().name().to_owned()).collect()
        };
        heads.key("a/a", Kind::Ed25519).unwrap();
        assert_eq!(names(&heads), ["a/a", "a/b"]);
        assert!(heads.key("no name", Kind::Ed25519).is_err());
    }
}
