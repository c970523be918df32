//! The program as its users run it: commands in, output and exit code out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a check says what it counted")]
#![allow(clippy::disallowed_methods, reason = "tests look at, and damage, the files of a record")]
#![allow(unreachable_pub, reason = "`pub` says what a module is for; tests have no other users")]

mod answers;
mod complete;
mod counts;
mod demo;
mod evidence;
mod faults;
mod forged;
mod import;
mod keeping;
mod limits;
mod output;
mod redaction;
mod remote;
mod serve;
mod setup;
mod ship;
mod support;
mod verify;
