//! The disk of this machine: a folder, through `std::fs`.

#![expect(clippy::disallowed_methods, reason = "this is the module that may touch the file system")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::{ReadWriteFlags, preadv2};

use super::{Disk, DiskFile, Entry};

/// A folder of this machine's file system. Files are readable by their owner only.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The disk below `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        RealDisk { root: root.into() }
    }

    /// Creates the root folder, durably.
    pub fn create_root(&self) -> io::Result<()> {
        if self.root.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
        match self.root.parent() {
            Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.at(path))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::open(self.at(path))?)))
    }

    fn open_to_append(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut file = OpenOptions::new().read(true).write(true).open(self.at(path))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(RealFile(file)))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.at(from), self.at(to))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(self.at(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.at(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.at(path))? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Removed between the two calls: as if it had not been listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            // Names that are not UTF-8 are none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(describe(name, &metadata)?);
            }
        }
        Ok(entries)
    }

    fn stat(&self, path: &str) -> io::Result<Entry> {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        describe(name, &fs::metadata(self.at(path))?)
    }
}

fn describe(name: String, metadata: &fs::Metadata) -> io::Result<Entry> {
    Ok(Entry {
        name,
        is_dir: metadata.is_dir(),
        len: metadata.len(),
        modified: metadata.modified()?,
    })
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.0.seek(SeekFrom::Start(len)).map(drop)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    /// What the system has in memory; not every file system can tell.
    fn read_now(&self, buffer: &mut [u8], offset: u64) -> bool {
        let length = buffer.len();
        let buffers = &mut [IoSliceMut::new(buffer)];
        preadv2(&self.0, buffers, offset, ReadWriteFlags::NOWAIT) == Ok(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
