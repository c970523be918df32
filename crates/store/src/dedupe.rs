//! Knowing an event that is in the record already. An audit ID is what the client wrote, so it
//! decides nothing alone: a duplicate has the same key *and* the same bytes. Nothing is dropped
//! here; events are marked, and the mark says which event they are a duplicate of.
//!
//! | the newer event, compared with an earlier one of its key | mark on the newer |
//! |---|---|
//! | same bytes (`kind` and `apiVersion` left out) | `duplicate` |
//! | lacks a body that the earlier has, otherwise the same | `duplicate` |
//! | has a body that the earlier lacks, otherwise the same | `twin`: the earlier is hidden |
//! | anything else | `conflict` |

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use siphasher::sip::SipHasher13;
use whodid_event::encode::{Form, Written, encode};
use whodid_event::time::Micros;
use whodid_event::{Event, Pairs, json};

/// An event that arrives again does so within this time: kube-apiserver gives up after about four
/// minutes (five attempts with back-off).
const WINDOW_SECONDS: u32 = 5 * 60;
pub(crate) const WINDOW_MICROS: i64 = WINDOW_SECONDS as i64 * 1_000_000;

/// At most so many events of one cluster may arrive again. They take 82 MiB: a hash map in which as
/// many come as go takes twice the places that it fills.
const ENTRIES_MAX: usize = 7 << 17;

/// What is compared of an event. Hashes are keyed with a secret of this process, so that nobody
/// can craft an event that passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Of audit ID, stage and both timestamps.
    key: u64,
    /// Of everything but the bodies; of all bytes, where they are no event.
    envelope: u64,
    /// Of the bodies; 0 where there is none.
    bodies: [u64; 2],
}

/// Makes fingerprints that can be compared with each other.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprints(Arc<[u8; 16]>);

impl Fingerprints {
    pub(crate) fn new() -> Self {
        Fingerprints(Arc::new(rand::random()))
    }

    fn hash(&self, value: impl Hash) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        value.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn of(&self, text: &str, event: &Event<'_>) -> Fingerprint {
        let mut shell = String::new();
        self.of_written(text, event, Written::of(text, event, &mut shell))
    }

    /// The same, where it is known whether writing the event gives its text.
    pub(crate) fn of_written(
        &self,
        text: &str,
        event: &Event<'_>,
        written: Option<Written<'_>>,
    ) -> Fingerprint {
        let key = self.hash((
            event.audit_id.as_deref(),
            event.stage_text.as_deref(),
            event.request_received,
            event.stage_time,
        ));
        let body = |body: Option<&str>| body.map_or(0, |body| self.hash(body).max(1));
        Fingerprint {
            key,
            envelope: written.map_or_else(
                || self.members(text),
                |written| match untruncated(event) {
                    None => self.whole(&written.members),
                    Some(members) => self.whole(&[&members]),
                },
            ),
            bodies: [body(event.request_object), body(event.response_object)],
        }
    }

    /// Hashes a text that stands in parts.
    fn whole(&self, parts: &[&str]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        for part in parts {
            hasher.write(part.as_bytes());
        }
        hasher.finish()
    }

