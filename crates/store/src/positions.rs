//! How far each source is taken in, so that an interrupted import goes on where it was and a file
//! imported again is known. A position becomes durable in the same frame as the events it covers;
//! before these are committed to a segment, it moves to the file `positions`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use whodid_event::split::{Item, Position};

use crate::disk::{self, Disk};
use crate::error::{Error, Result};
use crate::wal::record::Reader;

/// The file that keeps the positions of events in segments.
pub(crate) const FILE: &str = "positions";

/// The oldest positions beyond this many are forgotten: an import of so old a file doubles.
pub const POSITIONS_MAX: usize = 100_000;

const FILE_BYTES_MAX: u64 = 64 << 20;

/// How far one source is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// What the source is: the digest of its first item alone.
    pub id: [u8; 32],
    /// Tells sources apart that begin with the same item.
    pub variant: u32,
    /// Where it is taken in up to.
    pub at: Position,
    /// How many items are taken in.
    pub items: u64,
    /// The digest of all of these: whether a file is the same up to here, not just alike.
    pub digest: [u8; 32],
}

/// What the items of a source are so far. With each item the digest becomes the SHA-256 of itself,
/// of the item's length and of the item, so that whoever knows it can go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// How many items.
    pub items: u64,
    /// Their digest; zeros before the first.
    pub digest: [u8; 32],
}

impl Running {
    /// Adds the next item.
    pub fn add(&mut self, item: &Item<'_>) {
        let (length, bytes) = match item {
            Item::Value(bytes) | Item::Broken(bytes) => (bytes.len() as u64, *bytes),
            Item::Oversized(oversized) => (oversized.bytes, &oversized.sha256[..]),
        };
        let hash = Sha256::new().chain_update(self.digest);
        self.digest = hash.chain_update(length.to_le_bytes()).chain_update(bytes).finalize().into();
        self.items += 1;
    }

    /// The digest of an item alone, which identifies the source that begins with it.
    pub fn identity(first: &Item<'_>) -> [u8; 32] {
        let mut running = Running::default();
        running.add(first);
        running.digest
    }
}

impl From<&SourcePosition> for Running {
    fn from(position: &SourcePosition) -> Self {
        Running { items: position.items, digest: position.digest }
    }
}

/// `ID VARIANT OFFSET ITEM ITEMS DIGEST`: digests in hexadecimal, the rest in decimal digits.
impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SourcePosition { id, variant, at, items, digest } = self;
        let (id, digest) = (hex(id), hex(digest));
        write!(f, "{id} {variant} {} {} {items} {digest}", at.offset, at.items)
    }
}

impl FromStr for SourcePosition {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = (|| {
            let mut words = text.split(' ');
            let position = SourcePosition {
                id: unhex(words.next()?)?,
                variant: words.next()?.parse().ok()?,
                at: Position {
                    offset: words.next()?.parse().ok()?,
                    items: words.next()?.parse().ok()?,
                },
                items: words.next()?.parse().ok()?,
                digest: unhex(words.next()?)?,
            };
            words.next().is_none().then_some(position)
        })();
        parsed.ok_or("write ID VARIANT OFFSET ITEM ITEMS DIGEST")
    }
}

/// A digest in hexadecimal digits.
pub fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let digits = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits) {
        let digit = |c: u8| char::from(c).to_digit(16);
        let &[high, low] = pair else { return None };
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(digest)
}

impl SourcePosition {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.variant.to_le_bytes());
        out.extend_from_slice(&self.at.offset.to_le_bytes());
        out.extend_from_slice(&self.at.items.to_le_bytes());
        out.extend_from_slice(&self.items.to_le_bytes());
        out.extend_from_slice(&self.digest);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(SourcePosition {
            id: reader.array()?,
            variant: reader.u32()?,
            at: Position { offset: reader.u64()?, items: reader.u32()? },
            items: reader.u64()?,
            digest: reader.array()?,
        })
    }
}

/// What a position is kept under: cluster, source identity, variant.
type Key = (Arc<str>, [u8; 32], u32);

/// All positions known, with the number of the update that set each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    known: BTreeMap<Key, (u64, SourcePosition)>,
    updates: u64,
}

impl Positions {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Notes a position; a later one of the same source replaces it.
    pub(crate) fn set(&mut self, cluster: &Arc<str>, position: SourcePosition) {
        self.updates += 1;
        let key = (Arc::clone(cluster), position.id, position.variant);
        self.known.insert(key, (self.updates, position));
        if self.known.len() > POSITIONS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, (update, _))| *update);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.known.remove(&key);
            }
        }
    }

    /// The positions of sources of `cluster` that begin with the item `id`.
    pub(crate) fn of(&self, cluster: &str, id: &[u8; 32]) -> Vec<SourcePosition> {
        let from = (Arc::from(cluster), *id, 0);
        let to = (Arc::from(cluster), *id, u32::MAX);
        self.known.range(from..=to).map(|(_, (_, position))| *position).collect()
    }

    /// Writes all positions, durably: magic, checksum, and each with its cluster.
    pub(crate) fn save(&self, store: &crate::object::DiskStore) -> Result<()> {
        let mut body = Vec::new();
        let mut newest_last: Vec<_> = self.known.iter().collect();
        newest_last.sort_by_key(|(_, (update, _))| *update);
        for ((cluster, ..), (_, position)) in newest_last {
            body.push(u8::try_from(cluster.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(cluster.as_bytes());
            position.encode(&mut body);
        }
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        file.extend_from_slice(&body);
        store.replace(FILE, file)
    }

    /// Reads what [`save`](Self::save) wrote; nothing if there is no such file yet.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Self> {
        let bytes = match disk::read(disk, FILE, FILE_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            read => read.map_err(|source| Error::Read { path: FILE.into(), source })?,
        };
        Self::parse(&bytes).ok_or_else(|| Error::Format {
            path: FILE.into(),
            why:
                "the file is damaged; remove it to go on without knowing which files were imported"
                    .into(),
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.strip_prefix(&MAGIC[..])?);
        let checksum = reader.u32()?;
        if crc32c::crc32c(reader.0) != checksum {
            return None;
        }
        let mut positions = Self::default();
        while !reader.0.is_empty() {
            let length = reader.u8()?;
            let cluster = std::str::from_utf8(reader.take(length.into())?).ok()?;
            let position = SourcePosition::decode(&mut reader)?;
            positions.set(&cluster.into(), position);
        }
        Some(positions)
    }
}

const MAGIC: [u8; 8] = *b"WdPos001";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_there_and_back(
            id: [u8; 32], variant: u32, offset: u64, item: u32, items: u64, digest: [u8; 32]
        ) {
            let at = Position { offset, items: item };
            let position = SourcePosition { id, variant, at, items, digest };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn other_text_is_no_position(text in ".{0,200}") {
            prop_assert!(text.parse::<SourcePosition>().is_err());
        }
    }

    #[test]
    fn a_digest_goes_on_where_it_was() {
        let (first, second) = (Item::Value(b"{}"), Item::Broken(b"x"));
        let mut all = Running::default();
        all.add(&first);
        assert_eq!(all.digest, Running::identity(&first));
        let mut resumed = all;
        all.add(&second);
        resumed.add(&second);
        assert_eq!(all, resumed);
        // What stands where makes a difference.
        let mut other = Running::default();
        other.add(&second);
        other.add(&first);
        assert_ne!(all.digest, other.digest);
    }
}
