//! One log file being followed: what was added is cut into portions of whole items. Which file it
//! is, what it is called and when it is over are [`super`]'s business.

use std::io::{self, Read};

use bytes::Bytes;
use whodid_event::Micros;
use whodid_event::split::{Position, Splitter};
use whodid_store::{Running, SourcePosition};

use super::portion::{Content, Portion};
use crate::source::{Packing, READ_BYTES, Source};

/// A portion is closed once it has so many bytes; in the record it becomes one batch.
const PORTION_BYTES: usize = 1 << 20;

/// An item longer than this is read again from its file when it is sent.
const HELD_BYTES_MAX: usize = 4 << 20;

/// The first bytes of a file, by which it is known to be still the same.
const HEAD_BYTES: usize = 512;

/// A file being followed.
pub(super) struct Follow {
    pub(super) source: Source,
    pub(super) id: [u8; 32],
    variant: u32,
    head: Vec<u8>,
    reader: Box<dyn Read + Send>,
    splitter: Splitter,
    /// How far it is read, in bytes of what it holds.
    read: u64,
    /// How far it is taken in, in bytes and items.
    taken: u64,
    taken_items: u64,
    /// What was read behind `held_from`.
    held: Vec<u8>,
    held_from: u64,
    /// Between two items: the farthest place read, and what the items before it are.
    boundary: Position,
    running: Running,
    /// What all items read are; ahead of the boundary only within a list.
    all: Running,
    /// When it last had more, and whether all of it is read.
    moved: Micros,
    is_at_end: bool,
    /// Whether nothing can follow.
    pub(super) is_over: bool,
    /// Whether it cannot be unpacked to its end.
    pub(super) is_damaged: bool,
    /// How long a packed file was when its end was still missing.
    cut_at: Option<u64>,
}

/// Finds out which file it is: its first bytes, and its identity. `None` while its first item is
/// not whole, or where it was written anew meanwhile.
pub(super) fn identify(source: &Source) -> io::Result<Option<(Vec<u8>, [u8; 32])>> {
    let head = source.head(HEAD_BYTES)?;
    let Some(id) = source.identity()? else { return Ok(None) };
    Ok(source.head(HEAD_BYTES)?.starts_with(&head).then_some((head, id)))
}

/// Whether a file still holds what was read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Same,
    /// It was cut, or written anew.
    Replaced,
}

impl Follow {
    /// Follows a file from where it is taken in.
    pub(super) fn new(
        (source, head): (Source, Vec<u8>),
        id: [u8; 32],
        known: &[SourcePosition],
        now: Micros,
    ) -> io::Result<Self> {
        let farthest = known.iter().max_by_key(|position| position.at.offset);
        let at = farthest.map(|position| position.at).unwrap_or_default();
        let running = farthest.map(Running::from).unwrap_or_default();
        Ok(Follow {
            head,
            reader: source.reader(at.offset)?,
            id,
            variant: farthest.map_or(0, |position| position.variant),
            splitter: Splitter::resume(at),
            read: at.offset,
            taken: at.offset,
            taken_items: running.items,
            held: Vec::new(),
            held_from: at.offset,
            boundary: at,
            running,
            all: running,
            moved: now,
            is_at_end: false,
            is_over: false,
            is_damaged: false,
            cut_at: None,
            source,
        })
    }

    /// How far it is taken in. White space behind the last item is no item more.
    pub(super) fn taken(&self) -> u64 {
        let space = self.held.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if self.held_from == self.taken { self.taken + space as u64 } else { self.taken }
    }

    /// How far it is known to reach: of a packed file, as far as it was read.
    pub(super) fn seen(&self) -> u64 {
        let length = match (self.source.packing, self.source.metadata()) {
            (Packing::Plain, Ok(metadata)) => metadata.len(),
            _ => 0,
        };
        // The length may be that of what came into its place. The head is looked at behind it.
        let head = self.source.head(HEAD_BYTES);
        let is_same = length <= self.read || head.is_ok_and(|head| head.starts_with(&self.head));
        if is_same { self.read.max(length) } else { self.read }
    }

    /// How far it was read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Since when there is nothing more to read; `None` while there may be.
    pub(super) fn at_end_since(&self) -> Option<Micros> {
        let is_at_end = self.is_at_end && self.seen() == self.read;
        is_at_end.then_some(self.moved)
    }

