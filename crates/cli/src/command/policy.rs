//! `whodid policy`: policies of kube-apiserver, before they are in force and after.

use std::io::Read;
use std::path::Path;

use whodid_policy::{Policy, Severity, TEXT_BYTES_MAX, Version, load};

use crate::args::{ModeCommand, PolicyCommand};
use crate::failure::Failure;
use crate::output::say;

mod compare;
mod generate;
mod lint;
mod mode;
mod simulate;
mod status;
mod traffic;

pub async fn run(command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Lint(args) => lint::run(&args),
        PolicyCommand::Explain(args) => compare::explain(&args),
        PolicyCommand::Diff(args) => compare::diff(&args),
        PolicyCommand::Simulate(args) => simulate::run(&args).await,
        PolicyCommand::Generate(args) => generate::run(&args).await,
        PolicyCommand::Mode(ModeCommand::Investigation(args)) => mode::investigation(&args).await,
        PolicyCommand::Mode(ModeCommand::Daily(args)) => mode::daily(&args).await,
        PolicyCommand::Mode(ModeCommand::Status(args)) => status::run(&args).await,
    }
}

pub use status::{in_force, is_over};

/// Reads a file, or standard input for `-`.
fn read(path: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let limit = TEXT_BYTES_MAX as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(wrong)?;
    } else {
        let file = std::fs::File::open(path).map_err(wrong)?;
        file.take(limit).read_to_string(&mut text).map_err(wrong)?;
    }
    Ok(text)
}

/// Reads a policy that kube-apiserver takes; what it would warn of is said.
fn policy(path: &Path, version: Version) -> Result<Policy, Failure> {
    let loaded = load(&read(path)?, version);
    let line = |finding: &whodid_policy::Finding| {
        format!("{}:{}: {}: {}", path.display(), finding.at, finding.severity, finding.what)
    };
    let Some(policy) = loaded.policy else {
        let errors = loaded.findings.iter().filter(|f| f.severity == Severity::Error);
        return Err(Failure::Usage(errors.map(line).collect::<Vec<_>>().join("\n")));
    };
    for finding in &loaded.findings {
        say!("{}", line(finding));
    }
    Ok(policy)
}
