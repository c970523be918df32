//! The search language of whodid, from text to a typed tree and back.
//!
//! `verb:delete ns:payments actor:alice* -dry_run:true code:>=400 "stripe"` is a [`Query`]: the
//! command line, the API, the UI, the live tail and the scopes of alerts all take it in this form.
//! [`parse`] reads and type-checks it; `Display` prints the one canonical form, which parses to
//! the same tree again. `docs/query.md` tells users about the language.
//!
//! Nothing here runs a query: what a test *means* is written at [`Test`], and whoever evaluates it
//! follows that. There is no clock either: a relative time stays relative until
//! [`Moment::resolve`] is told what now is.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice))]

mod ast;
mod error;
mod field;
mod lex;
mod moment;
mod parse;
mod print;
mod suggest;
mod wildcard;

pub use ast::{Comparison, Expr, Field, ObjectRef, Query, Segment, Side, Term, Test, Value, Words};
pub use error::Error;
pub use field::{Family, Kind, Known};
pub use moment::{Moment, Precision, seconds};
pub use parse::parse;
pub use suggest::nearest;
pub use wildcard::Wildcard;

/// The most bytes of a query, both as written and in its canonical form.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;
/// The most parentheses within each other, both as written and in the canonical form.
pub const NESTING_MAX: usize = 64;
/// The most terms of a query, counted in its canonical form.
pub const TERMS_MAX: usize = 1024;
/// The most `*` in one value.
pub const WILDCARDS_MAX: usize = 16;
