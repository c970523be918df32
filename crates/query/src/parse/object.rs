//! Reads resource types and objects, in all the ways kubectl lets people name them.

use super::value::{refuse_comparison, term};
use whodid_event::resource;

use crate::{
    Error, Expr, Field, Known, ObjectRef, Test, Value, Wildcard, error::excerpt, lex::Chunk,
};

/// Reads the value of `resource:`.
pub(super) fn resource_type(field: &Field, value: Chunk<'_>) -> Result<Expr, Error> {
    refuse_comparison(field, value)?;
    let (resource, others) = kind(value)?;
    Ok(Expr::and([term(field, Test::from(resource)), others]))
}

/// Reads the value of `object:`.
pub(super) fn object(field: &Field, value: Chunk<'_>) -> Result<Expr, Error> {
    refuse_comparison(field, value)?;
    let parts: Vec<Chunk<'_>> = value.split('/').collect();
    let (namespace, resource, name) = match *parts.as_slice() {
        [resource, name] => (None, resource, name),
        [namespace, resource, name] => (Some(namespace), resource, name),
        _ => {
            let problem = format!("`{}` is not an object", excerpt(&value.text()));
            return Err(Error::new(value.span(), problem).with_hint(
                "write object:KIND/NAME or object:NS/KIND/NAME, slashes without quotes",
            ));
        }
    };
    if parts.iter().any(|part| part.text().is_empty()) {
        return Err(Error::new(value.span(), "a part of the object is empty")
            .with_hint("write `*` for any, as in object:deployments/*"));
    }
    let (resource, others) = kind(resource)?;
    let object =
        ObjectRef { namespace: namespace.map(Chunk::wildcard), resource, name: name.wildcard() };
    Ok(Expr::and([term(field, Test::Is(Value::Object(object))), others]))
}

/// Reads `TYPE`, `TYPE.GROUP`, `TYPE/SUBRESOURCE` or all three, and returns the plural of the type
/// and what else was said.
fn kind(value: Chunk<'_>) -> Result<(Wildcard, Expr), Error> {
    // What is in quotes is meant as it stands.
    if !value.is_bare() {
        return Ok((value.wildcard(), Expr::All));
    }
    let (value, subresource) = match value.split_once('/') {
        Some((value, subresource)) => (value, Some(subresource)),
        None => (value, None),
    };
    let (name, group) = match value.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (value, None),
    };
    if name.is_empty()
        || group.is_some_and(Chunk::is_empty)
        || subresource.is_some_and(Chunk::is_empty)
    {
        return Err(Error::new(value.span(), "a part of the resource type is empty")
            .with_hint("write it as deployments, deployments.apps or pods/exec"));
    }
    let found = match group {
        Some(group) => {
            let group = group.wildcard();
            resource::canonical_in(&name.text(), |found| group.matches(found))
        }
        None => resource::canonical(&name.text()),
    };
    let plural = found.map_or_else(|| name.wildcard(), |found| Wildcard::literal(found.plural));
    // `PodMetrics` is of the plural `pods`, which alone means another type.
    let implied = found
        .filter(|found| resource::canonical(found.plural) != Some(*found))
        .map(|found| Wildcard::literal(found.group));
    let group = group.map(Chunk::wildcard).or(implied);
    let others = [
        group.map(|group| term(&Field::Known(Known::ApiGroup), Test::from(group))),
        subresource.map(|sub| term(&Field::Known(Known::Subresource), Test::from(sub.wildcard()))),
    ];
    Ok((plural, Expr::and(others.into_iter().flatten())))
}
