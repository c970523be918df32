//! Which rows a query can need, as far as it can be told without reading them: by the index of
//! words that settled files have, or because events were found already. What a row comes to is
//! decided by the row; here nothing is left out that might pass.

use std::collections::{BTreeSet, HashMap};

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use whodid_event::words;
use whodid_query::{Field, Known, Term, Test};
use whodid_store::{DataFile, Key, TEXT_COLUMNS, Table, VALUE_COLUMNS, WordIndex};

use crate::filter::{Translator, column_name};
use crate::text;

/// So many events are read from where they are instead of being looked for.
const FEW_EVENTS: u64 = 65_536;

/// So many values of a column are looked up.
const KEYS_MAX: usize = 100;

/// Which rows are wanted; others may come, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// All, as far as it can be told.
    All,
    /// Those in which all of these stand.
    Keys(Vec<Key>),
    /// Those in which one of these stands.
    OneOf(Vec<Key>),
    /// Events by cluster and `seq`.
    Events(HashMap<String, BTreeSet<u64>>),
    /// Those that all of these want.
    Every(Vec<Wanted>),
    /// Those that one of these wants.
    Any(Vec<Wanted>),
}

impl Wanted {
    /// Events in which all of these words stand.
    pub(crate) fn words(words: &[String]) -> Self {
        Wanted::Keys(words.iter().map(|word| Key::word(word)).collect())
    }

    /// Bodies in which all of these words stand.
    pub(crate) fn words_of_body(words: &[String]) -> Self {
        Wanted::Keys(words.iter().flat_map(|word| Key::word(word).twice()).collect())
    }

