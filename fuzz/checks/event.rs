//! What must hold of any bytes taken for an audit event.

use whodid_event::encode::{Form, encode};
use whodid_event::entry::{self, Bodies, Content, ENTRY_BYTES_MAX, Place, Salts};
use whodid_event::redact::{RuleSet, redact};
use whodid_event::{Event, cloud, derive};

/// Checks one input, and returns whether it is an event.
pub(crate) fn check(bytes: &[u8]) -> bool {
    has_entry(Content::Raw(bytes));
    for text in cloud::unwrap(bytes).into_iter().flatten() {
        let _event = Event::parse(text.as_bytes());
    }
    let Ok(event) = Event::parse(bytes) else { return false };
    let text = std::str::from_utf8(bytes).expect("an event is UTF-8");
    let _derived = derive(&event);
    has_entry(Content::Event { text, bodies: Bodies::default() });
    if let Some(redacted) = redact(text, &event, &RuleSet::built_in()) {
        assert!(!redacted.findings.is_empty());
        Event::parse(redacted.text.as_bytes()).expect("without its secrets it is still an event");
    }
    encodes_again(&event);
    bodies_go_and_come_back(text, &event);
    true
}

/// Whatever it is, it fits a leaf.
fn has_entry(content: Content<'_>) {
    let place = Place { seq: 7, cluster: "a", source: "import/a", received: 0 };
    let entry =
        entry::entry(&place, content, Salts::Key(&[1; 32])).expect("an event is a JSON object");
    assert!(entry.len() <= ENTRY_BYTES_MAX, "an entry of {} bytes", entry.len());
}

/// What the encoder writes reads back as what it wrote.
fn encodes_again(event: &Event<'_>) {
    let Some(form) = Form::of(event) else { return };
    let encoded = encode(event, form);
    let again = Event::parse(encoded.as_bytes()).expect("what was encoded is an event");
    assert_eq!(Form::of(&again), Some(form));
    assert_eq!(encode(&again, form), encoded);
}

fn bodies_go_and_come_back(text: &str, event: &Event<'_>) {
    let bodies = [event.request_object, event.response_object];
    for wanted in [[true, true], [true, false], [false, true], [false, false]] {
        let cut = entry::without_bodies(text, wanted).expect("an event is a JSON object");
        let [request, response] = bodies;
        let cut_out = [request.filter(|_| wanted[0]), response.filter(|_| wanted[1])];
        let whole = entry::with_bodies(&cut, cut_out).expect("it is still a JSON object");
        assert_eq!(whole, text);
    }
}
