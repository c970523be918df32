//! The one error of this crate: what is wrong with a query, where, and what to write instead.
//!
//! Queries come from strangers, so nothing of them is repeated at full length or with characters
//! that move a terminal's cursor.

use std::ops::Range;

/// The most characters of a query that a message repeats.
const EXCERPT_CHARS_MAX: usize = 60;
/// The most characters of a line that [`Error::render`] shows.
const LINE_CHARS_MAX: usize = 100;

/// Why a text is not a query.
///
/// `Display` is the message alone: lower case, without a full stop, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    span: Range<usize>,
    message: String,
    hint: Option<String>,
}

impl Error {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Error {
        Error { span, message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Returns where in the query the offending characters stand, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns what is wrong, as `Display` does.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what to do about it, where the message leaves that open.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the offending line of `text`, a line with at least one caret under the characters
    /// at fault, and the hint; each line ends in a newline. `text` is the one that was parsed.
    ///
    /// A long line is cut around the fault, a tab becomes a space, and characters that would
    /// disturb a terminal show as `�`.
    pub fn render(&self, text: &str) -> String {
        let line_start = text
            .get(..self.span.start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let fault = self.span.start..self.span.end.max(self.span.start + 1);
        let chars: Vec<(char, bool)> = line
            .char_indices()
            .map(|(index, ch)| (printable(ch), fault.contains(&(line_start + index))))
            .collect();

        let first = chars.iter().position(|(_, at_fault)| *at_fault).unwrap_or(chars.len());
        let is_long = chars.len() > LINE_CHARS_MAX;
        let skipped = if is_long { first.saturating_sub(LINE_CHARS_MAX / 2) } else { 0 };
        let mut shown = String::new();
        let mut carets = String::new();
        if skipped > 0 {
            shown.push('…');
            carets.push(' ');
        }
        for &(ch, at_fault) in chars.iter().skip(skipped).take(LINE_CHARS_MAX) {
            shown.push(ch);
            carets.extend(std::iter::repeat_n(if at_fault { '^' } else { ' ' }, columns(ch)));
        }
        if chars.len() > skipped + LINE_CHARS_MAX {
            shown.push('…');
        }
        if !carets.contains('^') {
            carets.push('^');
        }

        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        format!("{shown}\n{}\n{hint}", carets.trim_end())
    }
}

/// Returns `text` fit for a message: printable, and cut when long.
pub(crate) fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT_CHARS_MAX).map(printable).collect();
    if text.chars().nth(EXCERPT_CHARS_MAX).is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Returns the character, or what stands for it where it would steer a terminal.
fn printable(ch: char) -> char {
    match ch {
        '\t' => ' ',
        // Marks and overrides of the writing direction can make a line read as another.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ if ch.is_control() => '\u{fffd}',
        _ => ch,
    }
}

/// Returns how many columns of a terminal the character takes; the common cases of UAX #11 will
/// do to put a caret in its place.
fn columns(ch: char) -> usize {
    match ch {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, fault: &str, rendered: &str) {
        let start = text.find(fault).unwrap();
        let error = Error::new(start..start + fault.len(), "bad").with_hint("do better");
        assert_eq!(error.render(text), format!("{rendered}\nhint: do better\n"));
    }

    #[test]
    fn points_at_the_fault() {
        check("a bc d", "bc", "a bc d\n  ^^");
        check("grün bc", "bc", "grün bc\n     ^^");
        check("\t\tbc\td", "bc", "  bc d\n  ^^");
        check("日本 bc", "bc", "日本 bc\n     ^^");
        check("日本 bc", "日本", "日本 bc\n^^^^");
        check("e\u{301}x bc", "bc", "e\u{301}x bc\n   ^^");
        check("one\ntwo bc\r\nthree", "bc", "two bc\n    ^^");
        check("one bc\nd", "bc\nd", "one bc\n    ^^");
        check("\u{1b}[2J bc \u{202e}", "bc", "\u{fffd}[2J bc \u{fffd}\n     ^^");
    }

    #[test]
    fn cuts_long_lines_around_the_fault() {
        let text = format!("{}!{}", "a".repeat(5000), "b".repeat(5000));
        let shown = format!("…{}!{}…", "a".repeat(50), "b".repeat(49));
        check(&text, "!", &format!("{shown}\n{}^", " ".repeat(51)));
        check(&text, &text[..5001], &format!("{}…\n{}", "a".repeat(100), "^".repeat(100)));
    }

    #[test]
    fn survives_a_text_that_is_not_its_own() {
        assert_eq!(Error::new(1..1, "bad").render("abc"), "abc\n ^\n");
        assert_eq!(Error::new(0..2, "bad").render("\u{301}"), "\u{301}\n^\n");
        let error = Error::new(3..9, "bad");
        assert_eq!(error.render(""), "\n^\n");
        assert_eq!(error.render("ab"), "ab\n  ^\n");
        assert_eq!(error.render("aé\u{1f600}b"), "aé\u{1f600}b\n  ^^^\n");
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt("a\u{1b}b\nc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(excerpt(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
    }
}
