//! The words of a text, as an index of words knows them. What is indexed, and where, is for others.
//!
//! A word is a run of letters and digits as long as it goes ([`char::is_alphanumeric`]), ASCII
//! letters in lower case. A UUID is one word, or half of an index would be parts of UUIDs; a word
//! that could be such a part is therefore no word to look up.

use std::borrow::Cow;

/// How many hexadecimal digits the parts of a UUID have (RFC 9562 §4).
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// Calls `take` with each word of a text, in its order.
pub fn each(text: &str, mut take: impl FnMut(&str)) {
    let lower = text.to_ascii_lowercase();
    let letters = letters(&lower);
    let mut at = 0;
    loop {
        at = next(&letters, at, true);
        let mut end = next(&letters, at, false).min(lower.len());
        // Only a run of so many digits can be the beginning of one.
        if end.checked_sub(at) == Some(UUID_PARTS[0]) && lower.as_bytes().get(end) == Some(&b'-') {
            let rest = lower.get(at..).unwrap_or_default();
            end = uuid_length(rest).map_or(end, |length| at + length);
        }
        match lower.get(at..end) {
            None | Some("") => return,
            Some(word) => take(word),
        }
        at = end;
    }
}

/// A bit for each byte of a text in lower case, 64 in a number, the first one lowest: whether it is
/// of a letter or a digit.
fn letters(text: &str) -> Vec<u64> {
    const EIGHT: usize = size_of::<u64>();
    let mut letters = vec![0; text.len().div_ceil(64)];
    let mut set = |at: usize, bits: u64| {
        if let Some(letters) = letters.get_mut(at / 64) {
            *letters |= bits << (at % 64);
        }
    };
    if text.is_ascii() {
        let (eights, rest) = text.as_bytes().as_chunks();
        let begin = text.len() - rest.len();
        (0..).step_by(EIGHT).zip(eights).for_each(|(at, eight)| set(at, of_ascii(*eight)));
        let is_of_word = |byte: &u8| u64::from(byte.is_ascii_alphanumeric());
        (begin..).zip(rest).for_each(|(at, byte)| set(at, is_of_word(byte)));
    } else {
        for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            (at..at + c.len_utf8()).for_each(|at| set(at, 1));
        }
    }
    letters
}

/// The same of eight bytes of ASCII.
fn of_ascii(bytes: [u8; 8]) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let bytes = u64::from_le_bytes(bytes);
    // No byte has its highest bit, so that none carries into the next.
    let from = |first: u8| bytes + EACH * u64::from(0x80 - first);
    let digits = from(b'0') & !from(b'9' + 1);
    let letters = from(b'a') & !from(b'z' + 1);
    let highest = ((digits | letters) & (EACH << 7)) >> 7;
    // They are moved together.
    highest.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Where the next bit stands that is so; behind the last, if none is.
fn next(bits: &[u64], from: usize, is_set: bool) -> usize {
    let flipped = if is_set { 0 } else { u64::MAX };
    let here = bits.get(from / 64).map_or(0, |bits| (bits ^ flipped) >> (from % 64));
    if here != 0 {
        return from + here.trailing_zeros() as usize;
    }
    let behind = from / 64 + 1;
    let rest = bits.get(behind..).unwrap_or_default();
    let place = rest.iter().position(|bits| *bits != if is_set { 0 } else { u64::MAX });
    place.map_or(bits.len() * 64, |place| {
        let bits = rest.get(place).map_or(0, |bits| bits ^ flipped);
        (behind + place) * 64 + bits.trailing_zeros() as usize
    })
}

/// The words of a part of a pattern that stand whole in every text in which the part occurs.
/// `is_open` says of its beginning and its end whether a longer word may be cut there.
pub fn whole(part: &str, is_open: [bool; 2]) -> Vec<String> {
    let [opens, ends] = is_open;
    let mut words = Vec::new();
    each(part, |word| words.push(word.to_owned()));
    let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    if ends && touches(part.chars().next_back()) {
        words.pop();
    }
    if opens && touches(part.chars().next()) && !words.is_empty() {
        words.remove(0);
    }
    words.retain(|word| !is_uuid_part(word));
    words
}

