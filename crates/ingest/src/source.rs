//! A log file that is open: plain, or packed as its first bytes say. It is read from any place, as
//! often as need be, also when its name is gone. What its bytes mean is left to others.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Cursor, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use whodid_event::split::Splitter;
use whodid_store::Running;

/// Files are read this many bytes at a time.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, one or several in a row.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Unpacks what is read by what its first bytes say.
///
/// # Errors
/// It cannot be read.
pub fn unpack<'a>(
    mut reader: impl Read + Send + 'a,
) -> io::Result<(Packing, Box<dyn Read + Send + 'a>)> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    let mut head = Vec::new();
    Read::by_ref(&mut reader).take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let packing = match &head {
        head if head.starts_with(GZIP) => Packing::Gzip,
        head if head.starts_with(ZSTD) => Packing::Zstd,
        _ => Packing::Plain,
    };
    let whole = BufReader::with_capacity(READ_BYTES, Cursor::new(head).chain(reader));
    Ok((
        packing,
        match packing {
            Packing::Plain => Box::new(whole),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        },
    ))
}

/// What tells files of one disk apart while they exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Inode { device: metadata.dev(), number: metadata.ino() }
    }
}

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Arc<File>,
    pub(crate) packing: Packing,
    pub(crate) inode: Inode,
}

impl Source {
    #[expect(clippy::disallowed_methods, reason = "a log of an API server is not the store's")]
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = Arc::new(File::open(path)?);
        let inode = Inode::of(&file.metadata()?);
        let (packing, _) = unpack(At { file: Arc::clone(&file), at: 0 })?;
        Ok(Source { file, packing, inode })
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Reads what it holds from a byte on; of a packed file, of what was packed.
    pub(crate) fn reader(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let at = |at| At { file: Arc::clone(&self.file), at };
        if self.packing == Packing::Plain {
            return Ok(Box::new(at(from)));
        }
        let (_, mut reader) = unpack(at(0))?;
        io::copy(&mut Read::by_ref(&mut reader).take(from), &mut io::sink())?;
        Ok(reader)
    }

    /// The first so many bytes of a file as it lies there.
    pub(crate) fn head(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        At { file: Arc::clone(&self.file), at: 0 }.take(length as u64).read_to_end(&mut head)?;
        Ok(head)
    }

    /// The digest of its first item; `None` while that is not whole.
    pub(crate) fn identity(&self) -> io::Result<Option<[u8; 32]>> {
        let mut reader = self.reader(0)?;
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = reader.read(&mut buffer)?;
            splitter.push(buffer.get(..count).unwrap_or_default());
            if let Some(first) = splitter.next_item() {
                return Ok(Some(Running::identity(&first)));
            }
            if count == 0 {
                return Ok(None);
            }
        }
    }
}

/// Reads a file from a place of its own, whatever others read of it.
struct At {
    file: Arc<File>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
