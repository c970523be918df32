//! The grammar: tokens to a tree, by recursive descent with every depth and count bounded.
//!
//! ```text
//! query  = [ or ]
//! or     = and *( "OR" and )
//! and    = not *( [ "AND" ] not )
//! not    = *( "NOT" / "-" ) term
//! term   = "(" or ")" / FIELD ":" VALUE / FIELD ":(" or ")" / TEXT
//! ```
//!
//! Within `FIELD:( … )` each word is a value of the field. What a field name and a value mean is
//! for the modules below.

mod field;
mod object;
mod ordered;
mod value;

use std::{
    fmt::{self, Write},
    ops::Range,
};

use crate::{
    Error, Expr, Family, Field, Known, NESTING_MAX, QUERY_BYTES_MAX, Query, TERMS_MAX,
    error::excerpt,
    lex::{self, Chunk, Token, What},
    print,
};

pub(crate) use self::{field::index, ordered::number};

/// Reads a query and checks that each test suits its field.
///
/// The empty text, like one of spaces only, is the query that every event matches.
///
/// # Errors
///
/// An [`Error`] says what is wrong, where, and what to write instead. The limits at the root of
/// this crate hold for `text` as well as for the canonical form of what it means, so that a query
/// that parses can always be printed and parsed again.
pub fn parse(text: &str) -> Result<Query, Error> {
    if text.len() > QUERY_BYTES_MAX {
        let problem = format!("a query of {} bytes; the limit is {QUERY_BYTES_MAX}", text.len());
        return Err(Error::new(0..text.len(), problem).with_hint(SPLIT));
    }
    let tokens = lex::tokens(text)?;
    let query = Query { expr: Parser::new(&tokens).query()? };
    let whole = 0..text.len();
    write!(Budget::new(), "{query}").map_err(|fmt::Error| too_long(whole.clone()))?;
    if print::nesting(&query.expr) > NESTING_MAX {
        let problem =
            format!("written out in full, more than {NESTING_MAX} parentheses stand in each other");
        return Err(Error::new(whole, problem).with_hint(SPLIT));
    }
    Ok(query)
}

/// What to do about a query that is too large.
const SPLIT: &str = "split it into several queries";

/// A writer that keeps nothing, and fails once a canonical form is longer than a query may be.
///
/// It can be longer than the text: a group of values repeats its field, an alias becomes the full
/// name, an API group becomes a term of its own.
struct Budget(usize);

impl Budget {
    fn new() -> Budget {
        Budget(QUERY_BYTES_MAX)
    }
}

impl Write for Budget {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn too_long(span: Range<usize>) -> Error {
    let problem = format!("written out in full, this query has more than {QUERY_BYTES_MAX} bytes");
    Error::new(span, problem).with_hint(SPLIT)
}

struct Parser<'a> {
    tokens: &'a [Token],
    /// The index of the token to be read next.
    next: usize,
    /// How many parentheses are open.
    depth: usize,
    /// How many terms there are so far.
    terms: usize,
    /// What is left for the canonical form of further terms. Without it, a long path before a
    /// large group would be copied into hundreds of megabytes before anything is refused.
    budget: Budget,
}

