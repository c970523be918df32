//! Runs the check of the fuzz target `tlog` over its seeds on every build.

#![allow(clippy::expect_used, reason = "a check says by a panic what does not hold")]

#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/checks/tlog.rs"]
mod tlog;

#[test]
fn seeds_of_tlog() {
    let read = corpus::run("tlog", tlog::check);
    assert!(read >= 24, "only {read} of the seeds are read");
}
