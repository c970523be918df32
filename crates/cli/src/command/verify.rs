//! `whodid verify`: whether the record is what was signed, all of it or a part; or, given a proof,
//! whether a log has an entry; or a bundle of evidence. Exit 1 says that it is not so.

use std::fmt::Write;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use whodid_event::time;
use whodid_store::{Finding, Reader, Verification, Wanted};

use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::output::say;
use crate::output::{print, sentence};

mod bundle;
mod part;
mod proof;

pub use proof::read_policy;

pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    match (&args.proof, &args.entry, &args.policy) {
        (Some(path), None, _) if bundle::is_bundle(path) => bundle::run(&args, path),
        (Some(proof), Some(entry), Some(policy)) => proof::run(proof, entry, policy),
        (Some(proof), ..) => Err(Failure::Usage(format!(
            "{}: a proof is checked with --entry FILE and --policy FILE",
            proof.display()
        ))),
        (None, ..) => match (&args.events, &args.checkpoint) {
            (Some(events), _) => part::events(&args, events).await,
            (_, Some(checkpoint)) => part::grown(&args, checkpoint).await,
            _ => record(&args).await,
        },
    }
}

/// Verifies a record, or the log of one cluster.
async fn record(args: &VerifyArgs) -> Result<(), Failure> {
    let policy = args.policy.as_deref().map(proof::read_policy).transpose()?;
    let reader = match Reader::open_dir(&args.store.dir()) {
        // What a record is stands in store.json, and a change of that is no trouble but a finding.
        Err(error @ whodid_store::Error::Format { .. }) => {
            return Err(Failure::Refuted(error.to_string()));
        }
        opened => opened?,
    };
    let wanted = Wanted { cluster: args.cluster.as_deref(), policy: policy.as_ref() };
    let bar = progress_bar();
    leave_decoding_panics_to_findings();
    let verified = reader.verify(wanted, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    let verified = verified.await;
    bar.finish_and_clear();
    let verified = verified?;
    // The meta log is always there.
    let is_nothing = verified.logs.len() <= 1 && verified.events == 0;
    if is_nothing && verified.findings.is_empty() {
        let of = args.cluster.as_ref().map_or(String::new(), |cluster| format!(" of {cluster}"));
        return Err(Failure::NothingFound(format!("there is no event{of} to verify")));
    }
    for finding in &verified.findings {
        say!("{}", line(finding));
    }
    let shown = verified.findings.len() as u64;
    if verified.findings_in_all > shown {
        say!("and {} more", verified.findings_in_all - shown);
    }
    print(&summary(&verified, policy.is_some()))?;
    match verified.findings_in_all {
        0 => Ok(()),
        found => {
            Err(Failure::Refuted(format!("the record is not what was signed: {found} findings")))
        }
    }
}

/// Files are decoded on other threads. What a library there panics over is in a damaged file, and
/// told as a finding; a backtrace says nothing more.
fn leave_decoding_panics_to_findings() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("main") {
            hook(panic);
        }
    }));
}

/// How much is read, on a terminal.
fn progress_bar() -> ProgressBar {
    let is_shown = std::io::stderr().is_terminal();
    let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template("{bar:30} {pos} of {len} events, {per_sec}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A finding in one line: file, leaves, time, what is wrong.
fn line(finding: &Finding) -> String {
    let mut line = finding.path.clone();
    if let Some((cluster, first, last)) = &finding.leaves {
        // Writing to a String cannot fail.
        let _written = if first == last {
            write!(line, ": {cluster}/{first}")
        } else {
            write!(line, ": {cluster}/{first} to {last}")
        };
    }
    if let Some(received) = finding.received {
        let _written = write!(line, ", from {}", time::format(received));
    }
    format!("{line}: {}", finding.what)
}

fn summary(verified: &Verification, has_policy: bool) -> String {
    let Verification { events, bodies, gone, files, logs, .. } = verified;
    let mut text = format!("read {events} events, {bodies} bodies, {files} files\n");
    if *gone > 0 {
        let _written =
            writeln!(text, "{gone} bodies went, as the meta log says; their leaves stay");
    }
    for log in logs {
        let _written = write!(text, "verified: {}, {} leaves", log.origin, log.size);
        if log.pruned > 0 {
            let _written = write!(text, "; the first {} were pruned", log.pruned);
        }
        if log.stamps > 0 {
            let _written = write!(text, "; {} time stamps", log.stamps);
        }
        let _written = match log.unsigned {
            0 => writeln!(text),
            unsigned => writeln!(text, "; {unsigned} more are not signed yet"),
        };
    }
    for reopened in &verified.reopened {
        let _written = writeln!(text, "{}", sentence(reopened));
    }
    if !has_policy {
        text.push_str(
            "The keys were taken from the record itself; --policy names those that you were given.\n",
        );
        if verified.has_cosigned {
            text.push_str(
                "Others have signed it, too: ask them for their keys (`whodid signer policy`).\n",
            );
        }
    }
    if verified.findings_in_all > 0 {
        return text;
    }
    text.push_str(if verified.detects_rewriting {
        "Custody: detects rewriting. The policy asks for signatures that the record alone cannot \
         make.\n"
    } else {
        "Custody: detects edits. The logs' keys are in the data directory: who controls it can \
         sign another record.\n"
    });
    text
}
