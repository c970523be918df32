//! Reading a file to import: decompressing it, cutting it into items, and knowing it again. A file
//! is what its items are: its identity is the digest of the first, and the digest of all of them
//! tells whether it is the same up to where an earlier import got.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use whodid_event::split::{Item, Oversized, Splitter};
use whodid_ingest::unpack;
use whodid_store::{Running, SourcePosition};

use super::is_stdin;
use crate::failure::Failure;

/// A batch takes this many items,
const BATCH_ITEMS: usize = 1_024;

/// or this many bytes of them.
const BATCH_BYTES: usize = 1 << 20;

const READ_BYTES: usize = 256 << 10;

/// Where reading of a file begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resume {
    /// How many items are in the record already.
    pub items: u64,
    /// Which of the files that begin alike this is.
    pub variant: u32,
}

/// Items of a file, with how far it is read with them.
pub struct Items {
    bytes: Vec<u8>,
    /// What each is, and where it stands in `bytes`.
    found: Vec<(Kind, std::ops::Range<usize>)>,
    pub position: SourcePosition,
}

/// What a splitter found.
#[derive(Clone)]
pub enum Kind {
    Value,
    Broken,
    Oversized(Oversized),
}

impl Items {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Kind, &[u8])> {
        self.found
            .iter()
            .map(|(kind, range)| (kind, self.bytes.get(range.clone()).unwrap_or_default()))
    }
}

/// Checks that a file can be read.
pub fn check(file: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(file)
        .and_then(|metadata| File::open(file).map(|_| metadata))
        .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    if metadata.is_dir() {
        return Err(Failure::Usage(format!("{} is a folder; name files", file.display())));
    }
    Ok(())
}

/// The digest of a file's first item; `None` if it has none, or can be read only once.
pub fn identity(file: &Path) -> Result<Option<[u8; 32]>, Failure> {
    if is_stdin(file) {
        return Ok(None);
    }
    let mut id = None;
    walk(file, &AtomicU64::new(0), &mut |item, _| {
        id = Some(Running::identity(item));
        Ok(false)
    })?;
    Ok(id)
}

/// Finds out how far a file is taken in, given how far those are that begin alike.
pub fn resume(file: &Path, id: [u8; 32], known: &[SourcePosition]) -> Result<Resume, Failure> {
    let next_variant = known.iter().map(|position| position.variant + 1).max().unwrap_or(0);
    let mut found = Resume { items: 0, variant: next_variant };
    let Some(farthest) = known.iter().map(|position| position.items).max() else {
        return Ok(found);
    };
    let mut running = Running::default();
    walk(file, &AtomicU64::new(0), &mut |item, _| {
        running.add(item);
        let digest = running.digest;
        let same =
            known.iter().find(|p| p.id == id && p.items == running.items && p.digest == digest);
        if let Some(same) = same {
            found = Resume { items: same.items, variant: same.variant };
        }
        Ok(running.items < farthest)
    })?;
    Ok(found)
}

/// Reads a file from where it was left, and sends its items in batches. `read_bytes` counts what
/// was read of the file as it lies there.
pub fn read(
    file: &Path,
    resume: Resume,
    read_bytes: &Arc<AtomicU64>,
    sender: &mpsc::Sender<Items>,
) -> Result<(), Failure> {
    let mut running = Running::default();
    let mut id = [0; 32];
    let (mut bytes, mut items) = (Vec::new(), Vec::new());
    let mut at = whodid_event::split::Position::default();
    let send = |bytes: &mut Vec<u8>, items: &mut Vec<_>, id, at, running: &Running| {
        let position = SourcePosition {
            id,
            variant: resume.variant,
            at,
            items: running.items,
            digest: running.digest,
        };
        let room = Vec::with_capacity(bytes.capacity());
        let (bytes, found) = (std::mem::replace(bytes, room), std::mem::take(items));
        let batch = Items { bytes, found, position };
        // Whoever receives has stopped for a reason of its own.
        sender.blocking_send(batch).is_ok()
    };
    walk(file, read_bytes, &mut |item, position| {
        if running.items == 0 {
            id = Running::identity(item);
        }
        running.add(item);
        if running.items <= resume.items {
            return Ok(true);
        }
        let start = bytes.len();
        let kind = match item {
            Item::Value(value) => {
                bytes.extend_from_slice(value);
                Kind::Value
            }
            Item::Broken(line) => {
                bytes.extend_from_slice(line);
                Kind::Broken
            }
            Item::Oversized(oversized) => Kind::Oversized(oversized.clone()),
        };
        items.push((kind, start..bytes.len()));
        at = position;
        if items.len() < BATCH_ITEMS && bytes.len() < BATCH_BYTES {
            return Ok(true);
        }
        Ok(send(&mut bytes, &mut items, id, at, &running))
    })?;
    if !items.is_empty() {
        let _sent = send(&mut bytes, &mut items, id, at, &running);
    }
    Ok(())
}

/// Calls `take` with each item of a file and the position behind it, until it returns `false`.
fn walk(
    file: &Path,
    read_bytes: &AtomicU64,
    take: &mut dyn FnMut(&Item<'_>, whodid_event::split::Position) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let name = file.display();
    let failed = |error: io::Error| {
        Failure::Unavailable(format!("{name}: {error}; what came before is in the record"))
    };
    let mut input = open(file, read_bytes).map_err(failed)?;
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        // What was read before an error is still taken in.
        let ended = match input.read(&mut buffer) {
            Ok(0) => Some(Ok(())),
            Ok(count) => {
                splitter.push(buffer.get(..count).unwrap_or_default());
                None
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Some(Err(error)),
        };
        if ended.is_some() {
            splitter.finish();
        }
        while let Some((item, position)) = splitter.next_with_position() {
            if !take(&item, position)? {
                return Ok(());
            }
        }
        match ended {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => return Err(failed(error)),
            None => {}
        }
    }
}

/// Opens a file, or standard input, and decompresses it by what its first bytes say.
fn open<'a>(file: &Path, read_bytes: &'a AtomicU64) -> io::Result<Box<dyn Read + Send + 'a>> {
    let inner: Box<dyn Read + Send> =
        if is_stdin(file) { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    unpack(Counted { inner, read_bytes }).map(|(_, reader)| reader)
}

/// Counts what is read of a file as it lies there.
struct Counted<'a> {
    inner: Box<dyn Read + Send>,
    read_bytes: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
