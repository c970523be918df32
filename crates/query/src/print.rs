//! Prints a tree in its one canonical form, with quotes only where the parser needs them.
//!
//! A form that reads back as something else would be a wrong search, so the rules here are the
//! parser's, turned around.

use std::fmt::{self, Formatter, Write};

use whodid_event::resource;

use crate::{
    Comparison, Expr, Family, Field, Known, ObjectRef, Query, Segment, Term, Test, Value, Wildcard,
    parse::{index, number},
};

impl fmt::Display for Query {
    /// Prints the canonical form; that of the query for everything is empty.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.expr {
            Expr::All => Ok(()),
            expr => write!(f, "{expr}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All => f.write_str("*"),
            Expr::And(parts) => joined(f, self, parts, " "),
            Expr::Or(parts) => joined(f, self, parts, " OR "),
            Expr::Not(inner) => {
                f.write_str("-")?;
                part(f, self, inner)
            }
            Expr::Term(term) => write!(f, "{term}"),
        }
    }
}

fn joined(f: &mut Formatter<'_>, whole: &Expr, parts: &[Expr], separator: &str) -> fmt::Result {
    for (index, inner) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        part(f, whole, inner)?;
    }
    Ok(())
}

fn part(f: &mut Formatter<'_>, whole: &Expr, part: &Expr) -> fmt::Result {
    if needs_parentheses(whole, part) { write!(f, "({part})") } else { write!(f, "{part}") }
}

fn needs_parentheses(whole: &Expr, part: &Expr) -> bool {
    matches!(
        (whole, part),
        (Expr::And(_), Expr::Or(_)) | (Expr::Not(_), Expr::And(_) | Expr::Or(_) | Expr::Not(_))
    )
}

/// Returns how many parentheses stand in each other in the canonical form.
pub(crate) fn nesting(expr: &Expr) -> usize {
    let inner = |part| nesting(part) + usize::from(needs_parentheses(expr, part));
    match expr {
        Expr::All | Expr::Term(_) => 0,
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(inner).max().unwrap_or_default(),
        Expr::Not(part) => inner(part),
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let place = match self.field {
            Field::Text => Place::Word,
            Field::Known(Known::Resource) => Place::Resource,
            Field::Body(..) => Place::Body,
            Field::Known(_) | Field::Annotation(_) => Place::Value,
        };
        if self.field != Field::Text {
            write!(f, "{}:", self.field)?;
        }
        match &self.test {
            Test::Exists => f.write_str("*"),
            Test::Is(value) => self::value(f, value, place),
            Test::Matches(pattern) => wildcard(f, pattern, place),
            Test::Compare(comparison, operand) => {
                write!(f, "{comparison}")?;
                value(f, operand, Place::Operand)
            }
            Test::Within(low, high) => {
                low.iter().try_for_each(|low| value(f, low, place))?;
                f.write_str("..")?;
                high.iter().try_for_each(|high| value(f, high, place))
            }
            Test::Cidr(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Test::Cidr(network) => write!(f, "{network}"),
            Test::Words(words) => wildcard(f, &words.pattern, place),
        }
    }
}

impl fmt::Display for Field {
    /// Prints what stands before the colon; nothing for [`Field::Text`].
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Field::Known(known) => f.write_str(known.name()),
            Field::Annotation(key) => {
                write!(f, "{}.", Family::Annotation.name())?;
                literal(f, key, Place::Key)
            }
            Field::Body(side, path) => {
                f.write_str(Family::Body(*side).name())?;
                path.iter().try_for_each(|segment| {
                    f.write_str(".")?;
                    match segment {
                        Segment::Key(key) => literal(f, key, Place::Step),
                        Segment::Index(index) => write!(f, "{index}"),
                        Segment::Any => f.write_str("*"),
                    }
                })
            }
            Field::Text => Ok(()),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        })
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            wildcard(f, namespace, Place::Part)?;
            f.write_str("/")?;
        }
        wildcard(f, &self.resource, Place::Resource)?;
        f.write_str("/")?;
        wildcard(f, &self.name, Place::Part)
    }
}

fn value(f: &mut Formatter<'_>, value: &Value, place: Place) -> fmt::Result {
    match value {
        Value::Text(text) => literal(f, text, place),
        Value::Int(int) => write!(f, "{int}"),
        // Unlike `Display`, this keeps `1.0` apart from `1` and writes large exponents short.
        Value::Float(float) => write!(f, "{float:?}"),
        Value::Bool(flag) => write!(f, "{flag}"),
        Value::Time(moment) => write!(f, "{moment}"),
        Value::Object(object) => write!(f, "{object}"),
        Value::EventId { cluster, seq } => write!(f, "{cluster}/{seq}"),
    }
}

fn wildcard(f: &mut Formatter<'_>, pattern: &Wildcard, place: Place) -> fmt::Result {
    if let Some(text) = pattern.as_literal() {
        return literal(f, text, place);
    }
    // Only a whole name is looked up among the short names.
    let place = if place == Place::Resource { Place::ResourcePattern } else { place };
    for (index, part) in pattern.parts().iter().enumerate() {
        if index > 0 {
            f.write_str("*")?;
        }
        if !part.is_empty() {
            literal(f, part, place)?;
        }
    }
    Ok(())
}

/// Where a text stands, which decides what it must not look like without quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Without a field.
    Word,
    /// After a field's colon.
    Value,
    /// After the colon of a path.
    Body,
    /// After a comparison.
    Operand,
    /// As a resource type.
    Resource,
    /// As a resource type with a star in it.
    ResourcePattern,
    /// As a part of an object.
    Part,
    /// As an annotation's key.
    Key,
    /// As a step of a path.
    Step,
}

fn literal(f: &mut Formatter<'_>, text: &str, place: Place) -> fmt::Result {
    if reads_back(text, place) {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for ch in text.chars() {
        if matches!(ch, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(ch)?;
    }
    f.write_str("\"")
}

/// Whether the parser takes `text` for itself here when it stands without quotes.
fn reads_back(text: &str, place: Place) -> bool {
    let is_plain = |ch: char| !ch.is_whitespace() && !ch.is_control() && !"\"()*".contains(ch);
    let is_unchanged = match place {
        Place::Word => {
            !text.contains(':')
                && !text.starts_with('-')
                && text.contains(char::is_alphanumeric)
                && !matches!(text, "AND" | "OR" | "NOT")
        }
        Place::Value => true,
        Place::Body => !text.contains(".."),
        Place::Operand => number(text).is_none(),
        Place::Resource => {
            !text.contains(['.', '/'])
                && resource::canonical(text).is_none_or(|kind| kind.plural == text)
        }
        Place::ResourcePattern => !text.contains(['.', '/']),
        Place::Part => !text.contains('/'),
        Place::Key => !text.contains(':'),
        Place::Step => !text.contains(['.', ':', '[']) && index(text).is_none(),
    };
    is_unchanged
        && !text.is_empty()
        && !text.starts_with(['<', '>', '=', '!'])
        && text.chars().all(is_plain)
}
