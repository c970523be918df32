//! Cuts a query into tokens, and remembers of each character whether quotes took its meaning away.
//!
//! A word is what stands between spaces and parentheses. Quotes may open and close anywhere in it,
//! as in a shell: `annotation."a:b":x*` is one word. Which `:`, `.` or `*` of it means something
//! is for the parser, which asks [`Chunk`] for the bare ones.

use std::{iter::Peekable, ops::Range, str::CharIndices};

use crate::{Error, Wildcard};

/// One token and the bytes of the query it takes up.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) what: What,
    pub(crate) span: Range<usize>,
}

#[derive(Debug)]
pub(crate) enum What {
    Open,
    Close,
    And,
    Or,
    Not,
    Minus,
    Word(Vec<Glyph>),
}

/// One character of a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glyph {
    ch: char,
    ink: Ink,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    /// Outside quotes, where some characters have a meaning.
    Bare,
    /// Inside quotes, where none has.
    Quoted,
    /// A quote itself: no part of the text, but it tells `""` from nothing.
    Mark,
}

impl Glyph {
    fn is_bare(self, ch: char) -> bool {
        self.ink == Ink::Bare && self.ch == ch
    }
}

/// Cuts the query into tokens.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut chars = text.char_indices().peekable();
    let mut tokens = Vec::new();
    while let Some(&(start, ch)) = chars.peek() {
        let what = match ch {
            _ if ch.is_whitespace() => {
                chars.next();
                continue;
            }
            '(' => symbol(&mut chars, What::Open),
            ')' => symbol(&mut chars, What::Close),
            '-' => {
                let minus = symbol(&mut chars, What::Minus);
                check_minus(start, chars.peek().map(|(_, ch)| *ch))?;
                minus
            }
            _ => word(&mut chars, text.len())?,
        };
        let end = chars.peek().map_or(text.len(), |(index, _)| *index);
        tokens.push(Token { what, span: start..end });
    }
    Ok(tokens)
}

fn symbol(chars: &mut Peekable<CharIndices<'_>>, what: What) -> What {
    chars.next();
    what
}

/// Refuses a `-` that negates nothing.
fn check_minus(start: usize, next: Option<char>) -> Result<(), Error> {
    match next {
        Some('-') => Err(Error::new(start..start + 2, "a term is negated by one `-`")
            .with_hint("to search for text that starts with `-`, put it in quotes")),
        Some(ch) if ch != ')' && !ch.is_whitespace() => Ok(()),
        _ => Err(Error::new(start..start + 1, "`-` has nothing to negate")
            .with_hint("write it right before a term, as in -dry_run:true; `\"-\"` is the text")),
    }
}

fn word(chars: &mut Peekable<CharIndices<'_>>, text_len: usize) -> Result<What, Error> {
    let mut glyphs = Vec::new();
    while let Some((start, ch)) =
        chars.next_if(|(_, ch)| !ch.is_whitespace() && !matches!(ch, '(' | ')'))
    {
        if ch == '"' {
            quoted(chars, start, text_len, &mut glyphs)?;
        } else {
            glyphs.push(Glyph { ch, ink: Ink::Bare, start, end: start + ch.len_utf8() });
        }
    }
    let chunk = Chunk::new(&glyphs, &(0..0));
    let keyword = if chunk.is_bare() { chunk.text() } else { String::new() };
    Ok(match keyword.as_str() {
        "AND" => What::And,
        "OR" => What::Or,
        "NOT" => What::Not,
        _ => What::Word(glyphs),
    })
}

/// Reads on from the opening quote at `start` to the closing one.
fn quoted(
    chars: &mut Peekable<CharIndices<'_>>,
    start: usize,
    text_len: usize,
    glyphs: &mut Vec<Glyph>,
) -> Result<(), Error> {
    glyphs.push(Glyph { ch: '"', ink: Ink::Mark, start, end: start + 1 });
    while let Some((start, ch)) = chars.next() {
        let end = start + ch.len_utf8();
        match ch {
            '"' => {
                glyphs.push(Glyph { ch, ink: Ink::Mark, start, end });
                return Ok(());
            }
            '\\' => match chars.next_if(|(_, ch)| matches!(ch, '"' | '\\')) {
                Some((_, ch)) => {
                    glyphs.push(Glyph { ch, ink: Ink::Quoted, start, end: end + 1 });
                }
                None => {
                    return Err(Error::new(start..end, "a backslash that escapes nothing")
                        .with_hint(
                            "in quotes, write `\\\\` for a backslash and `\\\"` for a quote",
                        ));
                }
            },
            _ => glyphs.push(Glyph { ch, ink: Ink::Quoted, start, end }),
        }
    }
    Err(Error::new(start..text_len, "this quote is never closed")
        .with_hint("close it with `\"`; inside quotes, `\\\"` is a quote of the text itself"))
}

