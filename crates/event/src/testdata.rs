//! The captured events, cut into single events, for this crate's tests.

use crate::split::{Item, Splitter};

/// Every captured event: the two log files, and the items of the webhook bodies.
pub(crate) fn captures() -> Vec<(&'static str, Vec<String>)> {
    let items = whodid_testkit::captures::webhook_bodies()
        .iter()
        .flat_map(|body| {
            let mut splitter = Splitter::default();
            splitter.push(body.as_bytes());
            let mut items = Vec::new();
            while let Some(Item::Value(bytes)) = splitter.next_item() {
                items.push(String::from_utf8(bytes.to_vec()).unwrap());
            }
            items
        })
        .collect();
    vec![
        ("typical", whodid_testkit::captures::typical()),
        ("broad", whodid_testkit::captures::broad()),
        ("webhook", items),
    ]
}
