//! The events within a frame of the write-ahead log: each a small header and its bytes, all of a
//! batch packed together. `docs/format/wal.md` specifies them.

use std::cell::RefCell;
use std::io;

use whodid_event::split::Oversized;
use zstd::bulk::Compressor;

/// Records of one frame take at most this much when unpacked.
pub(crate) const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// What a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event, redacted as it will stay.
    #[default]
    Event,
    /// Bytes that are not an event.
    Raw,
    /// What is left of an event that was too long.
    Oversized,
}

/// What cannot be seen in the bytes of a record themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// How many values were taken out.
    pub(crate) redacted: u32,
    /// `requestObject` went as a whole, so that its placeholder is ours and not the client's.
    pub(crate) request: bool,
    /// The same for `responseObject`.
    pub(crate) response: bool,
}

const REQUEST: u8 = 4;
const RESPONSE: u8 = 8;

impl Record {
    /// Appends a record: tag (u8), redacted (u32), length (u32), bytes; numbers little-endian.
    pub(crate) fn append(self, out: &mut Vec<u8>, bytes: &[u8]) {
        self.append_head(out, bytes.len());
        out.extend_from_slice(bytes);
    }

    /// Appends what is left of an event: its length (u64), its SHA-256, its beginning.
    pub(crate) fn append_oversized(self, out: &mut Vec<u8>, oversized: &Oversized) {
        self.append_head(out, 8 + 32 + oversized.head.len());
        out.extend_from_slice(&oversized.bytes.to_le_bytes());
        out.extend_from_slice(&oversized.sha256);
        out.extend_from_slice(&oversized.head);
    }

    fn append_head(self, out: &mut Vec<u8>, length: usize) {
        let kind = match self.kind {
            Kind::Event => 0,
            Kind::Raw => 1,
            Kind::Oversized => 2,
        };
        let flags = u8::from(self.request) * REQUEST + u8::from(self.response) * RESPONSE;
        out.push(kind | flags);
        out.extend_from_slice(&self.redacted.to_le_bytes());
        // A record is at most one event, 16 MiB and a little.
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn from_tag(tag: u8, redacted: u32) -> Option<Record> {
        let kind = match tag & 3 {
            0 => Kind::Event,
            1 => Kind::Raw,
            2 => Kind::Oversized,
            _ => return None,
        };
        let known = 3 | REQUEST | RESPONSE;
        let (request, response) = (tag & REQUEST != 0, tag & RESPONSE != 0);
        (tag & !known == 0).then_some(Record { kind, redacted, request, response })
    }
}

/// Reads the parts of a byte string one after the other.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Returns the next record and its bytes; `None` at the end, or where there is no record.
pub(crate) fn next<'a>(reader: &mut Reader<'a>) -> Option<(Record, &'a [u8])> {
    let tag = reader.u8()?;
    let redacted = reader.u32()?;
    let length = reader.u32()?;
    let record = Record::from_tag(tag, redacted)?;
    Some((record, reader.take(usize::try_from(length).ok()?)?))
}

/// Reads back what [`Record::append_oversized`] wrote.
pub(crate) fn oversized(bytes: &[u8]) -> Option<Oversized> {
    let mut reader = Reader(bytes);
    let (bytes, sha256) = (reader.u64()?, reader.array()?);
    Some(Oversized { bytes, sha256, head: reader.0.to_vec() })
}

/// Packs the records of a frame. Level 1: the log is written at the pace of arrival and read back
/// only after a crash.
pub(crate) fn pack(records: &[u8]) -> io::Result<Vec<u8>> {
    thread_local! {
        // Making one takes longer than packing a single event with it.
        static PACKER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    }
    PACKER.with_borrow_mut(|packer| match packer {
        Some(packer) => packer.compress(records),
        None => packer.insert(Compressor::new(1)?).compress(records),
    })
}

/// Unpacks the records of a frame, at most [`UNPACKED_BYTES_MAX`].
pub(crate) fn unpack(packed: &[u8], length: usize) -> io::Result<Vec<u8>> {
    if length > UNPACKED_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than a frame may be"));
    }
    let records = zstd::bulk::decompress(packed, length)?;
    if records.len() == length {
        return Ok(records);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "not as long as the frame says"))
}