/// A stretch of a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    glyphs: &'a [Glyph],
    /// Where it stands, also when nothing is left of it.
    start: usize,
    end: usize,
}

impl<'a> Chunk<'a> {
    /// Returns the whole word.
    pub(crate) fn new(glyphs: &'a [Glyph], span: &Range<usize>) -> Chunk<'a> {
        Chunk { glyphs, start: span.start, end: span.end }
    }

    pub(crate) fn span(self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the text, without quotes and escapes.
    pub(crate) fn text(self) -> String {
        self.glyphs.iter().filter(|glyph| glyph.ink != Ink::Mark).map(|glyph| glyph.ch).collect()
    }

    /// Returns the text as a pattern, where each bare `*` is a star.
    pub(crate) fn wildcard(self) -> Wildcard {
        Wildcard::from_parts(self.split('*').map(Chunk::text))
    }

    /// Whether nothing at all was written; `""` is something.
    pub(crate) fn is_empty(self) -> bool {
        self.glyphs.is_empty()
    }

    /// Whether no part of it is in quotes.
    pub(crate) fn is_bare(self) -> bool {
        self.glyphs.iter().all(|glyph| glyph.ink == Ink::Bare)
    }

    /// Whether its text is nothing but stars, at least one, that are wildcards.
    pub(crate) fn is_star(self) -> bool {
        let is_star = |glyph: &Glyph| glyph.is_bare('*') || glyph.ink == Ink::Mark;
        self.count('*') > 0 && self.glyphs.iter().all(is_star)
    }

    /// Returns how often the character stands in it outside quotes.
    pub(crate) fn count(self, ch: char) -> usize {
        self.glyphs.iter().filter(|glyph| glyph.is_bare(ch)).count()
    }

    /// Returns the rest after the character, if it opens the chunk outside quotes.
    pub(crate) fn strip_prefix(self, ch: char) -> Option<Chunk<'a>> {
        let (first, rest) = self.glyphs.split_first()?;
        first.is_bare(ch).then_some(Chunk { glyphs: rest, start: first.end, end: self.end })
    }

    /// Returns what stands before and after the first such character outside quotes.
    pub(crate) fn split_once(self, ch: char) -> Option<(Chunk<'a>, Chunk<'a>)> {
        let at = self.glyphs.iter().position(|glyph| glyph.is_bare(ch))?;
        self.cut(at, 1)
    }

    /// Returns what stands before and after the first `..` outside quotes.
    pub(crate) fn split_range(self) -> Option<(Chunk<'a>, Chunk<'a>)> {
        let at = self
            .glyphs
            .array_windows()
            .position(|[first, second]| first.is_bare('.') && second.is_bare('.'))?;
        self.cut(at, 2)
    }

    /// Returns the stretches between all such characters outside quotes, at least one.
    pub(crate) fn split(self, ch: char) -> impl Iterator<Item = Chunk<'a>> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let current = rest?;
            let (head, tail) = match current.split_once(ch) {
                Some((head, tail)) => (head, Some(tail)),
                None => (current, None),
            };
            rest = tail;
            Some(head)
        })
    }

    /// Cuts `len` glyphs out, from the one at `at`, and returns what is left on both sides.
    fn cut(self, at: usize, len: usize) -> Option<(Chunk<'a>, Chunk<'a>)> {
        let (head, tail) = self.glyphs.split_at_checked(at)?;
        let (gap, tail) = tail.split_at_checked(len)?;
        let (first, last) = (gap.first()?, gap.last()?);
        Some((
            Chunk { glyphs: head, start: self.start, end: first.start },
            Chunk { glyphs: tail, start: last.end, end: self.end },
        ))
    }
}
