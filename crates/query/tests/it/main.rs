//! Tests of the search language as other crates and people meet it: text in, text out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod language;
mod mistakes;
mod properties;
mod reference;
