//! `POST /api/v1/sql`: a statement is the body, its rows are the answer, written as they come. What
//! a statement may do is [`whodid_engine::sql`]'s to say.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use whodid_engine::sql::{Answer, Cut, Format, Limits, Sink, sql};

use crate::App;
use crate::problem::Problem;
use crate::read::{Params, Reader, failed, limit};

/// An answer has at most so many rows, unless said so many.
const ROWS_MAX: usize = 100_000;
const ROWS: usize = 10_000;

/// Until its last row.
const TIME_MAX: Duration = Duration::from_mins(5);

/// For sorting, grouping and joining.
const MEMORY_MAX: usize = 256 << 20;

/// Parts of an answer that wait for a reader.
const PARTS: usize = 4;

/// The formats of an answer; the first is what is given to who names none.
const FORMATS: [(&str, Format); 5] = [
    ("application/json", Format::Json),
    ("application/x-ndjson", Format::Jsonl),
    ("text/csv", Format::Csv),
    ("application/vnd.apache.parquet", Format::Parquet),
    ("application/vnd.apache.arrow.stream", Format::Arrow),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// The first so many rows.
    limit: Option<usize>,
}

pub(crate) async fn answer(
    State(app): State<App>,
    _reader: Reader,
    Params(question): Params<Question>,
    headers: HeaderMap,
    statement: String,
) -> Result<Response, Problem> {
    let rows = limit(question.limit, ROWS, ROWS_MAX)?;
    let (kind, format) = wanted(&headers)?;
    let limits = Limits { rows: Some(rows), time: TIME_MAX, memory: MEMORY_MAX };
    let snapshot = app.writer.snapshot();
    let answer = sql(&snapshot, &app.cache, &statement, limits).await;
    let answer = answer.map_err(|error| failed(&error))?;
    let (parts, mut waiting) = mpsc::channel(PARTS);
    tokio::spawn(write(answer, format, parts));
    let body = stream::poll_fn(move |context| waiting.poll_recv(context));
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

/// The format that is asked for.
fn wanted(headers: &HeaderMap) -> Result<(&'static str, Format), Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let accept = accept.unwrap_or("*/*");
    let is_wanted = |(kind, _): &&(&str, Format)| {
        accept.split(',').any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            range == *kind || range == "*/*"
        })
    };
    FORMATS.iter().find(is_wanted).copied().ok_or_else(|| {
        let kinds = FORMATS.map(|(kind, _)| kind).join(", ");
        Problem::new(StatusCode::NOT_ACCEPTABLE, format!("rows are given as one of: {kinds}"))
    })
}

type Part = Result<Bytes, std::io::Error>;

/// Writes an answer part by part. One that does not come to its end breaks off, so that nobody
/// takes it for the whole.
async fn write(mut answer: Answer, format: Format, parts: mpsc::Sender<Part>) {
    if let Err(error) = written(&mut answer, format, &parts).await {
        tracing::warn!(%error, "an answer to SQL broke off");
        let _gone = parts.send(Err(std::io::Error::other(error))).await;
    }
}

async fn written(
    answer: &mut Answer,
    format: Format,
    parts: &mpsc::Sender<Part>,
) -> whodid_engine::Result<()> {
    let out = Out::default();
    let mut sink = Sink::new(format, &answer.schema(), Box::new(out.clone()))?;
    while let Some(batch) = answer.batch().await? {
        sink.write(&batch)?;
        if parts.send(Ok(out.take())).await.is_err() {
            return Ok(());
        }
    }
    if answer.cut() == Some(Cut::Time) {
        let seconds = TIME_MAX.as_secs();
        return Err(whodid_engine::Error::Sql(format!("it took more than {seconds} s")));
    }
    sink.finish()?;
    let _gone = parts.send(Ok(out.take())).await;
    Ok(())
}

/// What was written and not sent yet.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
