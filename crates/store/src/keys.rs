//! The block keys from which the salts of commitments are made: 32 random bytes for every 256
//! leaves, in files of their own outside both tables, so that who has a table cannot test guesses
//! of a body that is gone from it. A key file is durable before the first leaf that needs it is
//! acknowledged. It changes only where a value is redacted: the key of its block is destroyed, and
//! the salts of all others are kept beside it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use whodid_event::entry::{BLOCK_LEAVES, BlockKey, KeptSalts, Salt, Salts};

use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::object::DiskStore;

/// The folder of the key files; every cluster has a folder in it.
pub(crate) const FOLDER: &str = "keys";

/// A key file serves this many leaves.
pub(crate) const FILE_LEAVES: u64 = 65_536;

const KEY_BYTES: usize = size_of::<BlockKey>();
const FILE_KEYS: usize = (FILE_LEAVES / BLOCK_LEAVES) as usize;

/// A file of kept salts is at most this long.
const SALTS_BYTES_MAX: u64 = 64 << 20;

fn path(cluster: &str, seq: u64) -> String {
    format!("{FOLDER}/{cluster}/{:012}.keys", seq / FILE_LEAVES)
}

/// Where the salts are that outlive the keys in the key file of a leaf.
fn salts_path(cluster: &str, seq: u64) -> String {
    format!("{FOLDER}/{cluster}/{:012}.salts", seq / FILE_LEAVES)
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
        fill(path, &mut bytes)?;
        self.store.create(path, bytes)
    }
}

/// Fills a key with random bytes.
fn fill(path: &str, bytes: &mut [u8]) -> Result<()> {
    rand::rngs::OsRng.try_fill_bytes(bytes).map_err(|error| Error::Unavailable {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })
}

/// Reads block keys, one file after the other.
#[derive(Clone, Debug)]
pub(crate) struct BlockKeys {
    disk: Arc<dyn Disk>,
    /// The key file of each cluster that was read last.
    read: HashMap<String, KeyFile>,
}

#[derive(Clone, Debug)]
struct KeyFile {
    number: u64,
    keys: Vec<BlockKey>,
    /// By the number of the block in the log.
    destroyed: BTreeMap<u64, Destroyed>,
}

/// A block whose key was destroyed.
#[derive(Clone, Debug)]
struct Destroyed {
    /// The first leaf that the key serves which took its place.
    end: u64,
    /// What is left of the old one.
    salts: KeptSalts,
}

impl BlockKeys {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        BlockKeys { disk, read: HashMap::new() }
    }

    /// Where the salts of the leaf `seq` come from.
    ///
    /// # Errors
    /// The key file cannot be read.
    pub(crate) fn of(&mut self, cluster: &str, seq: u64) -> Result<Salts<'_>> {
        let number = seq / FILE_LEAVES;
        if self.read.get(cluster).is_none_or(|file| file.number != number) {
            let keys = keys(&*self.disk, cluster, seq)?;
            let destroyed = destroyed(&*self.disk, cluster, seq)?;
            self.read.insert(cluster.to_owned(), KeyFile { number, keys, destroyed });
        }
        let short = || Error::Format {
            path: path(cluster, seq),
            why: "the key file is too short; put it back from a copy".into(),
        };
        let file = self.read.get(cluster).ok_or_else(short)?;
        match file.destroyed.get(&(seq / BLOCK_LEAVES)) {
            Some(Destroyed { end, salts }) if seq < *end => Ok(Salts::Kept(salts)),
            _ => file.keys.get(block_of(seq)).map(Salts::Key).ok_or_else(short),
        }
    }
}

/// The number of a leaf's block in its file.
fn block_of(seq: u64) -> usize {
    usize::try_from(seq % FILE_LEAVES / BLOCK_LEAVES).unwrap_or(usize::MAX)
}