/// The field whose values a group lists, if inside one.
type Group<'f> = Option<&'f Field>;

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Token]) -> Parser<'a> {
        Parser { tokens, next: 0, depth: 0, terms: 0, budget: Budget::new() }
    }

    fn query(&mut self) -> Result<Expr, Error> {
        if self.tokens.is_empty() {
            return Ok(Expr::All);
        }
        let expr = self.or(None)?;
        match self.peek() {
            // Everything but a closing parenthesis would have gone on.
            Some(token) => Err(closes_nothing(token)),
            None => Ok(expr),
        }
    }

    fn or(&mut self, group: Group<'_>) -> Result<Expr, Error> {
        let mut parts = vec![self.and(group)?];
        while self.peek().is_some_and(|token| matches!(token.what, What::Or)) {
            self.next += 1;
            parts.push(self.and(group)?);
        }
        Ok(Expr::or(parts))
    }

    fn and(&mut self, group: Group<'_>) -> Result<Expr, Error> {
        let mut parts = vec![self.not(group)?];
        while let Some(token) = self.peek() {
            match token.what {
                What::And => self.next += 1,
                What::Or | What::Close => break,
                _ => {}
            }
            parts.push(self.not(group)?);
        }
        Ok(Expr::and(parts))
    }

    fn not(&mut self, group: Group<'_>) -> Result<Expr, Error> {
        let mut is_negated = false;
        while self.peek().is_some_and(|token| matches!(token.what, What::Not | What::Minus)) {
            self.next += 1;
            is_negated = !is_negated;
        }
        let expr = self.term(group)?;
        Ok(if is_negated { Expr::not(expr) } else { expr })
    }

    fn term(&mut self, group: Group<'_>) -> Result<Expr, Error> {
        match self.peek() {
            Some(Token { what: What::Open, span }) => self.nested(span, group),
            Some(Token { what: What::Word(glyphs), span }) => {
                self.next += 1;
                self.word(Chunk::new(glyphs, span), group)
            }
            _ => Err(self.missing()),
        }
    }

    /// Reads from the opening parenthesis at `open` to the one that closes it.
    fn nested(&mut self, open: &Range<usize>, group: Group<'_>) -> Result<Expr, Error> {
        if self.depth == NESTING_MAX {
            let problem = format!("more than {NESTING_MAX} parentheses stand in each other");
            return Err(Error::new(open.clone(), problem).with_hint(SPLIT));
        }
        self.depth += 1;
        self.next += 1;
        let expr = self.or(group)?;
        if self.peek().is_none() {
            return Err(never_closed(open));
        }
        self.next += 1;
        self.depth -= 1;
        Ok(expr)
    }

    fn word(&mut self, word: Chunk<'_>, group: Group<'_>) -> Result<Expr, Error> {
        if let Some(field) = group {
            check_group_value(field, word)?;
            self.check_end(word)?;
            return self.value(field, word);
        }
        let Some((name, value)) = word.split_once(':') else {
            self.check_end(word)?;
            return self.value(&Field::Text, word);
        };
        let field = field::field(name, value)?;
        if let (true, Some(open)) = (value.is_empty(), self.opens_after(word)) {
            return self.nested(open, Some(&field));
        }
        self.check_end(word)?;
        self.value(&field, value)
    }

    fn value(&mut self, field: &Field, value: Chunk<'_>) -> Result<Expr, Error> {
        let expr = value::value(field, value)?;
        self.terms += if let Expr::And(parts) = &expr { parts.len() } else { 1 };
        if self.terms > TERMS_MAX {
            return Err(
                Error::new(value.span(), format!("more than {TERMS_MAX} terms")).with_hint(SPLIT)
            );
        }
        write!(self.budget, "{expr}").map_err(|fmt::Error| too_long(value.span()))?;
        Ok(expr)
    }

    /// Refuses a parenthesis right after a word: `say(hi)` would silently become two terms.
    fn check_end(&self, word: Chunk<'_>) -> Result<(), Error> {
        let Some(open) = self.opens_after(word) else { return Ok(()) };
        Err(Error::new(open.clone(), "a parenthesis in the middle of a word")
            .with_hint("put a space before it, or the text in quotes"))
    }

    /// Returns where the parenthesis stands that opens right after the word, if one does.
    fn opens_after(&self, word: Chunk<'_>) -> Option<&'a Range<usize>> {
        let token = self.peek()?;
        let is_adjacent = token.span.start == word.span().end;
        (is_adjacent && matches!(token.what, What::Open)).then_some(&token.span)
    }

    /// Says why there is no term where one must be.
    fn missing(&self) -> Error {
        let before = self.next.checked_sub(1).and_then(|index| self.tokens.get(index));
        match (before, self.peek()) {
            (_, Some(token @ Token { what: What::And | What::Or, .. })) => {
                lonely(token, "before it")
            }
            (Some(open @ Token { what: What::Open, .. }), Some(close)) => {
                Error::new(open.span.start..close.span.end, "nothing stands in these parentheses")
                    .with_hint("an empty query matches everything, and so does `*`")
            }
            (Some(open @ Token { what: What::Open, .. }), None) => never_closed(&open.span),
            (Some(operator), _) => lonely(operator, "after it"),
            (None, Some(close)) => closes_nothing(close),
            (None, None) => Error::new(0..0, "the query is empty"),
        }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }
}

fn lonely(operator: &Token, place: &str) -> Error {
    let name = match operator.what {
        What::And => "AND",
        What::Or => "OR",
        What::Not => "NOT",
        _ => "-",
    };
    Error::new(operator.span.clone(), format!("`{name}` has no term {place}"))
        .with_hint(format!("add one, or write \"{name}\" in quotes to search for the text"))
}

fn closes_nothing(close: &Token) -> Error {
    Error::new(close.span.clone(), "this parenthesis closes nothing")
        .with_hint("remove it, or open one before it")
}

fn never_closed(open: &Range<usize>) -> Error {
    Error::new(open.clone(), "this parenthesis is never closed").with_hint("add a `)`")
}

/// Refuses `verb:(delete ns:a)`: the second word could be meant as a term.
fn check_group_value(field: &Field, word: Chunk<'_>) -> Result<(), Error> {
    let Some((name, _)) = word.split_once(':') else { return Ok(()) };
    let head = name.split_once('.').map_or(name, |(head, _)| head);
    let text = head.text();
    if !head.is_bare() || (Known::named(&text).is_none() && Family::named(&text).is_none()) {
        return Ok(());
    }
    let field = excerpt(&field.to_string());
    Err(Error::new(word.span(), format!("a term of `{text}` among the values of `{field}`"))
        .with_hint("write it outside the parentheses, or in quotes if it is a value"))
}
