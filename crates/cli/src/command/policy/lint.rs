//! `whodid policy lint`: findings as text, JSON or SARIF, and the checks of the CIS benchmark.

use std::path::Path;

use serde_json::{Value, json};
use whodid_policy::{Check, Finding, Flags, Outcome, Severity, benchmark, lint, load};

use super::read;
use crate::args::{FailOn, LintArgs, LintFormat};
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{pretty, print, sentence};

/// A policy with what was found in it.
struct Report {
    file: String,
    findings: Vec<Finding>,
    checks: Vec<Check>,
}

pub fn run(args: &LintArgs) -> Result<(), Failure> {
    let flags = args.flags.as_deref().map(flags).transpose()?;
    let mut reports = Vec::new();
    for path in &args.files {
        let loaded = load(&read(path)?, args.version.kubernetes_version);
        let mut findings = loaded.findings;
        findings.extend(loaded.policy.iter().flat_map(lint));
        findings.sort_by_key(|finding| (finding.at, finding.code));
        let version = args.version.kubernetes_version;
        let checks = benchmark(loaded.policy.as_ref(), flags.as_ref(), version);
        reports.push(Report { file: path.display().to_string(), findings, checks });
    }
    print(&match args.output {
        LintFormat::Text => reports.iter().map(text).collect::<String>(),
        LintFormat::Json => {
            pretty(&json!({"items": reports.iter().map(document).collect::<Vec<_>>()}))
        }
        LintFormat::Sarif => pretty(&sarif(&reports)),
    })?;
    let least = match args.fail_on {
        FailOn::Error => Some(Severity::Error),
        FailOn::Warning => Some(Severity::Warning),
        FailOn::Note => Some(Severity::Note),
        FailOn::Never => None,
    };
    let all = reports.iter().flat_map(|report| &report.findings);
    match all.filter(|finding| least.is_some_and(|least| finding.severity >= least)).count() {
        0 => Ok(()),
        1 => Err(Failure::Refuted("1 finding".into())),
        count => Err(Failure::Refuted(format!("{count} findings"))),
    }
}

fn flags(path: &Path) -> Result<Flags, Failure> {
    let flags = Flags::find(&read(path)?);
    if flags.is_empty() {
        return Err(Failure::Usage(format!(
            "{}: there is no flag about auditing in it, such as --audit-log-path=FILE",
            path.display()
        )));
    }
    Ok(flags)
}

fn text(report: &Report) -> String {
    let Report { file, findings, checks } = report;
    let mut text = String::new();
    for finding in findings {
        let Finding { code, severity, at, what, fix, .. } = finding;
        let what = sentence(what);
        text.push_str(&format!("{file}:{at}: {severity}[{code}]: {what}\n    {}\n", sentence(fix)));
    }
    let mut table = Table::new(["CIS", "RESULT", "CHECK", "WHY"].map(str::to_owned));
    for Check { id, title, outcome, why } in checks {
        let row = [*id, outcome.name(), *title, why.as_str()];
        table.row(row.map(str::to_owned).to_vec());
    }
    text.push_str(&table.print(true));
    text
}

fn document(report: &Report) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "code": finding.code,
            "severity": finding.severity.name(),
            "line": finding.at.line,
            "column": finding.at.column,
            "rule": finding.rule,
            "what": finding.what,
            "fix": finding.fix,
        })
    };
    let check = |check: &Check| {
        json!({
            "id": check.id,
            "title": check.title,
            "outcome": match check.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "fail",
                Outcome::NotKnown => "unknown",
            },
            "why": check.why,
        })
    };
    json!({
        "file": report.file,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "cis": report.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

/// SARIF 2.1.0 (OASIS), as code hosts take it.
fn sarif(reports: &[Report]) -> Value {
    let results = reports.iter().flat_map(|report| {
        report.findings.iter().map(|finding| {
            json!({
                "ruleId": finding.code,
                "level": finding.severity.name(),
                "message": {"text": format!("{}. {}.", finding.what, finding.fix)},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": report.file},
                    "region": {"startLine": finding.at.line, "startColumn": finding.at.column},
                }}],
            })
        })
    });
    let mut codes: Vec<&str> =
        reports.iter().flat_map(|report| &report.findings).map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "whodid policy lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| json!({"id": code})).collect::<Vec<_>>(),
            }},
            "results": results.collect::<Vec<_>>(),
        }],
    })
}
