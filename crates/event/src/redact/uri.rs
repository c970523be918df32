//! Secrets in URLs: arguments of an exec, tokens in a query string. Rules of users name them by
//! patterns over the URL without its escapes; what goes is cut out of the URL as it came.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::envelope::ObjectRef;

use super::is_about;

/// Limits of one pattern: its text, and what it may take when it is compiled.
pub(super) const PATTERN_BYTES_MAX: usize = 1_024;
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// What takes parts out of the URLs of some requests.
#[derive(Clone, Debug)]
pub(super) struct UriRule {
    pub(super) name: String,
    /// As those of a rule for bodies; none: all requests.
    pub(super) resources: Vec<String>,
    pub(super) patterns: Vec<Regex>,
}

/// By what was written: a compiled pattern cannot be compared.
impl PartialEq for UriRule {
    fn eq(&self, other: &Self) -> bool {
        let patterns = |rule: &Self| rule.patterns.iter().map(Regex::to_string).collect::<Vec<_>>();
        (&self.name, &self.resources, patterns(self))
            == (&other.name, &other.resources, patterns(other))
    }
}

impl Eq for UriRule {}

/// A part of a URL that goes.
#[derive(Debug)]
pub(super) struct Part<'r> {
    pub(super) rule: &'r str,
    /// Where it stands in the URL as it came.
    pub(super) span: Range<usize>,
}

/// Compiles a pattern; the error is for its author.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
    }
    let regex = RegexBuilder::new(text).size_limit(PATTERN_MEMORY_MAX).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern takes too much memory".to_owned(),
        // Of the many lines of a syntax error the last says what is wrong.
        other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    })?;
    if regex.is_match(b"") {
        return Err("the pattern matches where nothing stands".to_owned());
    }
    Ok(regex)
}

/// What stands in the place of a part. It needs no escapes in a URL.
pub(super) fn mark(rule: &str, bytes: usize) -> String {
    format!("$redacted:{rule}:{bytes}")
}

/// The parts of a URL that go, in order, none within another.
pub(super) fn parts<'r>(
    uri: &str,
    object: Option<&ObjectRef<'_>>,
    rules: &'r [UriRule],
) -> Vec<Part<'r>> {
    let is_for = |rule: &&UriRule| {
        let is_about = |pattern: &String| object.is_some_and(|object| is_about(pattern, object));
        rule.resources.is_empty() || rule.resources.iter().any(is_about)
    };
    let mut rules = rules.iter().filter(is_for).peekable();
    if rules.peek().is_none() {
        return Vec::new();
    }
    let (plain, places) = unescaped(uri);
    let mut parts = Vec::new();
    for rule in rules {
        for found in rule.patterns.iter().flat_map(|pattern| pattern.captures_iter(&plain)) {
            let mut groups = found.iter().skip(1).flatten().peekable();
            let whole = if groups.peek().is_none() { found.get(0) } else { None };
            for part in groups.chain(whole) {
                let at = |end: usize| places.get(end).copied().unwrap_or(uri.len());
                let span = at(part.start())..at(part.end());
                // Nothing hides nothing, and what was taken out before is not taken out again.
                if !part.is_empty() && !part.as_bytes().starts_with(b"$redacted:") {
                    parts.push(Part { rule: &rule.name, span });
                }
            }
        }
    }
    disjoint(parts)
}

/// Joins parts that share bytes, under the name of the first.
fn disjoint(mut parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    parts.sort_by_key(|part| (part.span.start, std::cmp::Reverse(part.span.end)));
    let mut joined: Vec<Part<'_>> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.last_mut() {
            Some(last) if part.span.start < last.span.end => {
                last.span.end = last.span.end.max(part.span.end);
            }
            _ => joined.push(part),
        }
    }
    joined
}

/// A URL without its percent escapes, and `+` of its query string as a space; and where in the URL
/// each byte began.
fn unescaped(uri: &str) -> (Vec<u8>, Vec<usize>) {
    let bytes = uri.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let (mut plain, mut places) = (Vec::with_capacity(bytes.len()), Vec::new());
    let (mut at, mut is_query) = (0, false);
    while let Some(byte) = bytes.get(at) {
        places.push(at);
        let escaped = (*byte == b'%').then(|| digit(at + 1).zip(digit(at + 2))).flatten();
        if let Some((high, low)) = escaped {
            plain.push(u8::try_from(high * 16 + low).unwrap_or_default());
            at += 3;
            continue;
        }
        is_query |= *byte == b'?';
        plain.push(if is_query && *byte == b'+' { b' ' } else { *byte });
        at += 1;
    }
    (plain, places)
}
