//! `whodid sql`: read-only SQL over the views `events`, `bodies` and `changes`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use whodid_engine::Cache;
use whodid_engine::sql::{Answer, Cut, Format, Limits, Sink, sql, texts};
use whodid_store::Reader;

use super::{Place, client, place};
use crate::args::{SqlArgs, SqlFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::table::{NONE, Table};
use crate::output::{cell, print, say};

/// For sorting, grouping and joining.
const MEMORY_MAX: usize = 1 << 30;

/// A server gives so many rows at once.
const REMOTE_MAX: usize = 99_999;

pub async fn run(args: SqlArgs, config: &Config) -> Result<(), Failure> {
    let statement = args.statement.join(" ");
    let mut answer = match place(&args.server, &args.store, config)? {
        Place::Record(store) => {
            let snapshot = Reader::open_dir(&store.dir())?.snapshot().await?;
            for warning in snapshot.warnings() {
                say!("warning: {warning}");
            }
            let limits = Limits {
                rows: (args.limit > 0).then_some(args.limit),
                time: Duration::from_secs(args.timeout),
                memory: MEMORY_MAX,
            };
            sql(&snapshot, &Cache::default(), &statement, limits).await?
        }
        server @ Place::Server(_) => {
            if !(1..=REMOTE_MAX).contains(&args.limit) {
                return Err(Failure::Usage(format!(
                    "--limit {}: a server gives at most {REMOTE_MAX} rows at once",
                    args.limit
                )));
            }
            // One more, to know whether there are more.
            let stream = client(server)?.sql(&statement, args.limit + 1).await?;
            Answer::read(&stream, args.limit)?
        }
    };
    match args.output {
        SqlFormat::Table => table(&mut answer, !args.no_headers).await?,
        SqlFormat::Csv => write(&mut answer, Format::Csv).await?,
        SqlFormat::Json => write(&mut answer, Format::Json).await?,
        SqlFormat::Jsonl => write(&mut answer, Format::Jsonl).await?,
        SqlFormat::Parquet | SqlFormat::Arrow if std::io::stdout().is_terminal() => {
            return Err(Failure::Usage(
                "a terminal cannot show it: write it to a file with >".into(),
            ));
        }
        SqlFormat::Parquet => write(&mut answer, Format::Parquet).await?,
        SqlFormat::Arrow => write(&mut answer, Format::Arrow).await?,
    }
    match answer.cut() {
        None => Ok(()),
        Some(Cut::Rows) => {
            say!("the answer has more rows than {}; --limit 0 takes all", args.limit);
            Ok(())
        }
        Some(Cut::Time) => Err(Failure::Unavailable(format!(
            "stopped after {} s, and the answer is not whole; narrow it by time or cluster, or \
             give it longer with --timeout",
            args.timeout
        ))),
    }
}

async fn table(answer: &mut Answer, has_headers: bool) -> Result<(), Failure> {
    let titles: Vec<String> =
        answer.schema().fields().iter().map(|field| field.name().to_uppercase()).collect();
    let mut table = Table::new(titles);
    while let Some(batch) = answer.batch().await? {
        for row in texts(&batch)? {
            let shown = |text: Option<String>| cell(text.as_deref().unwrap_or(NONE));
            table.row(row.into_iter().map(shown).collect());
        }
    }
    Ok(print(&table.print(has_headers))?)
}

async fn write(answer: &mut Answer, format: Format) -> Result<(), Failure> {
    let out = std::io::BufWriter::new(std::io::stdout());
    let mut sink = Sink::new(format, &answer.schema(), Box::new(out))?;
    while let Some(batch) = answer.batch().await? {
        sink.write(&batch)?;
    }
    sink.finish()?;
    std::io::stdout().flush()?;
    Ok(())
}
