//! The store's clock, behind a trait, so that tests decide what time it is.

use std::fmt::Debug;
use std::time::SystemTime;

use whodid_event::time::Micros;

/// Tells what time it is.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current time. It may step back; the record's own times do not.
    fn now(&self) -> Micros;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Micros {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Micros::try_from(now.as_micros()).unwrap_or(Micros::MAX)
    }
}
