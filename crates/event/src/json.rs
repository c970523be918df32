//! Small JSON tools that keep the original bytes in view: borrowed strings, ordered members that
//! refuse a key twice, nesting depth, and the spans of an object's members. Values are never built
//! into a tree here; `serde_json` does the reading.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A string borrowed from the input where it holds no escapes, owned otherwise.
///
/// `serde` borrows a bare `Cow<str>` only at the top of a struct field; this type borrows inside
/// options, lists and maps too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Str<'a>(pub Cow<'a, str>);

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Str<'a> {
    fn from(text: &'a str) -> Self {
        Str(Cow::Borrowed(text))
    }
}

impl From<String> for Str<'_> {
    fn from(text: String) -> Self {
        Str(Cow::Owned(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(v)))
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v.to_owned())))
            }

            fn visit_string<E: Error>(self, v: String) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(v)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The members of a JSON object in the order they came; a key twice is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs<'a, V>(pub Vec<(Str<'a>, V)>);

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Pairs(Vec::new())
    }
}

impl<V> Pairs<'_, V> {
    /// Returns the value under `key`, by a linear search: these maps hold a handful of members.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }
}

/// From this many members on, a key twice is found by a hash set instead of a linear search.
const LINEAR_MAX: usize = 16;

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
            type Value = Pairs<'de, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut pairs: Vec<(Str<'de>, V)> = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some(key) = map.next_key::<Str<'de>>()? {
                    let twice = if pairs.len() < LINEAR_MAX {
                        pairs.iter().any(|(k, _)| *k == key)
                    } else {
                        if seen.is_empty() {
                            seen.extend(pairs.iter().map(|(k, _)| k.clone()));
                        }
                        !seen.insert(key.clone())
                    };
                    if twice {
                        return Err(M::Error::custom(format_args!(
                            "the key {:?} stands twice",
                            &*key
                        )));
                    }
                    pairs.push((key, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Returns the members of the JSON object `text` with their values as they stand there.
///
/// # Errors
/// `text` is not one JSON object, or a key stands twice in it.
pub fn members(text: &str) -> Result<Pairs<'_, &RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Returns the members of the JSON object `text` as [`members`] does, but takes a key twice: what a
/// client sent as a patch may hold it.
///
/// # Errors
/// `text` is not one JSON object.
pub fn entries(text: &str) -> Result<Vec<(Str<'_>, &RawValue)>, serde_json::Error> {
    struct Entries<'a>(Vec<(Str<'a>, &'a RawValue)>);
    impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Any;
            impl<'de> Visitor<'de> for Any {
                type Value = Entries<'de>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                    let mut entries = Vec::new();
                    while let Some(entry) = map.next_entry()? {
                        entries.push(entry);
                    }
                    Ok(Entries(entries))
                }
            }
            deserializer.deserialize_map(Any)
        }
    }
    serde_json::from_str::<Entries<'_>>(text).map(|entries| entries.0)
}

/// Returns where `part` lies within `whole`.
///
/// `part` must be a slice of `whole`, as every [`RawValue`] is that was read from it; else `None`.
pub fn span_of(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// Returns `text` with every span of `edits` replaced. Spans must ascend and not overlap.
pub fn splice(text: &str, edits: &[(Range<usize>, String)]) -> String {
    let grown: usize = edits.iter().map(|(_, new)| new.len()).sum();
    let mut out = String::with_capacity(text.len() + grown);
    let mut from = 0;
    for (span, new) in edits {
        out.push_str(text.get(from..span.start).unwrap_or_default());
        out.push_str(new);
        from = span.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// Tells whether the nesting of the JSON text stays within `max` levels.
///
/// `serde_json` skips raw values without recursion and so without a limit; whoever reads them
/// later may recurse. The text need not be valid JSON.
pub fn is_nested_at_most(text: &[u8], max: usize) -> bool {
    openings(text) <= max || depth(text) <= max
}

/// How many `{` and `[` there are, in strings or not. Sums of bytes are what processors add many of
/// at once.
fn openings(text: &[u8]) -> usize {
    // The two differ in one bit.
    let add = |sum: u8, byte: &u8| sum.wrapping_add(u8::from(byte | 0x20 == b'{'));
    text.chunks(192).map(|piece| usize::from(piece.iter().fold(0, add))).sum()
}

fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_order_and_text() {
        let text = r#"{ "b" : [1, 2], "a\u0062": {"x":"\u0026"} }"#;
        let found = members(text).unwrap();
        let listed: Vec<_> = found.0.iter().map(|(k, v)| (&**k, v.get())).collect();
        assert_eq!(listed, [("b", "[1, 2]"), ("ab", r#"{"x":"\u0026"}"#)]);
        let span = span_of(text, found.get("b").unwrap().get()).unwrap();
        assert_eq!(&text[span.clone()], "[1, 2]");
        assert_eq!(splice(text, &[(span, "0".into())]), text.replace("[1, 2]", "0"));
    }

    #[test]
    fn a_key_twice_is_refused() {
        let few = r#"{"a":1,"\u0061":2}"#;
        let many = format!(
            "{{{},\"k3\":0}}",
            (0..40).map(|i| format!("\"k{i}\":0")).collect::<Vec<_>>().join(",")
        );
        for text in [few, &many] {
            assert!(members(text).unwrap_err().to_string().contains("stands twice"), "{text}");
        }
    }

    #[test]
    fn depth_counts_only_structure() {
        for (text, expected) in [
            (r#"{"a":"[[[["}"#, 1),
            (r#"{"a":[{"b":"\"{"}]}"#, 3),
            ("[[[", 3),
            ("1", 0),
            (r#""\\"[]"#, 1),
        ] {
            assert_eq!(depth(text.as_bytes()), expected, "{text}");
        }
        assert!(is_nested_at_most(&b"[]".repeat(600), 1));
        for count in [0, 1, 191, 192, 193, 600] {
            assert_eq!(openings(&b"[".repeat(count)), count);
            assert_eq!(openings(&b"{".repeat(count)), count);
        }
        let others: Vec<u8> = (0..=u8::MAX).filter(|byte| !matches!(byte, b'[' | b'{')).collect();
        assert_eq!(openings(&others), 0);
        assert!(!is_nested_at_most(&b"[".repeat(600), 512));
    }
}
