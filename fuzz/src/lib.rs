//! What the fuzz targets run. The checks stand in `checks`, where the tests of the crates find
//! them too and run them over `corpus`.

pub mod seeds;

mod broken;

#[path = "../checks/event.rs"]
mod event_check;
#[path = "../checks/event_list.rs"]
mod event_list_check;
#[path = "../checks/policy.rs"]
mod policy_check;
#[path = "../checks/query.rs"]
mod query_check;
#[path = "../checks/tlog.rs"]
mod tlog_check;
#[path = "../checks/wal_frame.rs"]
mod wal_frame_check;

// The codec of the write-ahead log as `whodid-store` compiles it: the crate itself would bring
// DataFusion along.
#[allow(dead_code)]
#[path = "../../crates/store/src/dedupe.rs"]
mod dedupe;
#[allow(dead_code)]
#[path = "../../crates/store/src/positions.rs"]
mod positions;
mod stubs;
#[allow(dead_code)]
#[path = "../../crates/store/src/wal"]
mod wal {
    pub(crate) mod frame;
    pub(crate) mod record;
}

use stubs::{batch, disk, error, object};

/// Any bytes as an audit event.
pub fn event(bytes: &[u8]) -> bool {
    broken::event(bytes);
    event_check::check(bytes)
}

/// Any bytes as a stream of events, in pieces of any size.
pub fn event_list(bytes: &[u8]) -> bool {
    broken::event_list(bytes);
    event_list_check::check(bytes)
}

/// Any text as an audit policy.
pub fn policy(bytes: &[u8]) -> bool {
    broken::policy(bytes);
    policy_check::check(bytes)
}

/// Any text as a query.
pub fn query(bytes: &[u8]) -> bool {
    broken::query(bytes);
    query_check::check(bytes)
}

/// Any bytes as a file of a transparency log.
pub fn tlog(bytes: &[u8]) -> bool {
    broken::tlog(bytes);
    tlog_check::check(bytes)
}

/// Any bytes as a frame of the write-ahead log.
pub fn wal_frame(bytes: &[u8]) -> bool {
    broken::wal_frame(bytes);
    wal_frame_check::check(bytes)
}