    /// What filters of `events` leave.
    pub(crate) fn by_filters<'a>(filters: impl IntoIterator<Item = &'a Expr>) -> Self {
        Self::every(filters.into_iter().map(Self::by_filter))
    }

    fn by_filter(filter: &Expr) -> Self {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (op, &**left, &**right) {
                (Operator::And, left, right) => Self::by_filters([left, right]),
                (Operator::Or, left, right) => {
                    Wanted::Any(vec![Self::by_filter(left), Self::by_filter(right)])
                }
                (Operator::Eq, Expr::Column(column), Expr::Literal(value, _))
                | (Operator::Eq, Expr::Literal(value, _), Expr::Column(column)) => {
                    Self::is(&column.name, value)
                }
                _ => Wanted::All,
            },
            Expr::InList(list) if !list.negated => {
                let Expr::Column(column) = &*list.expr else { return Wanted::All };
                let key = |value: &Expr| match value {
                    Expr::Literal(value, _) => keys(&column.name, value).first().copied(),
                    _ => None,
                };
                let keys: Option<Vec<Key>> = list.list.iter().take(KEYS_MAX + 1).map(key).collect();
                keys.filter(|keys| keys.len() <= KEYS_MAX).map_or(Wanted::All, Wanted::OneOf)
            }
            _ => Wanted::All,
        }
    }

    /// Rows in which a column has a value. One filter in 256 has a key by chance; with the words of
    /// a value as well as the value, of which each is another key, few have all.
    fn is(column: &str, value: &ScalarValue) -> Self {
        let text = value.try_as_str().flatten().filter(|_| TEXT_COLUMNS.contains(&column));
        let words = text.map(|text| words::whole(text, [false; 2])).unwrap_or_default();
        let words = words.iter().map(|word| Key::word(word));
        Self::every([Wanted::Keys(keys(column, value).into_iter().chain(words).collect())])
    }

    /// Those that all of these want. Keys are one list: a filter is looked into once for all.
    pub(crate) fn every(parts: impl IntoIterator<Item = Wanted>) -> Self {
        let (mut keys, mut others) = (Vec::new(), Vec::new());
        for part in parts {
            part.sort_into(&mut keys, &mut others);
        }
        if !keys.is_empty() {
            others.push(Wanted::Keys(keys));
        }
        match others.len() {
            0 => Wanted::All,
            1 => others.remove(0),
            _ => Wanted::Every(others),
        }
    }

    fn sort_into(self, keys: &mut Vec<Key>, others: &mut Vec<Wanted>) {
        match self {
            Wanted::All => {}
            Wanted::Keys(more) => keys.extend(more),
            Wanted::Every(parts) => {
                for part in parts {
                    part.sort_into(keys, others);
                }
            }
            other => others.push(other),
        }
    }

    /// What a query leaves of `events` besides what its filter does: words, and events whose
    /// bodies were found to pass.
    pub(crate) fn by_query(expr: &whodid_query::Expr, translator: &Translator) -> Self {
        use whodid_query::Expr as Query;
        let each = |parts: &[Query]| {
            parts.iter().map(|part| Self::by_query(part, translator)).collect::<Vec<_>>()
        };
        match expr {
            Query::And(parts) => Self::every(each(parts)),
            Query::Or(parts) => Wanted::Any(each(parts)),
            Query::All | Query::Not(_) => Wanted::All,
            Query::Term(term) => Self::by_term(term, translator),
        }
    }

    fn by_term(term: &Term, translator: &Translator) -> Self {
        let in_bodies = || {
            let set = translator.bodies.get(&term.to_string());
            set.filter(|set| set.len() <= FEW_EVENTS)
                .map_or(Wanted::All, |set| Wanted::Events(set.places()))
        };
        match (&term.field, &term.test) {
            (Field::Body(..), test) if *test != Test::Exists => in_bodies(),
            (Field::Text, Test::Words(words)) => {
                let found = Self::words(&text::words(&words.pattern));
                let id = words.pattern.as_literal().map(str::to_ascii_lowercase);
                let id = id.and_then(|id| whodid_store::uuid_bytes(&id));
                let id = id.map(|id| Wanted::Keys(Key::value("audit_id", &id).twice().into()));
                Wanted::Any([found, in_bodies()].into_iter().chain(id).collect())
            }
            (Field::Known(known), Test::Matches(pattern)) if is_text(*known) => {
                Self::words(&text::words(pattern))
            }
            _ => Wanted::All,
        }
    }

    pub(crate) fn needs_index(&self) -> bool {
        match self {
            Wanted::All | Wanted::Events(_) => false,
            Wanted::Keys(keys) | Wanted::OneOf(keys) => !keys.is_empty(),
            Wanted::Every(parts) | Wanted::Any(parts) => parts.iter().any(Self::needs_index),
        }
    }

    /// The rows of a file that are wanted, by its index if it has one; `None` if that may be any.
    pub(crate) fn rows(
        &self,
        table: Table,
        file: &DataFile,
        index: Option<&WordIndex>,
    ) -> Option<RowSelection> {
        let rows = usize::try_from(file.stats.rows).unwrap_or(usize::MAX);
        match self {
            Wanted::All => None,
            Wanted::Keys(keys) if keys.is_empty() => None,
            Wanted::Keys(keys) => Some(selection(index?.may_hold(keys, rows))),
            Wanted::OneOf(keys) => Some(selection(index?.may_hold_any(keys, rows))),
            // Bodies are not in the order of the log.
            Wanted::Events(_) if table == Table::Bodies => None,
            Wanted::Events(events) => Some(match events.get(&file.cluster) {
                Some(seqs) => selection(places(file, seqs)),
                None => selection([(rows, false)]),
            }),
            Wanted::Every(parts) => {
                let parts = parts.iter().filter_map(|part| part.rows(table, file, index));
                parts.reduce(|one, other| one.intersection(&other))
            }
            Wanted::Any(parts) => {
                let parts = parts.iter().map(|part| part.rows(table, file, index));
                let parts = parts.collect::<Option<Vec<_>>>()?;
                parts.into_iter().reduce(|one, other| one.union(&other))
            }
        }
    }
}

/// By what an index knows a value of a column, if it has it.
fn keys(column: &str, value: &ScalarValue) -> Vec<Key> {
    if !VALUE_COLUMNS.contains(&column) {
        return Vec::new();
    }
    match value {
        ScalarValue::Binary(Some(bytes)) => Key::value(column, bytes).twice().into(),
        ScalarValue::Int32(Some(number)) => vec![Key::number(column, i64::from(*number))],
        ScalarValue::Int64(Some(number)) => vec![Key::number(column, *number)],
        text => {
            let text = text.try_as_str().flatten();
            text.map(|text| Key::value(column, text.as_bytes())).into_iter().collect()
        }
    }
}

