//! What tests and benches share: the captured events of a real kube-apiserver ([`captures`]) and
//! a generator of as many more as wanted ([`generate`]). Nothing here knows the product's code.

// Tests want a panic that says what went wrong, not an error to pass on.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

pub mod captures;
pub mod generate;
