//! From the search language to an expression that DataFusion evaluates over `events`. What a test
//! means is written at [`whodid_query::Test`]; this file follows it and decides nothing.
//!
//! Logic has two values: a test of something unknown fails, so its opposite holds. SQL's third
//! value can only appear below a `NOT`, where it is made `false` first.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_nested::expr_fn::array_has;
use datafusion::logical_expr::{Expr, lit};
use whodid_query::{
    Comparison, Field, Known, Moment, ObjectRef, Side, Term, Test, Value, Wildcard,
};
use whodid_store::{TEXT_COLUMNS, uuid_bytes};

use crate::error::{Error, Result};
use crate::function::{EventSet, any_text, map_value, row_test};
use crate::text::{WordFinder, like};

/// What a query needs to know besides the rows it looks at.
pub(crate) struct Translator {
    /// What relative times are relative to.
    pub(crate) now: i64,
    /// Earlier events that a fuller one completes: duplicates after the fact.
    pub(crate) completed: Arc<EventSet>,
    /// Earlier events that a later one contradicts.
    pub(crate) contradicted: Arc<EventSet>,
    /// For each term about bodies, the events whose bodies pass.
    pub(crate) bodies: HashMap<String, Arc<EventSet>>,
}

/// A column by its name as it stands, whatever its case.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

pub(crate) fn text(text: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(text.to_owned())))
}

pub(crate) fn instant(micros: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())))
}

/// The terms of a query that look into bodies.
pub(crate) fn body_terms(expr: &whodid_query::Expr) -> Vec<&Term> {
    use whodid_query::Expr as Query;
    match expr {
        Query::All => Vec::new(),
        Query::And(parts) | Query::Or(parts) => parts.iter().flat_map(body_terms).collect(),
        Query::Not(inner) => body_terms(inner),
        Query::Term(term) => match (&term.field, &term.test) {
            (Field::Body(_, path), Test::Exists) if path.is_empty() => Vec::new(),
            (Field::Body(..) | Field::Text, _) => vec![term],
            _ => Vec::new(),
        },
    }
}

/// Whether a query asks about a field itself, so that no default may decide about it.
pub(crate) fn mentions(expr: &whodid_query::Expr, field: Known) -> bool {
    use whodid_query::Expr as Query;
    match expr {
        Query::All => false,
        Query::And(parts) | Query::Or(parts) => parts.iter().any(|part| mentions(part, field)),
        Query::Not(inner) => mentions(inner, field),
        Query::Term(term) => term.field == Field::Known(field),
    }
}

impl Translator {
    /// Translates a query.
    ///
    /// # Errors
    /// Words that are too many to search for at once.
    pub(crate) fn expr(&self, expr: &whodid_query::Expr) -> Result<Expr> {
        use whodid_query::Expr as Query;
        let all = |parts: &[whodid_query::Expr]| {
            parts.iter().map(|part| self.expr(part)).collect::<Result<Vec<_>>>()
        };
        Ok(match expr {
            Query::All => lit(true),
            Query::And(parts) => joined(all(parts)?, Expr::and, true),
            Query::Or(parts) => joined(all(parts)?, Expr::or, false),
            Query::Not(inner) => Expr::IsNotTrue(Box::new(self.expr(inner)?)),
            Query::Term(term) => self.term(term)?,
        })
    }

    fn term(&self, term: &Term) -> Result<Expr> {
        match &term.field {
            Field::Known(known) => Ok(self.known(*known, &term.test)),
            Field::Annotation(key) => Ok(annotation(key, &term.test)),
            Field::Body(side, path) if path.is_empty() && term.test == Test::Exists => {
                Ok(has_body(*side))
            }
            Field::Body(..) => Ok(self.in_bodies(term)),
            Field::Text => Ok(envelope_words(&term.test)?.or(self.in_bodies(term))),
        }
    }

    /// The events whose bodies were found to pass before.
    fn in_bodies(&self, term: &Term) -> Expr {
        match self.bodies.get(&term.to_string()) {
            Some(set) if !set.is_empty() => {
                Arc::clone(set).expression(column("cluster"), column("seq"))
            }
            _ => lit(false),
        }
    }

    fn known(&self, known: Known, test: &Test) -> Expr {
        match known {
            Known::Time | Known::Received => self.time(known.name(), test),
            Known::Seq | Known::Code => integer(column(known.name()), test),
            Known::Redacted => {
                let count = column("redacted");
                integer(datafusion::functions::expr_fn::coalesce(vec![count, lit(0_i32)]), test)
            }
            Known::DryRun | Known::Truncated => flag(column(known.name()), test),
            Known::Duplicate => flag(marked("duplicate", &self.completed), test),
            Known::Conflict => flag(marked("conflict", &self.contradicted), test),
            Known::Raw => flag(column("raw_reason").is_not_null(), test),
            Known::AuditId => audit_id(test),
            Known::Group => groups(test),
            Known::Ip => addresses(test),
            Known::Object => object(test),
            Known::Id => match test {
                Test::Is(Value::EventId { cluster, seq }) => column("cluster")
                    .eq(text(cluster))
                    .and(column("seq").eq(lit(seq.cast_signed()))),
                // Every event has an id; what else the parser allows is `id:*`.
                _ => lit(true),
            },
            other => plain(column(column_name(other)), test),
        }
    }

