//! The few file operations the store is built on, behind a trait, so that tests can put a disk
//! under it that forgets, fills up or fails. Everything that is written goes through here; no
//! other module touches `std::fs`.
//!
//! Paths are relative to the data directory and use `/`. Nothing here decides when to sync: the
//! write-ahead log ([`crate::wal`]) and the object store ([`crate::object`]) do.

use std::fmt::Debug;
use std::io;
use std::time::SystemTime;

mod real;

pub use real::RealDisk;

/// A disk, or a part of one. Every call acts at once; what survives a power failure is only what
/// was synced: a file's bytes by [`DiskFile::sync`], its name by [`Disk::sync_dir`] of its folder.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates an empty file for writing; an existing one is an error.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading.
    fn open(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for reading, truncating and appending at its end.
    fn open_to_append(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file a second name; an existing one is an error.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Moves a file, replacing what had the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name of a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Creates a folder in an existing one.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Lists a folder, in no particular order.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;
    /// Describes one file or folder.
    fn stat(&self, path: &str) -> io::Result<Entry>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
pub trait DiskFile: Debug + Send + Sync {
    /// Appends bytes; on an error some of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended so far durable (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to a length; the next append goes there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Reads exactly `buffer.len()` bytes from `offset` on.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// The same if it takes no waiting for a device; `false` if it may, and nothing is read.
    fn read_now(&self, _buffer: &mut [u8], _offset: u64) -> bool {
        false
    }
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// A file or folder as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name within its folder.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Its length in bytes.
    pub len: u64,
    /// When its bytes last changed.
    pub modified: SystemTime,
}

/// Returns the folder of a path; the root's is the empty path.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// The file cannot be read, or is longer.
pub fn read(disk: &dyn Disk, path: &str, max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let len = file.len()?;
    if len > max {
        let message = format!("{path} is {len} bytes long, more than the {max} it may be");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}
