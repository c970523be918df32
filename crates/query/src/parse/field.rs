//! Reads what stands before the colon: the name of a field, an annotation's key, a path.

use whodid_event::resource;

use crate::{
    Error, Family, Field, Known, Segment, Side, error::excerpt, lex::Chunk, suggest::nearest,
};

/// Returns the field that `name` means; `value` is what follows it and serves the hints.
pub(super) fn field(name: Chunk<'_>, value: Chunk<'_>) -> Result<Field, Error> {
    let (head, rest) = match name.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (name, None),
    };
    let text = head.text();
    if text.is_empty() || !head.is_bare() {
        let span = name.span().start..value.span().start;
        return Err(Error::new(span, "no field is named before the colon")
            .with_hint("write FIELD:VALUE, or put the whole text in quotes, the colon too"));
    }
    match (Family::named(&text), rest) {
        (Some(Family::Annotation), rest) => annotation(name, rest),
        (Some(Family::Body(side)), None) => Ok(Field::Body(side, Vec::new())),
        (Some(Family::Body(side)), Some(path)) => body(side, path),
        (None, None) => Known::named(&text).map(Field::Known).ok_or_else(|| unknown(name, value)),
        (None, Some(_)) => Err(unknown(name, value)),
    }
}

fn annotation(name: Chunk<'_>, key: Option<Chunk<'_>>) -> Result<Field, Error> {
    let example = "write annotation.KEY, such as annotation.authorization.k8s.io/decision:forbid";
    let Some(key) = key.filter(|key| !key.text().is_empty()) else {
        return Err(Error::new(name.span(), "an annotation needs its key").with_hint(example));
    };
    if key.count('*') > 0 {
        return Err(Error::new(key.span(), "the key of an annotation takes no wildcard")
            .with_hint("write the whole key, in quotes if there is a `*` in it"));
    }
    Ok(Field::Annotation(key.text()))
}

fn body(side: Side, path: Chunk<'_>) -> Result<Field, Error> {
    let segments: Result<Vec<Segment>, Error> = path.split('.').map(segment).collect();
    Ok(Field::Body(side, segments?))
}

fn segment(chunk: Chunk<'_>) -> Result<Segment, Error> {
    if chunk.is_empty() {
        let span = chunk.span().start.saturating_sub(1)..chunk.span().end;
        return Err(Error::new(span, "a step of the path is missing after the dot")
            .with_hint("write steps between single dots, such as body.spec.replicas"));
    }
    let text = chunk.text();
    if chunk.is_star() && text == "*" {
        return Ok(Segment::Any);
    }
    if chunk.count('*') > 0 {
        return Err(Error::new(chunk.span(), "in a path, `*` stands for a whole step")
            .with_hint("write the name in full, in quotes if there is a `*` in it"));
    }
    if chunk.count('[') > 0 {
        return Err(Error::new(chunk.span(), "brackets in a path").with_hint(
            "an array's element is a step too: body.spec.containers.0.image, or `*` for any",
        ));
    }
    match index(&text) {
        Some(index) if chunk.is_bare() => Ok(Segment::Index(index)),
        _ => Ok(Segment::Key(text)),
    }
}

/// Returns the number that `text` spells in the one way that counts as an index.
pub(crate) fn index(text: &str) -> Option<u32> {
    text.parse().ok().filter(|index: &u32| index.to_string() == text)
}

fn unknown(name: Chunk<'_>, value: Chunk<'_>) -> Error {
    let text = name.text();
    let whole = excerpt(&format!("{text}:{}", value.text()));
    let quote = format!("to search for the text, write \"{whole}\" in quotes");
    let hint = if text == "system" {
        format!("to find an identity, write actor:{whole}; {quote}")
    } else if let Some(kind) = resource::canonical(&text) {
        format!("did you mean resource:{}, or object:{text}/NAME? {quote}", kind.plural)
    } else if let ("kind", Some(kind)) =
        (&*text, resource::canonical(&value.text().to_ascii_lowercase()))
    {
        format!("did you mean resource:{}? {quote}", kind.plural)
    } else if let Some(meant) = meant(&text) {
        format!("did you mean `{meant}`? {quote}")
    } else {
        quote
    };
    Error::new(name.span(), format!("unknown field `{}`", excerpt(&text))).with_hint(hint)
}

/// Returns the name of the field that was probably meant by `text`. Of a path as in an audit event
/// (`objectRef.namespace`) it is the last step that tells.
fn meant(text: &str) -> Option<&'static str> {
    let known = || Known::ALL.iter().map(|field| (field.name(), field.aliases()));
    let families = || Family::ALL.iter().map(|family| (family.name(), family.aliases()));
    let Some((head, step)) = text.split_once('.') else {
        return nearest_name(text, known().chain(families()));
    };
    let last_step = step.rsplit('.').next().unwrap_or(step);
    Known::named(last_step)
        .map(Known::name)
        .or_else(|| nearest_name(head, families()))
        .or_else(|| nearest_name(last_step, known()))
}

/// Returns the canonical name of the entry that is called most like `text`.
fn nearest_name(
    text: &str,
    names: impl Iterator<Item = (&'static str, &'static [&'static str])> + Clone,
) -> Option<&'static str> {
    let all = names.clone().flat_map(|(name, aliases)| aliases.iter().copied().chain([name]));
    let near = nearest(text, all)?;
    names
        .into_iter()
        .find_map(|(name, aliases)| (name == near || aliases.contains(&near)).then_some(name))
}
