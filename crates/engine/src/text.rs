//! Tests of texts: words, wildcards, and JSON with its escapes taken away.

use regex::bytes::Regex;
use whodid_event::words::{self, unescaped};
use whodid_query::{Wildcard, Words};

/// Finds words in a text: ASCII letters of either case, and no letter or digit right before or
/// behind them unless a star stands there ([`Words`]).
#[derive(Clone, Debug)]
pub(crate) struct WordFinder {
    /// The longest part of the words, by which most texts are told not to have them.
    part: Regex,
    /// Whether JSON's escapes cannot stand in the middle of that part, but for those by number.
    is_plain: bool,
    whole: Regex,
}

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
        let compile = |pattern: &str| {
            regex::bytes::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build()
        };
        let longest = words.pattern.parts().iter().max_by_key(|part| part.len());
        let part = longest.map_or("", String::as_str);
        Ok(WordFinder {
            part: compile(&format!("(?i-u:{})", regex::escape(part)))?,
            is_plain: part.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            whole: compile(&pattern)?,
        })
    }

    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        self.part.is_match(text) && self.whole.is_match(text)
    }

    /// Looks in JSON as a person would read it: escapes mean what they stand for.
    pub(crate) fn is_in_json(&self, json: &str) -> bool {
        let is_as_written = || memchr::memmem::find(json.as_bytes(), b"\\u").is_none();
        if self.is_plain && !self.part.is_match(json.as_bytes()) && is_as_written() {
            return false;
        }
        self.is_in(unescaped(json).as_bytes())
    }
}

/// The words that stand in every text that a pattern matches, or in which it is found: a star cuts
/// those that it touches.
pub(crate) fn words(pattern: &Wildcard) -> Vec<String> {
    let parts = pattern.parts();
    let is_open = |i: usize| [i > 0, i + 1 < parts.len()];
    parts.iter().enumerate().flat_map(|(i, part)| words::whole(part, is_open(i))).collect()
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