    /// Looks whether it is still the same.
    pub(super) fn state(&mut self) -> io::Result<State> {
        if self.source.packing != Packing::Plain {
            return Ok(State::Same);
        }
        let head = self.source.head(HEAD_BYTES)?;
        let is_same = head.starts_with(&self.head) && self.source.metadata()?.len() >= self.read;
        if is_same {
            self.head = head;
        }
        Ok(if is_same { State::Same } else { State::Replaced })
    }

    /// Reads on; `None` when there is no whole item more at the moment.
    pub(super) fn next(&mut self, now: Micros) -> io::Result<Option<Portion>> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = self.read_into(&mut buffer)?;
            self.is_at_end = count == 0;
            if count == 0 {
                return Ok(self.portion());
            }
            self.moved = now;
            self.add(buffer.get(..count).unwrap_or_default());
            if self.boundary.offset - self.taken >= PORTION_BYTES as u64 {
                return Ok(self.portion());
            }
        }
    }

    /// Reads; what cannot be unpacked is waited for, or is the end.
    fn read_into(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.source.packing == Packing::Plain {
            let count = self.reader.read(buffer)?;
            // What was read of another content than before is not looked at.
            let is_same = count == 0 || self.state()? == State::Same;
            return Ok(if is_same { count } else { 0 });
        }
        let length = self.source.metadata()?.len();
        if self.is_over || self.cut_at == Some(length) {
            return Ok(0);
        }
        if self.cut_at.take().is_some() {
            // A decoder that met the end does not go on behind it.
            self.reader = self.source.reader(self.read)?;
        }
        match self.reader.read(buffer) {
            Ok(0) => self.is_over = true,
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.cut_at = Some(length);
            }
            Err(_) => (self.is_over, self.is_damaged) = (true, true),
        }
        Ok(0)
    }

    /// Says that nothing more will come: what stands unfinished is an item, too.
    pub(super) fn finish(&mut self) -> Option<Portion> {
        self.is_damaged |= self.cut_at.is_some();
        self.splitter.finish();
        self.cut();
        // White space behind the last item.
        self.boundary = Position { offset: self.read, items: 0 };
        self.is_over = true;
        self.portion()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
        let held = self.read - self.held_from;
        if held > HELD_BYTES_MAX as u64 && self.boundary.offset <= self.taken {
            self.held.clear();
            self.held_from = self.read;
        }
        self.held.extend_from_slice(bytes);
        self.read += bytes.len() as u64;
        self.cut();
    }

    /// Takes items out of what was read, and notes how far they go.
    fn cut(&mut self) {
        while let Some((item, position)) = self.splitter.next_with_position() {
            self.all.add(&item);
            if position.items == 0 {
                (self.boundary, self.running) = (position, self.all);
            }
        }
        // A list may have ended behind its last item.
        let position = self.splitter.position();
        if position.items == 0 {
            (self.boundary, self.running) = (position, self.all);
        }
    }

    /// What lies between what is taken in and the farthest boundary.
    fn portion(&mut self) -> Option<Portion> {
        // White space alone is not worth a batch.
        if self.running.items == self.taken_items {
            return None;
        }
        let length = self.boundary.offset.checked_sub(self.taken)?;
        let content = if self.held_from == self.taken {
            let length = usize::try_from(length).ok()?;
            Content::Memory(Bytes::copy_from_slice(self.held.get(..length)?))
        } else {
            Content::File { source: self.source.clone(), from: self.taken, length }
        };
        let position = SourcePosition {
            id: self.id,
            variant: self.variant,
            at: self.boundary,
            items: self.running.items,
            digest: self.running.digest,
        };
        Some(Portion { content, position: Some(position) })
    }

    /// Notes that a portion is in the record.
    pub(super) fn took(&mut self, portion: &Portion) {
        self.taken += portion.length();
        self.taken_items = portion.position.map_or(self.taken_items, |position| position.items);
        let held = usize::try_from(self.taken.saturating_sub(self.held_from)).unwrap_or(usize::MAX);
        self.held.drain(..held.min(self.held.len()));
        self.held_from = self.taken;
        // After an outage dozens of files are open: each keeps no more than what it has begun.
        if self.boundary == (Position { offset: self.taken, items: 0 }) {
            self.held.shrink_to_fit();
            self.splitter = Splitter::resume(self.boundary);
            self.splitter.push(&self.held);
            self.all = self.running;
        }
    }
}
