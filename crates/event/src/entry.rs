//! The bytes of a log leaf: one event with its place in the log, bodies as salted commitments.
//! The format is specified in `docs/format/entry.md`, with test vectors.
//!
//! Leaf hashes and proofs belong to the tree; keeping keys and values belongs to the store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::json::{self, Pairs, span_of};
use crate::split::Oversized;
use crate::time::{self, Micros};

mod draft;

pub use draft::{Drafts, Received};

/// An entry is at most this long, as a leaf of C2SP tlog-tiles is (`uint16` length).
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Bytes that are no event stand in the entry themselves up to this length; longer ones are
/// committed. The limit is on its own, so that it does not depend on the entry's place.
pub const RAW_BYTES_MAX: usize = 32_768;

/// This many leaves share one block key.
pub const BLOCK_LEAVES: u64 = 256;

/// 32 random bytes from which the salts of [`BLOCK_LEAVES`] leaves are made.
pub type BlockKey = [u8; 32];

/// Makes one commitment untestable for whoever does not have it.
pub type Salt = [u8; 16];

/// Salts that outlive the key of their block, by leaf and member.
pub type KeptSalts = BTreeMap<u64, BTreeMap<String, Salt>>;

/// Where the salts of a leaf come from.
#[derive(Clone, Copy, Debug)]
pub enum Salts<'k> {
    /// From the key of its block.
    Key(&'k BlockKey),
    /// From what was kept of them when that key was destroyed.
    Kept(&'k KeptSalts),
}

impl Salts<'_> {
    /// The salt of one member of one leaf; `None` if it was destroyed.
    pub fn of(&self, seq: u64, name: &str) -> Option<Salt> {
        match self {
            Salts::Key(key) => Some(salt(key, seq, name)),
            Salts::Kept(kept) => kept.get(&seq)?.get(name).copied(),
        }
    }

    /// The commitment to a value. One whose salt was destroyed cannot be made any more; what comes
    /// back then is not what the leaf was signed with, which is for `verify` to find.
    fn commit(&self, seq: u64, name: &str, value: &str) -> Commitment {
        commitment(&self.of(seq, name).unwrap_or_default(), name, value.as_bytes())
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The leaf's index in the log of its cluster, from 0, without gaps.
    pub seq: u64,
    /// The cluster, a DNS label.
    pub cluster: &'a str,
    /// Who delivered it, `webhook/NAME`, `file/NAME` or `import/FILE`.
    pub source: &'a str,
    /// When it was taken in; never smaller than that of the leaf before.
    pub received: Micros,
}

/// What an entry holds.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// An event and which of its members are committed whatever its size.
    Event {
        /// The event as it came.
        text: &'a str,
        /// How its bodies stand in the entry.
        bodies: Bodies,
    },
    /// Bytes that are not an event.
    Raw(&'a [u8]),
    /// What is left of an event that was too long.
    Oversized(&'a Oversized),
}

/// How `requestObject` and `responseObject` stand in an entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bodies {
    /// The request body.
    pub request: Body,
    /// The response body.
    pub response: Body,
}

/// How one body stands in an entry.
#[derive(Clone, Copy, Debug, Default)]
pub enum Body {
    /// It is there and committed (or it is not there at all).
    #[default]
    Committed,
    /// It stands in the entry as it is: the placeholder of one that was redacted as a whole, or the
    /// commitment to one whose value is gone, as [`shown`] writes it.
    AsItIs,
}

/// HMAC-SHA256 of a member's name and value under its salt.
pub type Commitment = [u8; 32];

/// Returns the salt of one member of one leaf.
pub fn salt(key: &BlockKey, seq: u64, name: &str) -> Salt {
    let mut mac = hmac(key);
    mac.update(&seq.to_be_bytes());
    mac.update(name.as_bytes());
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut salt = [0; 16];
    salt.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    salt
}

/// Returns the commitment to a member's value, the bytes of its JSON text.
pub fn commitment(salt: &Salt, name: &str, value: &[u8]) -> Commitment {
    let mut mac = hmac(salt);
    mac.update(name.as_bytes());
    mac.update(&[0]);
    mac.update(value);
    mac.finalize().into_bytes().into()
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 §2).
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

/// Returns the bytes of a leaf.
///
/// # Errors
/// The event of [`Content::Event`] is not a JSON object.
pub fn entry(
    place: &Place<'_>,
    content: Content<'_>,
    salts: Salts<'_>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = head(place);
    match content {
        Content::Event { text, bodies } => {
            let commit = |name: &str, value: &str| salts.commit(place.seq, name, value);
            let members = json::members(text)?;
            out.push_str(",\"event\":");
            // One byte more for the brace that closes the entry.
            let room = ENTRY_BYTES_MAX.saturating_sub(out.len() + 1);
            out.push_str(&json::splice(text, &commitments(text, &members, bodies, room, commit)));
        }
        Content::Raw(bytes) => raw(&mut out, place, salts, bytes),
        Content::Oversized(oversized) => {
            raw(&mut out, place, salts, &oversized.head);
            out.push_str(&oversized_members(oversized));
        }
    }
    out.push('}');
    Ok(out.into_bytes())
}

fn head(place: &Place<'_>) -> String {
    let tail = tail(place.cluster, place.source, place.received);
    format!(r#"{{"v":1,"seq":{}{tail}"#, place.seq)
}

/// What follows the place in the members that all entries have.
fn tail(cluster: &str, source: &str, received: Micros) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let (cluster, source) = (text(cluster), text(source));
    let received = time::format(received);
    format!(r#","cluster":{cluster},"source":{source},"received":"{received}""#)
}

fn raw(out: &mut String, place: &Place<'_>, salts: Salts<'_>, bytes: &[u8]) {
    let value = raw_value(bytes);
    out.push_str(",\"raw\":");
    if bytes.len() > RAW_BYTES_MAX {
        out.push_str(&shown(&salts.commit(place.seq, "raw", &value)));
    } else {
        out.push_str(&value);
    }
}

fn raw_value(bytes: &[u8]) -> String {
    format!("\"{}\"", BASE64.encode(bytes))
}

/// What an entry says of an event that was too long, besides its beginning.
fn oversized_members(oversized: &Oversized) -> String {
    let sha256 = oversized.sha256.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _written = write!(hex, "{byte:02x}");
        hex
    });
    format!(",\"bytes\":{},\"sha256\":\"{sha256}\"", oversized.bytes)
}

