//! Taking events in from API servers: the body of a request becomes batches of the record, and
//! the answer is given when all of them are durable; a log file is followed as it grows. Sockets,
//! TLS and who may send are the server's business; what an event is, `whodid-event`'s.
//!
//! kube-apiserver sends a batch up to five times and then forgets it, and never sends again what
//! was acknowledged: so nothing is acknowledged before it is synced, and data that is no event is
//! kept and acknowledged too, as refusing it would only lose it.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

mod budget;
mod decode;
mod gather;
mod receive;
mod source;
pub mod tail;

pub use budget::{BUDGET_BYTES, Budget};
pub use decode::Encoding;
pub use receive::{Admission, DECODED_BYTES_MAX, Ingest, Refusal, Sender, Taken};
pub use source::{Packing, unpack};
