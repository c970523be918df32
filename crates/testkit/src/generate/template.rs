//! Captured events cut into the text that stays and the values that are redrawn.

use std::ops::Range;

/// What a value is, and so how it is redrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AuditId,
    ResourceVersion,
    Uid,
    /// When the request was received.
    Received,
    /// When the stage was reached.
    Reached,
    /// Another instant, a little earlier, and whether it has a fraction.
    Earlier {
        fraction: bool,
    },
    /// Hash of a replica set and suffix of a pod, with the hyphens before both.
    Pod,
    Node,
    Address,
    Namespace,
    Person,
    Sha256,
}

/// A captured event, cut. A value that occurred twice in it is one slot.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) slots: Vec<Kind>,
    /// The event as it was.
    pub(super) answered: Form,
    /// The event of the same request at its receipt, where the captured one is its completion.
    pub(super) received: Option<Form>,
}

/// A text with places for values.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    /// What stands behind the last piece.
    pub(super) tail: Range<usize>,
}

/// Some text and the slot behind it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: Range<usize>,
    pub(super) slot: usize,
}

impl Template {
    pub(super) fn cut(line: &str) -> Template {
        let mut slots = Vec::new();
        let answered = Form::cut(line.to_owned(), &mut slots);
        let mut received = receipt(line).map(|line| Form::cut(line, &mut slots));
        let slots: Vec<Kind> = slots.into_iter().map(|(kind, _)| kind).collect();
        // At the receipt, both timestamps are that of the receipt.
        let receipt = slots.iter().position(|kind| *kind == Kind::Received);
        for piece in received.iter_mut().flat_map(|form| &mut form.pieces) {
            if slots[piece.slot] == Kind::Reached {
                piece.slot = receipt.expect("every event has both timestamps");
            }
        }
        Template { slots, answered, received }
    }
}

impl Form {
    fn cut(text: String, slots: &mut Vec<(Kind, String)>) -> Form {
        let mut pieces = Vec::new();
        let (mut from, mut at) = (0, 0);
        while at < text.len() {
            let Some((kind, value)) = value_at(text.as_bytes(), at) else {
                at += 1;
                continue;
            };
            let found = (kind, text[value.clone()].to_owned());
            let slot = slots.iter().position(|slot| *slot == found).unwrap_or_else(|| {
                slots.push(found);
                slots.len() - 1
            });
            pieces.push(Piece { text: from..value.start, slot });
            (from, at) = (value.end, value.end);
        }
        let tail = from..text.len();
        Form { text, pieces, tail }
    }
}

/// The event that was logged when the request was received, made from that of its completion.
fn receipt(line: &str) -> Option<String> {
    const COMPLETED: &str = "\"stage\":\"ResponseComplete\"";
    const LATER: [&str; 4] = ["responseStatus", "requestObject", "responseObject", "annotations"];
    let mut kept = members(line);
    kept.retain(|member| !LATER.iter().any(|name| member[1..].starts_with(name)));
    let stage = kept.iter_mut().find(|member| **member == COMPLETED)?;
    *stage = "\"stage\":\"RequestReceived\"";
    Some(format!("{{{}}}", kept.join(",")))
}

/// The members of the top level of a JSON object without white space, each as `"name":value`.
pub(super) fn members(object: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut in_string, mut escaped) = (0, 1, false, false);
    for (at, byte) in object.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b',' if depth == 1 => {
                found.push(&object[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The value that begins at `at`, or behind the key that does.
fn value_at(text: &[u8], at: usize) -> Option<(Kind, Range<usize>)> {
    const KEYED: [(&[u8], Kind); 4] = [
        (b"\"auditID\":\"", Kind::AuditId),
        (b"\"resourceVersion\":\"", Kind::ResourceVersion),
        (b"\"requestReceivedTimestamp\":\"", Kind::Received),
        (b"\"stageTimestamp\":\"", Kind::Reached),
    ];
    let rest = &text[at..];
    match rest[0] {
        b'"' => KEYED.into_iter().find_map(|(key, kind)| {
            let value = rest.strip_prefix(key)?;
            let start = at + key.len();
            Some((kind, start..start + value.iter().position(|byte| *byte == b'"')?))
        }),
        b'-' => pod(rest).map(|length| (Kind::Pod, at..at + length)),
        first if first.is_ascii_alphanumeric() && !is_word(text[..at].last()) => {
            word(rest).map(|(kind, length)| (kind, at..at + length))
        }
        _ => None,
    }
}

/// The kind and length of the value that begins like a word at the start of `text`.
fn word(text: &[u8]) -> Option<(Kind, usize)> {
    const SHAPES: [(&str, Kind); 4] = [
        ("hhhhhhhh-hhhh-4hhh-hhhh-hhhhhhhhhhhh", Kind::Uid),
        ("dddd-dd-ddTdd:dd:dd.ddddddZ", Kind::Earlier { fraction: true }),
        ("dddd-dd-ddTdd:dd:ddZ", Kind::Earlier { fraction: false }),
        ("127.0.0.1", Kind::Address),
    ];
    if let Some((shape, kind)) = SHAPES.into_iter().find(|(shape, _)| is_shaped(text, shape)) {
        return Some((kind, shape.len()));
    }
    let length = text.iter().position(|byte| !is_word(Some(byte))).unwrap_or(text.len());
    let (word, behind) = text.split_at(length);
    match word {
        // As a key of an object it is no name.
        b"shop" | b"payments" | b"data" if !is_key(behind) => Some((Kind::Namespace, length)),
        _ if word.starts_with(b"scratch") && digits(&word[7..]) == length - 7 => {
            Some((Kind::Namespace, length))
        }
        b"alice" | b"bob" if behind.starts_with(b"@example.com") => {
            Some((Kind::Person, length + "@example.com".len()))
        }
        b"node" if behind.starts_with(b"-") && digits(&behind[1..]) > 0 => {
            Some((Kind::Node, length + 1 + digits(&behind[1..])))
        }
        b"10" => Some((Kind::Address, length + three_more(behind)?)),
        _ if length == 64 && is_shaped(word, &"h".repeat(64)) => Some((Kind::Sha256, length)),
        _ => None,
    }
}

/// Compares text with a shape of digits (`d`), hexadecimal digits (`h`) and itself.
fn is_shaped(text: &[u8], shape: &str) -> bool {
    text.len() >= shape.len()
        && text.iter().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'h' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            _ => *byte == shape,
        })
}

/// The length of `-HASH-SUFFIX`, as replica sets and their pods have it behind their names.
fn pod(text: &[u8]) -> Option<usize> {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let hash = text[1..].iter().take_while(|byte| is_plain(byte)).count();
    let behind = text.get(1 + hash..)?.strip_prefix(b"-")?;
    let suffix = behind.iter().take_while(|byte| is_plain(byte)).count();
    let is_suffix = suffix == 5 && behind[..5].iter().all(|byte| SUFFIX.contains(byte));
    ((8..=10).contains(&hash) && is_suffix).then_some(1 + hash + 1 + suffix)
}

/// The letters and digits Kubernetes makes names of.
pub(super) const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The length of three numbers, each behind a dot.
fn three_more(text: &[u8]) -> Option<usize> {
    (0..3).try_fold(0, |length, _| {
        let count = digits(text[length..].strip_prefix(b".")?);
        (count > 0).then_some(length + 1 + count)
    })
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn is_key(behind: &[u8]) -> bool {
    behind.starts_with(b"\":") || behind.starts_with(b"\\\":")
}
