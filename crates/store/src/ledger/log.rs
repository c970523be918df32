//! One log and its files: the key that signs it, what an auditor needs to know of it, its newest
//! checkpoint and its tiles. `docs/format/ledger.md` specifies them.

use std::sync::Arc;

use rand::TryRngCore;
use whodid_tlog::note::{Kind, Signer};
use whodid_tlog::proof::Head;
use whodid_tlog::{Checkpoint, Hash, Note, Policy, Tile};

use super::tree::Tree;
use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::object::DiskStore;

/// The folder of all logs; every log has a folder in it.
pub(crate) const FOLDER: &str = "ledger";

/// No file of a log is longer.
pub(super) const FILE_BYTES_MAX: u64 = 32 << 20;

/// Where a log's files are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) store: DiskStore,
}

/// A log that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    pub(super) name: Arc<str>,
    pub(super) files: Files,
    pub(super) tree: Tree,
    /// The head of the newest checkpoint.
    pub(super) signed: Option<Head>,
    /// How many leaves the right edge on disk has.
    pub(super) covered: u64,
    signer: Signer,
}

/// The path of a log's file.
pub(crate) fn path(name: &str, file: &str) -> String {
    format!("{FOLDER}/{name}/{file}")
}

/// Reads a file of a log; `None` if there is none.
pub(crate) fn read(disk: &dyn Disk, name: &str, file: &str) -> Result<Option<Vec<u8>>> {
    let path = path(name, file);
    match disk::read(disk, &path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|source| Error::Read { path, source }),
    }
}

/// Reads the policy of a log: whose signature makes a checkpoint of it. `None` if there is none.
pub(crate) fn policy(disk: &dyn Disk, name: &str) -> Result<Option<(String, Policy)>> {
    let Some(bytes) = read(disk, name, POLICY)? else { return Ok(None) };
    let wrong = |why: &dyn std::fmt::Display| Error::Format {
        path: path(name, POLICY),
        why: format!("{why}; put the file back from a copy"),
    };
    let text = String::from_utf8(bytes).map_err(|error| wrong(&error))?;
    let policy = Policy::parse(&text).map_err(|error| wrong(&error))?;
    Ok(Some((text, policy)))
}

/// The keys of all logs as one policy.
pub(crate) fn policy_of_all(disk: &dyn Disk) -> Result<String> {
    let mut text = String::new();
    let mut names = names(disk)?;
    names.sort_unstable();
    for name in names {
        let Some((_, policy)) = policy(disk, &name)? else { continue };
        policy.logs().iter().for_each(|log| text.push_str(&format!("log {log}\n")));
    }
    text.push_str("quorum none\n");
    Ok(text)
}

/// Reads the newest checkpoint of a log; `None` if none was signed yet.
pub(crate) fn checkpoint(
    disk: &dyn Disk,
    name: &str,
    policy: &Policy,
) -> Result<Option<(Note, Checkpoint)>> {
    let Some(bytes) = read(disk, name, CHECKPOINT)? else { return Ok(None) };
    let wrong = |why: &dyn std::fmt::Display| Error::Format {
        path: path(name, CHECKPOINT),
        why: format!(
            "{why}. Whoever wrote it did not hold the log's key: find out who, and put the file \
             back from a copy, or run `whodid ledger reopen` to go on with this on record"
        ),
    };
    let text = String::from_utf8(bytes).map_err(|error| wrong(&error))?;
    let note = Note::parse(&text).map_err(|error| wrong(&error))?;
    let checkpoint = policy.open(&note).map_err(|error| wrong(&error))?;
    Ok(Some((note, checkpoint)))
}

/// Reads the right edge of a log's tree. `None` if there is none, or it cannot be read: it is made
/// again from the entries.
pub(super) fn edge(disk: &dyn Disk, name: &str) -> Result<Option<Tree>> {
    Ok(read(disk, name, EDGE)?.and_then(|edge| Tree::from_edge(&edge)))
}

/// Reads a full tile of a log; `None` if there is none that is whole.
pub(super) fn full_tile(disk: &dyn Disk, name: &str, tile: Tile) -> Result<Option<Vec<Hash>>> {
    let full = Tile { width: Tile::WIDTH, ..tile };
    let bytes = read(disk, name, &full.to_string())?;
    Ok(bytes.and_then(|bytes| {
        let (hashes, rest) = bytes.as_chunks();
        let is_whole = hashes.len() == usize::from(Tile::WIDTH) && rest.is_empty();
        is_whole.then(|| hashes.iter().copied().map(Hash).collect())
    }))
}

/// A file of a log was taken away.
pub(super) fn gone(name: &str, file: &str) -> Error {
    Error::Format {
        path: path(name, file),
        why: "it is gone, although the log was begun; put it back from a copy, or run `whodid \
              ledger reopen` to go on with this on record"
            .into(),
    }
}

/// Where the files of a frozen log are. A cluster's name has no dot.
pub(super) fn frozen(name: &str, generation: u64) -> String {
    format!("{FOLDER}/{name}.{generation}")
}

/// Which log of a name is written to, from 1; those before it are frozen.
pub(super) fn generation(disk: &dyn Disk, name: &str) -> Result<u64> {
    let of_name = |entry: &str| entry.rsplit_once('.').is_some_and(|(of, _)| of == name);
    Ok(folders(disk)?.iter().filter(|entry| of_name(entry)).count() as u64 + 1)
}

/// The origin of a log.
pub(super) fn origin(prefix: &str, name: &str, generation: u64) -> String {
    match generation {
        1 => format!("{prefix}/{name}"),
        later => format!("{prefix}/{name}/{later}"),
    }
}

