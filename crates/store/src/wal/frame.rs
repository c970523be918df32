//! One frame of the write-ahead log: a batch with its place in the log, checked by CRC32C.
//! `docs/format/wal.md` specifies it to the byte. This module knows bytes only; files are
//! [`super::file`]'s and the meaning of records [`super::record`]'s.

use std::sync::Arc;

use super::record::{self, Reader};
use crate::dedupe::Marks;
use crate::positions::SourcePosition;

/// Every frame begins with these bytes, so that intact ones are found behind damage.
pub(crate) const MAGIC: [u8; 4] = *b"WdF1";

/// Magic, checksum and length stand before the part the checksum covers.
pub(crate) const HEAD_BYTES: usize = 4 + 4 + 4;

/// A frame is at most this long; a longer one is damage.
pub(crate) const FRAME_BYTES_MAX: usize = 320 << 20;

/// A batch as it stands in the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) cluster: Arc<str>,
    pub(crate) source: Arc<str>,
    /// The leaf index of its first event.
    pub(crate) first_seq: u64,
    /// How many events it holds.
    pub(crate) count: u32,
    /// When it was taken in.
    pub(crate) received: i64,
    /// Up to where this file was durable when the frame was written: damage before that offset
    /// is damage to what had been acknowledged.
    pub(crate) durable: u64,
    /// How far its source is taken in with it.
    pub(crate) position: Option<SourcePosition>,
    /// The marks of those events that have any, by number within the frame.
    pub(crate) marks: Vec<(u32, Marks)>,
    /// The length of the records when unpacked.
    pub(crate) unpacked: u32,
    /// The records, packed.
    pub(crate) payload: Vec<u8>,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the file ends within it")]
    Short,
    #[error("it does not begin like a frame")]
    Magic,
    #[error("its length is impossible")]
    Length,
    #[error("its checksum is {stored:08x}, its bytes give {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
    #[error("its checksum is right, its content makes no sense")]
    Content,
}

