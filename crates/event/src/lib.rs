//! Kubernetes audit events as kube-apiserver writes them: cut from a stream ([`split`]), read
//! ([`Event`]), written again byte for byte ([`encode`]), understood ([`derive()`]), freed of
//! secrets ([`redact`]) and turned into the bytes of a log leaf ([`entry`]).
//!
//! This crate is pure: no I/O, no clock, no randomness, no async runtime. Storing events is the
//! business of `whodid-store`, reading files and sockets that of its callers.
//!
//! Facts about the audit API are those of Kubernetes v1.36 (`k8s.io/apiserver/pkg/apis/audit/v1`).

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::string_slice,
        clippy::too_many_lines,
        reason = "tests read files, and hold long tables of cases"
    )
)]

mod agent;
pub mod cloud;
pub mod derive;
pub mod encode;
pub mod entry;
mod envelope;
mod gap;
pub mod json;
pub mod redact;
pub mod resource;
pub mod split;
#[cfg(test)]
mod testdata;
pub mod time;
mod uri;
pub mod words;

pub use derive::{Action, ActorKind, Derived, Outcome, derive};
pub use envelope::{
    DEPTH_MAX, Event, MEMBERS_MAX, NotAnEvent, ObjectRef, SHELL_BYTES_MAX, Stage, Status, User,
};
pub use gap::Gap;
pub use json::{Pairs, Str};
pub use time::Micros;
