//! What a run's judges found, as tables.

use super::attribution::Attribution;
use super::bytes::Comparison;
use super::counts::Counts;
use super::kept::Run;

/// More faults than this say nothing new.
const FAULTS_MAX: usize = 40;

/// A fault names the event; longer ones are cut.
const FAULT_CHARS: usize = 500;

const COMMAND_CHARS: usize = 72;

/// Act, expected, found.
pub(super) fn acts(run: &Run, attribution: &Attribution) {
    println!("  who    command{:COMMAND_CHARS$}expected requests events discovery", "");
    let (mut requests, mut events, mut discovery) = (0, 0, 0);
    for (act, caused) in run.acts.iter().zip(&attribution.caused) {
        let least: usize = act.expected.iter().map(|expected| expected.least).sum();
        let is_open = act.expected.iter().any(|expected| expected.most != expected.least);
        let least = format!("{least}{}", if is_open { "+" } else { "" });
        let command = cut(&act.command, COMMAND_CHARS);
        println!(
            "  {:6} {command:width$} {least:>8} {:8} {:6} {:9}",
            act.who,
            caused.requests,
            caused.events,
            caused.discovery,
            width = COMMAND_CHARS + 6,
        );
        requests += caused.requests;
        events += caused.events;
        discovery += caused.discovery;
    }
    println!(
        "  {} acts: {requests} requests in {events} events, {discovery} events of discovery; \
         {} events before the script; {} events of all",
        run.acts.len(),
        attribution.before,
        run.logged.len(),
    );
}

/// How each copy differs from the log.
pub(super) fn bytes(comparisons: &[Comparison]) {
    for comparison in comparisons {
        println!(
            "  bytes of {}: {} logged, {} given back; {} only logged, {} only given back",
            comparison.name,
            comparison.logged,
            comparison.stored,
            comparison.only_logged,
            comparison.only_stored,
        );
        for ((path, rule), count) in &comparison.redacted {
            println!("    {path}: taken out by {rule}, {count} times");
        }
    }
}

pub(super) fn counts(counts: &Counts) {
    for line in &counts.shown {
        println!("  {line}");
    }
}

pub(super) fn faults(faults: &[String]) -> String {
    let mut lines: Vec<String> =
        faults.iter().take(FAULTS_MAX).map(|fault| cut(fault, FAULT_CHARS)).collect();
    if let Some(more) = faults.len().checked_sub(FAULTS_MAX).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// The beginning of a text, with a sign that it goes on.
pub(super) fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}
