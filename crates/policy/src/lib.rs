//! Audit policies of Kubernetes (`audit.k8s.io/v1`, kind `Policy`): what kube-apiserver makes of
//! one, what is legal and wrong in it, how two differ, and policies to begin with.
//!
//! The semantics are those of kube-apiserver, to the letter, wherever releases differ for the one
//! asked for. Reading files and traffic is for others; this crate is pure.

mod cis;
mod diff;
mod evaluate;
mod finding;
mod lint;
mod load;
mod model;
mod ordinary;
mod patterns;
mod profile;
mod request;
mod simulate;
mod tree;
mod validate;
mod version;
mod witness;

pub use cis::{Check, Flags, Outcome, benchmark};
pub use diff::{Difference, diff};
pub use evaluate::{Decision, Mismatch};
pub use finding::{Finding, Severity};
pub use lint::lint;
pub use load::{Loaded, TEXT_BYTES_MAX, load};
pub use model::{At, GroupResources, Level, Placed, Policy, Rule};
pub use patterns::{Blind, PATTERNS, Pattern, blind};
pub use profile::{PROFILES, Profile};
pub use request::{Request, RequestError, Target};
pub use simulate::{Simulation, Tally, Traffic, unanswered};
pub use version::Version;
pub use whodid_event::Stage;