    /// Hashes the members that tell two events apart: not `kind` and `apiVersion`, which stand
    /// once for a whole webhook body, and not what says that bodies were left out.
    fn members(&self, text: &str) -> u64 {
        let Ok(members) = json::members(text) else { return self.hash(text) };
        let mut hasher = SipHasher13::new_with_key(&self.0);
        for (key, value) in &members.0 {
            match &**key {
                "kind" | "apiVersion" | "requestObject" | "responseObject" => {}
                "annotations" if value.get().contains(TRUNCATED) => {
                    if let Some(others) = without_truncated(value.get()) {
                        (&**key, &*others).hash(&mut hasher);
                    }
                }
                _ => (&**key, value.get()).hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// The fingerprint of bytes that are not an event: their own key.
    pub(crate) fn of_bytes(&self, bytes: &[u8]) -> Fingerprint {
        let hash = self.hash(bytes);
        Fingerprint { key: hash, envelope: hash, bodies: [0; 2] }
    }
}

const TRUNCATED: &str = "audit.k8s.io/truncated";

/// What would be written of an event from which no bodies were left out, but for its bodies; `None`
/// where that is what is written anyway.
fn untruncated(event: &Event<'_>) -> Option<String> {
    event.annotations.get(TRUNCATED)?;
    let mut others = event.annotations.0.clone();
    others.retain(|(key, _)| &**key != TRUNCATED);
    let event = Event {
        annotations: Pairs(others),
        request_object: None,
        response_object: None,
        ..event.clone()
    };
    encode(&event, Form::Item).strip_prefix('{').map(str::to_owned)
}

/// The annotations but for the one that says that bodies were left out, as the API server would
/// write them; nothing, if it was the only one.
fn without_truncated(annotations: &str) -> Option<String> {
    let members = json::members(annotations).ok()?;
    let others: Vec<String> = members
        .0
        .iter()
        .filter(|(key, _)| &**key != TRUNCATED)
        .map(|(key, value)| format!("{}:{}", serde_json::Value::from(&**key), value.get()))
        .collect();
    (!others.is_empty()).then(|| format!("{{{}}}", others.join(",")))
}

/// What an event is to those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) duplicate: bool,
    pub(crate) conflict: bool,
    /// The earlier event that the mark is about; with neither mark, the one this one completes.
    pub(crate) twin: Option<u64>,
}

/// The events of one cluster that may arrive again, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Window {
    seen: VecDeque<Seen>,
    /// How many were dropped at the front: the number of `seen`'s first.
    first: u64,
    /// The newest event of each key, by number.
    newest: HashMap<u64, u64>,
}

/// One of them; as there are many, its time and its place before take four bytes each.
#[derive(Clone, Copy, Debug)]
struct Seen {
    print: Fingerprint,
    seq: u64,
    /// When it was taken in, in seconds since 1970.
    second: u32,
    /// How far back the event of the same key before this one stands; 0 if there is none.
    back: u32,
}

impl Seen {
    /// The number of the event of the same key before this one, whose number is `own`.
    fn before(&self, own: u64) -> Option<u64> {
        (self.back > 0).then(|| own.saturating_sub(self.back.into()))
    }
}

impl Window {
    /// Judges the next event of the log, and remembers it.
    pub(crate) fn next(&mut self, print: Fingerprint, seq: u64, received: Micros) -> Marks {
        let second = u32::try_from(received / 1_000_000).unwrap_or(0);
        self.forget(second);
        let before = self.newest.get(&print.key).copied();
        let marks = self.judge(&print, before);
        let number = self.end();
        let back = before.and_then(|before| u32::try_from(number - before).ok()).unwrap_or(0);
        self.seen.push_back(Seen { print, seq, second, back });
        self.newest.insert(print.key, number);
        marks
    }

    /// Takes back the newest events, from `seq` on, which did not become durable.
    pub(crate) fn take_back(&mut self, seq: u64) {
        while self.seen.back().is_some_and(|seen| seen.seq >= seq) {
            let Some(seen) = self.seen.pop_back() else { return };
            match seen.before(self.end()).filter(|before| *before >= self.first) {
                Some(before) => self.newest.insert(seen.print.key, before),
                None => self.newest.remove(&seen.print.key),
            };
        }
    }

    fn judge(&self, print: &Fingerprint, newest: Option<u64>) -> Marks {
        let mut marks = Marks::default();
        let mut number = newest;
        while let Some((own, earlier)) = number.and_then(|own| Some((own, self.get(own)?))) {
            let found = compare(print, &earlier.print);
            // Being a duplicate of one event outweighs contradicting another.
            if found.duplicate {
                return Marks { twin: Some(earlier.seq), ..found };
            }
            if marks.twin.is_none() || (marks.conflict && !found.conflict) {
                marks = Marks { twin: Some(earlier.seq), ..found };
            }
            number = earlier.before(own);
        }
        marks
    }

