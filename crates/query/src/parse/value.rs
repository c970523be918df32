//! Reads what stands after the colon, and checks that it suits the field.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    object::{object, resource_type},
    ordered::{comparison, in_body, int, ordered, time},
};
use crate::{
    Error, Expr, Field, Kind, Moment, Term, Test, Value, WILDCARDS_MAX, Words, error::excerpt,
    lex::Chunk, suggest::nearest,
};

/// The longest label of a DNS name, such as a cluster's.
const LABEL_BYTES_MAX: usize = 63;

/// Returns the condition that `field:value` is: one term, or several in an [`Expr::And`].
pub(super) fn value(field: &Field, value: Chunk<'_>) -> Result<Expr, Error> {
    check(field, value)?;
    if value.is_star() {
        return Ok(match field {
            Field::Text => Expr::All,
            _ => term(field, Test::Exists),
        });
    }
    let test = match field {
        Field::Known(known) => match known.kind() {
            Kind::Text | Kind::Texts => text(field, value),
            Kind::OneOf(list) => one_of(field, list, value),
            Kind::Int => ordered(value, int),
            Kind::Bool => boolean(field, value),
            Kind::Time => span(field, value),
            Kind::Addresses => address(field, value),
            Kind::EventId => event_id(field, value),
            Kind::Resource => return resource_type(field, value),
            Kind::Object => return object(field, value),
        },
        Field::Annotation(_) => text(field, value),
        Field::Body(_, path) if !path.is_empty() => in_body(value),
        Field::Body(..) | Field::Text => words(field, value),
    };
    Ok(term(field, test?))
}

pub(super) fn term(field: &Field, test: Test) -> Expr {
    Expr::Term(Term { field: field.clone(), test })
}

/// Refuses what no field takes.
fn check(field: &Field, value: Chunk<'_>) -> Result<(), Error> {
    if value.is_empty() {
        let colon = value.span().start.saturating_sub(1);
        let problem = format!("`{}:` has no value", excerpt(&field.to_string()));
        return Err(Error::new(colon..value.span().end, problem)
            .with_hint("write it right after the colon; `*` is any value, `\"\"` the empty text"));
    }
    if value.count('*') > WILDCARDS_MAX {
        let problem = format!("more than {WILDCARDS_MAX} wildcards in one value");
        return Err(Error::new(value.span(), problem)
            .with_hint("a `*` in quotes is no wildcard but the character itself"));
    }
    if value.strip_prefix('!').is_some() {
        return Err(Error::new(value.span(), "`!` does not negate").with_hint(
            "write NOT, or `-` right before the term; put the value in quotes if it has the `!`",
        ));
    }
    if value.strip_prefix('=').is_some() {
        return Err(Error::new(value.span(), "a value that starts with `=`")
            .with_hint("the colon alone is equality; put the value in quotes if it has the `=`"));
    }
    Ok(())
}

fn text(field: &Field, value: Chunk<'_>) -> Result<Test, Error> {
    refuse_comparison(field, value)?;
    Ok(Test::from(value.wildcard()))
}

fn one_of(field: &Field, list: &[&str], value: Chunk<'_>) -> Result<Test, Error> {
    let test = text(field, value)?;
    let Test::Is(Value::Text(given)) = &test else { return Ok(test) };
    if list.contains(&given.as_str()) {
        return Ok(test);
    }
    let hint = match nearest(given, list.iter().copied()) {
        Some(meant) => format!("did you mean {field}:{meant}?"),
        None => format!("it is one of {}", list.join(", ")),
    };
    let problem = format!("`{}` is no value of `{field}`", excerpt(given));
    Err(Error::new(value.span(), problem).with_hint(hint))
}

