//! What must hold of any stream of bytes that is cut into events.

use whodid_event::Event;
use whodid_event::split::{Item, Splitter};

/// Checks one input, and returns whether any value was found in it. The first byte says how the
/// others arrive: `0` one at a time, `1` two at a time, `2` four at a time, and so on up to `7`.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Some((size, stream)) = bytes.split_first() else { return false };
    let whole = split([stream]);
    let pieces = split(stream.chunks(1 << (size % 8)));
    assert_eq!(whole, pieces, "in pieces of {} bytes it is something else", 1 << (size % 8));
    for (_, item) in &whole {
        let _event = Event::parse(item);
    }
    whole.iter().any(|(is_value, _)| *is_value)
}

/// Every item, and whether it is a value.
fn split<'s>(pieces: impl IntoIterator<Item = &'s [u8]>) -> Vec<(bool, Vec<u8>)> {
    let mut splitter = Splitter::default();
    let mut items = Vec::new();
    let mut take_all = |splitter: &mut Splitter| {
        while let Some(item) = splitter.next_item() {
            items.push(match item {
                Item::Value(bytes) => (true, bytes.to_vec()),
                Item::Broken(bytes) => (false, bytes.to_vec()),
                Item::Oversized(oversized) => (false, oversized.sha256.to_vec()),
            });
        }
    };
    for piece in pieces {
        splitter.push(piece);
        take_all(&mut splitter);
    }
    splitter.finish();
    take_all(&mut splitter);
    items
}