    /// The number of the next event.
    fn end(&self) -> u64 {
        self.first + self.seen.len() as u64
    }

    fn get(&self, number: u64) -> Option<&Seen> {
        let at = number.checked_sub(self.first)?;
        self.seen.get(usize::try_from(at).ok()?)
    }

    /// Drops what cannot arrive again, and the oldest beyond the limit.
    fn forget(&mut self, now: u32) {
        while let Some(oldest) = self.seen.front() {
            let is_old = oldest.second < now.saturating_sub(WINDOW_SECONDS);
            if !is_old && self.seen.len() < ENTRIES_MAX {
                return;
            }
            if self.newest.get(&oldest.print.key) == Some(&self.first) {
                self.newest.remove(&oldest.print.key);
            }
            self.seen.pop_front();
            self.first += 1;
        }
    }
}

/// Compares an event with an earlier one of the same key.
fn compare(newer: &Fingerprint, earlier: &Fingerprint) -> Marks {
    let same = newer.envelope == earlier.envelope;
    let pairs = || newer.bodies.iter().zip(&earlier.bodies);
    let duplicate = same && pairs().all(|(new, old)| new == old || *new == 0);
    let completes = same && pairs().all(|(new, old)| new == old || *old == 0);
    Marks { duplicate, conflict: !duplicate && !completes, twin: None }
}

#[cfg(test)]
mod tests {
    use whodid_testkit::captures;

    use super::*;

    fn print(prints: &Fingerprints, text: &str) -> Fingerprint {
        prints.of(text, &Event::parse(text.as_bytes()).unwrap())
    }

    const KEY: &str = r#""auditID":"a","stage":"ResponseComplete","requestReceivedTimestamp":"2026-01-02T03:04:05.678900Z""#;

    fn event(more: &str) -> String {
        format!("{{{KEY}{more}}}")
    }

