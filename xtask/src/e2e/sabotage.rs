//! The negative controls: what a run left behind, with one thing wrong. The judges have to see it.

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::expected::Expected;
use super::kept::{Done, Run};

/// What is done to a run before it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Break {
    /// One event is not given back.
    Drop,
    /// One byte of one event is another.
    Alter,
    /// One derived field is another.
    Derive,
    /// An act is expected that nobody did.
    Act,
    /// One value more was taken out.
    Redact,
}

/// Breaks the run; says what it did.
pub(super) fn apply(kind: Break, run: &mut Run) -> anyhow::Result<String> {
    let middle = run.file.len() / 2;
    match kind {
        Break::Drop => {
            let text = run.file.remove(middle);
            Ok(format!("taken out of what was given back: {text}"))
        }
        Break::Alter => {
            let text = run.file.get_mut(middle).context("nothing was given back")?;
            let at = text.find(URI).context("an event has a URI")? + URI.len();
            text.replace_range(at..=at, "_");
            Ok(format!("one byte is another now: {text}"))
        }
        Break::Derive => {
            let is_scale = |event: &&mut Value| event.get("action") == Some(&"scale".into());
            let event = run.file_events.iter_mut().rfind(is_scale).context("nobody scaled")?;
            let fields = event.as_object_mut().context("an event is an object")?;
            fields.insert("action".into(), "patch".into());
            Ok("an event's action is `patch` instead of `scale`".into())
        }
        Break::Act => {
            let last = run.acts.last().context("nobody did anything")?;
            let expected =
                Expected::parse("delete deployments 200 delete success shop/deployment/web")?;
            run.acts.push(Done {
                who: "alice".into(),
                command: "delete deployment web -n shop".into(),
                expected: vec![expected],
                begin: last.end + 1,
                end: last.end + 1,
            });
            Ok("an act is expected that nobody did: alice: delete deployment web -n shop".into())
        }
        Break::Redact => redact(&mut run.file),
    }
}

/// Where the text of an event has these fields.
const URI: &str = r#""requestURI":"/"#;
const FIELD: &str = r#""verb":""#;

/// Replaces one more value, exactly as a rule would.
fn redact(texts: &mut [String]) -> anyhow::Result<String> {
    for text in texts.iter_mut() {
        let Some(begin) = text.find(FIELD).map(|at| at + FIELD.len() - 1) else { continue };
        let Some(length) = text.get(begin + 1..).and_then(|rest| rest.find('"')) else { continue };
        let bytes = length + 2;
        let placeholder = format!(r#"{{"$redacted":"token-requests","n":{bytes}}}"#);
        text.replace_range(begin..begin + bytes, &placeholder);
        return Ok(format!("one value more is redacted: {text}"));
    }
    bail!("there is no event to redact")
}
