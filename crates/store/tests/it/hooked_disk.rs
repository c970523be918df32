//! The disk of this machine with a hook before and after every operation that changes something:
//! tests park there to be killed, make the operation fail, or leave it out.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use whodid_store::disk::{Disk, DiskFile, Entry, RealDisk};

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Append,
    Sync,
    Truncate,
    Link,
    Rename,
    Remove,
    CreateDir,
    SyncDir,
}

/// What the hook wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Go,
    /// Say that it was done.
    Skip,
    /// Fail with this `errno`; of what is appended, half is written.
    Fail(i32),
}

/// Sees an operation, the path it gives something to (or takes it from), and whether it is over.
pub type Hook = dyn Fn(Op, &str, bool) -> Verdict + Send + Sync;

#[derive(Clone)]
pub struct HookedDisk {
    real: Arc<RealDisk>,
    hook: Arc<Hook>,
}

impl fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.real.fmt(f)
    }
}

/// Does an operation as the hook wants it.
fn hooked(
    hook: &Hook,
    op: Op,
    path: &str,
    work: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    match hook(op, path, false) {
        Verdict::Go => work()?,
        Verdict::Skip => {}
        Verdict::Fail(errno) => return Err(io::Error::from_raw_os_error(errno)),
    }
    match hook(op, path, true) {
        Verdict::Fail(errno) => Err(io::Error::from_raw_os_error(errno)),
        Verdict::Go | Verdict::Skip => Ok(()),
    }
}

impl HookedDisk {
    pub fn new(
        dir: &Path,
        hook: impl Fn(Op, &str, bool) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let real = RealDisk::new(dir);
        real.create_root().unwrap();
        HookedDisk { real: Arc::new(real), hook: Arc::new(hook) }
    }

    fn file(&self, path: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(HookedFile { file, path: path.to_owned(), hook: Arc::clone(&self.hook) })
    }

    fn hooked(&self, op: Op, path: &str, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        hooked(&*self.hook, op, path, work)
    }
}

impl Disk for HookedDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.hooked(Op::Create, path, || Ok(()))?;
        Ok(self.file(path, self.real.create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.real.open(path)
    }

    fn open_to_append(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.real.open_to_append(path)?))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.hooked(Op::Link, to, || self.real.link(from, to))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.hooked(Op::Rename, to, || self.real.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.hooked(Op::Remove, path, || self.real.remove(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.hooked(Op::CreateDir, path, || self.real.create_dir(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.hooked(Op::Remove, path, || self.real.remove_dir(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.hooked(Op::SyncDir, path, || self.real.sync_dir(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.real.list(path)
    }

    fn stat(&self, path: &str) -> io::Result<Entry> {
        self.real.stat(path)
    }
}

struct HookedFile {
    file: Box<dyn DiskFile>,
    path: String,
    hook: Arc<Hook>,
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl DiskFile for HookedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Between the two halves: what stops here leaves a torn write.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let hook = Arc::clone(&self.hook);
        self.file.append(first)?;
        hooked(&*hook, Op::Append, &self.path, || self.file.append(second))
    }

    fn sync(&mut self) -> io::Result<()> {
        let hook = Arc::clone(&self.hook);
        hooked(&*hook, Op::Sync, &self.path, || self.file.sync())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let hook = Arc::clone(&self.hook);
        hooked(&*hook, Op::Truncate, &self.path, || self.file.truncate(len))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
