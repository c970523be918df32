//! Cutting a stream of bytes into events: JSON lines, pretty-printed documents, `EventList` bodies
//! and arrays, in pieces of any size. It finds where each event begins and ends; whether the bytes
//! are an event is [`Event::parse`](crate::Event::parse)'s to say.
//!
//! Nothing is skipped but white space between events and the shell of a list around its items.
//! Bytes that follow no JSON structure come out as [`Item::Broken`], up to the end of their line,
//! and reading goes on with the next line: one truncated line of a log file costs no other.

mod oversized;

pub use oversized::{HEAD_BYTES, Oversized};

use oversized::Tail;

/// An event longer than this is not kept whole (`--audit-*-truncate-max-event-size` is 100 KiB
/// where it is switched on at all).
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// Structure nested deeper than this is treated as no structure.
const NESTING_MAX: usize = 1 << 20;

/// The nesting of items once the list that held them is closed.
const NO_ITEMS: usize = usize::MAX;

/// How often reading may start anew before the same broken byte: hostile input must not make the
/// splitter read every byte once per line.
const RETRIES_MAX: u32 = 8;

/// One piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A JSON value, complete as far as its structure tells, without white space around it.
    Value(&'a [u8]),
    /// Bytes without the structure of JSON, without the line end.
    Broken(&'a [u8]),
    /// A value longer than [`EVENT_BYTES_MAX`]: what is left of it.
    Oversized(Oversized),
}

/// How far a stream has been taken in: enough to go on from there later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Where the first document begins that is not wholly taken in, in bytes from the start.
    pub offset: u64,
    /// How many items of that document are taken in already.
    pub items: u32,
}

/// Cuts a stream into items. Feed it with [`push`](Self::push), empty it with
/// [`next_item`](Self::next_item), and call [`finish`](Self::finish) at the end of the stream.
///
/// Memory is bounded by one event ([`EVENT_BYTES_MAX`]) plus what was pushed and not yet taken.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Offset of `buffer`'s first byte in the stream.
    base: u64,
    /// The next byte of `buffer` to look at.
    at: usize,
    /// Where the current item begins in `buffer`; only meaningful within one.
    start: usize,
    scan: Scan,
    is_finished: bool,
    position: Position,
    /// Items to pass over because they were taken in before.
    skip: u32,
    /// Where structure broke last, and how often in a row.
    broke_at: (u64, u32),
    oversized: Option<Box<Tail>>,
}

