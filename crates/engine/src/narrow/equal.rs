//! Which of many small numbers are one number, eight bytes at a time: arrow's kernel takes a
//! nanosecond for each, which of ten million rows is most of a short question.

use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray, UInt8Array, UInt16Array};
use arrow::buffer::{BooleanBuffer, Buffer};

/// The places of a number among those of one or two bytes; `None` if they are wider. What stands
/// where a number is null means nothing.
pub(super) fn places<T: ArrowPrimitiveType>(
    numbers: &PrimitiveArray<T>,
    wanted: usize,
) -> Option<BooleanBuffer> {
    let numbers = numbers as &dyn Array;
    if let Some(bytes) = numbers.as_any().downcast_ref::<UInt8Array>() {
        let wanted = u8::try_from(wanted).ok()?;
        return Some(packed(bytes.values(), wanted, |eight| of_bytes(*eight, wanted)));
    }
    let pairs = numbers.as_any().downcast_ref::<UInt16Array>()?;
    let wanted = u16::try_from(wanted).ok()?;
    Some(packed(pairs.values(), wanted, |four| of_pairs(*four, wanted)))
}

/// A bit for each number, set by `part` for so many at once and for each of the rest alone.
fn packed<T: Copy + PartialEq, const PART: usize>(
    numbers: &[T],
    wanted: T,
    part: impl Fn(&[T; PART]) -> u64,
) -> BooleanBuffer {
    const WORD: usize = u64::BITS as usize;
    let word = |numbers: &[T]| {
        let (parts, rest) = numbers.as_chunks();
        let begin = numbers.len() - rest.len();
        let parts = (0..).step_by(PART).zip(parts).map(|(at, numbers)| part(numbers) << at);
        let rest = (begin..).zip(rest).map(|(at, number)| u64::from(*number == wanted) << at);
        parts.chain(rest).fold(0, |word, bits| word | bits).to_le()
    };
    let words: Vec<u64> = numbers.chunks(WORD).map(word).collect();
    BooleanBuffer::new(Buffer::from_vec(words), 0, numbers.len())
}

/// The lowest bit is that of the first byte.
fn of_bytes(bytes: [u8; 8], wanted: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let differing = u64::from_le_bytes(bytes) ^ u64::from_ne_bytes([wanted; 8]);
    // The highest bit of a byte is set where no bit of it differs; they are moved together.
    let same = !(((differing & LOW) + LOW) | differing | LOW);
    (same >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The same of numbers of two bytes.
fn of_pairs(pairs: [u16; 4], wanted: u16) -> u64 {
    const EACH: u64 = 0x0001_0001_0001_0001;
    const LOW: u64 = 0x7fff * EACH;
    let together = pairs.iter().rev().fold(0, |all, pair| all << 16 | u64::from(*pair));
    let differing = together ^ (u64::from(wanted) * EACH);
    let same = !(((differing & LOW) + LOW) | differing | LOW);
    (same >> 15).wrapping_mul(0x0001_0002_0004_0008) >> 48 & 0xf
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However many there are, and whatever their bits.
        #[test]
        fn places_are_those_of_the_number(
            numbers in prop::collection::vec(
                prop_oneof![0_u16..4, any::<u16>(), (0_u16..256).prop_map(|high| high << 8)],
                0..300,
            ),
            wanted in prop_oneof![0_u16..4, any::<u16>()],
        ) {
            let expected: BooleanBuffer = numbers.iter().map(|number| *number == wanted).collect();
            let found = places(&UInt16Array::from(numbers.clone()), wanted.into());
            prop_assert_eq!(found, Some(expected));
            let [wanted, _] = wanted.to_le_bytes();
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            let expected: BooleanBuffer = bytes.iter().map(|byte| *byte == wanted).collect();
            prop_assert_eq!(places(&UInt8Array::from(bytes), wanted.into()), Some(expected));
        }
    }

    #[test]
    fn every_pair_of_bytes_is_told_apart() {
        for (one, other) in (0..=u8::MAX).flat_map(|one| (0..=u8::MAX).map(move |two| (one, two))) {
            let found = of_bytes([other, one, one, other, one, one, one, other], one);
            assert_eq!(found, if one == other { 0xff } else { 0b0111_0110 }, "{one} {other}");
        }
    }

    #[test]
    fn wider_numbers_are_left_to_others() {
        assert_eq!(places(&Int32Array::from(vec![1, 2]), 1), None);
        assert_eq!(places(&UInt8Array::from(vec![1, 2]), 256), None);
    }
}
