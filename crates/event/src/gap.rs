//! The record of a gap: part of a log went away before it was read. It stands in the log of its
//! cluster among the events, as bytes that are no event, so that it is kept and proved like them.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Its `kind`.
const KIND: &str = "Gap";
const VERSION: &str = "whodid/v1";

/// Bytes of a file that were there, or may have been, and were not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gap<'a> {
    kind: Cow<'a, str>,
    api_version: Cow<'a, str>,
    /// The log that the file was part of.
    pub log: Cow<'a, str>,
    /// Where the file was when it was last seen.
    pub file: Cow<'a, str>,
    /// The first byte that was not read.
    pub from: u64,
    /// The byte behind the last; `None` if nobody knows how far the file went.
    pub until: Option<u64>,
    /// When the file was last seen (RFC 3339).
    pub last_look: Cow<'a, str>,
    /// When it was found that it had gone (RFC 3339).
    pub found: Cow<'a, str>,
}

impl<'a> Gap<'a> {
    /// The record of a gap.
    pub fn new(
        log: impl Into<Cow<'a, str>>,
        file: impl Into<Cow<'a, str>>,
        (from, until): (u64, Option<u64>),
        last_look: String,
        found: String,
    ) -> Self {
        Gap {
            kind: KIND.into(),
            api_version: VERSION.into(),
            log: log.into(),
            file: file.into(),
            from,
            until,
            last_look: last_look.into(),
            found: found.into(),
        }
    }

    /// Reads one; `None` if it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let gap: Gap<'a> = serde_json::from_str(text).ok()?;
        (gap.kind == KIND && gap.api_version == VERSION).then_some(gap)
    }
}

impl fmt::Display for Gap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { file, from, until, last_look, .. } = self;
        match until {
            Some(until) => write!(f, "bytes {from} to {until} of {file:?} went away unread")?,
            None => write!(f, "{file:?} went away; whatever followed byte {from} was not read")?,
        }
        write!(f, "; it was last seen at {last_look}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, NotAnEvent};

    #[test]
    fn a_gap_says_what_is_missing() {
        let time = || "2026-01-02T03:04:05.000000Z".to_owned();
        for (until, reason) in [
            (
                Some(900),
                "a gap: bytes 400 to 900 of \"/log/a.log\" went away unread; it was last seen at \
                 2026-01-02T03:04:05.000000Z",
            ),
            (
                None,
                "a gap: \"/log/a.log\" went away; whatever followed byte 400 was not read; it was \
                 last seen at 2026-01-02T03:04:05.000000Z",
            ),
        ] {
            let gap = Gap::new("/log/a.log", "/log/a.log", (400, until), time(), time());
            let text = serde_json::to_string(&gap).unwrap();
            assert_eq!(Gap::parse(&text), Some(gap));
            let found = Event::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(found, NotAnEvent::Gap(_)));
            assert_eq!(found.to_string(), reason);
        }
        for text in ["{}", r#"{"kind":"Gap"}"#, r#"{"kind":"Gap","apiVersion":"v2"}"#] {
            assert_eq!(Gap::parse(text), None, "{text}");
        }
    }
}