fn words(field: &Field, value: Chunk<'_>) -> Result<Test, Error> {
    refuse_comparison(field, value)?;
    let text = value.text();
    if text.is_empty() {
        return Err(Error::new(value.span(), "the empty text is found everywhere")
            .with_hint("write what to look for between the quotes"));
    }
    if *field == Field::Text && value.is_bare() && !text.contains(char::is_alphanumeric) {
        let hint = match text.as_str() {
            "&&" | "&" => "terms are joined by AND on their own".to_owned(),
            "||" | "|" => "write OR".to_owned(),
            _ => format!("to search for the text, write \"{}\" in quotes", excerpt(&text)),
        };
        let problem = format!("`{}` has no letter or digit", excerpt(&text));
        return Err(Error::new(value.span(), problem).with_hint(hint));
    }
    Ok(Test::Words(Words { pattern: value.wildcard() }))
}

/// Reads a time, which without a comparison must have some length to fall into.
fn span(field: &Field, value: Chunk<'_>) -> Result<Test, Error> {
    match ordered(value, time)? {
        Test::Is(Value::Time(Moment::Ago(_))) => {
            Err(Error::new(value.span(), "a relative time is a single instant")
                .with_hint(format!("compare with it: {field}:>-2h is everything since then")))
        }
        test => Ok(test),
    }
}

fn boolean(field: &Field, value: Chunk<'_>) -> Result<Test, Error> {
    match value.text().as_str() {
        "true" => Ok(Test::Is(Value::Bool(true))),
        "false" => Ok(Test::Is(Value::Bool(false))),
        other => {
            let problem = format!("`{}` is neither true nor false", excerpt(other));
            Err(Error::new(value.span(), problem)
                .with_hint(format!("write {field}:true or {field}:false")))
        }
    }
}

fn address(field: &Field, value: Chunk<'_>) -> Result<Test, Error> {
    refuse_comparison(field, value)?;
    if value.count('*') > 0 {
        return Ok(Test::from(value.wildcard()));
    }
    let text = value.text();
    let network = match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>(),
    };
    network.map(|network| Test::Cidr(network.trunc())).map_err(|_| {
        Error::new(
            value.span(),
            format!("`{}` is neither an address nor a network", excerpt(&text)),
        )
        .with_hint(format!("write {field}:10.1.2.3, {field}:10.0.0.0/8 or {field}:fd00::/8"))
    })
}

fn event_id(field: &Field, value: Chunk<'_>) -> Result<Test, Error> {
    let text = value.text();
    text.rsplit_once('/')
        .filter(|(cluster, seq)| is_label(cluster) && seq.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|(cluster, seq)| Some((cluster.to_owned(), seq.parse().ok()?)))
        .map(|(cluster, seq)| Test::Is(Value::EventId { cluster, seq }))
        .ok_or_else(|| {
            Error::new(value.span(), format!("`{}` is not an event's id", excerpt(&text)))
                .with_hint(format!("write {field}:CLUSTER/SEQ; an auditID goes into audit_id:"))
        })
}

/// Whether `text` can be the name of a cluster: a DNS label as in RFC 1123.
fn is_label(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(|byte| is_plain(byte) || byte == b'-')
        && text.bytes().next().is_some_and(is_plain)
        && text.bytes().last().is_some_and(is_plain)
}

/// Refuses a comparison where there is nothing to compare by.
pub(super) fn refuse_comparison(field: &Field, value: Chunk<'_>) -> Result<(), Error> {
    if comparison(value)?.is_none() {
        return Ok(());
    }
    let problem = match field {
        Field::Text => "a comparison without a field".to_owned(),
        Field::Body(..) => "a comparison without a path".to_owned(),
        _ => format!("`{}` has no order to compare by", excerpt(&field.to_string())),
    };
    let hint = match field {
        Field::Text => "write it after a field, as in code:>=400, or in quotes to search for it",
        Field::Body(..) => "name what to compare, as in body.spec.replicas:>5",
        _ => "only numbers and times have one; put the value in quotes if it has the character",
    };
    Err(Error::new(value.span(), problem).with_hint(hint))
}
