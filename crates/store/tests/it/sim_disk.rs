//! A disk that forgets what was not synced: bytes of files, names in folders, folders themselves.
//! After so many operations its power goes; what is left then is drawn by a seed, as bad as a real
//! disk may make it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use whodid_store::disk::{Disk, DiskFile, Entry, parent};

use crate::support::Rng;

/// Which promises a disk breaks; each breach must be seen by the tests that use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// `sync` of a file returns without having done anything.
    pub files: bool,
    /// `sync_dir` returns without having done anything.
    pub folders: bool,
}

#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    inodes: Vec<Inode>,
    /// Names as a running program sees them.
    names: BTreeMap<String, usize>,
    /// Names that survive.
    durable: BTreeMap<String, usize>,
    /// Changes of names that nobody synced yet, in order.
    pending: Vec<Change>,
    /// Operations until the power goes.
    fuse: u64,
    lies: Lies,
    /// What was done, by the path it was done to.
    done: Vec<String>,
}

#[derive(Clone, Debug)]
struct Inode {
    is_dir: bool,
    bytes: Vec<u8>,
    durable: Vec<u8>,
    modified: SystemTime,
}

#[derive(Clone, Debug)]
enum Change {
    Add(String, usize),
    Remove(String),
    Move(String, String, usize),
}

