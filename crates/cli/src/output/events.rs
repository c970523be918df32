//! Events as rows of a table: which columns, and what stands in them.

use serde_json::{Map, Value};

use super::table::{NONE, Table, UNKNOWN};
use super::{Color, Look, cell};

/// An event as JSON, as the API shows it.
pub type Event = Map<String, Value>;

/// Makes the table of some events. `NAMESPACE` is left out where it is the same for all, `NOTE`
/// where there is nothing to note.
pub fn table(events: &[Event], look: &Look, columns: Columns) -> Table {
    let notes: Vec<String> = events.iter().map(notes).collect();
    let has_notes = notes.iter().any(|note| !note.is_empty());
    let mut table = Table::new(titles(columns, has_notes));
    for (event, note) in events.iter().zip(notes) {
        let mut cells = cells(event, look, columns);
        if has_notes {
            cells.push(if note.is_empty() { note } else { look.paint(&note, Color::Yellow) });
        }
        table.row(cells);
    }
    table
}

fn titles(columns: Columns, has_notes: bool) -> Vec<&'static str> {
    let mut titles = vec!["TIME", "ACTOR", "ACTION"];
    if columns.has_namespace {
        titles.push("NAMESPACE");
    }
    titles.extend(["OBJECT", "CODE", "ID"]);
    if columns.is_wide {
        titles.extend(["FROM", "TOOL", "VERB", "STAGE", "AUTHENTICATED", "LEVEL", "SOURCE"]);
    }
    if has_notes {
        titles.push("NOTE");
    }
    titles
}

/// One event as a line, for tables that are still growing: columns have the widths of what is
/// usual, and a longer cell moves the rest of its line.
pub fn line(event: &Event, look: &Look, columns: Columns) -> String {
    const USUAL: [usize; 6] = [20, 28, 10, 14, 32, 4];
    let mut cells = cells(event, look, columns);
    let note = notes(event);
    if !note.is_empty() {
        cells.push(look.paint(&note, Color::Yellow));
    }
    let skipped = usize::from(!columns.has_namespace);
    let mut out = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let usual = USUAL.get(if i < 3 { i } else { i + skipped }).copied().unwrap_or(0);
        out.push_str(cell);
        let gap = usual.saturating_sub(cell.chars().count()) + 3;
        out.extend(std::iter::repeat_n(' ', gap));
    }
    format!("{}\n", out.trim_end())
}

fn cells(event: &Event, look: &Look, columns: Columns) -> Vec<String> {
    let time = event.get("time").and_then(Value::as_str).and_then(whodid_event::time::parse);
    let mut cells = vec![
        time.map_or_else(|| UNKNOWN.into(), |time| look.time(time)),
        text(event, "actor", UNKNOWN),
        text(event, "action", NONE),
    ];
    if columns.has_namespace {
        cells.push(namespace(event));
    }
    cells.extend([object(event), code(event, look), text(event, "id", NONE)]);
    if columns.is_wide {
        cells.extend(wide(event));
    }
    cells
}

/// Which columns a table has.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    pub has_namespace: bool,
    pub is_wide: bool,
}

fn string<'e>(event: &'e Event, field: &str) -> Option<&'e str> {
    event.get(field).and_then(Value::as_str)
}

fn number(event: &Event, field: &str) -> Option<i64> {
    event.get(field).and_then(Value::as_i64)
}

fn flag(event: &Event, field: &str) -> Option<bool> {
    event.get(field).and_then(Value::as_bool)
}

fn text(event: &Event, column: &str, none: &str) -> String {
    string(event, column).map_or_else(|| none.to_owned(), cell)
}

/// A namespace is in itself, as kubectl sees it, but not in this column.
fn namespace(event: &Event) -> String {
    match string(event, "resource") {
        Some("namespaces") => NONE.to_owned(),
        _ => text(event, "namespace", NONE),
    }
}

/// The object without its namespace; where none is named, the resource or the path.
pub fn object(event: &Event) -> String {
    let subresource =
        string(event, "subresource").map_or_else(String::new, |sub| format!("/{sub}"));
    if let Some(object) = string(event, "object") {
        let in_namespace =
            string(event, "namespace").filter(|_| string(event, "resource") != Some("namespaces"));
        let prefix = in_namespace.map(|namespace| format!("{namespace}/"));
        let short = prefix.and_then(|prefix| object.strip_prefix(&prefix)).unwrap_or(object);
        return cell(&format!("{short}{subresource}"));
    }
    if let Some(resource) = string(event, "resource") {
        return cell(&format!("{resource}{subresource}"));
    }
    string(event, "request_uri").map_or_else(|| NONE.to_owned(), cell)
}

fn code(event: &Event, look: &Look) -> String {
    let code = number(event, "code").map_or_else(|| NONE.to_owned(), |code| code.to_string());
    match string(event, "outcome") {
        Some("denied" | "failed") => look.paint(&code, Color::Red),
        _ => code,
    }
}

fn wide(event: &Event) -> [String; 7] {
    let tool = match (string(event, "tool"), string(event, "tool_version")) {
        (Some(tool), Some(version)) => cell(&format!("{tool}/{version}")),
        (Some(tool), None) => cell(tool),
        _ => NONE.to_owned(),
    };
    let addresses = event.get("source_ips").and_then(Value::as_array);
    let last_address = addresses.and_then(|all| all.last()).and_then(Value::as_str);
    [
        // Only the last address is not the client's word.
        last_address.map_or_else(|| NONE.to_owned(), cell),
        tool,
        text(event, "verb", NONE),
        text(event, "stage", NONE),
        text(event, "username", UNKNOWN),
        text(event, "level", NONE),
        text(event, "source", NONE),
    ]
}

/// What a reader should know about a row before believing it.
fn notes(event: &Event) -> String {
    let is_open =
        || string(event, "stage") == Some("ResponseStarted") && string(event, "outcome").is_none();
    let notes = [
        (string(event, "raw_reason").is_some(), "not-an-event"),
        (flag(event, "dry_run") == Some(true), "dry-run"),
        (is_open(), "open"),
        (
            flag(event, "conflict") == Some(true) || flag(event, "contradicted") == Some(true),
            "conflict",
        ),
        (flag(event, "duplicate") == Some(true), "duplicate"),
        (flag(event, "truncated") == Some(true), "truncated"),
        (number(event, "redacted").is_some_and(|count| count > 0), "redacted"),
    ];
    let noted: Vec<&str> = notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect();
    noted.join(",")
}