/// Whether a field is a text in which a search for words looks.
fn is_text(known: Known) -> bool {
    TEXT_COLUMNS.contains(&column_name(known))
}

fn selection(runs: impl IntoIterator<Item = (usize, bool)>) -> RowSelection {
    let selectors = runs.into_iter().map(|(rows, is_wanted)| {
        if is_wanted { RowSelector::select(rows) } else { RowSelector::skip(rows) }
    });
    selectors.collect()
}

/// Where events are in a file, whose rows follow one another: runs of rows, and whether they are
/// wanted.
fn places(file: &DataFile, seqs: &BTreeSet<u64>) -> Vec<(usize, bool)> {
    let (first, last) = file.stats.seq;
    let mut runs: Vec<(usize, bool)> = Vec::new();
    let mut at = first;
    let mut run = |to: u64, is_wanted| {
        let rows = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        at = to;
        match runs.last_mut() {
            _ if rows == 0 => {}
            Some(last) if last.1 == is_wanted => last.0 += rows,
            _ => runs.push((rows, is_wanted)),
        }
    };
    for seq in seqs.range(first..=last) {
        run(*seq, false);
        run(seq + 1, true);
    }
    run(last + 1, false);
    runs
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::lit;

    use super::*;
    use crate::filter::{column, text as literal};

    fn value(column: &str, value: &str) -> Key {
        Key::value(column, value.as_bytes())
    }

    #[test]
    fn filters_that_leave_rows() {
        let verb = || column("verb").eq(literal("delete"));
        let delete = || vec![value("verb", "delete"), Key::word("delete")];
        let is_delete = || Wanted::Keys(delete());
        let is_actor = || Wanted::Keys(vec![value("actor", "a")]);
        let names = |count: usize| (0..count).map(|name| literal(&name.to_string())).collect();
        for (filter, wanted) in [
            (verb(), is_delete()),
            (literal("delete").eq(column("verb")), is_delete()),
            (column("code").eq(lit(403_i32)), Wanted::Keys(vec![Key::number("code", 403)])),
            (column("code").eq(lit(403_i64)), Wanted::Keys(vec![Key::number("code", 403)])),
            (
                column("user_agent").eq(literal("kubectl/v1")),
                Wanted::words(&["kubectl".into(), "v1".into()]),
            ),
            (
                column("name").in_list(names(2), false),
                Wanted::OneOf(vec![value("name", "0"), value("name", "1")]),
            ),
            (verb().and(column("seq").eq(lit(1))), is_delete()),
            (
                verb().and(column("actor").eq(literal("a"))).and(verb().or(verb())),
                Wanted::Every(vec![
                    Wanted::Any(vec![is_delete(), is_delete()]),
                    Wanted::Keys([delete(), vec![value("actor", "a")]].concat()),
                ]),
            ),
            (column("actor").eq(literal("a")), is_actor()),
            (
                column("audit_id").eq(lit(ScalarValue::Binary(Some(vec![7; 16])))),
                Wanted::Keys(Key::value("audit_id", &[7; 16]).twice().into()),
            ),
            (verb().or(column("seq").eq(lit(1))), Wanted::Any(vec![is_delete(), Wanted::All])),
            // What is no such test leaves all.
            (column("name").in_list(names(KEYS_MAX + 1), false), Wanted::All),
            (column("name").in_list(names(2), true), Wanted::All),
            (column("verb").not_eq(literal("delete")), Wanted::All),
            (Expr::Not(Box::new(verb())), Wanted::All),
            (column("verb").eq(column("name")), Wanted::All),
            (column("time").eq(lit(1_i64)), Wanted::All),
            (column("cluster").eq(literal("prod")), Wanted::All),
        ] {
            assert_eq!(Wanted::by_filters([&filter]), wanted, "{filter}");
        }
    }
}
