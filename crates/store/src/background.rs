//! Work that takes the processor for long and that nobody waits for: segments are made of what is
//! searchable already. It must not be done at the pace of those who wait for answers.

use thread_priority::{ThreadPriority, set_current_thread_priority};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// How soon something has to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As fast as what waits for it grows.
    Soon,
    /// Some time: when nothing else is to be done.
    Whenever,
}

impl Pace {
    /// Of 0 to 99, where others have 50: on Linux a niceness of 5, with which a thread gets a third
    /// of what another gets of a busy processor, and one of 19, with which it gets next to nothing.
    fn priority(self) -> u8 {
        match self {
            Pace::Soon => 35,
            Pace::Whenever => 0,
        }
    }
}

/// Runs something on a thread of its own.
///
/// # Errors
/// Those of `work`; or there is no thread for it.
pub(crate) async fn in_background<T: Send + 'static>(
    pace: Pace,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, done) = oneshot::channel();
    let run = move || {
        step_back(pace);
        // Whoever wanted it may have gone.
        let _gone = reply.send(work());
    };
    std::thread::Builder::new()
        .name("segments".into())
        .spawn(run)
        .map_err(|source| Error::Unavailable { path: "segments".into(), source })?;
    done.await.unwrap_or_else(|_| Err(Error::Stopped("making a segment broke off".into())))
}

/// Lets other threads go first. A system that does not allow it does the work all the same.
fn step_back(pace: Pace) {
    let priority = pace.priority().try_into().map(ThreadPriority::Crossplatform);
    let _allowed = priority.map(set_current_thread_priority);
}
