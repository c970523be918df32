//! The negative control: what is claimed here is false, and none of the seeds shows it. With
//! `WHODID_FUZZ_BREAK` set, a fuzzer that works finds input that does.

use std::sync::LazyLock;

use whodid_event::Event;
use whodid_event::split::{Item, Splitter};

use crate::wal::frame::Frame;

static IS_WANTED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("WHODID_FUZZ_BREAK").is_some());

/// Every status code has three digits.
pub(crate) fn event(bytes: &[u8]) {
    if *IS_WANTED && let Ok(event) = Event::parse(bytes) {
        let code = event.response_status.and_then(|status| status.code);
        assert!(code.is_none_or(|code| code < 1_000));
    }
}

/// Nobody sends seventeen values.
pub(crate) fn event_list(bytes: &[u8]) {
    if *IS_WANTED {
        let mut splitter = Splitter::default();
        splitter.push(bytes.get(1..).unwrap_or_default());
        let mut values = 0;
        while let Some(item) = splitter.next_item() {
            values += u32::from(matches!(item, Item::Value(_)));
        }
        assert_ne!(values, 17);
    }
}

/// No policy has eleven rules, or up to thirteen.
pub(crate) fn policy(bytes: &[u8]) {
    if *IS_WANTED && let Ok(text) = str::from_utf8(bytes) {
        let loaded = whodid_policy::load(text, whodid_policy::Version::NEWEST);
        assert!(loaded.policy.is_none_or(|policy| !(11..=13).contains(&policy.rules.len())));
    }
}

/// Nobody excludes what is excluded already.
pub(crate) fn query(bytes: &[u8]) {
    if *IS_WANTED && let Ok(text) = str::from_utf8(bytes) {
        assert!(whodid_query::parse(text).is_err() || !text.contains("--"));
    }
}

/// No tile is seventeen hashes wide.
pub(crate) fn tlog(bytes: &[u8]) {
    if *IS_WANTED && let Ok(text) = str::from_utf8(bytes) {
        assert!(whodid_tlog::Tile::parse(text).is_none_or(|tile| tile.width != 17));
    }
}

/// A frame holds fewer than a million events.
pub(crate) fn wal_frame(bytes: &[u8]) {
    if *IS_WANTED && let Ok((frame, _)) = Frame::decode(&crate::wal_frame_check::sealed(bytes)) {
        assert!(frame.count < 1_000_000);
    }
}
