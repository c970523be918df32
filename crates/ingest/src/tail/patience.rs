//! Handing lines over, and asking how far they are known, for as long as that takes: a server may
//! be away for hours.

use std::time::Duration;

use tokio::time::timeout;

use super::portion::Portion;
use super::{Error, Result, Sink, Tail, Trouble};

const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

impl<S: Sink> Tail<S> {
    /// Hands a portion over, however long that takes.
    pub(super) fn hand_over(&self, portion: &Portion) -> Result<()> {
        self.until_done(|sink| sink.take(portion))
    }

    /// Does what may have to be tried for long.
    pub(super) fn until_done<'s, T, F>(&'s self, ask: impl Fn(&'s S) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Trouble>> + 's,
    {
        let mut wait = WAIT_MIN;
        loop {
            match self.runtime.block_on(ask(&self.sink)) {
                Ok(done) => {
                    if wait > WAIT_MIN {
                        tracing::info!(log = %self.log.display(), "going on");
                    }
                    return Ok(done);
                }
                Err(Trouble::Lasting(why)) => return Err(Error::Refused(why)),
                Err(Trouble::Passing(why)) => {
                    if wait == WAIT_MIN {
                        let log = self.log.display();
                        tracing::warn!(%log, "{why}; trying again until it succeeds");
                    }
                    self.pause(wait)?;
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
        }
    }

    /// Waits, unless it is told to stop.
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let mut stop = self.stop.clone();
        let stopped = async { stop.wait_for(|is_over| *is_over).await.map(drop) };
        match self.runtime.block_on(async { timeout(time, stopped).await }) {
            Err(_) => Ok(()),
            Ok(_) => Err(Error::Stopped),
        }
    }
}
