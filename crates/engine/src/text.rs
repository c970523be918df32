//! Tests of texts: words, wildcards, and JSON with its escapes taken away.

use std::borrow::Cow;

use regex::bytes::Regex;
use whodid_query::{Wildcard, Words};

/// Finds words in a text: ASCII letters of either case, and no letter or digit right before or
/// behind them unless a star stands there ([`Words`]).
#[derive(Clone, Debug)]
pub(crate) struct WordFinder(Regex);

/// A compiled search takes at most this much memory.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl WordFinder {
    pub(crate) fn new(words: &Words) -> Result<Self, regex::Error> {
        const NO_LETTER: &str = r"[^\p{Alphabetic}\p{N}]";
        let parts = words.pattern.parts().iter().map(|part| regex::escape(part));
        // Within the words a star is any run, as everywhere.
        let middle = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("(?s-u:.*?)");
        let before =
            if words.opens_with_star() { String::new() } else { format!("(?:^|{NO_LETTER})") };
        let behind =
            if words.ends_with_star() { String::new() } else { format!("(?:{NO_LETTER}|$)") };
        let pattern = format!("{before}(?i-u:{middle}){behind}");
        regex::bytes::RegexBuilder::new(&pattern).size_limit(REGEX_BYTES_MAX).build().map(Self)
    }

    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// Looks in JSON as a person would read it: escapes mean what they stand for.
    pub(crate) fn is_in_json(&self, json: &str) -> bool {
        self.is_in(unescaped(json).as_bytes())
    }
}

/// Replaces JSON's escapes by what they stand for; structure stays. Half surrogates become U+FFFD.
fn unescaped(json: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', json.as_bytes()).is_none() {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escaped.chars();
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

/// Writes a wildcard as the pattern of SQL's `LIKE` with `\` as its escape.
pub(crate) fn like(wildcard: &Wildcard) -> String {
    let escape = |part: &String| part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    wildcard.parts().iter().map(escape).collect::<Vec<_>>().join("%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(text: &str) -> WordFinder {
        let query = whodid_query::parse(text).unwrap();
        match query.expr {
            whodid_query::Expr::Term(whodid_query::Term {
                test: whodid_query::Test::Words(words),
                ..
            }) => WordFinder::new(&words).unwrap(),
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn words_in_texts() {
        for (query, text, expected) in [
            ("stripe", "image: Stripe-key", true),
            ("stripe", "stripes", false),
            ("stripe", "pinstripe", false),
            ("stripe*", "stripes", true),
            ("*stripe", "pinstripe", true),
            ("*stripe*", "pinstripes", true),
            ("\"image pull\"", "ImagePull", false),
            ("\"image pull\"", "the image pull failed", true),
            ("a*z", "a b z", true),
            ("a*z", "a\nz", true),
            ("größe", "GRößE", true),
            ("größe", "größer", false),
            ("\"a.b\"", "axb", false),
            ("10.0.0.1", "from 10.0.0.1:443", true),
            ("10.0.0.1", "from 10.0.0.12", false),
        ] {
            assert_eq!(finder(query).is_in(text.as_bytes()), expected, "{query} in {text}");
        }
    }

    #[test]
    fn escapes_of_json_are_read() {
        for (query, json, expected) in [
            ("\"a&b\"", r#"{"x":"a\u0026b"}"#, true),
            ("ä", r#"{"x":"\u00e4"}"#, true),
            ("\"😀\"", r#"{"x":"\ud83d\ude00"}"#, true),
            ("line", r#"{"x":"one\nline\ttwo"}"#, true),
            ("nline", r#"{"x":"one\nline"}"#, false),
            ("x", r#""\ud83d x \u12"#, true),
        ] {
            assert_eq!(finder(query).is_in_json(json), expected, "{query} in {json}");
        }
    }

    #[test]
    fn wildcards_as_like() {
        let wildcard = Wildcard::from_parts(vec!["a%".into(), "_\\".into(), String::new()]);
        assert_eq!(like(&wildcard), "a\\%%\\_\\\\%");
    }
}
