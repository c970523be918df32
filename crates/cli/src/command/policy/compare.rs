//! `whodid policy explain` and `diff`: what a policy decides about a request, and how two differ.

use serde_json::{Value, json};
use whodid_policy::{Decision, Difference, Level, Mismatch, Policy, Request, Stage, Target};

use super::policy;
use crate::args::{ExplainArgs, PolicyDiffArgs, PolicyFormat};
use crate::failure::Failure;
use crate::output::{pretty, print, say, sentence};

/// `whodid policy explain`.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let policy = policy(&args.file, args.version.kubernetes_version)?;
    let target = Target::parse(&args.target).map_err(|error| Failure::Usage(error.to_string()))?;
    let request = Request {
        user: Some(&args.user),
        groups: args.groups.iter().map(String::as_str).collect(),
        verb: &args.verb,
        target: target.at(&args.namespace, &args.name),
    };
    let (decision, passed) = policy.explain(&request);
    let text = match args.output {
        PolicyFormat::Text => explained(&policy, &request, &decision, &passed),
        PolicyFormat::Json => {
            let why =
                |(rule, why): (usize, &Mismatch)| json!({"rule": rule + 1, "why": why.to_string()});
            let mut document = decided(&decision);
            if let Some(members) = document.as_object_mut() {
                let passed = passed.iter().enumerate().map(why).collect();
                members.insert("passed".into(), Value::Array(passed));
            }
            pretty(&document)
        }
    };
    Ok(print(&text)?)
}

fn explained(
    policy: &Policy,
    request: &Request<'_>,
    decision: &Decision,
    passed: &[Mismatch],
) -> String {
    let mut text = format!("{}\n", sentence(&request.to_string()));
    for (rule, (number, why)) in policy.rules.iter().zip((1..).zip(passed)) {
        let (level, line) = (rule.level, rule.at.line);
        text.push_str(&format!("  rule {number} (line {line}, {level}): no, {why}\n"));
    }
    match decision.rule.and_then(|number| Some((number + 1, policy.rules.get(number)?))) {
        Some((number, rule)) => text.push_str(&format!(
            "  rule {number} (line {}, {}): yes\n{}\n",
            rule.at.line,
            rule.level,
            outcome(decision)
        )),
        None => text.push_str("no rule matches: nothing is recorded\n"),
    }
    text
}

/// What is recorded, in words.
fn outcome(decision: &Decision) -> String {
    if decision.level == Level::None {
        return "nothing is recorded".to_owned();
    }
    let stages: Vec<&str> =
        Stage::ALL.into_iter().filter(|stage| decision.records(*stage)).map(Stage::name).collect();
    let managed = if decision.level > Level::Metadata && decision.omit_managed_fields {
        ", without managedFields"
    } else {
        ""
    };
    format!("{} at {}{managed}", decision.level, stages.join(", "))
}

fn decided(decision: &Decision) -> Value {
    let stages = Stage::ALL.into_iter().filter(|stage| decision.records(*stage)).map(Stage::name);
    json!({
        "rule": decision.rule.map(|rule| rule + 1),
        "level": decision.level.name(),
        "stages": stages.collect::<Vec<_>>(),
        "omitManagedFields": decision.omit_managed_fields,
    })
}

/// `whodid policy diff`; ends with 1 if there are differences, as `kubectl diff` does.
pub fn diff(args: &PolicyDiffArgs) -> Result<(), Failure> {
    let version = args.version.kubernetes_version;
    let before = policy(&args.before, version)?;
    let after = policy(&args.after, version)?;
    let (differences, is_complete) = whodid_policy::diff(&before, &after);
    print(&match args.output {
        PolicyFormat::Text => differences.iter().map(line).collect::<String>(),
        PolicyFormat::Json => pretty(&json!({
            "complete": is_complete,
            "items": differences.iter().map(|difference| json!({
                "example": difference.example.to_string(),
                "before": decided(&difference.before),
                "after": decided(&difference.after),
            })).collect::<Vec<_>>(),
        })),
    })?;
    if !is_complete {
        say!("there may be more: some rules differ in too many ways to try them all");
    }
    match differences.len() {
        0 if is_complete => Ok(()),
        0 => Err(Failure::NothingFound("no difference was found".into())),
        1 => Err(Failure::NothingFound("1 difference".into())),
        count => Err(Failure::NothingFound(format!("{count} differences"))),
    }
}

fn line(difference: &Difference<'_>) -> String {
    let Difference { example, before, after } = difference;
    let rule = |decision: &Decision| match decision.rule {
        Some(number) => format!("rule {}", number + 1),
        None => "no rule".to_owned(),
    };
    let sign = match after.level.cmp(&before.level) {
        std::cmp::Ordering::Less => '-',
        std::cmp::Ordering::Equal => '~',
        std::cmp::Ordering::Greater => '+',
    };
    format!(
        "{sign} {} -> {}: {} -> {}\n    for example: {}\n",
        rule(before),
        rule(after),
        outcome(before),
        outcome(after),
        sentence(&example.to_string())
    )
}