    #[test]
    fn what_an_event_is_to_an_earlier_one() {
        let prints = Fingerprints::new();
        let duplicate = Marks { duplicate: true, conflict: false, twin: Some(0) };
        let completes = Marks { duplicate: false, conflict: false, twin: Some(0) };
        let conflict = Marks { duplicate: false, conflict: true, twin: Some(0) };
        let none = Marks::default();
        let (bodies, other) = (r#","requestObject":{"a":1}"#, r#","requestObject":{"a":2}"#);
        let truncated = r#","annotations":{"audit.k8s.io/truncated":"true"}"#;
        let noted = r#","annotations":{"a":"b","audit.k8s.io/truncated":"true"}"#;
        for (earlier, newer, expected) in [
            (event(""), event(""), duplicate),
            (
                event(""),
                format!(r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1",{KEY}}}"#),
                duplicate,
            ),
            (event(bodies), event(""), duplicate),
            (event(bodies), event(truncated), duplicate),
            (event(r#","annotations":{"a":"b"},"requestObject":1"#), event(noted), duplicate),
            (event(&format!(r#"{bodies},"responseObject":1"#)), event(bodies), duplicate),
            (event(""), event(bodies), completes),
            (event(truncated), event(bodies), completes),
            (event(bodies), event(other), conflict),
            (event(bodies), event(r#","responseObject":{"a":1}"#), conflict),
            (event(""), event(r#","verb":"delete""#), conflict),
            // Another key: another event, whatever else is the same.
            (event(""), r#"{"auditID":"a","stage":"Panic"}"#.into(), none),
            (event(""), event("").replace("05.678900", "05.678901"), none),
        ] {
            let mut window = Window::default();
            window.next(print(&prints, &earlier), 0, 0);
            assert_eq!(window.next(print(&prints, &newer), 1, 0), expected, "{earlier} {newer}");
        }
    }

    /// However it is written, and with or without its bodies: what API servers write takes the
    /// short way, other spellings the long one.
    #[test]
    fn captured_events_are_known_again() {
        let prints = Fingerprints::new();
        let mut with_bodies = 0;
        for text in captures::typical() {
            let event = Event::parse(text.as_bytes()).unwrap();
            let item = encode(&event, Form::Item);
            let mut without =
                Event { request_object: None, response_object: None, ..event.clone() };
            without.annotations.0.push((TRUNCATED.into(), "true".into()));
            without.annotations.0.sort();
            let (first, truncated) = (print(&prints, &text), encode(&without, Form::Line));
            assert_eq!(print(&prints, &item), first, "{text}");
            let spaced = |text: &str| text.replacen(':', " : ", 1);
            let [spaced, spaced_item] = [&text, &item].map(|text| print(&prints, &spaced(text)));
            assert_eq!(spaced, spaced_item, "{text}");
            let truncated = compare(&print(&prints, &truncated), &first);
            assert!(truncated.duplicate && !truncated.conflict, "{text}");
            with_bodies += usize::from(event.request_object.is_some());
            let mut other = event.clone();
            other.verb = Some("otherwise".into());
            assert!(compare(&print(&prints, &encode(&other, Form::Line)), &first).conflict);
        }
        assert!(with_bodies > 100, "{with_bodies}");
    }

    #[test]
    fn a_duplicate_of_the_second_is_no_conflict_with_the_first() {
        let prints = Fingerprints::new();
        let mut window = Window::default();
        let (first, second) = (event(r#","verb":"get""#), event(r#","verb":"create""#));
        window.next(print(&prints, &first), 0, 0);
        assert!(window.next(print(&prints, &second), 1, 0).conflict);
        let again = window.next(print(&prints, &second), 2, 0);
        assert_eq!(again, Marks { duplicate: true, conflict: false, twin: Some(1) });
        let first_again = window.next(print(&prints, &first), 3, 0);
        assert_eq!(first_again, Marks { duplicate: true, conflict: false, twin: Some(0) });
    }

    #[test]
    fn the_window_forgets_by_time_and_by_number() {
        let prints = Fingerprints::new();
        let once = print(&prints, &event(""));
        let mut window = Window::default();
        window.next(once, 0, 0);
        assert!(window.next(once, 1, WINDOW_MICROS).duplicate);
        assert_eq!(window.next(once, 2, 2 * WINDOW_MICROS + 1_000_000), Marks::default());
        for seq in 0..ENTRIES_MAX as u64 + 10 {
            window.next(prints.of_bytes(&seq.to_be_bytes()), seq, 0);
        }
        assert_eq!(window.seen.len(), ENTRIES_MAX);
        assert_eq!(window.newest.len(), ENTRIES_MAX);
        let bytes = window.seen.capacity() * size_of::<Seen>()
            // A byte beside each pair, and as many pairs again as an eighth is left free.
            + window.newest.capacity() / 7 * 8 * (size_of::<(u64, u64)>() + 1);
        assert!(bytes <= 82 << 20, "{bytes}");
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let prints = Fingerprints::new();
        let once = print(&prints, &event(""));
        let mut window = Window::default();
        window.next(once, 0, 0);
        window.next(once, 1, 0);
        window.take_back(1);
        assert_eq!(window.next(once, 1, 0).twin, Some(0));
        window.take_back(0);
        assert_eq!(window.next(once, 0, 0), Marks::default());
    }

    #[test]
    fn bytes_that_are_no_event_are_known_again() {
        let prints = Fingerprints::new();
        let mut window = Window::default();
        window.next(prints.of_bytes(b"junk"), 0, 0);
        assert!(window.next(prints.of_bytes(b"junk"), 1, 0).duplicate);
        assert_eq!(window.next(prints.of_bytes(b"other"), 2, 0), Marks::default());
    }
}
