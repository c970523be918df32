//! `whodid who`: who did something to an object, and why, where the record shows it.

use whodid_engine::who::{Act, Answer, Link, Question, Verb};
use whodid_engine::{Document, Engine, EventId};
use whodid_query::Expr;

use super::search::{check_limit, check_whole, no_originals, raw, show};
use super::{Place, client, narrowed, now, open, place};
use crate::args::{ListFormat, WhoArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::events::{Columns, Event, object, table};
use crate::output::say;
use crate::output::table::UNKNOWN;
use crate::output::{Look, cell, left_out, pretty, print, yaml};

/// A server looks at so many acts, or changes, at once.
pub(super) const REMOTE_MAX: usize = 1_000;

pub async fn run(args: WhoArgs, config: &Config) -> Result<(), Failure> {
    let verb: Verb = args.verb.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    let question = Question {
        verb,
        object: object_test(&args.object)?,
        scope: narrowed(&args.scope)?,
        with_attempts: args.attempts,
        now: now(),
        limit: args.scope.limit,
    };
    let (answer, engine) = match place(&args.server, &args.store, config)? {
        Place::Record(store) => {
            let engine = open(&store).await?;
            (engine.who(&question).await?, Some(engine))
        }
        server @ Place::Server(_) => (remote(&args, &question, server).await?, None),
    };
    let asked = format!("`{}` of {}", verb.name(), args.object.join("/"));
    if answer.acts.is_empty() {
        check_whole(&answer.cost)?;
        let tried = match answer.attempts {
            0 => String::new(),
            1 => "; there was 1 attempt, --attempts shows it".to_owned(),
            n => format!("; there were {n} attempts, --attempts shows them"),
        };
        return Err(Failure::NothingFound(format!("the record shows no {asked}{tried}")));
    }
    shown(engine.as_ref(), &answer, &args).await?;
    check_whole(&answer.cost)
}

/// Asks a server.
async fn remote(args: &WhoArgs, question: &Question, server: Place) -> Result<Answer, Failure> {
    if args.output == ListFormat::Raw {
        return Err(no_originals());
    }
    check_limit(question.limit, REMOTE_MAX)?;
    let (verb, object) = (question.verb.name(), args.object.join("/"));
    let scope = question.scope.to_string();
    let client = client(server)?;
    Ok(client.who(verb, &object, &scope, question.limit, question.with_attempts).await?)
}

/// `TYPE/NAME`, `NS/TYPE/NAME`, `TYPE NAME` or `TYPE` as a test.
pub(super) fn object_test(words: &[String]) -> Result<Expr, Failure> {
    let text = words.join("/");
    whodid_engine::who::object(&text).map_err(|error| {
        let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        Failure::Usage(format!("{text}: {error}{hint}"))
    })
}

async fn shown(engine: Option<&Engine>, answer: &Answer, args: &WhoArgs) -> Result<(), Failure> {
    let look = Look::new(&args.look);
    let columns = Columns {
        has_namespace: args.scope.namespace.is_none(),
        is_wide: args.output == ListFormat::Wide,
    };
    let events: Vec<Event> = answer.acts.iter().map(|act| act.event.clone()).collect();
    match (args.output, engine) {
        (ListFormat::Table | ListFormat::Wide, _) => {
            let mut table = table(&events, &look, columns);
            if answer.acts.iter().any(|act| act.cause.is_some() || act.is_assumed) {
                table.column("BECAUSE", answer.acts.iter().map(because));
            }
            print(&table.print(look.has_headers))?;
        }
        (ListFormat::Json, _) => print(&pretty(&Document::new("ActList", answer).json()))?,
        (ListFormat::Yaml, _) => print(&yaml(&Document::new("ActList", answer).json()))?,
        (ListFormat::Raw, Some(engine)) => {
            let id = |event: &Event| event.get("id")?.as_str()?.parse().ok();
            raw(engine, &events.iter().filter_map(id).collect::<Vec<EventId>>()).await?;
        }
        (format, _) => show(&events, format, &look, columns)?,
    }
    if answer.left_out > 0 {
        let count = left_out(answer.left_out);
        say!("{count} older ones left out; --limit says how many are shown, --until pages back");
    }
    if answer.attempts > 0 {
        say!(
            "{} more attempts failed, were denied or were dry runs; --attempts shows them",
            answer.attempts
        );
    }
    Ok(())
}

/// The act behind an act, in a few words; this column is the last and may hold spaces.
fn because(act: &Act) -> String {
    let mut words = Vec::new();
    if act.is_assumed {
        words.push("deleted all of them, as far as its selector went".to_owned());
    }
    if let Some(cause) = &act.cause {
        let text = |field| {
            let text = cause.event.get(field).and_then(serde_json::Value::as_str);
            text.map_or_else(|| UNKNOWN.to_owned(), cell)
        };
        let link = match cause.link {
            Link::Because => "",
            Link::After => "after ",
        };
        words.push(format!(
            "{link}{} {} {} ({})",
            text("actor"),
            text("action"),
            object(&cause.event),
            text("id")
        ));
    }
    words.join("; ")
}
