//! Frames: there and back, one byte wrong, bytes at random, and the seeds of the fuzz target.

use proptest::prelude::*;
use whodid_event::split::Position;

use super::*;

#[path = "../../../../../fuzz/checks/wal_frame.rs"]
mod check;
#[path = "../../../../../fuzz/checks/corpus.rs"]
mod corpus;

#[test]
fn seeds_of_wal_frame() {
    let frames = corpus::run("wal_frame", check::check);
    assert!(frames >= 20, "only {frames} of the seeds are frames");
}

fn position() -> impl Strategy<Value = SourcePosition> {
    (any::<[u8; 32]>(), any::<(u32, u64, u32, u64)>(), any::<[u8; 32]>()).prop_map(
        |(id, (variant, offset, skipped, items), digest)| SourcePosition {
            id,
            variant,
            at: Position { offset, items: skipped },
            items,
            digest,
        },
    )
}

fn marks() -> impl Strategy<Value = (u32, Marks)> {
    (any::<u32>(), any::<(bool, bool)>(), proptest::option::of(any::<u64>()))
        .prop_map(|(row, (duplicate, conflict), twin)| (row, Marks { duplicate, conflict, twin }))
}

prop_compose! {
    fn frame()(
        cluster in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        source in "\\PC{1,20}",
        (first_seq, received, durable) in (0..u64::MAX / 2, any::<i64>(), any::<u64>()),
        position in proptest::option::of(position()),
        marks in proptest::collection::vec(marks(), 0..4),
        more in 0_u32..1_000,
        unpacked in 0_u32..1_000_000,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> Frame {
        let count = u32::try_from(marks.len()).unwrap() + more;
        let (cluster, source) = (cluster.into(), source.into());
        Frame {
            cluster, source, first_seq, count, received, durable, position, marks, unpacked, payload
        }
    }
}

proptest! {
    #[test]
    fn there_and_back(frames in proptest::collection::vec(frame(), 1..4)) {
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.encode(&mut bytes);
        }
        let mut rest = &bytes[..];
        for frame in &frames {
            let (read, length) = Frame::decode(rest).unwrap();
            prop_assert_eq!(&read, frame);
            prop_assert_eq!(Frame::peek(rest), Some((&*frame.cluster, frame.end_seq(), length)));
            prop_assert_eq!(Frame::decode(&rest[..length - 1]).unwrap_err(), FrameError::Short);
            rest = &rest[length..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn one_bit_wrong_is_seen(frame in frame(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(Frame::decode(&bytes).is_err());
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _frame = Frame::decode(&bytes);
        // And with a head that passes, so that the content is looked at.
        let mut framed = MAGIC.to_vec();
        framed.extend([0; 8]);
        framed.append(&mut bytes);
        seal(&mut framed, 0);
        let _frame = Frame::decode(&framed);
        let _ = Frame::peek(&framed);
    }

    #[test]
    fn intact_frames_are_found_behind_damage(
        frame in frame(),
        junk in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut bytes = junk.clone();
        frame.encode(&mut bytes);
        let (at, found) = find_intact(&bytes, 0).unwrap();
        prop_assert_eq!((at, found), (junk.len(), frame));
    }
}
