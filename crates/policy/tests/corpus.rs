//! Runs the check of the fuzz target `policy` over its seeds on every build.

#![allow(clippy::expect_used, reason = "a check says by a panic what does not hold")]

#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/checks/policy.rs"]
mod policy;

#[test]
fn seeds_of_policy() {
    let policies = corpus::run("policy", policy::check);
    assert!(policies >= 8, "only {policies} of the seeds are policies");
}