impl Change {
    /// The folder whose sync makes it durable.
    fn folder(&self) -> &str {
        match self {
            Change::Add(path, _) | Change::Remove(path) | Change::Move(_, path, _) => parent(path),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Add(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Change::Remove(path) => {
                names.remove(path);
            }
            Change::Move(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl SimDisk {
    /// An empty disk whose power goes after so many operations that change it.
    pub fn new(fuse: u64, lies: Lies) -> Self {
        let root = Inode::folder();
        let names = BTreeMap::from([(String::new(), 0)]);
        SimDisk(Arc::new(Mutex::new(State {
            inodes: vec![root],
            durable: names.clone(),
            names,
            pending: Vec::new(),
            fuse,
            lies,
            done: Vec::new(),
        })))
    }

    /// The operations that changed it, each by the path that was changed.
    pub fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }

    /// A file as everybody sees it now, even if the power is gone.
    pub fn seen(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(path).map(|inode| state.inodes[*inode].bytes.clone())
    }

    /// The disk as the next process finds it after this one was killed: everything is there, and
    /// what was not synced still is not.
    pub fn after_kill(&self, fuse: u64) -> SimDisk {
        let mut state = self.lock();
        let found = SimDisk(Arc::new(Mutex::new(State { fuse, ..state.clone() })));
        state.fuse = 0;
        found
    }

    /// The disk as it is found when the power is back.
    pub fn after_power_loss(&self, rng: &mut Rng, fuse: u64) -> SimDisk {
        let state = self.lock();
        let mut names = state.durable.clone();
        // A journal may have written some of what nobody waited for, in order.
        let mut keeps = true;
        for change in &state.pending {
            keeps &= rng.chance(60);
            let folder_is_there = names.contains_key(change.folder());
            if keeps && folder_is_there {
                change.apply(&mut names);
            }
        }
        let inodes = state.inodes.iter().map(|inode| inode.after_power_loss(rng)).collect();
        SimDisk(Arc::new(Mutex::new(State {
            inodes,
            durable: names.clone(),
            names,
            pending: Vec::new(),
            fuse,
            lies: state.lies,
            done: Vec::new(),
        })))
    }

    /// The disk at its worst when the power is back: only what was synced is there.
    pub fn after_the_worst(&self) -> SimDisk {
        let state = self.lock();
        let synced = |inode: &Inode| Inode { bytes: inode.durable.clone(), ..inode.clone() };
        SimDisk(Arc::new(Mutex::new(State {
            inodes: state.inodes.iter().map(synced).collect(),
            durable: state.durable.clone(),
            names: state.durable.clone(),
            pending: Vec::new(),
            fuse: u64::MAX,
            lies: state.lies,
            done: Vec::new(),
        })))
    }

    /// From now on it breaks these promises.
    pub fn lie(&self, lies: Lies) {
        self.lock().lies = lies;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Inode {
    fn folder() -> Self {
        Inode { is_dir: true, bytes: Vec::new(), durable: Vec::new(), modified: SystemTime::now() }
    }

    /// What was synced is there. What was appended since may be there in part, whole, or as
    /// sectors of which some were never written.
    fn after_power_loss(&self, rng: &mut Rng) -> Inode {
        let mut bytes = self.durable.clone();
        if self.bytes.starts_with(&self.durable) && self.bytes.len() > self.durable.len() {
            let more = &self.bytes[self.durable.len()..];
            match rng.below(4) {
                0 => {}
                1 => bytes.extend(more),
                2 => bytes.extend(&more[..rng.below(more.len() as u64) as usize]),
                _ => {
                    for sector in more.chunks(512) {
                        let kept = rng.chance(50);
                        bytes.extend(sector.iter().map(|byte| if kept { *byte } else { 0 }));
                    }
                }
            }
        } else if self.bytes != self.durable && rng.chance(50) {
            bytes.clone_from(&self.bytes);
        }
        Inode { durable: bytes.clone(), bytes, ..self.clone() }
    }
}

fn lost() -> io::Error {
    io::Error::other("the power is gone")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Counts an operation on a path; fails once the power is gone.
    fn operate(&mut self, path: &str) -> io::Result<()> {
        if self.fuse == 0 {
            return Err(lost());
        }
        self.fuse -= 1;
        self.done.push(path.to_owned());
        Ok(())
    }

    fn find(&self, path: &str) -> io::Result<usize> {
        if self.fuse == 0 {
            return Err(lost());
        }
        self.names.get(path).copied().ok_or_else(missing)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn check_new(&self, path: &str) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let folder = self.names.get(parent(path)).ok_or_else(missing)?;
        if self.inodes[*folder].is_dir { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn describe(&self, path: &str, inode: usize) -> Entry {
        let inode = &self.inodes[inode];
        Entry {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            is_dir: inode.is_dir,
            len: inode.bytes.len() as u64,
            modified: inode.modified,
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.operate(path)?;
        state.check_new(path)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode { is_dir: false, ..Inode::folder() });
        state.change(Change::Add(path.to_owned(), inode));
        Ok(Box::new(SimFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.lock().find(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn open_to_append(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(to)?;
        let inode = state.find(from)?;
        state.check_new(to)?;
        state.change(Change::Add(to.to_owned(), inode));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(to)?;
        let inode = state.find(from)?;
        state.change(Change::Move(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(path)?;
        state.find(path)?;
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(path)?;
        state.check_new(path)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::folder());
        state.change(Change::Add(path.to_owned(), inode));
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.remove(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate(path)?;
        state.find(path)?;
        if state.lies.folders {
            return Ok(());
        }
        let pending = std::mem::take(&mut state.pending);
        for change in pending {
            if change.folder() == path {
                change.apply(&mut state.durable);
            } else {
                state.pending.push(change);
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let state = self.lock();
        state.find(path)?;
        let inside =
            state.names.iter().filter(|(name, _)| !name.is_empty() && parent(name) == path);
        Ok(inside.map(|(name, inode)| state.describe(name, *inode)).collect())
    }

    fn stat(&self, path: &str) -> io::Result<Entry> {
        let state = self.lock();
        let inode = state.find(path)?;
        Ok(state.describe(path, inode))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: String,
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let dies = state.fuse == 1;
        state.operate(&self.path)?;
        // The power may go in the middle of a write.
        let written = if dies { bytes.len() / 2 } else { bytes.len() };
        let inode = &mut state.inodes[self.inode];
        inode.bytes.extend(&bytes[..written]);
        inode.modified = SystemTime::now();
        if dies { Err(lost()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate(&self.path)?;
        if !state.lies.files {
            let inode = &mut state.inodes[self.inode];
            inode.durable = inode.bytes.clone();
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate(&self.path)?;
        state.inodes[self.inode].bytes.truncate(len as usize);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.lock();
        if state.fuse == 0 {
            return Err(lost());
        }
        let bytes = &state.inodes[self.inode].bytes;
        let from = offset as usize;
        let found = bytes.get(from..from + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].bytes.len() as u64)
    }
}

/// The disk itself keeps its promises: what is synced is there after any power loss.
#[test]
fn what_was_synced_is_there() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(u64::MAX, Lies::default());
        disk.create_dir("d").unwrap();
        disk.sync_dir("").unwrap();
        let mut file = disk.create("d/a").unwrap();
        file.append(b"kept").unwrap();
        file.sync().unwrap();
        disk.sync_dir("d").unwrap();
        file.append(b" maybe").unwrap();
        disk.link("d/a", "d/b").unwrap();
        disk.create("d/c").unwrap();
        let after = disk.after_power_loss(&mut rng, u64::MAX);
        let file = after.open("d/a").unwrap();
        let mut bytes = [0; 4];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"kept");
        assert!(file.len().unwrap() <= 10);
    }
}
