//! The block keys from which the salts of commitments are made: 32 random bytes for every 256
//! leaves, in files of their own outside both tables, so that who has a table cannot test guesses
//! of a body that is gone from it. A key file is durable before the first leaf that needs it is
//! acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::TryRngCore;
use whodid_event::entry::{BLOCK_LEAVES, BlockKey};

use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::object::DiskStore;

/// The folder of the key files; every cluster has a folder in it.
pub(crate) const FOLDER: &str = "keys";

/// A key file serves this many leaves.
pub(crate) const FILE_LEAVES: u64 = 65_536;

const KEY_BYTES: usize = size_of::<BlockKey>();
const FILE_KEYS: usize = (FILE_LEAVES / BLOCK_LEAVES) as usize;

fn path(cluster: &str, seq: u64) -> String {
    format!("{FOLDER}/{cluster}/{:012}.keys", seq / FILE_LEAVES)
}

/// Makes key files as the log grows.
#[derive(Debug)]
pub(crate) struct Keys {
    store: DiskStore,
    disk: Arc<dyn Disk>,
    made: HashSet<String>,
}

impl Keys {
    pub(crate) fn new(disk: Arc<dyn Disk>, store: DiskStore) -> Self {
        Keys { store, disk, made: HashSet::new() }
    }

    /// Makes sure that the leaves from `first` to before `end` have keys.
    pub(crate) fn ensure(&mut self, cluster: &str, first: u64, end: u64) -> Result<()> {
        let mut seq = first;
        while seq < end {
            let path = path(cluster, seq);
            if !self.made.contains(&path) {
                if self.disk.stat(&path).is_err() {
                    self.make(&path)?;
                }
                self.made.insert(path);
            }
            seq = (seq / FILE_LEAVES + 1) * FILE_LEAVES;
        }
        Ok(())
    }

    fn make(&self, path: &str) -> Result<()> {
        let mut bytes = vec![0; FILE_KEYS * KEY_BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|error| Error::Unavailable {
            path: path.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })?;
        self.store.create(path, bytes)
    }
}

/// Returns the key of the block that `seq` is in.
///
/// # Errors
/// The key file cannot be read.
pub(crate) fn block_key(disk: &Arc<dyn Disk>, cluster: &str, seq: u64) -> Result<BlockKey> {
    BlockKeys::new(Arc::clone(disk)).of(cluster, seq).copied()
}

/// Reads block keys, one file after the other.
#[derive(Debug)]
pub(crate) struct BlockKeys {
    disk: Arc<dyn Disk>,
    /// The key file of each cluster that was read last, by its number.
    read: HashMap<String, (u64, Vec<BlockKey>)>,
}

impl BlockKeys {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        BlockKeys { disk, read: HashMap::new() }
    }

    /// The key of the block that `seq` is in.
    ///
    /// # Errors
    /// The key file cannot be read.
    pub(crate) fn of(&mut self, cluster: &str, seq: u64) -> Result<&BlockKey> {
        let number = seq / FILE_LEAVES;
        if self.read.get(cluster).is_none_or(|(read, _)| *read != number) {
            let keys = self.file(cluster, seq)?;
            self.read.insert(cluster.to_owned(), (number, keys));
        }
        let block = usize::try_from(seq % FILE_LEAVES / BLOCK_LEAVES).unwrap_or(usize::MAX);
        let key = self.read.get(cluster).and_then(|(_, keys)| keys.get(block));
        key.ok_or_else(|| Error::Format {
            path: path(cluster, seq),
            why: "the key file is too short; put it back from a copy".into(),
        })
    }

    fn file(&self, cluster: &str, seq: u64) -> Result<Vec<BlockKey>> {
        let path = path(cluster, seq);
        let bytes = disk::read(&*self.disk, &path, (FILE_KEYS * KEY_BYTES) as u64);
        let bytes = bytes.map_err(|source| Error::Read { path, source })?;
        Ok(bytes.as_chunks().0.to_vec())
    }
}

/// Deletes the key files that serve no leaf from `to` on.
///
/// # Errors
/// The disk refuses.
pub(crate) fn forget(disk: &dyn Disk, cluster: &str, to: u64) -> Result<()> {
    let folder = format!("{FOLDER}/{cluster}");
    let files = disk.list(&folder);
    for file in files.map_err(|source| Error::Read { path: folder.clone(), source })? {
        let number = file.name.strip_suffix(".keys").and_then(|number| number.parse::<u64>().ok());
        if number.is_some_and(|number| (number + 1) * FILE_LEAVES <= to) {
            let path = format!("{folder}/{}", file.name);
            disk.remove(&path).map_err(|source| Error::Unavailable { path, source })?;
        }
    }
    Ok(())
}

/// Returns the clusters that ever had an event: each has a folder of keys.
pub(crate) fn clusters(disk: &dyn Disk) -> Result<Vec<String>> {
    match disk.list(FOLDER) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => {
            let listed = listed.map_err(|source| Error::Read { path: FOLDER.into(), source })?;
            let mut names: Vec<String> =
                listed.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect();
            names.sort_unstable();
            Ok(names)
        }
    }
}
