//! `whodid who`: who did something to an object, and why, where the record shows it.

use whodid_engine::Engine;
use whodid_engine::who::{Act, Answer, Link, Question, Verb};
use whodid_query::Expr;

use super::search::list;
use super::{narrowed, now, open};
use crate::args::{ListFormat, WhoArgs};
use crate::failure::Failure;
use crate::output::events::{Columns, object, table};
use crate::output::say;
use crate::output::table::UNKNOWN;
use crate::output::{Look, cell, left_out, print};

pub async fn run(args: WhoArgs) -> Result<(), Failure> {
    let verb: Verb = args.verb.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    let question = Question {
        verb,
        object: object_test(&args.object)?,
        scope: narrowed(&args.scope)?,
        with_attempts: args.attempts,
        now: now(),
        limit: args.scope.limit,
    };
    let engine = open(&args.store).await?;
    let answer = engine.who(&question).await?;
    let asked = format!("`{}` of {}", verb.name(), args.object.join("/"));
    if answer.acts.is_empty() {
        let tried = match answer.attempts {
            0 => String::new(),
            1 => "; there was 1 attempt, --attempts shows it".to_owned(),
            n => format!("; there were {n} attempts, --attempts shows them"),
        };
        return Err(Failure::NothingFound(format!("the record shows no {asked}{tried}")));
    }
    show(&engine, &answer, &args).await
}

/// `TYPE/NAME`, `NS/TYPE/NAME`, `TYPE NAME` or `TYPE` as a test.
pub(super) fn object_test(words: &[String]) -> Result<Expr, Failure> {
    let text = words.join("/");
    let query =
        if text.contains('/') { format!("object:{text}") } else { format!("resource:{text}") };
    let parsed = whodid_query::parse(&query);
    parsed.map(|query| query.expr).map_err(|error| {
        let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        Failure::Usage(format!("{text}: {error}{hint}"))
    })
}

async fn show(engine: &Engine, answer: &Answer, args: &WhoArgs) -> Result<(), Failure> {
    let look = Look::new(&args.look);
    let columns = Columns {
        has_namespace: args.scope.namespace.is_none(),
        is_wide: args.output == ListFormat::Wide,
    };
    if matches!(args.output, ListFormat::Table | ListFormat::Wide) {
        let events: Vec<_> = answer.acts.iter().map(|act| engine.json(&act.row)).collect();
        let mut table = table(&events, &look, columns);
        if answer.acts.iter().any(|act| act.cause.is_some() || act.is_assumed) {
            table.column("BECAUSE", answer.acts.iter().map(because));
        }
        print(&table.print(look.has_headers))?;
    } else {
        let ids: Vec<_> = answer.acts.iter().map(|act| act.row.id()).collect();
        list(engine, &ids, args.output, &look, columns).await?;
    }
    if answer.left_out > 0 {
        say!("{} older ones left out; --limit 0 shows all", left_out(answer.left_out));
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
        let text = |column| cause.row.text(column).map_or_else(|| UNKNOWN.to_owned(), cell);
        let link = match cause.link {
            Link::Because => "",
            Link::After => "after ",
        };
        words.push(format!(
            "{link}{} {} {} ({})",
            text("actor"),
            text("action"),
            object(&cause.row.json()),
            cause.row.id()
        ));
    }
    words.join("; ")
}