/// Where the scanner stands within the structure of the stream.
#[derive(Debug, Default)]
struct Scan {
    /// `{` and `[` that are open, the lists around items included.
    open: Vec<u8>,
    expect: Expect,
    /// Nesting at which items stand: 0 for documents of their own, 1 or 2 within a list,
    /// [`NO_ITEMS`] behind one.
    item_level: usize,
    /// The member at level one being read, as far as it matters.
    key: Key,
    is_kind_event: bool,
    /// Where the current string or scalar began, in the buffer.
    token: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Expect {
    #[default]
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    InString {
        is_key: bool,
        escaped: bool,
    },
    InScalar,
    /// No structure: the rest of the line is one broken item.
    InBroken,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Key {
    Kind,
    Items,
    #[default]
    Other,
}

/// Some programs write it at the beginning of a file (RFC 8259 §8.1); it is no part of an event.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What the scanner found.
enum Found {
    /// The item that began at `start` ends before this index.
    End(usize),
    /// Structure breaks at this index.
    Break(usize),
    /// All bytes are looked at.
    Nothing,
}

impl Splitter {
    /// A splitter for a stream read from `position` on, which an earlier splitter gave.
    pub fn resume(position: Position) -> Self {
        Splitter { base: position.offset, position, skip: position.items, ..Self::default() }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Says that the stream has ended: what stands unfinished is broken.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// How far the stream is taken in with the items returned so far.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the next item, or `None` when more bytes are needed (or, after
    /// [`finish`](Self::finish), when nothing is left).
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        self.next_with_position().map(|(item, _)| item)
    }

    /// Returns the next item as [`next_item`](Self::next_item) does, and how far the stream is
    /// taken in with it.
    pub fn next_with_position(&mut self) -> Option<(Item<'_>, Position)> {
        loop {
            self.forget_taken();
            let (span, is_broken) = match self.scan() {
                Found::End(end) => (self.start..end, false),
                Found::Break(at) => match self.broken_until(at) {
                    Some(end) => (self.start..end, true),
                    None => return None,
                },
                Found::Nothing if self.is_finished && self.is_within_item() => {
                    let at = self.buffer.len();
                    match self.broken_until(at) {
                        Some(end) => (self.start..end, true),
                        None => return None,
                    }
                }
                Found::Nothing => {
                    self.shed();
                    return None;
                }
            };
            self.item_taken(span.end, is_broken);
            if self.skip > 0 {
                self.skip -= 1;
                self.oversized = None;
                continue;
            }
            let (oversized, position) = (self.oversized.take(), self.position);
            let bytes = self.buffer.get(span)?;
            if oversized.is_some() || bytes.len() > EVENT_BYTES_MAX {
                return Some((Item::Oversized(oversized.unwrap_or_default().end(bytes)), position));
            }
            let item = if is_broken { Item::Broken(bytes) } else { Item::Value(bytes) };
            return Some((item, position));
        }
    }

    /// Moves the position past an item that ends before `end`.
    fn item_taken(&mut self, end: usize, is_broken: bool) {
        self.at = end;
        self.start = end;
        if self.scan.item_level == 0 || is_broken {
            self.position = Position { offset: self.base + end as u64, items: 0 };
        } else {
            self.position.items += 1;
        }
        if is_broken {
            self.scan = Scan::default();
            self.skip = 0;
        }
    }

    /// Drops bytes that no item needs any more.
    fn forget_taken(&mut self) {
        let keep = if self.is_within_item() { self.start } else { self.at };
        if keep > 0 && (keep == self.buffer.len() || keep >= 1 << 20) {
            self.drop_front(keep);
        }
    }

    fn drop_front(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.base += count as u64;
        self.at -= count;
        self.start = self.start.saturating_sub(count);
        self.scan.token = self.scan.token.saturating_sub(count);
    }

    /// Keeps memory bounded within an item that is too long: only its hash and head stay.
    fn shed(&mut self) {
        if !self.is_within_item() || self.at - self.start <= EVENT_BYTES_MAX {
            return;
        }
        let gone = self.start..self.at;
        let Some(bytes) = self.buffer.get(gone.clone()) else { return };
        self.oversized.get_or_insert_default().add(bytes);
        self.start = self.at;
        self.drop_front(gone.end);
    }

    fn is_within_item(&self) -> bool {
        self.scan.expect == Expect::InBroken
            || self.oversized.is_some()
            || self.scan.open.len() > self.scan.item_level
            || matches!(self.scan.expect, Expect::InString { .. } | Expect::InScalar)
                && self.scan.open.len() == self.scan.item_level
    }

    /// Where the broken item that breaks at `at` ends: at the end of its first line, so that a
    /// truncated line does not swallow the one after it. `None` while that end is not seen.
    fn broken_until(&mut self, at: usize) -> Option<usize> {
        // Else it broke before, and only the line end was missing.
        if self.scan.expect != Expect::InBroken {
            let offset = self.base + at as u64;
            let retries = if self.broke_at.0 == offset { self.broke_at.1 + 1 } else { 0 };
            self.broke_at = (offset, retries);
        }
        let from = match self.broke_at {
            _ if self.oversized.is_some() => at,
            (_, ..=RETRIES_MAX) => self.start,
            (offset, _) => usize::try_from(offset - self.base).unwrap_or(at),
        };
        let line_end = self
            .buffer
            .get(from..)
            .and_then(|rest| memchr::memchr(b'\n', rest))
            .map(|length| from + length);
        match line_end {
            Some(end) => Some(end),
            None if self.is_finished => Some(self.buffer.len()),
            None => {
                self.scan = Scan { expect: Expect::InBroken, ..Scan::default() };
                self.at = self.buffer.len();
                self.shed();
                None
            }
        }
    }

    fn scan(&mut self) -> Found {
        if self.base == 0 && self.at == 0 {
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.at = BYTE_ORDER_MARK.len();
            } else if BYTE_ORDER_MARK.starts_with(&self.buffer) && !self.is_finished {
                return Found::Nothing;
            }
        }
        while let Some(&byte) = self.buffer.get(self.at) {
            match self.scan.expect {
                Expect::InString { is_key, escaped } => match self.scan_string(is_key, escaped) {
                    Some(found) => return found,
                    None => continue,
                },
                Expect::InScalar => {
                    if is_scalar(byte) {
                        self.at += 1;
                        continue;
                    }
                    if self.value_ended() {
                        return Found::End(self.at);
                    }
                    continue;
                }
                Expect::InBroken => {
                    if let Some(length) = memchr::memchr(b'\n', self.rest()) {
                        return Found::Break(self.at + length);
                    }
                    self.at = self.buffer.len();
                    return Found::Nothing;
                }
                _ => {}
            }
            if byte.is_ascii_whitespace() {
                self.at += 1;
                continue;
            }
            if let Some(found) = self.structure(byte) {
                return found;
            }
        }
        Found::Nothing
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads on within a string; `None` means go on scanning.
    fn scan_string(&mut self, is_key: bool, escaped: bool) -> Option<Found> {
        if escaped {
            self.at += 1;
            self.scan.expect = Expect::InString { is_key, escaped: false };
            return None;
        }
        let Some(length) = memchr::memchr3(b'"', b'\\', b'\n', self.rest()) else {
            self.at = self.buffer.len();
            return Some(Found::Nothing);
        };
        self.at += length;
        match self.buffer.get(self.at) {
            Some(b'\\') => {
                self.at += 1;
                self.scan.expect = Expect::InString { is_key, escaped: true };
                None
            }
            // JSON strings hold no raw line end: the line was cut off here.
            Some(b'\n') => Some(Found::Break(self.at)),
            _ => {
                self.at += 1;
                self.string_ended(is_key).then_some(Found::End(self.at))
            }
        }
    }

    /// Handles the end of a string; `true` if it ends an item.
    fn string_ended(&mut self, is_key: bool) -> bool {
        let text = self.buffer.get(self.scan.token..self.at).unwrap_or_default();
        let at_top = self.scan.open.len() == 1;
        if is_key {
            self.scan.expect = Expect::Colon;
            if at_top {
                self.scan.key = match text {
                    b"\"kind\"" => Key::Kind,
                    b"\"items\"" => Key::Items,
                    _ => Key::Other,
                };
            }
            return false;
        }
        if at_top && self.scan.key == Key::Kind {
            self.scan.is_kind_event = text == b"\"Event\"";
        }
        self.value_ended()
    }

    /// Handles one byte of structure; `None` means go on scanning.
    fn structure(&mut self, byte: u8) -> Option<Found> {
        let at = self.at;
        let allows_value = matches!(self.scan.expect, Expect::Value | Expect::ValueOrEnd);
        // A document of its own is an object or an array; other text is no stream of events.
        let allows_scalar = allows_value && !self.scan.open.is_empty();
        match (self.scan.expect, byte) {
            (_, b'{' | b'[') if allows_value => {
                self.value_begins(at);
                if self.scan.open.len() >= NESTING_MAX {
                    return Some(Found::Break(at));
                }
                self.opened(byte);
            }
            (Expect::KeyOrEnd | Expect::CommaOrEnd, b'}') if self.closes(b'{') => {
                return self.closed();
            }
            (Expect::ValueOrEnd | Expect::CommaOrEnd, b']') if self.closes(b'[') => {
                return self.closed();
            }
            (Expect::KeyOrEnd | Expect::Key, b'"') => self.string_begins(at, true),
            (_, b'"') if allows_scalar => {
                self.value_begins(at);
                self.string_begins(at, false);
            }
            (Expect::Colon, b':') => self.scan.expect = Expect::Value,
            (Expect::CommaOrEnd, b',') if !self.scan.open.is_empty() => {
                let in_object = self.closes(b'{');
                self.scan.expect = if in_object { Expect::Key } else { Expect::Value };
            }
            _ if allows_scalar && is_scalar(byte) => {
                self.value_begins(at);
                self.scan.expect = Expect::InScalar;
            }
            _ => {
                self.value_begins(at);
                return Some(Found::Break(at));
            }
        }
        self.at += 1;
        None
    }

    /// Notes where an item begins.
    fn value_begins(&mut self, at: usize) {
        if self.scan.open.len() == self.scan.item_level {
            self.start = at;
            if self.scan.item_level == 0 {
                self.position = Position { offset: self.base + at as u64, items: 0 };
            }
        }
    }

    fn string_begins(&mut self, at: usize, is_key: bool) {
        self.scan.token = at;
        self.scan.expect = Expect::InString { is_key, escaped: false };
    }

    fn closes(&self, opening: u8) -> bool {
        self.scan.open.last() == Some(&opening)
    }

    fn opened(&mut self, byte: u8) {
        let scan = &mut self.scan;
        let is_list = byte == b'['
            && match scan.open.as_slice() {
                [] => true,
                [b'{'] => scan.key == Key::Items && !scan.is_kind_event,
                _ => false,
            };
        if scan.open.is_empty() {
            scan.key = Key::Other;
            scan.is_kind_event = false;
        }
        scan.open.push(byte);
        scan.expect = if byte == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
        if is_list && scan.item_level == 0 {
            scan.item_level = scan.open.len();
            self.oversized = None;
        }
    }

    /// Closes an object or array; what it returns is the item that ended with it, if one did.
    fn closed(&mut self) -> Option<Found> {
        self.at += 1;
        self.scan.open.pop();
        let level = self.scan.open.len();
        if level >= self.scan.item_level {
            return self.value_ended().then_some(Found::End(self.at));
        }
        if level == 0 {
            self.scan = Scan::default();
            self.position = Position { offset: self.base + self.at as u64, items: 0 };
            self.skip = 0;
        } else {
            // The list ended: what follows in its object is shell, like what came before.
            self.scan.expect = Expect::CommaOrEnd;
            self.scan.item_level = NO_ITEMS;
        }
        None
    }

    /// Handles the end of any value; `true` if it was an item.
    fn value_ended(&mut self) -> bool {
        let level = self.scan.open.len();
        self.scan.expect = if level == 0 { Expect::Value } else { Expect::CommaOrEnd };
        level == self.scan.item_level
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests;
