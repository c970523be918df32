//! Runs the check of the fuzz target `query` over its seeds on every build.

#![allow(clippy::expect_used, reason = "a check says by a panic what does not hold")]

#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/checks/query.rs"]
mod query;

#[test]
fn seeds_of_query() {
    let queries = corpus::run("query", query::check);
    assert!(queries >= 25, "only {queries} of the seeds are queries");
}
