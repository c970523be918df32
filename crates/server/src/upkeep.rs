//! What a server does beside its work, one after the other: looking after the limits of clusters,
//! letting the oldest go, merging segments, reminding of what should have ended. What each of these
//! means is others' to say.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use whodid_store::{Clock, SystemClock};

use crate::App;
use crate::keeping::remind;
use crate::retaining::{Retained, look, prune};

/// What is too much is looked for so often,
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// what can be merged after so many looks,
const LOOKS_PER_MERGE: u64 = 10;
/// what is too old after so many,
const LOOKS_PER_PRUNE: u64 = 60;
/// and modes that should have ended after so many.
const LOOKS_PER_REMINDER: u64 = 5;

/// Works until the server ends.
pub(crate) async fn run(app: App, rules: Vec<Retained>, mut shutdown: watch::Receiver<bool>) {
    let mut looks = 0_u64;
    loop {
        let is_hour = looks.is_multiple_of(LOOKS_PER_PRUNE);
        look(&app, &rules, is_hour);
        if is_hour && let Err(error) = prune(&app.writer, &rules).await {
            tracing::error!(%error, "what is too old cannot be deleted");
        }
        if looks.is_multiple_of(LOOKS_PER_REMINDER) {
            match app.writer.modes() {
                Ok(modes) => remind(&modes, SystemClock.now()),
                Err(error) => tracing::error!(%error, "the modes of clusters cannot be read"),
            }
        }
        if looks.is_multiple_of(LOOKS_PER_MERGE) {
            merge(&app, &shutdown).await;
        }
        looks += 1;
        if !is_awake_after(LOOK_EVERY, &mut shutdown).await {
            return;
        }
    }
}

/// Waits; `false` if the server ends.
async fn is_awake_after(time: Duration, shutdown: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        _ = shutdown.wait_for(|is_over| *is_over) => false,
    }
}

/// Merges segments, half of the time at most.
async fn merge(app: &App, shutdown: &watch::Receiver<bool>) {
    let mut rest = |took| -> BoxFuture<'static, bool> {
        let mut shutdown = shutdown.clone();
        Box::pin(async move { is_awake_after(took, &mut shutdown).await })
    };
    match app.writer.compact_settling(&mut rest).await {
        Ok(report) if report.files_before > 0 => tracing::info!(
            files_before = report.files_before,
            files_after = report.files_after,
            bytes_before = report.bytes_before,
            bytes_after = report.bytes_after,
            "segments were merged"
        ),
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "segments cannot be merged"),
    }
}
