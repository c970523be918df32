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
    pub(super) signed: Head,
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

/// Reads the newest checkpoint of a log.
///
/// # Errors
/// It is gone, or the policy does not believe it.
pub(crate) fn checkpoint(
    disk: &dyn Disk,
    name: &str,
    policy: &Policy,
) -> Result<(Note, Checkpoint)> {
    note(disk, name, CHECKPOINT, policy)?.ok_or_else(|| gone(name, CHECKPOINT))
}

/// Reads the newest checkpoint that others have signed, too; `None` if there is none.
///
/// # Errors
/// The log's key has not signed it.
pub(super) fn cosigned(
    disk: &dyn Disk,
    name: &str,
    own: &Policy,
) -> Result<Option<(Note, Checkpoint)>> {
    note(disk, name, COSIGNED, own)
}

pub(super) fn note(
    disk: &dyn Disk,
    name: &str,
    file: &str,
    policy: &Policy,
) -> Result<Option<(Note, Checkpoint)>> {
    let Some(bytes) = read(disk, name, file)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|error| unbelieved(name, file, &error))?;
    let note = Note::parse(&text).map_err(|error| unbelieved(name, file, &error))?;
    let checkpoint = policy.open(&note).map_err(|error| unbelieved(name, file, &error))?;
    Ok(Some((note, checkpoint)))
}

/// A checkpoint that nobody who is believed has signed.
pub(super) fn unbelieved(name: &str, file: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Format {
        path: path(name, file),
        why: format!(
            "{why}. Whoever wrote it did not hold the log's key: find out who, and put the file \
             back from a copy, or run `whodid ledger reopen` to go on with this on record"
        ),
    }
}

/// Reads the right edge of a log's tree. `None` if there is none, or it cannot be read: it is made
/// again from the entries.
pub(super) fn edge(disk: &dyn Disk, name: &str) -> Result<Option<Tree>> {
    Ok(read(disk, name, EDGE)?.and_then(|edge| Tree::from_edge(&edge)))
}

/// Whether a log has begun: then its key, its policy and a checkpoint are there. Until it has, a
/// crash may have left a checkpoint that says nothing.
pub(super) fn has_begun(disk: &dyn Disk, name: &str) -> Result<bool> {
    let is_there = |file| Ok::<_, Error>(read(disk, name, file)?.is_some());
    let says_something = |note: Vec<u8>| note.split(|byte| *byte == b'\n').nth(1) != Some(b"0");
    Ok(is_there(KEY)?
        || is_there(EDGE)?
        || read(disk, name, CHECKPOINT)?.is_some_and(says_something))
}

/// A checkpoint that is behind what was written after it.
pub(super) fn behind(name: &str, size: u64, what: &str) -> Error {
    Error::Format {
        path: path(name, CHECKPOINT),
        why: format!(
            "it was signed over {size} leaves, and {what} was signed before it was written: the \
             checkpoint was put back to an older state. Put the newest back from a copy, or run \
             `whodid ledger reopen` to go on with this on record"
        ),
    }
}

/// What follows a checkpoint, the edge and what others have signed of it, is never ahead of it.
pub(super) fn check_size(name: &str, size: u64, edge: &Tree, cosigned: Option<u64>) -> Result<()> {
    let followers = [("its edge", Some(edge.size())), (COSIGNED, cosigned)];
    for (what, of) in followers {
        if let Some(of) = of.filter(|of| *of > size) {
            return Err(behind(name, size, &format!("{what} of {of} leaves")));
        }
    }
    Ok(())
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
pub(crate) fn names(disk: &dyn Disk) -> Result<Vec<String>> {
    Ok(folders(disk)?.into_iter().filter(|name| !name.contains('.')).collect())
}

/// The folders of logs, of frozen ones too.
pub(crate) fn folders(disk: &dyn Disk) -> Result<Vec<String>> {
    match disk.list(FOLDER) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let listed = listed.map_err(|source| Error::Read { path: FOLDER.into(), source })?;
            Ok(listed.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect())
        }
    }
}

pub(super) const KEY: &str = "key";
pub(super) const POLICY: &str = "policy";
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(super) const EDGE: &str = "edge";
/// The newest checkpoint that others have signed, too.
pub(crate) const COSIGNED: &str = "checkpoint.cosigned";

