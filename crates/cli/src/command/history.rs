//! `whodid history`: every change of one object, with what it changed.

use std::fmt::Write;

use serde_json::Value;
use whodid_engine::Document;
use whodid_engine::history::{Basis, Difference, History, Question, Side, Step};

use super::search::{check_limit, check_whole};
use super::who::{REMOTE_MAX, object_test};
use super::{Place, client, narrowed, now, open, place};
use crate::args::{HistoryArgs, HistoryFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::events::{Columns, table};
use crate::output::table::UNKNOWN;
use crate::output::{Look, cell, pretty, print, say, yaml};

/// A change of more fields than this is cut in the timeline: a creation sets them all.
const LINES_MAX: usize = 25;

/// A value longer than this is cut in the timeline.
const VALUE_CHARS_MAX: usize = 80;

pub async fn run(args: HistoryArgs, config: &Config) -> Result<(), Failure> {
    let mut scope = args.scope.clone();
    if let Some(at) = &args.at
        && scope.until.replace(at.clone()).is_some()
    {
        return Err(Failure::Usage("--at and --until exclude each other".into()));
    }
    let question = Question {
        object: object_test(&args.object)?,
        scope: narrowed(&scope)?,
        with_status: args.with_status,
        now: now(),
        limit: scope.limit,
    };
    let asked = args.object.join("/");
    let history = match place(&args.server, &args.store, config)? {
        Place::Record(store) => open(&store).await?.history(&question).await?,
        server @ Place::Server(_) => remote(&asked, &question, server).await?,
    };
    let Some(last) = history.steps.last() else {
        check_whole(&history.cost)?;
        return Err(Failure::NothingFound(format!("the record shows no change of {asked}")));
    };
    if let Some(at) = &args.at {
        if history.objects > 1 {
            return Err(Failure::Usage(format!(
                "{asked} names several objects; --at shows one: narrow it with -n, --cluster, or \
                 the group as in deployments.apps/web"
            )));
        }
        as_it_was(&asked, at, last.basis, history.object.as_ref(), args.output)?;
        return check_whole(&history.cost);
    }
    let look = Look::new(&args.look);
    match args.output {
        HistoryFormat::Table => {
            let has_namespace = args.scope.namespace.is_none();
            let columns = Columns { has_namespace, is_wide: false };
            let events: Vec<_> = history.steps.iter().map(|step| step.event.clone()).collect();
            let lines = table(&events, &look, columns).print(look.has_headers);
            print(&timeline(&lines, &history.steps, look.has_headers))?;
        }
        HistoryFormat::Json => print(&pretty(&Document::new("History", &history).json()))?,
        HistoryFormat::Yaml => print(&yaml(&Document::new("History", &history).json()))?,
    }
    if history.left_out > 0 {
        let count = crate::output::left_out(history.left_out);
        say!("{count} older changes left out; --limit says how many are shown, --until pages back");
    }
    check_whole(&history.cost)
}

/// Asks a server.
async fn remote(asked: &str, question: &Question, server: Place) -> Result<History, Failure> {
    check_limit(question.limit, REMOTE_MAX)?;
    let scope = question.scope.to_string();
    Ok(client(server)?.history(asked, &scope, question.limit, question.with_status).await?)
}

/// The object as it was.
fn as_it_was(
    asked: &str,
    at: &str,
    basis: Basis,
    object: Option<&Value>,
    format: HistoryFormat,
) -> Result<(), Failure> {
    let Some(object) = object else {
        return Err(Failure::NothingFound(match basis {
            Basis::Gone => format!("{asked} was not there at {at}"),
            _ => format!(
                "the record does not say what {asked} was at {at}: its last change before was \
                 recorded without bodies, or as a patch to something that was not recorded"
            ),
        }));
    };
    match basis {
        Basis::Request => say!("as it was sent; what the API server filled in is not in it"),
        Basis::Patch => say!("put together from patches"),
        _ => {}
    }
    print(&if format == HistoryFormat::Json { pretty(object) } else { yaml(object) })?;
    Ok(())
}

/// The rows of a table, each with what it changed below.
fn timeline(lines: &str, steps: &[Step], has_headers: bool) -> String {
    let mut lines = lines.lines();
    let mut out = String::new();
    if has_headers {
        out.push_str(lines.next().unwrap_or_default());
        out.push('\n');
    }
    for (line, step) in lines.zip(steps) {
        // Writing to a String cannot fail.
        let _written = writeln!(out, "{line}");
        for difference in step.differences.iter().take(LINES_MAX) {
            let _written = writeln!(out, "    {}", shown(difference));
        }
        if let Some(more) = step.differences.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
            let _written = writeln!(out, "    ({more} more; -o yaml shows all)");
        }
        if let Some(note) = note(step) {
            let _written = writeln!(out, "    ({note})");
        }
    }
    out
}

fn shown(difference: &Difference) -> String {
    let value = |side: &Side| match side {
        Side::Absent => None,
        Side::Unknown => Some(UNKNOWN.to_owned()),
        Side::Value(Value::String(text)) => Some(cut(&cell(text))),
        // JSON needs no quotes around it, but may hold what a terminal obeys.
        Side::Value(value) => Some(cut(&value.to_string().replace(char::is_control, " "))),
    };
    let path = cell(&difference.path);
    match (value(&difference.old), value(&difference.new)) {
        (None, Some(new)) => format!("+ {path}: {new}"),
        (Some(old), None) => format!("- {path}: {old}"),
        (Some(old), Some(new)) => format!("~ {path}: {old} -> {new}"),
        (None, None) => path,
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn note(step: &Step) -> Option<&'static str> {
    match step.basis {
        Basis::Nothing => Some("its bodies are not in the record"),
        _ if !step.knows_before => Some("what it was before is not in the record"),
        Basis::Request => Some("as it was sent"),
        Basis::Answer | Basis::Part | Basis::Patch | Basis::Gone => None,
    }
}
