//! The store as its users see it: what goes in comes out, whatever happens in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod round_trip;
mod support;
