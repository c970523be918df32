//! The record on disk. What [`Writer::append`] acknowledged survives any crash and is searchable
//! at once; a [`Snapshot`] is what a query sees, in the writer's process or in any other.
//!
//! The way of an event: [`Preparer`] reads, redacts and understands it on the caller's thread; the
//! sequencer gives it its place in the log and syncs it to the write-ahead log; the memtable makes
//! it searchable; the flusher moves it into a segment of two Delta tables. `docs/format/` specifies
//! every byte. Queries are the business of `whodid-engine`.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod background;
mod batch;
mod chunk;
mod clock;
pub mod columns;
mod compact;
mod dedupe;
mod descriptor;
pub mod disk;
mod entries;
mod erase;
mod error;
mod flush;
mod found;
mod heads;
mod health;
mod keys;
mod ledger;
mod lock;
mod memtable;
mod modes;
mod object;
mod positions;
mod reader;
mod rebuild;
mod recover;
mod redaction;
mod repair;
mod retention;
mod row;
mod segment;
mod sequencer;
mod snapshot;
mod sqlite;
mod state;
mod table;
mod verify;
mod wal;
mod whole;
mod words;
mod writer;

pub use batch::{
    BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, BatchBuilder, Preparer, SOURCE_BYTES_MAX, check_cluster,
};
pub use chunk::Chunk;
pub use clock::{Clock, SystemClock};
pub use compact::{GRACE as VACUUM_GRACE, GoesOn, Report as CompactionReport};
pub use descriptor::{Descriptor, FORMAT};
pub use entries::{Disclosed, Disclosure};
pub use error::{Error, Result};
pub use heads::Heads;
pub use ledger::{
    Evidence, Hold, MetaEntry, Mode, Proven, Record, Reopened, Seal, Stamp, reopen_dir,
};
pub use memtable::Limits;
pub use positions::{POSITIONS_MAX, Running, SourcePosition, hex, unhex};
pub use reader::Reader;
pub use redaction::redact_dir;
pub use repair::{Lost, Repair, repair, repair_dir};
pub use retention::{Limit, Plan, Rule, UNIT_LEAVES};
pub use row::{Original, RowBodies, uuid_bytes};
pub use sequencer::Receipt;
pub use snapshot::{Rows, Snapshot, Table};
pub use state::{Credential, CredentialKind, State};
pub use table::{DataFile, FileStats};
pub use verify::{Finding, Verification, VerifiedLog, Wanted};
pub use words::{Key, TEXT_COLUMNS, VALUE_COLUMNS, WordIndex};
pub use writer::{Options, Submitted, Writer};