impl Log {
    /// Opens a log as it was left, or begins one.
    ///
    /// # Errors
    /// A file is damaged or gone; the message says what to do.
    pub(crate) fn open(files: &Files, name: &str, prefix: &str) -> Result<Self> {
        let disk = &*files.disk;
        if !has_begun(disk, name)? {
            return Self::begin(files, name, &origin(prefix, name, generation(disk, name)?));
        }
        let key = read(disk, name, KEY)?.ok_or_else(|| gone(name, KEY))?;
        let signer = parse_key(&path(name, KEY), &key)?;
        // Whoever replaces the policy must not have his own checkpoint believed, and then signed.
        let own = policy_of(&signer);
        match read(disk, name, POLICY)? {
            Some(policy) if policy == own.as_bytes() => {}
            Some(_) => return Err(other_policy(name)),
            None => files.store.replace(&path(name, POLICY), own.into_bytes())?,
        }
        let policy = Policy::of_log(signer.verifier().clone());
        let signed = checkpoint(disk, name, &policy)?.1.head;
        let tree = edge(disk, name)?.unwrap_or_default();
        let cosigned = cosigned(disk, name, &policy)?.map(|(_, cosigned)| cosigned.head.size);
        check_size(name, signed.size, &tree, cosigned)?;
        let (name, files) = (Arc::from(name), files.clone());
        let covered = tree.size();
        Ok(Log { name, files, tree, signed, covered, signer })
    }

    /// Begins a log. Its key comes last: where there is one, the rest was there.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn begin(files: &Files, name: &str, origin: &str) -> Result<Self> {
        let signer = new_signer(&path(name, KEY), origin, Kind::Ed25519)?;
        let (tree, files) = (Tree::default(), files.clone());
        let (name, signed): (Arc<str>, _) = (Arc::from(name), tree.head());
        let log = Log { name, files, tree, signed, covered: 0, signer };
        let place =
            |file, text: String| log.files.store.replace(&path(&log.name, file), text.into_bytes());
        place(CHECKPOINT, log.checkpoint()?.to_string())?;
        place(POLICY, policy_of(&log.signer))?;
        place(KEY, secret(&log.signer))?;
        Ok(log)
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
        self.tree.size() > self.signed.size
    }

    /// Signs the tree as it is now; when it returns, the checkpoint is durable.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn sign(&mut self) -> Result<()> {
        if !self.has_grown() {
            return Ok(());
        }
        let note = self.checkpoint()?.to_string().into_bytes();
        self.files.store.replace(&path(&self.name, CHECKPOINT), note)?;
        self.signed = self.tree.head();
        Ok(())
    }

    /// A checkpoint of the tree as it is now.
    fn checkpoint(&self) -> Result<Note> {
        let note = Checkpoint::new(self.origin(), self.tree.head()).sign(&self.signer, 0);
        note.map_err(|error| Error::Invalid(format!("{}: {error}", self.origin())))
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

/// What the key for exports is called; no log may be called so.
pub(crate) const EXPORT: &str = "export";

/// The key that exports are signed with, which is no log's; made when it is first wanted.
pub(crate) fn export_signer(files: &Files, prefix: &str) -> Result<Signer> {
    own_signer(files, &format!("{EXPORT}.key"), &format!("{prefix}/{EXPORT}"))
}

/// The key that says who sends a checkpoint to a signer elsewhere; made when it is first wanted.
pub(crate) fn store_signer(files: &Files, prefix: &str) -> Result<Signer> {
    own_signer(files, "store.key", prefix)
}

fn own_signer(files: &Files, file: &str, name: &str) -> Result<Signer> {
    let path = format!("{FOLDER}/{file}");
    match disk::read(&*files.disk, &path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let signer = new_signer(&path, name, Kind::Ed25519)?;
            files.store.create(&path, secret(&signer).into_bytes())?;
            Ok(signer)
        }
        read => {
            let bytes = read.map_err(|source| Error::Read { path: path.clone(), source })?;
            parse_key(&path, &bytes)
        }
    }
}

/// A new key, which will be kept in `path`.
///
/// # Errors
/// There are no random bytes, or nothing may have this name.
pub(crate) fn new_signer(path: &str, name: &str, kind: Kind) -> Result<Signer> {
    let mut seed = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut seed).map_err(|error| Error::Unavailable {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Signer::new(name, kind, &seed)
        .map_err(|error| Error::Invalid(format!("{name} cannot name a key: {error}")))
}

fn secret(signer: &Signer) -> String {
    format!("{}\n", signer.to_secret())
}

/// Whose signature makes a checkpoint of a log that this key signs.
fn policy_of(signer: &Signer) -> String {
    format!("log {}\nquorum none\n", signer.verifier())
}

fn other_policy(name: &str) -> Error {
    Error::Format {
        path: path(name, POLICY),
        why: "it names another key than the one beside it: one of them was replaced. Find out who \
              did, and put both files back from a copy, or run `whodid ledger reopen` to go on \
              with this on record"
            .into(),
    }
}
