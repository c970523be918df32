//! How answers look: tables as kubectl prints them, times, colours, and texts that others chose
//! made harmless for a terminal.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use whodid_engine::LEFT_OUT_MAX;

use crate::args::{ColorWhen, OutputArgs};

pub mod csv;
pub mod duration;
pub mod events;
pub mod table;

/// How answers look on this stdout.
#[derive(Clone, Debug)]
pub struct Look {
    zone: TimeZone,
    has_color: bool,
    pub has_headers: bool,
}

impl Look {
    /// What the flags and the terminal ask for: local time and colour only for a person.
    pub fn new(args: &OutputArgs) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let has_color = match args.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => is_terminal && !is_plain,
        };
        let zone = if args.utc || !is_terminal { TimeZone::UTC } else { TimeZone::system() };
        Look { zone, has_color, has_headers: !args.no_headers }
    }

    /// An instant to the second, with its offset: `2026-01-02T03:04:05Z`.
    pub fn time(&self, micros: i64) -> String {
        let Ok(instant) = Timestamp::from_microsecond(micros) else {
            return table::UNKNOWN.to_owned();
        };
        let instant = Timestamp::from_second(instant.as_second()).unwrap_or(instant);
        if self.zone == TimeZone::UTC {
            return instant.to_string();
        }
        instant.display_with_offset(self.zone.to_offset(instant)).to_string()
    }

    /// Colours a cell where that is wanted; colour never says anything alone.
    pub fn paint(&self, cell: &str, color: Color) -> String {
        if !self.has_color {
            return cell.to_owned();
        }
        let code = match color {
            Color::Red => 31,
            Color::Yellow => 33,
        };
        format!("\u{1b}[{code}m{cell}\u{1b}[0m")
    }
}

/// Says something on stderr, as `eprintln!` does; that nobody reads it is no reason to end.
macro_rules! say {
    ($($what:tt)*) => { $crate::output::to_stderr(&format_args!($($what)*)) };
}
pub(crate) use say;

/// See [`say`].
pub fn to_stderr(line: &dyn std::fmt::Display) {
    let _gone = writeln!(std::io::stderr(), "{line}");
}

/// A colour for what needs a look.
#[derive(Clone, Copy, Debug)]
pub enum Color {
    Red,
    Yellow,
}

/// Makes a text that somebody else chose fit for one cell of a terminal: what a terminal would
/// act on, what cannot be seen, and white space puts it in quotes, escaped as in JSON.
pub fn cell(text: &str) -> String {
    let is_harmless = |c: char| !c.is_whitespace() && !is_invisible(c) && c != '"' && c != '\\';
    if !text.is_empty() && text.chars().all(is_harmless) {
        return text.to_owned();
    }
    format!("\"{}\"", sentence(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Makes a sentence that may quote what somebody else chose fit for a terminal.
pub fn sentence(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            c if c != ' ' && (c.is_whitespace() || is_invisible(c)) => escape(c, &mut out),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and those that change the direction or join of others (Unicode `Cf`).
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Bytes with a unit.
pub fn bytes(amount: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = amount;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if amount < 1_024.0 {
            break;
        }
        amount /= 1_024.0;
        unit = larger;
    }
    if unit == "B" { format!("{amount:.0} {unit}") } else { format!("{amount:.1} {unit}") }
}

/// How many older ones a search left out.
pub fn left_out(count: u64) -> String {
    match count {
        ..=LEFT_OUT_MAX => count.to_string(),
        _ => format!("more than {LEFT_OUT_MAX}"),
    }
}

/// Writes to stdout as a whole; a reader that has gone is the caller's to notice.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A JSON document, indented.
pub fn pretty(value: &serde_json::Value) -> String {
    // Values always have a JSON form.
    harmless(&serde_json::to_string_pretty(value).unwrap_or_default()) + "\n"
}

/// A JSON document on one line.
pub fn json_line(value: &serde_json::Value) -> String {
    harmless(&value.to_string()) + "\n"
}

/// Escapes in JSON what a terminal would act on, or not show; it only stands in strings.
fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_invisible(c) { escape(c, &mut out) } else { out.push(c) }
    }
    out
}

fn escape(c: char, out: &mut String) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// The same document as YAML.
pub fn yaml(value: &serde_json::Value) -> String {
    let text = serde_saphyr::to_string(value).unwrap_or_default();
    // JSON is YAML as well (YAML 1.2 §1.3), and escapes everything.
    if text.chars().any(|c| c != '\n' && is_invisible(c)) { pretty(value) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_harmless() {
        for (text, expected) in [
            ("alice@example.com", "alice@example.com"),
            ("größe", "größe"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a\tb\nc", "\"a\\u0009b\\nc\""),
            ("\u{1b}[31mred", "\"\\u001b[31mred\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("abc\u{202e}def", "\"abc\\u202edef\""),
            ("\u{e0041}", "\"\\udb40\\udc41\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn times() {
        let args = OutputArgs { no_headers: false, color: ColorWhen::Never, utc: true };
        let look = Look::new(&args);
        assert_eq!(look.time(1_767_323_045_678_900), "2026-01-02T03:04:05Z");
        let look = Look { zone: TimeZone::get("Asia/Kolkata").unwrap(), ..look };
        assert_eq!(look.time(1_767_323_045_678_900), "2026-01-02T08:34:05+05:30");
    }
}
