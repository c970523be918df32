//! Seeds made of captured events: far too many to keep in the repository, and made in seconds.

use whodid_event::split::{Item, Oversized, Position, Splitter};
use whodid_testkit::captures;

use crate::dedupe::Marks;
use crate::positions::SourcePosition;
use crate::wal::frame::Frame;
use crate::wal::record::{self, Kind, Record};

/// The seeds of a target, each with a name; none where those in the repository are all.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let numbered = |kind: &str, texts: Vec<String>| {
        let named = |(i, text): (usize, String)| (format!("{kind}-{i}"), text.into_bytes());
        texts.into_iter().enumerate().map(named).collect::<Vec<_>>()
    };
    match target {
        "event" => [
            numbered("typical", captures::typical()),
            numbered("broad", captures::broad()),
            numbered("webhook", captures::webhook_bodies().iter().flat_map(|b| items(b)).collect()),
        ]
        .concat(),
        // In pieces of 128 bytes.
        "event_list" => numbered(
            "webhook",
            captures::webhook_bodies().iter().map(|body| format!("7{body}")).collect(),
        ),
        "wal_frame" => frames(),
        _ => Vec::new(),
    }
}

fn items(body: &str) -> Vec<String> {
    let mut splitter = Splitter::default();
    splitter.push(body.as_bytes());
    let mut items = Vec::new();
    while let Some(Item::Value(bytes)) = splitter.next_item() {
        items.push(String::from_utf8_lossy(bytes).into_owned());
    }
    items
}

/// Frames of one to eight records of every kind, with and without everything they may hold.
fn frames() -> Vec<(String, Vec<u8>)> {
    let events = captures::typical();
    let frames = events.chunks(8).take(32).zip(0_u32..).map(|(events, number)| {
        let events = &events[..1 + number as usize % events.len()];
        let frame = frame(number, events);
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        (format!("frame-{number:02}"), bytes)
    });
    frames.collect()
}

fn frame(number: u32, events: &[String]) -> Frame {
    let is = |bit: u32| number >> bit & 1 == 1;
    let mut records = Vec::new();
    for event in events {
        let record =
            Record { redacted: number, request: is(0), response: is(1), ..Record::default() };
        record.append(&mut records, event.as_bytes());
    }
    if is(2) {
        Record { kind: Kind::Raw, ..Record::default() }.append(&mut records, b"\xff no event");
    }
    if is(3) {
        let oversized = Oversized { head: b"{\"verb\":".to_vec(), bytes: 1 << 25, sha256: [7; 32] };
        let record = Record { kind: Kind::Oversized, ..Record::default() };
        record.append_oversized(&mut records, &oversized);
    }
    let marks = Marks { duplicate: is(0), conflict: is(1), twin: is(2).then_some(3) };
    let position = SourcePosition {
        id: [1; 32],
        variant: number,
        at: Position { offset: 1 << number, items: number },
        items: u64::from(number),
        digest: [2; 32],
    };
    let count = events.len() as u32 + u32::from(is(2)) + u32::from(is(3));
    Frame {
        cluster: ["a", "prod", "prod-eu-1"][number as usize % 3].into(),
        source: ["webhook/a", "file/audit", "import/ä.log"][number as usize % 3].into(),
        first_seq: u64::from(number) << 20,
        count,
        received: 1_793_491_200_000_000 + i64::from(number),
        durable: 8 << number,
        position: is(4).then_some(position),
        marks: if is(3) { vec![(0, marks), (count - 1, Marks::default())] } else { Vec::new() },
        unpacked: records.len() as u32,
        payload: record::pack(&records).expect("memory is enough"),
    }
}