fn keys(disk: &dyn Disk, cluster: &str, seq: u64) -> Result<Vec<BlockKey>> {
    let path = path(cluster, seq);
    let bytes = disk::read(disk, &path, (FILE_KEYS * KEY_BYTES) as u64);
    let bytes = bytes.map_err(|source| Error::Read { path, source })?;
    Ok(bytes.as_chunks().0.to_vec())
}

/// A block in a file of salts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredBlock {
    end: u64,
    salts: BTreeMap<u64, BTreeMap<String, String>>,
}

/// The blocks of a file whose keys were destroyed.
fn destroyed(disk: &dyn Disk, cluster: &str, seq: u64) -> Result<BTreeMap<u64, Destroyed>> {
    let path = salts_path(cluster, seq);
    let bytes = match disk::read(disk, &path, SALTS_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|source| Error::Read { path: path.clone(), source })?,
    };
    let damaged = |why: String| Error::Format {
        path: path.clone(),
        why: format!("it is damaged ({why}); put it back from a copy"),
    };
    let blocks: BTreeMap<u64, StoredBlock> =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let salt = |(name, text): (String, String)| -> Result<(String, Salt)> {
        let salt = BASE64.decode(&text).ok().and_then(|salt| Salt::try_from(salt).ok());
        Ok((name, salt.ok_or_else(|| damaged(format!("{text:?} is no salt")))?))
    };
    let read = |StoredBlock { end, salts }: StoredBlock| -> Result<Destroyed> {
        let leaf = |(seq, names): (u64, BTreeMap<String, String>)| -> Result<_> {
            Ok((seq, names.into_iter().map(salt).collect::<Result<_>>()?))
        };
        Ok(Destroyed { end, salts: salts.into_iter().map(leaf).collect::<Result<_>>()? })
    };
    blocks.into_iter().map(|(block, stored)| Ok((block, read(stored)?))).collect()
}

/// Destroys the key of the block that `seq` is in, and with it all salts of leaves before `end` but
/// for these. Later leaves of the block get another key.
///
/// # Errors
/// The disk refuses; it can be repeated then.
pub(crate) fn destroy(
    disk: &dyn Disk,
    store: &DiskStore,
    (cluster, seq, end): (&str, u64, u64),
    salts: KeptSalts,
) -> Result<()> {
    let mut blocks = destroyed(disk, cluster, seq)?;
    blocks.insert(seq / BLOCK_LEAVES, Destroyed { end, salts });
    let text = |(name, salt): (String, Salt)| (name, BASE64.encode(salt));
    let stored = |Destroyed { end, salts }| {
        let leaf = |(seq, names): (u64, BTreeMap<String, Salt>)| {
            (seq, names.into_iter().map(text).collect())
        };
        StoredBlock { end, salts: salts.into_iter().map(leaf).collect() }
    };
    let blocks: BTreeMap<u64, StoredBlock> =
        blocks.into_iter().map(|(block, destroyed)| (block, stored(destroyed))).collect();
    let text = serde_json::to_vec(&blocks).map_err(|error| Error::Invalid(error.to_string()))?;
    store.replace(&salts_path(cluster, seq), text)?;
    // What the salts are for is safe: the key may go.
    let path = path(cluster, seq);
    let mut keys = keys(disk, cluster, seq)?;
    if let Some(key) = keys.get_mut(block_of(seq)) {
        fill(&path, key)?;
    }
    store.replace(&path, keys.concat())
}

/// Deletes the key files that serve no leaf from `to` on.
///
/// # Errors
/// The disk refuses.
pub(crate) fn forget(disk: &dyn Disk, cluster: &str, to: u64) -> Result<()> {
    let folder = format!("{FOLDER}/{cluster}");
    let files = disk.list(&folder);
    for file in files.map_err(|source| Error::Read { path: folder.clone(), source })? {
        let name = file.name.strip_suffix(".keys").or_else(|| file.name.strip_suffix(".salts"));
        let number = name.and_then(|number| number.parse::<u64>().ok());
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
