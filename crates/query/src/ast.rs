//! The tree that a query parses to, and what each of its tests means.
//!
//! The tree says what was asked, not how to find it. It holds no positions in the text, so two
//! queries that ask the same are equal, however they were written.

use ipnet::IpNet;

use crate::{Known, Moment, Wildcard};

/// A parsed query.
///
/// `Display` prints the canonical form; parsing that gives an equal query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// What an event must satisfy to be found.
    pub expr: Expr,
}

/// A condition on one event.
///
/// Build it with [`Expr::and`], [`Expr::or`] and [`Expr::not`], which keep it flat: no `And`
/// directly in an `And`, no `Or` directly in an `Or`, neither with fewer than two parts, no `All`
/// in either, and no `Not` directly in a `Not`. Only a flat tree is equal to its parsed print.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Expr {
    /// Holds for every event.
    #[default]
    All,
    /// Holds where every part does.
    And(Vec<Expr>),
    /// Holds where at least one part does.
    Or(Vec<Expr>),
    /// Holds exactly where the inner condition does not. There is no third answer: a test of an
    /// unknown value fails, so its negation holds.
    Not(Box<Expr>),
    /// Holds where the test of the field does.
    Term(Term),
}

impl Expr {
    /// Returns the condition that all of `parts` hold; of no parts, [`Expr::All`].
    pub fn and(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::All => {}
                Expr::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match <[Expr; 1]>::try_from(flat) {
            Ok([only]) => only,
            Err(none) if none.is_empty() => Expr::All,
            Err(flat) => Expr::And(flat),
        }
    }

    /// Returns the condition that one of `parts` holds; of no parts, the one that never holds.
    pub fn or(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::All => return Expr::All,
                Expr::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match <[Expr; 1]>::try_from(flat) {
            Ok([only]) => only,
            Err(none) if none.is_empty() => Expr::not(Expr::All),
            Err(flat) => Expr::Or(flat),
        }
    }

    /// Returns the opposite of `expr`.
    #[expect(clippy::should_implement_trait, reason = "it stands beside `and` and `or`")]
    pub fn not(expr: Expr) -> Expr {
        match expr {
            Expr::Not(inner) => *inner,
            other => Expr::Not(Box::new(other)),
        }
    }
}

impl From<Term> for Expr {
    fn from(term: Term) -> Expr {
        Expr::Term(term)
    }
}

/// One test of one field.
///
/// The parser pairs a field only with tests that suit its [`Kind`](crate::Kind).
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What is looked at.
    pub field: Field,
    /// What must hold of it.
    pub test: Test,
}

/// What a term looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A field every event has, though it may be unknown in some.
    Known(Known),
    /// The annotation with this key.
    Annotation(String),
    /// What the path reaches in the request's or the response's object. Without segments it is
    /// the body as a whole: its text for [`Test::Words`], its presence for [`Test::Exists`].
    Body(Side, Vec<Segment>),
    /// All text of the event: that of the envelope and that of both bodies.
    Text,
}

/// Which of an event's two bodies is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The request's, the response's, or both: a test holds if it holds of one of them.
    Either,
    /// `requestObject`.
    Request,
    /// `responseObject`.
    Response,
}

/// One step of a path into a body. A test of a path holds if it holds of one value reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// The member of an object with this name.
    Key(String),
    /// The element of an array at this place, from 0, or the member of an object with this
    /// number, in decimal without leading zeros, as its name.
    Index(u32),
    /// Any element of an array, any member of an object.
    Any,
}

/// What must hold of a field.
///
/// Every test of a field that is unknown in an event fails. A test of a list (groups, addresses)
/// holds if it holds of one of its elements. Text is compared byte by byte and case-sensitively,
/// except by [`Test::Words`]. The value a path reaches in a body counts as text when it is a
/// string (its decoded characters), a number (as written), `true` or `false`; `null` is unknown.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The field is known. For a body without a path: the body is recorded. For a path: it
    /// reaches anything but `null`, an object or an array too.
    Exists,
    /// The field equals the value. A [`Value::Time`] is a span, and the field must lie in it. In
    /// a body the value is always [`Value::Text`].
    Is(Value),
    /// The field's text matches the pattern, which has at least one `*` and something beside it.
    /// An address is matched in its usual text form.
    Matches(Wildcard),
    /// The field stands in this relation to the value. In a body, a [`Value::Int`] or
    /// [`Value::Float`] is compared with numbers and with strings that are JSON numbers, nothing
    /// else satisfies it; a [`Value::Text`] is compared with text, byte by byte.
    Compare(Comparison, Value),
    /// The field lies between the two, both included; an end that is missing is open, but never
    /// both. Ends in a body are numbers, compared as in [`Test::Compare`].
    Within(Option<Value>, Option<Value>),
    /// The address is in the network; a single address is a network of its own.
    Cidr(IpNet),
    /// The text contains the words.
    Words(Words),
}

impl From<Wildcard> for Test {
    /// Returns the plainest test of a text against the pattern.
    fn from(pattern: Wildcard) -> Test {
        match pattern.as_literal() {
            Some(text) => Test::Is(Value::Text(text.to_owned())),
            None if pattern.parts().iter().all(String::is_empty) => Test::Exists,
            None => Test::Matches(pattern),
        }
    }
}

/// The four relations of a comparison.
///
/// A time is a span, from its start up to its end: `>` is at its end or later, `>=` at its start
/// or later, `<` before its start, `<=` before its end. So `time:>2026-11-22` begins on the 23rd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A finite number that is not an [`Value::Int`]; in comparisons inside bodies only.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A moment or a span of time. [`Test::Is`] takes [`Moment::At`] only.
    Time(Moment),
    /// A Kubernetes object.
    Object(ObjectRef),
    /// An event's id, `CLUSTER/SEQ`.
    EventId {
        /// The cluster's name, a DNS label.
        cluster: String,
        /// The event's number in the cluster's log, from 0.
        seq: u64,
    },
}

/// A Kubernetes object as people refer to it, `[NS/]KIND/NAME`.
///
/// Each part given must be known and match; without a namespace, any or none will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The namespace.
    pub namespace: Option<Wildcard>,
    /// The resource type in the plural, such as `deployments`.
    pub resource: Wildcard,
    /// The object's name.
    pub name: Wildcard,
}

/// A text test: words or a phrase to be found anywhere in a text.
///
/// The parts of the pattern must occur in the text in their order and without overlap. ASCII
/// letters match in either case, everything else byte by byte. Unless a `*` stands at that end of
/// the pattern, the occurrence must be bounded there: by the text's end, or by a character that is
/// not alphanumeric ([`char::is_alphanumeric`]). So `strip` is found in `pay-strip.` but not in
/// `stripe`, and `strip*` in both. A `*` inside stands for any run of characters, also for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What to look for; it is neither empty nor only stars.
    pub pattern: Wildcard,
}

impl Words {
    /// Whether an occurrence may begin in the middle of a word.
    pub fn opens_with_star(&self) -> bool {
        self.pattern.as_literal().is_none() && self.pattern.prefix().is_empty()
    }

    /// Whether an occurrence may end in the middle of a word.
    pub fn ends_with_star(&self) -> bool {
        self.pattern.as_literal().is_none()
            && self.pattern.parts().last().is_some_and(String::is_empty)
    }
}
