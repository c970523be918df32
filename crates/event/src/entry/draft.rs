//! Entries of events that have no place yet: all of an entry but its head and its commitments, made
//! where the event is understood anyway, so that a leaf costs little more than its hash.
//! [`entry`](super::entry) makes the same bytes from an event alone.

use super::{
    BODY_NAMES, Bodies, Body, Content, ENTRY_BYTES_MAX, Place, RAW_BYTES_MAX, Salts, entry,
    oversized_members, raw_value, shown, tail,
};
use crate::encode::{Form, encode_into};
use crate::envelope::Event;
use crate::json::span_of;
use crate::split::Oversized;
use crate::time::Micros;

/// What stands before the content of an entry, after the members that all entries have.
const EVENT: &str = ",\"event\":";
const RAW: &str = ",\"raw\":";

/// The member that is committed to where bytes that are no event are too long to stand in an entry.
const RAW_NAME: &str = "raw";

/// Entries of a batch of events, in its order.
#[derive(Clone, Debug, Default)]
pub struct Drafts {
    text: String,
    rows: Vec<Row>,
}

/// One draft: where its text ends, and where in it commitments are missing.
#[derive(Clone, Copy, Debug)]
struct Row {
    end: usize,
    holes: [Option<Hole>; 2],
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    /// Offset within the draft.
    at: usize,
    /// What is committed to there.
    member: &'static str,
}

impl Drafts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Makes room for so many bytes of events that are to come.
    pub fn expect(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Adds an event, of whose bodies these, which are slices of its text, are committed to.
    pub fn push_event(&mut self, text: &str, committed: [Option<&str>; 2]) {
        let [request, response] = committed.map(|body| span_of(text, body?));
        let [first, second] = BODY_NAMES;
        let mut spans = [request.map(|span| (span, first)), response.map(|span| (span, second))];
        spans.sort_by_key(|span| span.as_ref().map(|(span, _)| span.start));
        let begin = self.text.len();
        self.text.push_str(EVENT);
        let mut holes = [None; 2];
        let mut from = 0;
        for (hole, (span, member)) in holes.iter_mut().zip(spans.into_iter().flatten()) {
            self.text.push_str(text.get(from..span.start).unwrap_or_default());
            *hole = Some(Hole { at: self.text.len() - begin, member });
            from = span.end;
        }
        self.text.push_str(text.get(from..).unwrap_or_default());
        self.end_row(holes);
    }

    /// Adds an event that is written as kube-apiserver does; these of its bodies are committed to.
    pub fn push_encoded(&mut self, event: &Event<'_>, form: Form, committed: [bool; 2]) {
        let begin = self.text.len();
        self.text.push_str(EVENT);
        let places = encode_into(&mut self.text, event, form, committed);
        let mut holes = [None; 2];
        for ((hole, place), member) in holes.iter_mut().zip(places).zip(BODY_NAMES) {
            *hole = place.map(|at| Hole { at: at - begin, member });
        }
        self.end_row(holes);
    }

    /// Adds bytes that are not an event.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        let hole = self.raw(bytes);
        self.end_row([hole, None]);
    }

    /// Adds what is left of an event that was too long.
    pub fn push_oversized(&mut self, oversized: &Oversized) {
        let hole = self.raw(&oversized.head);
        self.text.push_str(&oversized_members(oversized));
        self.end_row([hole, None]);
    }

    fn raw(&mut self, bytes: &[u8]) -> Option<Hole> {
        self.text.push_str(RAW);
        if bytes.len() > RAW_BYTES_MAX {
            return Some(Hole { at: RAW.len(), member: RAW_NAME });
        }
        self.text.push_str(&raw_value(bytes));
        None
    }

    fn end_row(&mut self, holes: [Option<Hole>; 2]) {
        self.rows.push(Row { end: self.text.len(), holes });
    }

    /// The drafts with the source they came from, and when: all that they have in common.
    pub fn received<'d>(
        &'d self,
        cluster: &'d str,
        source: &'d str,
        received: Micros,
    ) -> Received<'d> {
        let tail = tail(cluster, source, received);
        Received { drafts: self, cluster, source, at: received, tail }
    }

    fn row(&self, row: usize) -> Option<(&str, [Option<Hole>; 2])> {
        let begin = row.checked_sub(1).map_or(Some(0), |i| Some(self.rows.get(i)?.end))?;
        let Row { end, holes } = *self.rows.get(row)?;
        Some((self.text.get(begin..end)?, holes))
    }
}

/// Drafts of one source and time, which lack only their places.
#[derive(Debug)]
pub struct Received<'d> {
    drafts: &'d Drafts,
    cluster: &'d str,
    source: &'d str,
    at: Micros,
    tail: String,
}

impl Received<'_> {
    /// Writes the entry of a draft, by its number within the batch, in the place of `out`. `value`
    /// gives the values that are committed to, by the member's name.
    ///
    /// # Errors
    /// An event too long for an entry is not a JSON object.
    pub fn entry<'v>(
        &self,
        row: usize,
        seq: u64,
        salts: Salts<'_>,
        value: impl Fn(&str) -> &'v str,
        out: &mut Vec<u8>,
    ) -> Result<(), serde_json::Error> {
        let Some((text, holes)) = self.drafts.row(row) else { return Ok(()) };
        out.clear();
        out.extend_from_slice(b"{\"v\":1,\"seq\":");
        out.extend_from_slice(seq.to_string().as_bytes());
        out.extend_from_slice(self.tail.as_bytes());
        let mut from = 0;
        for Hole { at, member } in holes.into_iter().flatten() {
            out.extend_from_slice(text.get(from..at).unwrap_or_default().as_bytes());
            let commitment = salts.commit(seq, member, value(member));
            out.extend_from_slice(shown(&commitment).as_bytes());
            from = at;
        }
        out.extend_from_slice(text.get(from..).unwrap_or_default().as_bytes());
        out.push(b'}');
        if out.len() > ENTRY_BYTES_MAX {
            *out = self.long_entry(text, holes, seq, salts, value)?;
        }
        Ok(())
    }

    /// The entry of an event of which more than its bodies has to be committed to.
    fn long_entry<'v>(
        &self,
        text: &str,
        holes: [Option<Hole>; 2],
        seq: u64,
        salts: Salts<'_>,
        value: impl Fn(&str) -> &'v str,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let mut whole = String::with_capacity(text.len());
        let mut from = EVENT.len();
        for Hole { at, member } in holes.into_iter().flatten() {
            whole.push_str(text.get(from..at).unwrap_or_default());
            whole.push_str(value(member));
            from = at;
        }
        whole.push_str(text.get(from..).unwrap_or_default());
        let body = |name| {
            let is_committed = holes.iter().flatten().any(|hole| hole.member == name);
            if is_committed { Body::Committed } else { Body::AsItIs }
        };
        let [request, response] = BODY_NAMES.map(body);
        let Received { cluster, source, at: received, .. } = *self;
        let place = Place { seq, cluster, source, received };
        let bodies = Bodies { request, response };
        entry(&place, Content::Event { text: &whole, bodies }, salts)
    }
}
