//! The crate from outside: what kube-apiserver does with a policy, traps that are found, policies
//! compared.

#![allow(missing_docs, clippy::indexing_slicing, clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "a check says what it counted")]

mod differences;
mod findings;
mod loading;
mod patterns;
mod profiles;
mod properties;
mod vectors;

use whodid_policy::{Policy, Version, load};

/// A policy of these rules, in YAML's flow style.
fn policy(rules: &str) -> Policy {
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}\n");
    let loaded = load(&text, Version::NEWEST);
    loaded.policy.unwrap_or_else(|| panic!("{rules}: {:?}", loaded.findings))
}
