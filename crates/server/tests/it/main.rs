//! The server over real sockets: what arrives is what is stored, whatever way it came, and nobody
//! can keep others from being served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a check says what it counted")]
#![allow(clippy::disallowed_methods, reason = "tests look at the files of a record")]
#![allow(unreachable_pub, reason = "`pub` says what a module is for; tests have no other users")]

mod custody;
mod hostile;
mod keeping;
mod openapi;
mod reading;
mod stamping;
mod support;
mod webhook;