/// Whether a word may stand in a text as a part of a UUID.
fn is_uuid_part(word: &str) -> bool {
    UUID_PARTS.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The length of the UUID that a text begins with.
fn uuid_length(text: &str) -> Option<usize> {
    const LENGTH: usize = 36;
    let mut parts = text.get(..LENGTH)?.split('-');
    let is_whole = UUID_PARTS
        .iter()
        .all(|digits| parts.next().is_some_and(|part| part.len() == *digits && is_uuid_part(part)));
    let ends = !text.get(LENGTH..)?.starts_with(char::is_alphanumeric);
    (is_whole && parts.next().is_none() && ends).then_some(LENGTH)
}

/// Replaces JSON's escapes by what they stand for; structure stays. Half surrogates become U+FFFD.
pub fn unescaped(json: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', json.as_bytes()).is_none() {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = escaped.chars();
        // The backslash itself.
        chars.next();
        match chars.next() {
            Some('u') => {
                let (c, behind) = code_point(chars.as_str());
                out.push(c);
                rest = behind;
                continue;
            }
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Reads the digits behind `\u`, and a second escape where the first is half a pair.
fn code_point(text: &str) -> (char, &str) {
    let unit = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let Some(high) = unit(text) else { return (char::REPLACEMENT_CHARACTER, text) };
    let behind = text.get(4..).unwrap_or_default();
    if let Some(c) = char::from_u32(high) {
        return (c, behind);
    }
    let low =
        behind.strip_prefix("\\u").and_then(unit).filter(|low| (0xdc00..0xe000).contains(low));
    match low {
        Some(low) if high < 0xdc00 => {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                behind.get(6..).unwrap_or_default(),
            )
        }
        _ => (char::REPLACEMENT_CHARACTER, behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        each(text, |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn runs_of_letters_and_digits() {
        const UUID: &str = "6BA7b810-9dad-11d1-80b4-00c04fd430c8";
        for (text, expected) in [
            ("", &[][..]),
            (" .-", &[]),
            ("image: Stripe-key_2", &["image", "stripe", "key", "2"]),
            ("GRÖßE größer", &["grÖße", "größer"]),
            (UUID, &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
            ("x-6ba7b810-9dad-11d1-80b4-00c04fd430c8.y", &["x", &UUID.to_ascii_lowercase(), "y"]),
            (
                "00000000-6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                &["00000000", &UUID.to_ascii_lowercase()],
            ),
            (
                "6ba7b810-9dad-11d1-80b4-00c04fd430c8a",
                &["6ba7b810", "9dad", "11d1", "80b4", "00c04fd430c8a"],
            ),
            (
                "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
                &["6ba7b810", "9dad", "11d1", "80b4", "00c04fd430cg"],
            ),
            (
                "6ba7b810-9dad-11d1-80b4-00c04fd430ö",
                &["6ba7b810", "9dad", "11d1", "80b4", "00c04fd430ö"],
            ),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn words_that_are_whole_wherever_the_part_occurs() {
        for (part, is_open, expected) in [
            ("image pull", [false, false], &["image", "pull"][..]),
            ("image pull", [true, false], &["pull"]),
            ("image pull", [true, true], &[]),
            (".image pull.", [true, true], &["image", "pull"]),
            ("deadbeef cafe", [false, false], &[]),
            ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", [false, true], &[]),
            (
                "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                [false, false],
                &["6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
            ),
        ] {
            assert_eq!(whole(part, is_open), expected, "{part} {is_open:?}");
        }
    }

    proptest::proptest! {
        /// However long they are, and whatever they are written in.
        #[test]
        fn words_are_runs(text in "([a-zA-Z0-9@`Z\\[{/:ßÖ€\u{7f}]{0,20}[ .\"ö-]{0,3}){0,12}") {
            let lower = text.to_ascii_lowercase();
            let runs = lower.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
            proptest::prop_assert_eq!(words(&text), runs.collect::<Vec<_>>());
        }

        /// The promise an index rests on: what a part says is whole, every text has that has the
        /// part between borders of words.
        #[test]
        fn what_is_whole_is_there(
            before in "[a-f0-9 -]{0,40}", part in "[a-f0-9 .-]{1,50}", behind in "[a-f0-9 -]{0,40}",
            is_open: [bool; 2],
        ) {
            let border = |is_open: bool| if is_open { "" } else { "." };
            let text = [&*before, border(is_open[0]), &part, border(is_open[1]), &behind].concat();
            let there = words(&text);
            for word in whole(&part, is_open) {
                proptest::prop_assert!(there.contains(&word), "{word} in {text}");
            }
        }
    }
}
