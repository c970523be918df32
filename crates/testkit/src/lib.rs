//! What tests and benches share: the captured events of a real kube-apiserver ([`captures`]) and
//! a generator of as many more as wanted ([`generate`]). Nothing here knows the product's code.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests want a panic that says what went wrong, not an error to pass on"
)]

pub mod captures;
pub mod generate;
