//! Tests of what is inside requests and responses: paths into JSON that is never built as a tree.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::value::RawValue;
use whodid_event::{Str, json, words};
use whodid_query::{Comparison, Segment, Test, Value};

use crate::text::{self, WordFinder};

/// A test of a body, ready to be applied to many.
pub(crate) struct BodyTest {
    path: Vec<Segment>,
    test: Test,
    words: Option<WordFinder>,
}

impl BodyTest {
    /// # Errors
    /// The words are too many to search for at once.
    pub(crate) fn new(path: &[Segment], test: &Test) -> Result<Self, regex::Error> {
        let words = match test {
            Test::Words(words) => Some(WordFinder::new(words)?),
            _ => None,
        };
        Ok(BodyTest { path: path.to_vec(), test: test.clone(), words })
    }

    /// Whether one of the values that the path reaches passes.
    pub(crate) fn holds(&self, body: &str) -> bool {
        if self.path.is_empty() {
            return self.words.as_ref().is_none_or(|words| words.is_in_json(body));
        }
        reach(body, &self.path, &mut |value| self.value_holds(value))
    }

    fn value_holds(&self, value: &str) -> bool {
        if self.test == Test::Exists {
            return value != "null";
        }
        let Some(text) = scalar(value) else { return false };
        match &self.test {
            Test::Is(Value::Text(wanted)) => *text == **wanted,
            Test::Matches(pattern) => pattern.matches(&text),
            Test::Words(_) => self.words.as_ref().is_some_and(|words| words.is_in(text.as_bytes())),
            Test::Compare(relation, Value::Text(wanted)) => {
                relates(*relation, text.as_ref().cmp(wanted))
            }
            Test::Compare(relation, wanted) => {
                number_order(&text, wanted).is_some_and(|order| relates(*relation, order))
            }
            Test::Within(low, high) => {
                let meets = |end: &Option<Value>, relation| match end {
                    None => true,
                    Some(end) => {
                        number_order(&text, end).is_some_and(|order| relates(relation, order))
                    }
                };
                meets(low, Comparison::GreaterOrEqual) && meets(high, Comparison::LessOrEqual)
            }
            _ => false,
        }
    }
}

/// Words that every body has that passes a test.
pub(crate) fn words_of(path: &[Segment], test: &Test) -> Vec<String> {
    let keys = path.iter().filter_map(|segment| match segment {
        Segment::Key(key) => Some(words::whole(key, [false; 2])),
        Segment::Index(_) | Segment::Any => None,
    });
    let mut all: Vec<String> = keys.flatten().collect();
    match test {
        Test::Is(Value::Text(wanted)) => all.extend(words::whole(wanted, [false; 2])),
        Test::Matches(pattern) => all.extend(text::words(pattern)),
        Test::Words(words) => all.extend(text::words(&words.pattern)),
        _ => {}
    }
    all
}

fn relates(relation: Comparison, order: Ordering) -> bool {
    match relation {
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
    }
}

/// Compares a text that is a JSON number with a value.
fn number_order(text: &str, value: &Value) -> Option<Ordering> {
    let number: serde_json::Number = serde_json::from_str(text).ok()?;
    match value {
        Value::Int(wanted) => match number.as_i64() {
            Some(whole) => Some(whole.cmp(wanted)),
            #[expect(clippy::cast_precision_loss, reason = "one of the two is no whole number")]
            None => number.as_f64()?.partial_cmp(&(*wanted as f64)),
        },
        Value::Float(wanted) => number.as_f64()?.partial_cmp(wanted),
        _ => None,
    }
}

/// The text of a string, a number or a truth value; nothing else has one.
fn scalar(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'"' => serde_json::from_str::<Str<'_>>(value).ok().map(|text| text.0),
        b'{' | b'[' => None,
        _ => (value != "null").then_some(Cow::Borrowed(value)),
    }
}

/// Calls `look` with each value that the path reaches; stops at `true`.
fn reach(json: &str, path: &[Segment], look: &mut dyn FnMut(&str) -> bool) -> bool {
    let Some((segment, rest)) = path.split_first() else { return look(json) };
    if json.starts_with('[') {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else { return false };
        return match segment {
            Segment::Key(_) => false,
            Segment::Any => elements.iter().any(|element| reach(element.get(), rest, look)),
            Segment::Index(at) => {
                elements.get(*at as usize).is_some_and(|element| reach(element.get(), rest, look))
            }
        };
    }
    let Ok(entries) = json::entries(json) else { return false };
    let number;
    let wanted = match segment {
        Segment::Any => None,
        Segment::Key(key) => Some(key.as_str()),
        Segment::Index(at) => {
            number = at.to_string();
            Some(number.as_str())
        }
    };
    entries
        .iter()
        .filter(|(key, _)| wanted.is_none_or(|wanted| &**key == wanted))
        .any(|(_, value)| reach(value.get(), rest, look))
}

#[cfg(test)]
mod tests {
    use whodid_query::{Expr, Field, parse};

    use super::*;

    fn holds(query: &str, body: &str) -> bool {
        match parse(query).unwrap().expr {
            Expr::Term(term) => match &term.field {
                Field::Body(_, path) => BodyTest::new(path, &term.test).unwrap().holds(body),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_and_values() {
        let body = r#"{"spec":{"replicas":5,"rate":"2.5","on":true,"none":null,"list":[{"image":"a/b:1"},{"image":"x\u0026y"}]},"metadata":{"labels":{"app.kubernetes.io/name":"web","0":"zero"}},"twice":1,"twice":2}"#;
        for (query, expected) in [
            ("body.spec.replicas:5", true),
            ("body.spec.replicas:>4", true),
            ("body.spec.replicas:>5", false),
            ("body.spec.replicas:>=5", true),
            ("body.spec.replicas:<4.5", false),
            ("body.spec.replicas:1..5", true),
            ("body.spec.replicas:6..", false),
            ("body.spec.rate:>2", true),
            ("body.spec.on:true", true),
            ("body.spec.on:>1", false),
            ("body.spec.none:*", false),
            ("body.spec:*", true),
            ("body.spec.nothing:*", false),
            ("body.spec.list.*.image:\"a/b:1\"", true),
            ("body.spec.list.1.image:\"x&y\"", true),
            ("body.spec.list.2.image:*", false),
            ("body.spec.list.image:*", false),
            ("body.spec.*.*.image:a/*", true),
            ("body.metadata.labels.\"app.kubernetes.io/name\":web", true),
            ("body.metadata.labels.0:zero", true),
            ("body.twice:2", true),
            ("body:\"x&y\"", true),
            ("body:replica", false),
            ("body:replica*", true),
        ] {
            assert_eq!(holds(query, body), expected, "{query}");
        }
    }

    #[test]
    fn bodies_of_any_shape_do_not_panic() {
        for body in ["", "null", "[]", "\"x\"", "{", "[1,2", "{\"a\":}", "5"] {
            assert!(!holds("body.a.0.*:x", body), "{body}");
        }
    }
}
