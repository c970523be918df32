//! Reads what has an order: numbers and times, their comparisons and ranges.

use crate::{Comparison, Error, Moment, Test, Value, error::excerpt, lex::Chunk};

/// Reads a comparison, a range or a single value, each value with `read`.
pub(super) fn ordered(
    value: Chunk<'_>,
    read: fn(Chunk<'_>) -> Result<Value, Error>,
) -> Result<Test, Error> {
    if let Some((comparison, operand)) = comparison(value)? {
        return Ok(Test::Compare(comparison, read(operand)?));
    }
    let Some((low, high)) = value.split_range() else { return Ok(Test::Is(read(value)?)) };
    range(value, low, high, read)
}

fn range(
    value: Chunk<'_>,
    low: Chunk<'_>,
    high: Chunk<'_>,
    read: fn(Chunk<'_>) -> Result<Value, Error>,
) -> Result<Test, Error> {
    let end = |chunk: Chunk<'_>| (!chunk.is_empty()).then(|| read(chunk)).transpose();
    let (low, high) = (end(low)?, end(high)?);
    match (&low, &high) {
        (None, None) => Err(Error::new(value.span(), "a range without ends")
            .with_hint("write `400..499`, or `400..` or `..499` for an open end")),
        (Some(first), Some(last)) if is_after(first, last) => {
            Err(Error::new(value.span(), "the range ends before it starts")
                .with_hint("swap its ends"))
        }
        _ => Ok(Test::Within(low, high)),
    }
}

fn is_after(first: &Value, last: &Value) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "it only finds ends that are swapped")]
    let float = |value: &Value| match *value {
        Value::Int(int) => Some(int as f64),
        Value::Float(float) => Some(float),
        _ => None,
    };
    match (first, last) {
        (Value::Int(first), Value::Int(last)) => first > last,
        (Value::Time(first @ Moment::At(..)), Value::Time(last @ Moment::At(..))) => {
            first.resolve(0).0 >= last.resolve(0).1
        }
        (Value::Time(Moment::Ago(first)), Value::Time(Moment::Ago(last))) => first < last,
        _ => float(first) > float(last),
    }
}

/// Reads a whole number.
pub(super) fn int(value: Chunk<'_>) -> Result<Value, Error> {
    number(&value.text()).filter(|number| matches!(number, Value::Int(_))).ok_or_else(|| {
        Error::new(value.span(), format!("`{}` is not a whole number", excerpt(&value.text())))
            .with_hint("write a number, `>=400` or a range such as `400..499`")
    })
}

/// Reads a time.
pub(super) fn time(value: Chunk<'_>) -> Result<Value, Error> {
    Moment::parse(&value.text()).map(Value::Time).ok_or_else(|| {
        Error::new(value.span(), format!("`{}` is not a time", excerpt(&value.text()))).with_hint(
            "write 2026-11-22, 2026-11-22T17:25 or 2026-11-22T17:25:03Z in UTC, or how long ago: \
             -2h, -15m, -7d",
        )
    })
}

/// Returns the decimal number that `text` spells, with a fraction or an exponent if need be: a
/// [`Value::Int`] where it fits, else a finite [`Value::Float`].
pub(crate) fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|ch: char| ch.is_ascii_digit()) {
        return None;
    }
    if let Ok(int) = text.parse() {
        return Some(Value::Int(int));
    }
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(Value::Float)
}

/// Reads the test of a path into a body, where a value is a number if it can be one.
pub(super) fn in_body(value: Chunk<'_>) -> Result<Test, Error> {
    if let Some((comparison, operand)) = comparison(value)? {
        if operand.count('*') > 0 {
            return Err(Error::new(operand.span(), "a wildcard cannot be compared")
                .with_hint("a `*` in quotes is no wildcard but the character itself"));
        }
        let text = operand.text();
        let number = if operand.is_bare() { number(&text) } else { None };
        return Ok(Test::Compare(comparison, number.unwrap_or(Value::Text(text))));
    }
    // `../etc/passwd` is a text with two dots: only numbers make a range.
    let is_number = |end: Chunk<'_>| end.is_bare() && number(&end.text()).is_some();
    match value.split_range() {
        Some((low, high))
            if (is_number(low) && (high.is_empty() || is_number(high)))
                || (low.is_empty() && is_number(high)) =>
        {
            range(value, low, high, |end| {
                let text = end.text();
                Ok(number(&text).unwrap_or(Value::Text(text)))
            })
        }
        _ => Ok(Test::from(value.wildcard())),
    }
}

/// Takes the comparison off the front of a value.
pub(super) fn comparison(value: Chunk<'_>) -> Result<Option<(Comparison, Chunk<'_>)>, Error> {
    let (strict, or_equal, rest) = if let Some(rest) = value.strip_prefix('>') {
        (Comparison::Greater, Comparison::GreaterOrEqual, rest)
    } else if let Some(rest) = value.strip_prefix('<') {
        (Comparison::Less, Comparison::LessOrEqual, rest)
    } else {
        return Ok(None);
    };
    let (comparison, operand) = match rest.strip_prefix('=') {
        Some(operand) => (or_equal, operand),
        None => (strict, rest),
    };
    if operand.is_empty() {
        return Err(Error::new(
            value.span(),
            format!("nothing to compare with after `{comparison}`"),
        )
        .with_hint("write the value right after it, as in code:>=400"));
    }
    Ok(Some((comparison, operand)))
}