/// How a committed value stands in the entry.
pub fn shown(commitment: &Commitment) -> String {
    format!(r#"{SHOWN_BEGIN}{}"}}"#, BASE64.encode(commitment))
}

const SHOWN_BEGIN: &str = r#"{"$c":""#;

/// The members whose values an entry commits to, `raw` included. A client may have written
/// something that looks the same; that is among them, too.
///
/// # Errors
/// It is no entry.
pub fn committed(entry: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let members = serde_json::from_slice::<Pairs<'_, &RawValue>>(entry)?.0;
    let event = members.iter().find(|(name, _)| &**name == "event");
    let of_event = event.map(|(_, event)| json::members(event.get())).transpose()?;
    let of_event = of_event.into_iter().flat_map(|members| members.0);
    let is_shown = |value: &RawValue| value.get().starts_with(SHOWN_BEGIN);
    let shown = members.into_iter().filter(|(name, _)| &**name == "raw").chain(of_event);
    Ok(shown.filter(|(_, value)| is_shown(value)).map(|(name, _)| name.to_string()).collect())
}

/// The replacements that turn an event into its place in the entry: bodies always, then the
/// largest other value of the top level, the first of equals, until the text fits into `room`.
fn commitments(
    text: &str,
    members: &Pairs<'_, &RawValue>,
    bodies: Bodies,
    room: usize,
    commit: impl Fn(&str, &str) -> Commitment,
) -> Vec<(Range<usize>, String)> {
    const SHOWN_BYTES: usize = r#"{"$c":""}"#.len() + 44;
    let mut edits = Vec::new();
    let mut rest = Vec::new();
    let mut length = text.len();
    for (name, value) in &members.0 {
        let Some(span) = span_of(text, value.get()) else { continue };
        let body = match &**name {
            "requestObject" => Some(bodies.request),
            "responseObject" => Some(bodies.response),
            _ => None,
        };
        let shown = match body {
            Some(Body::Committed) => shown(&commit(name, value.get())),
            Some(Body::AsItIs) | None => {
                rest.push((span, name));
                continue;
            }
        };
        length = length - span.len() + shown.len();
        edits.push((span, shown));
    }
    // Stable: of equal lengths the first in the text goes first.
    rest.sort_by_key(|(span, _)| std::cmp::Reverse(span.len()));
    for (span, name) in rest {
        if length <= room || span.len() <= SHOWN_BYTES {
            break;
        }
        let value = text.get(span.clone()).unwrap_or_default();
        length = length - span.len() + SHOWN_BYTES;
        edits.push((span, shown(&commit(name, value))));
    }
    edits.sort_by_key(|(span, _)| span.start);
    edits
}

/// Returns an event's text with the values of its committed bodies cut out, for a store that keeps
/// them elsewhere; [`with_bodies`] is the way back.
///
/// # Errors
/// `text` is not a JSON object.
pub fn without_bodies(text: &str, committed: [bool; 2]) -> Result<String, serde_json::Error> {
    let edits = body_spans(text, committed)?.map(|span| (span, CUT.to_owned())).collect::<Vec<_>>();
    Ok(json::splice(text, &edits))
}

/// Returns the text that [`without_bodies`] was given.
///
/// # Errors
/// `text` is not a JSON object.
pub fn with_bodies<'t>(
    text: &'t str,
    bodies: [Option<&str>; 2],
) -> Result<Cow<'t, str>, serde_json::Error> {
    if bodies == [None, None] {
        return Ok(Cow::Borrowed(text));
    }
    let members = json::members(text)?;
    let edits: Vec<_> = members
        .0
        .iter()
        .filter_map(|(name, value)| {
            let i = BODY_NAMES.iter().position(|body| *body == &**name)?;
            let body = (*bodies.get(i)?)?;
            Some((span_of(text, value.get())?, body.to_owned()))
        })
        .collect();
    Ok(Cow::Owned(json::splice(text, &edits)))
}

/// The members of an event that hold bodies.
pub const BODY_NAMES: [&str; 2] = ["requestObject", "responseObject"];

/// Stands where a body was cut out; its place alone says that it was, never its text.
const CUT: &str = "{}";

fn body_spans(
    text: &str,
    wanted: [bool; 2],
) -> Result<impl Iterator<Item = Range<usize>>, serde_json::Error> {
    let members = json::members(text)?;
    Ok(members.0.into_iter().filter_map(move |(name, value)| {
        let i = BODY_NAMES.iter().position(|body| *body == &*name)?;
        wanted.get(i).filter(|wanted| **wanted)?;
        span_of(text, value.get())
    }))
}

#[cfg(test)]
mod tests;
