//! Reading the write-ahead log back: after a crash by the writer, at any time by readers. A torn
//! end is told apart from damage: every frame says up to where its file was durable when it was
//! written, so that a broken frame before that offset had been acknowledged.

use std::io;

use super::frame::{FRAME_BYTES_MAX, Frame, FrameError, HEAD_BYTES, find_intact};
use super::{FILE_MAGIC, FOLDER};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::health::Health;

/// A log file that is open for reading; it can be read even if it is deleted meanwhile.
#[derive(Debug)]
pub(crate) struct WalFile {
    pub(crate) number: u64,
    pub(crate) path: String,
    file: Box<dyn DiskFile>,
    len: u64,
}

/// What stands in a file, in its order.
#[derive(Debug)]
pub(crate) enum Piece {
    Frame(Frame),
    Flaw(Flaw),
}

/// What stands at the end of a file, or in its middle, instead of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A write that was never acknowledged, from this offset on.
    Torn(u64),
    /// Something that had been acknowledged.
    Damaged { offset: u64, why: String },
}

/// Returns the log's files in order, open.
pub(crate) fn open_all(disk: &dyn Disk) -> Result<Vec<WalFile>> {
    let read = |source| Error::Read { path: FOLDER.into(), source };
    let mut numbers: Vec<u64> = match disk.list(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed
            .map_err(read)?
            .iter()
            .filter_map(|entry| entry.name.strip_suffix(".wal")?.parse().ok())
            .collect(),
    };
    numbers.sort_unstable();
    let mut files = Vec::with_capacity(numbers.len());
    for number in numbers {
        let path = super::path(number);
        let file = match disk.open(&path) {
            // Deleted since it was listed: its events are in segments.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(|source| Error::Read { path: path.clone(), source })?,
        };
        let len = file.len().map_err(|source| Error::Read { path: path.clone(), source })?;
        files.push(WalFile { number, path, file, len });
    }
    Ok(files)
}

/// Whether no event is left in any of the log's files.
pub(crate) fn is_empty(disk: &dyn Disk) -> Result<bool> {
    Ok(open_all(disk)?.iter().all(|file| file.len <= FILE_MAGIC.len() as u64))
}

impl WalFile {
    /// Reads what stands in the file in order, but not the frames that `is_covered`; frames behind
    /// damage are read too. `is_last` says that no later file exists: only then can its end be
    /// torn.
    pub(crate) fn read(
        &self,
        is_last: bool,
        is_covered: impl Fn(&str, u64) -> bool,
        mut take: impl FnMut(Piece) -> Result<()>,
    ) -> Result<()> {
        let magic = FILE_MAGIC.len() as u64;
        // The name of a file and its first bytes are durable before a frame is written.
        if self.len <= magic && is_last && self.bytes(0, self.len)? != FILE_MAGIC {
            return take(Piece::Flaw(Flaw::Torn(0)));
        }
        let mut at = magic.min(self.len);
        if self.bytes(0, at)? != FILE_MAGIC {
            let why = "the file does not begin like a log file".to_owned();
            take(Piece::Flaw(Flaw::Damaged { offset: 0, why }))?;
        }
        while at < self.len {
            if let Some(next) = self.skip_covered(at, &is_covered)? {
                at = next;
                continue;
            }
            match self.frame_at(at)? {
                Ok((frame, length)) => {
                    at += length as u64;
                    if !is_covered(&frame.cluster, frame.end_seq()) {
                        take(Piece::Frame(frame))?;
                    }
                }
                Err(error) => {
                    let (flaw, next) = self.judge(at, &error, is_last)?;
                    take(Piece::Flaw(flaw))?;
                    at = next;
                }
            }
        }
        Ok(())
    }

    /// Makes durable what is in it.
    pub(crate) fn settle(&mut self, health: &Health) -> Result<()> {
        health.synced(&self.path, self.file.sync())
    }

    /// Tells a torn end from damage, and where reading goes on.
    fn judge(&self, at: u64, error: &FrameError, is_last: bool) -> Result<(Flaw, u64)> {
        let rest = self.bytes(at, self.len)?;
        let mut next = None;
        let mut was_durable = !is_last;
        let mut from = 1;
        while let Some((found, frame)) = find_intact(&rest, from) {
            next.get_or_insert(found);
            was_durable |= frame.durable > at;
            from = found + 1;
        }
        if was_durable {
            let next = next.map_or(self.len, |found| at + found as u64);
            return Ok((Flaw::Damaged { offset: at, why: error.to_string() }, next));
        }
        Ok((Flaw::Torn(at), self.len))
    }

    fn frame_at(&self, at: u64) -> Result<Result<(Frame, usize), FrameError>> {
        let head = self.bytes(at, self.len.min(at + HEAD_BYTES as u64))?;
        // Decoding the head alone fails for being short; that tells how long the frame is.
        let length = match Frame::length(&head) {
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        if at + length as u64 > self.len {
            return Ok(Err(FrameError::Short));
        }
        Ok(Frame::decode(&self.bytes(at, at + length as u64)?))
    }

    /// Passes over a frame whose events are in segments without reading it, if its head can be
    /// believed: what it says is checked by what follows it.
    fn skip_covered(
        &self,
        at: u64,
        is_covered: &impl Fn(&str, u64) -> bool,
    ) -> Result<Option<u64>> {
        const PEEK_BYTES: u64 = 128;
        let head = self.bytes(at, self.len.min(at + PEEK_BYTES))?;
        let Some((cluster, end_seq, length)) = Frame::peek(&head) else { return Ok(None) };
        let next = at + length as u64;
        Ok((next <= self.len && is_covered(cluster, end_seq)).then_some(next))
    }

    fn bytes(&self, from: u64, to: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.file
            .read_at(&mut bytes, from)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}

const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize);