    /// What is in the record once: no duplicate, and nothing that a fuller event completes.
    pub(crate) fn is_first(&self) -> Expr {
        Expr::IsNotTrue(Box::new(marked("duplicate", &self.completed)))
    }

    fn time(&self, name: &str, test: &Test) -> Expr {
        let field = || column(name);
        let span = |moment: &Moment| moment.resolve(self.now);
        match test {
            Test::Is(Value::Time(moment)) => {
                let (start, end) = span(moment);
                field().gt_eq(instant(start)).and(field().lt(instant(end)))
            }
            Test::Compare(relation, Value::Time(moment)) => {
                let (start, end) = span(moment);
                match relation {
                    Comparison::Greater => field().gt_eq(instant(end)),
                    Comparison::GreaterOrEqual => field().gt_eq(instant(start)),
                    Comparison::Less => field().lt(instant(start)),
                    Comparison::LessOrEqual => field().lt(instant(end)),
                }
            }
            Test::Within(low, high) => {
                let mut bounds = Vec::new();
                if let Some(Value::Time(low)) = low {
                    bounds.push(field().gt_eq(instant(span(low).0)));
                }
                if let Some(Value::Time(high)) = high {
                    bounds.push(field().lt(instant(span(high).1)));
                }
                joined(bounds, Expr::and, true)
            }
            _ => field().is_not_null(),
        }
    }
}

/// A mark that stands on the row itself, or that a later event put on it.
fn marked(name: &str, after_the_fact: &Arc<EventSet>) -> Expr {
    if after_the_fact.is_empty() {
        return column(name);
    }
    let later = Arc::clone(after_the_fact).expression(column("cluster"), column("seq"));
    column(name).or(later)
}

fn joined(parts: Vec<Expr>, join: fn(Expr, Expr) -> Expr, none: bool) -> Expr {
    parts.into_iter().reduce(join).unwrap_or(lit(none))
}

/// The column of a field whose name in queries is shorter.
pub(crate) fn column_name(known: Known) -> &'static str {
    match known {
        Known::Authenticated => "username",
        Known::Impersonated => "impersonated_username",
        Known::Agent => "user_agent",
        Known::Ns => "namespace",
        Known::Uid => "object_uid",
        Known::Uri => "request_uri",
        other => other.name(),
    }
}

/// A text in a column.
fn plain(field: Expr, test: &Test) -> Expr {
    match test {
        Test::Is(Value::Text(wanted)) => field.eq(text(wanted)),
        Test::Matches(wildcard) => matches(field, wildcard),
        Test::Exists => field.is_not_null(),
        // The parser pairs texts with no other test.
        _ => lit(false),
    }
}

fn matches(field: Expr, wildcard: &Wildcard) -> Expr {
    match wildcard.as_literal() {
        Some(wanted) => field.eq(text(wanted)),
        None => field.like(text(&like(wildcard))),
    }
}

fn integer(field: Expr, test: &Test) -> Expr {
    let within = |low: &Option<Value>, high: &Option<Value>| {
        let mut bounds = Vec::new();
        if let Some(Value::Int(low)) = low {
            bounds.push(field.clone().gt_eq(lit(*low)));
        }
        if let Some(Value::Int(high)) = high {
            bounds.push(field.clone().lt_eq(lit(*high)));
        }
        joined(bounds, Expr::and, true)
    };
    match test {
        Test::Is(Value::Int(wanted)) => field.eq(lit(*wanted)),
        Test::Compare(relation, Value::Int(wanted)) => match relation {
            Comparison::Greater => field.gt(lit(*wanted)),
            Comparison::GreaterOrEqual => field.gt_eq(lit(*wanted)),
            Comparison::Less => field.lt(lit(*wanted)),
            Comparison::LessOrEqual => field.lt_eq(lit(*wanted)),
        },
        Test::Within(low, high) => within(low, high),
        _ => field.is_not_null(),
    }
}

fn flag(field: Expr, test: &Test) -> Expr {
    match test {
        Test::Is(Value::Bool(wanted)) => field.eq(lit(*wanted)),
        _ => field.is_not_null(),
    }
}

