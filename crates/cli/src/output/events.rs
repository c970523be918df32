//! Events as rows of a table: which columns, and what stands in them.

use whodid_engine::{Engine, Row};

use super::table::{NONE, Table, UNKNOWN};
use super::{Color, Look, cell};

/// Makes the table of some events. `NAMESPACE` is left out where it is the same for all, `NOTE`
/// where there is nothing to note.
pub fn table(engine: &Engine, rows: &[Row], look: &Look, columns: Columns) -> Table {
    let notes: Vec<String> = rows.iter().map(|row| notes(engine, row)).collect();
    let has_notes = notes.iter().any(|note| !note.is_empty());
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
    let mut table = Table::new(titles);
    for (row, note) in rows.iter().zip(notes) {
        let mut cells = vec![
            row.instant("time").map_or_else(|| UNKNOWN.into(), |time| look.time(time)),
            text(row, "actor", UNKNOWN),
            text(row, "action", NONE),
        ];
        if columns.has_namespace {
            cells.push(namespace(row));
        }
        cells.extend([object(row), code(row, look), row.id().to_string()]);
        if columns.is_wide {
            cells.extend(wide(row));
        }
        if has_notes {
            cells.push(if note.is_empty() { note } else { look.paint(&note, Color::Yellow) });
        }
        table.row(cells);
    }
    table
}

/// Which columns a table has.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    pub has_namespace: bool,
    pub is_wide: bool,
}

fn text(row: &Row, column: &str, none: &str) -> String {
    row.text(column).map_or_else(|| none.to_owned(), cell)
}

/// A namespace is in itself, as kubectl sees it, but not in this column.
fn namespace(row: &Row) -> String {
    match row.text("resource") {
        Some("namespaces") => NONE.to_owned(),
        _ => text(row, "namespace", NONE),
    }
}

/// The object without its namespace; where none is named, the resource or the path.
pub fn object(row: &Row) -> String {
    let subresource = row.text("subresource").map_or_else(String::new, |sub| format!("/{sub}"));
    if let Some(object) = row.text("object") {
        let in_namespace = row.text("namespace").filter(|_| row.text("resource") != Some("namespaces"));
        let prefix = in_namespace.map(|namespace| format!("{namespace}/"));
        let short = prefix.and_then(|prefix| object.strip_prefix(&prefix)).unwrap_or(object);
        return cell(&format!("{short}{subresource}"));
    }
    if let Some(resource) = row.text("resource") {
        return cell(&format!("{resource}{subresource}"));
    }
    row.text("request_uri").map_or_else(|| NONE.to_owned(), cell)
}

fn code(row: &Row, look: &Look) -> String {
    let code = row.int("code").map_or_else(|| NONE.to_owned(), |code| code.to_string());
    match row.text("outcome") {
        Some("denied" | "failed") => look.paint(&code, Color::Red),
        _ => code,
    }
}

fn wide(row: &Row) -> [String; 7] {
    let tool = match (row.text("tool"), row.text("tool_version")) {
        (Some(tool), Some(version)) => cell(&format!("{tool}/{version}")),
        (Some(tool), None) => cell(tool),
        _ => NONE.to_owned(),
    };
    [
        // Only the last address is not the client's word.
        row.texts("source_ips").last().map_or_else(|| NONE.to_owned(), |ip| cell(ip)),
        tool,
        text(row, "verb", NONE),
        text(row, "stage", NONE),
        text(row, "username", UNKNOWN),
        text(row, "level", NONE),
        text(row, "source", NONE),
    ]
}

/// What a reader should know about a row before believing it.
fn notes(engine: &Engine, row: &Row) -> String {
    let is_contradicted = || engine.is_contradicted(&row.id());
    let is_open = || row.text("stage") == Some("ResponseStarted") && row.text("outcome").is_none();
    let notes = [
        (row.text("raw_reason").is_some(), "not-an-event"),
        (row.flag("dry_run") == Some(true), "dry-run"),
        (is_open(), "open"),
        (row.flag("conflict") == Some(true) || is_contradicted(), "conflict"),
        (row.flag("duplicate") == Some(true), "duplicate"),
        (row.flag("truncated") == Some(true), "truncated"),
        (row.int("redacted").is_some_and(|count| count > 0), "redacted"),
    ];
    let noted: Vec<&str> = notes.iter().filter(|(is, _)| *is).map(|(_, note)| *note).collect();
    noted.join(",")
}
