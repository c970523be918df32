//! The store as its users see it: what goes in comes out, whatever happens in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "counts are small")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a check says what it counted")]
#![allow(clippy::disallowed_methods, reason = "tests look at, and damage, the files of a record")]
#![allow(unreachable_pub, reason = "`pub` says what a module is for; tests have no other users")]

mod child;
mod crash_matrix;
mod faults;
mod hooked_disk;
mod kill;
mod ledger;
mod power_loss;
mod redaction;
mod retention;
mod round_trip;
mod sim_disk;
mod support;
mod syscalls;
