//! Tests of the search language as other crates and people meet it: text in, text out.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails, and pages are read from disk"
)]

mod language;
mod mistakes;
mod properties;
mod reference;
