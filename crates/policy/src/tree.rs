//! YAML, and JSON as a part of it, as a tree whose every node knows its place; plain scalars mean
//! what they mean to kube-apiserver, which reads YAML 1.1 and goes on with JSON. What the tree has
//! to look like is for others.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use crate::model::At;

/// Depth of a document; a policy needs six.
const DEPTH_MAX: usize = 64;

/// Nodes of a document, those that aliases repeat included.
const NODES_MAX: usize = 200_000;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// What JSON can be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Node>),
    /// Keys with their places, in order; a key can be there twice.
    Map(Vec<(String, At, Node)>),
}

impl Value {
    /// What it is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: At,
    pub(crate) what: String,
}

/// Reads the first document of a text; what follows is not looked at, as kube-apiserver does not.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { events, anchors: HashMap::new(), nodes: 0 };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd | Event::DocumentEnd => {
                return Ok(Node { at: at(&span), value: Value::Null });
            }
            event => return reader.node(event, span, 0),
        }
    }
}

struct Reader<'t> {
    events: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

fn at(span: &Span) -> At {
    At { line: span.start.line(), column: span.start.col() + 1 }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = At { line: error.marker().line(), column: error.marker().col() + 1 };
                Err(Fault { at, what: format!("it is no YAML: {}", error.info()) })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Fault> {
        let at = at(&span);
        self.count(1, at)?;
        if depth > DEPTH_MAX {
            return Err(Fault { at, what: format!("it is nested deeper than {DEPTH_MAX}") });
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let text = text.into_owned();
                (anchor, if is_plain { plain(text) } else { Value::Text(text) })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, Value::List(self.list(depth)?)),
            Event::MappingStart(_, anchor, _) => (anchor, Value::Map(self.map(depth)?)),
            Event::Alias(of) => {
                let Some(known) = self.anchors.get(&of).cloned() else {
                    return Err(Fault { at, what: "the alias has no anchor".into() });
                };
                self.count(size(&known), at)?;
                return Ok(known);
            }
            _ => return Err(Fault { at, what: "a value is missing here".into() }),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, at: At) -> Result<(), Fault> {
        self.nodes += more;
        let is_small = self.nodes <= NODES_MAX;
        is_small.then_some(()).ok_or_else(|| Fault {
            at,
            what: format!("it has more than {NODES_MAX} values, aliases included"),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::SequenceEnd => return Ok(items),
                event => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, At, Node)>, Fault> {
        let mut members = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let at = at(&span);
            let Event::Scalar(key, style, ..) = event else {
                return Err(Fault { at, what: "a key has to be text".into() });
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if key == "<<" && style == ScalarStyle::Plain {
                merged.push(value);
            } else {
                members.push((key.into_owned(), at, value));
            }
        }
        merge(&mut members, merged);
        Ok(members)
    }
}

/// Adds what `<<` brings and is not there (YAML 1.1 merge keys).
fn merge(members: &mut Vec<(String, At, Node)>, merged: Vec<Node>) {
    for node in merged {
        let maps = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(more) = map.value else { continue };
            for member in more {
                if !members.iter().any(|(key, ..)| *key == member.0) {
                    members.push(member);
                }
            }
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(members) => 1 + members.iter().map(|(.., node)| size(node)).sum::<usize>(),
        _ => 1,
    }
}

/// A scalar without quotes, by YAML 1.1.
fn plain(text: String) -> Value {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        number if is_number(number) => Value::Number,
        _ => Value::Text(text),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']).replace('_', "");
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let radix = |prefix: &str, radix: u32| {
        digits.strip_prefix(prefix).is_some_and(|rest| u64::from_str_radix(rest, radix).is_ok())
    };
    let is_special = matches!(digits.as_str(), ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN");
    is_special
        || begins && digits.parse::<f64>().is_ok()
        || radix("0x", 16)
        || radix("0b", 2)
        || radix("0o", 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_places() {
        let node = parse("a:\n  - b: [1, \"1\", yes]\n").unwrap();
        let Value::Map(members) = node.value else { panic!() };
        let (key, at, list) = &members[0];
        assert_eq!((key.as_str(), at.line, at.column), ("a", 1, 1));
        let Value::List(items) = &list.value else { panic!() };
        let Value::Map(inner) = &items[0].value else { panic!() };
        let Value::List(values) = &inner[0].2.value else { panic!() };
        assert_eq!((values[1].at.line, values[1].at.column), (2, 12));
        let kinds: Vec<_> = values.iter().map(|node| node.value.kind()).collect();
        assert_eq!(kinds, ["a number", "text", "a boolean"]);
    }

    #[test]
    fn aliases_and_merges_are_followed_and_bounded() {
        let node = parse("x: &x {a: b}\ny: {<<: *x, c: d}\nz: *x\n").unwrap();
        let Value::Map(members) = &node.value else { panic!() };
        let Value::Map(y) = &members[1].2.value else { panic!() };
        assert_eq!(y.iter().map(|(key, ..)| key.as_str()).collect::<Vec<_>>(), ["c", "a"]);
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..9 {
            let list = vec![format!("*a{}", i - 1); 10].join(",");
            bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(parse(&bomb).unwrap_err().what.contains("values"));
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse("a: [").is_err());
        assert_eq!(parse("").unwrap().value, Value::Null);
    }
}