/// The logs that were begun.
pub(super) fn names(disk: &dyn Disk) -> Result<Vec<String>> {
    Ok(folders(disk)?.into_iter().filter(|name| !name.contains('.')).collect())
}

fn folders(disk: &dyn Disk) -> Result<Vec<String>> {
    match disk.list(FOLDER) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let listed = listed.map_err(|source| Error::Read { path: FOLDER.into(), source })?;
            Ok(listed.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
        }
    }
}

pub(super) const KEY: &str = "key";
const POLICY: &str = "policy";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const EDGE: &str = "edge";

impl Log {
    /// Opens a log as it was left, or begins one.
    ///
    /// # Errors
    /// A file is damaged or gone; the message says what to do.
    pub(crate) fn open(files: &Files, name: &str, prefix: &str) -> Result<Self> {
        let disk = &*files.disk;
        let key = read(disk, name, KEY)?;
        let policy = policy(disk, name)?;
        let has_edge = read(disk, name, EDGE)?.is_some();
        let signer = match (&key, &policy) {
            (Some(key), _) => parse_key(&path(name, KEY), key)?,
            (None, None) if !has_edge => {
                create_key(files, name, &origin(prefix, name, generation(disk, name)?))?
            }
            (None, _) => return Err(gone(name, KEY)),
        };
        let policy = match policy {
            Some((_, policy)) => policy,
            // The process ended between the two; the policy follows from the key.
            None => create_policy(files, name, &signer)?,
        };
        let signed = checkpoint(disk, name, &policy)?.map(|(_, checkpoint)| checkpoint.head);
        if signed.is_none() && has_edge {
            return Err(gone(name, CHECKPOINT));
        }
        let tree = edge(disk, name)?.unwrap_or_default();
        let (name, files) = (Arc::from(name), files.clone());
        let covered = tree.size();
        Ok(Log { name, files, tree, signed, covered, signer })
    }

    /// The log's name to the world (C2SP tlog-checkpoint, origin).
    pub(crate) fn origin(&self) -> &str {
        self.signer.verifier().name()
    }

    /// Adds leaves.
    pub(crate) fn extend(&mut self, leaves: impl IntoIterator<Item = Hash>) {
        for leaf in leaves {
            self.tree.append(leaf);
        }
    }

    /// Whether the tree grew since it was last signed.
    pub(crate) fn has_grown(&self) -> bool {
        self.tree.size() > self.signed.map_or(0, |head| head.size)
    }

    /// Signs the tree as it is now; when it returns, the checkpoint is durable.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn sign(&mut self) -> Result<()> {
        if !self.has_grown() {
            return Ok(());
        }
        let head = self.tree.head();
        let note = Checkpoint::new(self.origin(), head).sign(&self.signer, 0);
        let note = note.map_err(|error| Error::Invalid(format!("{}: {error}", self.origin())))?;
        let path = path(&self.name, CHECKPOINT);
        self.files.store.replace(&path, note.to_string().into_bytes())?;
        self.signed = Some(head);
        Ok(())
    }

    /// Signs the tree, and makes it durable as it is now: a start goes on from here. The checkpoint
    /// comes first, so that an edge beyond it tells that it was put back.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn cover(&mut self) -> Result<()> {
        self.sign()?;
        if self.covered == self.tree.size() {
            return Ok(());
        }
        for (tile, hashes) in self.tree.full_tiles() {
            let bytes = hashes.iter().flat_map(|hash| hash.0).collect();
            // One that was written before a crash is the same.
            self.files.store.replace(&path(&self.name, &tile.to_string()), bytes)?;
        }
        self.tree.written();
        self.files.store.replace(&path(&self.name, EDGE), self.tree.edge())?;
        self.covered = self.tree.size();
        Ok(())
    }
}

fn parse_key(path: &str, bytes: &[u8]) -> Result<Signer> {
    let wrong = |why: &dyn std::fmt::Display| Error::Format {
        path: path.to_owned(),
        why: format!("{why}; put the file back from a copy"),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(&error))?;
    Signer::parse(text.trim_end()).map_err(|error| wrong(&error))
}

pub(super) fn create_key(files: &Files, name: &str, origin: &str) -> Result<Signer> {
    let signer = new_signer(&files.store, &path(name, KEY), origin)?;
    create_policy(files, name, &signer)?;
    Ok(signer)
}

/// The key that exports are signed with, which is no log's; made when it is first wanted.
pub(crate) fn export_signer(files: &Files, prefix: &str) -> Result<Signer> {
    let path = format!("{FOLDER}/export.key");
    match disk::read(&*files.disk, &path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            new_signer(&files.store, &path, &format!("{prefix}/export"))
        }
        read => {
            let bytes = read.map_err(|source| Error::Read { path: path.clone(), source })?;
            parse_key(&path, &bytes)
        }
    }
}

fn new_signer(store: &DiskStore, path: &str, name: &str) -> Result<Signer> {
    let mut seed = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(|error| Error::Unavailable {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let signer = Signer::new(name, Kind::Ed25519, &seed)
        .map_err(|error| Error::Invalid(format!("{name} cannot name a key: {error}")))?;
    store.create(path, format!("{}\n", signer.to_secret()).into_bytes())?;
    Ok(signer)
}

fn create_policy(files: &Files, name: &str, signer: &Signer) -> Result<Policy> {
    let text = format!("log {}\nquorum none\n", signer.verifier());
    let policy = Policy::parse(&text)
        .map_err(|error| Error::Invalid(format!("{name} cannot be a log: {error}")))?;
    files.store.replace(&path(name, POLICY), text.into_bytes())?;
    Ok(policy)
}