/// An audit ID stands in one of two columns, by its form.
fn audit_id(test: &Test) -> Expr {
    let (binary, other) = (column("audit_id"), column("audit_id_text"));
    match test {
        Test::Is(Value::Text(wanted)) => match uuid_bytes(wanted) {
            Some(bytes) => binary.eq(lit(ScalarValue::Binary(Some(bytes.to_vec())))),
            None => other.eq(text(wanted)),
        },
        Test::Matches(wildcard) => {
            let pattern = wildcard.clone();
            let as_uuid = row_test("uuid_matches", vec![binary], move |columns, row| {
                uuid_text(columns, row).is_some_and(|id| pattern.matches(&id))
            });
            as_uuid.or(matches(other, wildcard))
        }
        _ => binary.is_not_null().or(other.is_not_null()),
    }
}

fn uuid_text(columns: &[ArrayRef], row: usize) -> Option<String> {
    let ids = columns.first()?.as_any().downcast_ref::<BinaryArray>()?;
    let bytes: [u8; 16] = ids.is_valid(row).then(|| ids.value(row))?.try_into().ok()?;
    Some(crate::row::uuid_text(bytes))
}

fn groups(test: &Test) -> Expr {
    let field = column("user_groups");
    match test {
        Test::Is(Value::Text(wanted)) => array_has(field, lit(wanted.clone())),
        Test::Matches(wildcard) => any_matches("group_matches", field, wildcard),
        _ => field.is_not_null(),
    }
}

fn any_matches(what: &str, field: Expr, wildcard: &Wildcard) -> Expr {
    let wildcard = wildcard.clone();
    row_test(what, vec![field], move |columns, row| {
        columns.iter().any(|column| any_text(column, row, &mut |text| wildcard.matches(text)))
    })
}

fn addresses(test: &Test) -> Expr {
    let field = column("source_ips");
    match test {
        Test::Cidr(network) => {
            let network = *network;
            row_test("address_is_in", vec![field], move |columns, row| {
                let is_in = |text: &str| text.parse().is_ok_and(|ip| contains(&network, ip));
                columns.iter().any(|column| any_text(column, row, &mut |text| is_in(text)))
            })
        }
        Test::Matches(wildcard) => any_matches("address_matches", field, wildcard),
        _ => field.is_not_null(),
    }
}

/// An IPv4 address may be written as an IPv6 one (RFC 4291 §2.5.5.2); it is the same address.
fn contains(network: &ipnet::IpNet, address: std::net::IpAddr) -> bool {
    network.contains(&address) || network.contains(&address.to_canonical())
}

/// The name of an object that the server named stands in the derived column only.
fn object(test: &Test) -> Expr {
    let Test::Is(Value::Object(ObjectRef { namespace, resource, name })) = test else {
        return column("object").is_not_null();
    };
    let mut behind = name.parts().to_vec();
    if let Some(first) = behind.first_mut() {
        first.insert(0, '/');
    }
    behind.insert(0, String::new());
    let from_answer = column("name")
        .is_null()
        .and(column("object").like(text(&like(&Wildcard::from_parts(behind)))));
    let mut parts =
        vec![matches(column("resource"), resource), matches(column("name"), name).or(from_answer)];
    if let Some(namespace) = namespace {
        parts.push(matches(column("namespace"), namespace));
    }
    joined(parts, Expr::and, true)
}

fn annotation(key: &str, test: &Test) -> Expr {
    match key {
        "authorization.k8s.io/decision" => return plain(column("decision"), test),
        "authorization.k8s.io/reason" => return plain(column("decision_reason"), test),
        _ => {}
    }
    let (key, test) = (key.to_owned(), test.clone());
    row_test("annotation_passes", vec![column("annotations")], move |columns, row| {
        let value = columns.first().and_then(|column| map_value(column, row, &key));
        value.is_some_and(|value| match &test {
            Test::Is(Value::Text(wanted)) => value == *wanted,
            Test::Matches(wildcard) => wildcard.matches(&value),
            _ => true,
        })
    })
}

fn has_body(side: Side) -> Expr {
    let request = column("request_object").is_not_null();
    let response = column("response_object").is_not_null();
    match side {
        Side::Request => request,
        Side::Response => response,
        Side::Either => request.or(response),
    }
}

/// Words anywhere in the envelope; an audit ID may be looked for like any word.
fn envelope_words(test: &Test) -> Result<Expr> {
    let Test::Words(words) = test else { return Ok(lit(false)) };
    let finder = WordFinder::new(words).map_err(|_| Error::TooManyWords)?;
    let columns = TEXT_COLUMNS.iter().map(|name| column(name)).collect();
    let found = row_test("has_words", columns, move |columns, row| {
        let mut look = |text: &str| finder.is_in(text.as_bytes());
        columns.iter().any(|column| any_text(column, row, &mut look))
    });
    let id = words.pattern.as_literal().map(str::to_ascii_lowercase).and_then(|id| uuid_bytes(&id));
    Ok(match id {
        Some(id) => found.or(column("audit_id").eq(lit(ScalarValue::Binary(Some(id.to_vec()))))),
        None => found,
    })
}