impl Frame {
    /// The leaf index behind its last event.
    pub(crate) fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }

    /// Appends the frame's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.received.to_le_bytes());
        out.extend_from_slice(&self.durable.to_le_bytes());
        put_text(out, &self.cluster);
        put_text(out, &self.source);
        out.push(u8::from(self.position.is_some()));
        if let Some(position) = &self.position {
            position.encode(out);
        }
        out.extend_from_slice(&length(self.marks.len()).to_le_bytes());
        for (row, marks) in &self.marks {
            out.extend_from_slice(&row.to_le_bytes());
            let has_twin = marks.twin.is_some();
            out.push(
                u8::from(marks.duplicate) | u8::from(marks.conflict) << 1 | u8::from(has_twin) << 2,
            );
            out.extend_from_slice(&marks.twin.unwrap_or(0).to_le_bytes());
        }
        out.extend_from_slice(&self.unpacked.to_le_bytes());
        out.extend_from_slice(&self.payload);
        seal(out, start);
    }

    /// Returns how long the frame at the start of `bytes` says it is.
    pub(crate) fn length(bytes: &[u8]) -> Result<usize, FrameError> {
        let mut reader = Reader(bytes);
        let magic: [u8; 4] = reader.array().ok_or(FrameError::Short)?;
        if magic != MAGIC {
            return Err(FrameError::Magic);
        }
        let _checksum = reader.u32();
        let body = reader.u32().ok_or(FrameError::Short)?;
        let length = HEAD_BYTES.saturating_add(usize::try_from(body).unwrap_or(usize::MAX));
        if length > FRAME_BYTES_MAX { Err(FrameError::Length) } else { Ok(length) }
    }

    /// Returns what the head of a frame says without checking it: its cluster, the leaf index
    /// behind its last event, and its length.
    pub(crate) fn peek(head: &[u8]) -> Option<(&str, u64, usize)> {
        let length = Self::length(head).ok()?;
        let mut reader = Reader(head.get(HEAD_BYTES..)?);
        let (first_seq, count) = (reader.u64()?, reader.u32()?);
        let _times = reader.take(16)?;
        let name = reader.u16()?;
        let cluster = std::str::from_utf8(reader.take(name.into())?).ok()?;
        Some((cluster, first_seq.checked_add(count.into())?, length))
    }

    /// Reads the frame at the start of `bytes`, and how long it is.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Frame, usize), FrameError> {
        let length = Self::length(bytes)?;
        let whole = bytes.get(..length).ok_or(FrameError::Short)?;
        let mut reader = Reader(whole);
        let _magic = reader.take(MAGIC.len());
        let stored = reader.u32().ok_or(FrameError::Short)?;
        let computed = crc32c::crc32c(reader.0);
        if stored != computed {
            return Err(FrameError::Checksum { stored, computed });
        }
        let _length = reader.u32();
        let frame = Self::content(reader).ok_or(FrameError::Content)?;
        Ok((frame, length))
    }

    fn content(mut reader: Reader<'_>) -> Option<Frame> {
        let first_seq = reader.u64()?;
        let count = reader.u32()?;
        let received = reader.array().map(i64::from_le_bytes)?;
        let durable = reader.u64()?;
        let cluster = take_text(&mut reader)?;
        let source = take_text(&mut reader)?;
        let position = match reader.u8()? {
            0 => None,
            1 => Some(SourcePosition::decode(&mut reader)?),
            _ => return None,
        };
        let marked = reader.u32()?;
        if marked > count {
            return None;
        }
        let marks = (0..marked).map(|_| take_marks(&mut reader)).collect::<Option<Vec<_>>>()?;
        let unpacked = reader.u32()?;
        let payload = reader.0.to_vec();
        let is_named = crate::batch::check_cluster(&cluster).is_ok();
        let fits = usize::try_from(unpacked).is_ok_and(|n| n <= record::UNPACKED_BYTES_MAX);
        (is_named && fits && first_seq.checked_add(u64::from(count)).is_some()).then_some(Frame {
            cluster: cluster.into(),
            source: source.into(),
            first_seq,
            count,
            received,
            durable,
            position,
            marks,
            unpacked,
            payload,
        })
    }
}

/// Fills in the length and the checksum of the frame that begins at `start`.
fn seal(out: &mut [u8], start: usize) {
    let body = length(out.len() - start - HEAD_BYTES).to_le_bytes();
    let mut put = |at: usize, bytes: [u8; 4]| {
        if let Some(slot) = out.get_mut(start + at..start + at + 4) {
            slot.copy_from_slice(&bytes);
        }
    };
    put(8, body);
    let covered = out.get(start + 8..).unwrap_or_default();
    let checksum = crc32c::crc32c(covered).to_le_bytes();
    if let Some(slot) = out.get_mut(start + 4..start + 8) {
        slot.copy_from_slice(&checksum);
    }
}

/// Returns where the next intact frame begins in `bytes`, from `from` on.
pub(crate) fn find_intact(bytes: &[u8], from: usize) -> Option<(usize, Frame)> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        at += memchr::memmem::find(rest, &MAGIC)?;
        if let Ok((frame, _)) = Frame::decode(bytes.get(at..)?) {
            return Some((at, frame));
        }
        at += 1;
    }
}

fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Names are checked to be far shorter.
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn take_text(reader: &mut Reader<'_>) -> Option<String> {
    let length = reader.u16()?;
    String::from_utf8(reader.take(length.into())?.to_vec()).ok()
}

fn take_marks(reader: &mut Reader<'_>) -> Option<(u32, Marks)> {
    let row = reader.u32()?;
    let flags = reader.u8()?;
    let twin = reader.u64()?;
    let marks = Marks {
        duplicate: flags & 1 != 0,
        conflict: flags & 2 != 0,
        twin: (flags & 4 != 0).then_some(twin),
    };
    (flags < 8).then_some((row, marks))
}

#[cfg(test)]
mod tests;
