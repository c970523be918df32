//! Runs the checks of the fuzz targets `event` and `event_list` over their seeds on every build.

#![allow(clippy::expect_used, reason = "a check says by a panic what does not hold")]

#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/checks/event.rs"]
mod event;
#[path = "../../../fuzz/checks/event_list.rs"]
mod event_list;

#[test]
fn seeds_of_event() {
    let events = corpus::run("event", event::check);
    assert!(events >= 25, "only {events} of the seeds are events");
}

#[test]
fn seeds_of_event_list() {
    let streams = corpus::run("event_list", event_list::check);
    assert!(streams >= 20, "only {streams} of the seeds hold an event");
}
