//! Progress of an import on a terminal: how much of the files is read, events per second, time
//! left. Elsewhere nothing is shown.

use crate::output::say;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::is_stdin;

/// The progress of all files together.
pub struct Progress {
    bar: ProgressBar,
    read_bytes: Arc<AtomicU64>,
}

impl Progress {
    /// Shows progress on a terminal, unless the user wants none.
    pub fn new(files: &[PathBuf], is_quiet: bool) -> Self {
        let lengths = files.iter().map(|file| match std::fs::metadata(file) {
            Ok(metadata) if !is_stdin(file) => Some(metadata.len()),
            _ => None,
        });
        let total: Option<u64> = lengths.sum();
        let is_shown = !is_quiet && std::io::stderr().is_terminal();
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = match total {
            Some(_) => "{bar:30} {percent}% of {total_bytes}, {msg}, {eta} left",
            None => "{spinner} {bytes}, {msg}",
        };
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar, read_bytes: Arc::default() }
    }

    /// Counts the bytes that are read of the files.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read_bytes)
    }

    /// Shows how many events are in the record.
    pub fn events(&self, count: u64) {
        self.bar.set_position(self.read_bytes.load(Ordering::Relaxed));
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = count as f64 / seconds;
        self.bar.set_message(format!("{count} events, {rate:.0}/s"));
    }

    /// Says something on stderr without disturbing the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| say!("{line}"));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
