//! What must hold of any bytes taken for a frame of the write-ahead log.

use crate::wal::frame::{Frame, HEAD_BYTES, MAGIC};
use crate::wal::record::{self, Reader};

/// So many bytes of a frame are flipped, one at a time.
const FLIPS: usize = 32;

/// Checks one input, and returns whether it is a frame once its head is put right: bytes at random
/// would never have the checksum.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let _head = Frame::peek(bytes);
    let _frame = Frame::decode(bytes);
    let framed = sealed(bytes);
    let Ok((frame, length)) = Frame::decode(&framed) else { return false };
    assert_eq!(length, framed.len());
    assert_eq!(Frame::peek(&framed), Some((&*frame.cluster, frame.end_seq(), length)));
    let mut again = Vec::new();
    frame.encode(&mut again);
    let decoded = Frame::decode(&again).expect("what was encoded is a frame");
    assert_eq!(decoded, (frame.clone(), again.len()));
    for at in (0..again.len()).step_by(again.len().div_ceil(FLIPS)) {
        let mut flipped = again.clone();
        flipped[at] ^= 1 << (at % 8);
        let is_same = Frame::decode(&flipped).is_ok_and(|(found, _)| found == frame);
        assert!(!is_same, "nobody notices that byte {at} is wrong");
    }
    read_records(&frame);
    true
}

/// The frame that these bytes would be with another head.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let content = bytes.get(HEAD_BYTES..).unwrap_or_default();
    let length = u32::try_from(content.len()).expect("inputs are short").to_le_bytes();
    let covered = [&length, content].concat();
    let checksum = crc32c::crc32c(&covered).to_le_bytes();
    [&MAGIC, &checksum, &covered[..]].concat()
}

fn read_records(frame: &Frame) {
    let Ok(length) = usize::try_from(frame.unpacked) else { return };
    let Ok(records) = record::unpack(&frame.payload, length) else { return };
    let mut reader = Reader(&records);
    while let Some((_, bytes)) = record::next(&mut reader) {
        let _oversized = record::oversized(bytes);
    }
}
