//! What is different between two states of an object, field by field. Pure; how a state is known
//! is [`super::state`]'s business.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the server keeps for itself, and what changes with every write.
const LEFT_OUT: [&str; 3] =
    ["metadata.managedFields", "metadata.resourceVersion", "metadata.generation"];

/// A field that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Where it is: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// What it was.
    pub old: Side,
    /// What it is.
    pub new: Side,
}

/// One side of a difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// The field was not there.
    Absent,
    /// The record does not say.
    Unknown,
    /// It had this value.
    Value(Value),
}

impl Side {
    fn of(value: Option<&Value>) -> Self {
        value.map_or(Side::Absent, |value| Side::Value(value.clone()))
    }
}

/// What is different in `new`, in the order of paths.
pub(super) fn differences(old: &Value, new: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(old), Some(new), &mut found);
    found
}

/// What a patch sets of an object of which nothing else is known.
pub(super) fn of_patch(patch: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", None, Some(patch), &mut found);
    for difference in &mut found {
        difference.old = Side::Unknown;
        if difference.new == Side::Value(Value::Null) {
            difference.new = Side::Absent;
        }
    }
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    // A patch that sets nothing says nothing of the object.
    let is_empty = path.is_empty() && new.and_then(Value::as_object).is_some_and(Map::is_empty);
    if old == new || LEFT_OUT.contains(&path) || old.is_none() && is_empty {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => objects(path, old, new, found),
        (None, Some(Value::Object(new))) if !new.is_empty() => {
            objects(path, &Map::new(), new, found);
        }
        (Some(Value::Object(old)), None) if !old.is_empty() => {
            objects(path, old, &Map::new(), found);
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => lists(path, old, new, found),
        (None, Some(Value::Array(new))) if names(new).is_some() => lists(path, &[], new, found),
        (Some(Value::Array(old)), None) if names(old).is_some() => lists(path, old, &[], found),
        _ => {
            let (old, new) = (Side::of(old), Side::of(new));
            found.push(Difference { path: path.to_owned(), old, new });
        }
    }
}

fn objects(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        compare(&member(path, key), old.get(key), new.get(key), found);
    }
}

/// Lists of things with names are compared by name, all others by place.
fn lists(path: &str, old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    let by_name =
        (old.is_empty() || names(old).is_some()) && (new.is_empty() || names(new).is_some());
    if !by_name {
        for at in 0..old.len().max(new.len()) {
            compare(&format!("{path}[{at}]"), old.get(at), new.get(at), found);
        }
        return;
    }
    let mut all: Vec<&str> = names(old).unwrap_or_default();
    for name in names(new).unwrap_or_default() {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let named =
        |list: &'_ [Value], name: &str| list.iter().find(|one| name_of(one) == Some(name)).cloned();
    for name in all {
        let (old, new) = (named(old, name), named(new, name));
        compare(&format!("{path}[name={name}]"), old.as_ref(), new.as_ref(), found);
    }
}

/// The names of all things in a list, if each has one of its own.
pub(super) fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = list.iter().map(name_of).collect::<Option<_>>()?;
    let is_own = |name: &&str| names.iter().filter(|other| other == &name).count() == 1;
    (!names.is_empty() && names.iter().all(is_own)).then_some(names)
}

fn name_of(thing: &Value) -> Option<&str> {
    thing.get("name").and_then(Value::as_str)
}

/// Keys that are no words stand in quotes, as in `metadata.labels["app.kubernetes.io/name"]`.
fn member(path: &str, key: &str) -> String {
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
    match (path.is_empty(), is_word) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(found: &[Difference]) -> Vec<String> {
        let side = |side: &Side| match side {
            Side::Absent => "-".to_owned(),
            Side::Unknown => "?".to_owned(),
            Side::Value(value) => value.to_string(),
        };
        found.iter().map(|d| format!("{} {} {}", d.path, side(&d.old), side(&d.new))).collect()
    }

    #[test]
    fn fields_are_compared() {
        let old = json!({"metadata": {"resourceVersion": "1", "labels": {"a/b": "1", "c": "2"}},
            "spec": {"replicas": 2, "containers": [{"name": "a", "image": "x"}, {"name": "b"}],
            "args": ["1", "2"]}});
        let new = json!({"metadata": {"resourceVersion": "2", "labels": {"a/b": "2"}},
            "spec": {"replicas": 3, "containers": [{"name": "b"}, {"name": "a", "image": "y"},
            {"name": "c", "image": "z"}], "args": ["1"]}});
        let expected = [
            "metadata.labels[\"a/b\"] \"1\" \"2\"",
            "metadata.labels.c \"2\" -",
            "spec.args[1] \"2\" -",
            "spec.containers[name=a].image \"x\" \"y\"",
            "spec.containers[name=c].image - \"z\"",
            "spec.containers[name=c].name - \"c\"",
            "spec.replicas 2 3",
        ];
        assert_eq!(shown(&differences(&old, &new)), expected);
        assert_eq!(differences(&old, &old), []);
    }

    #[test]
    fn a_patch_alone_says_what_is_set() {
        let patch = json!({"spec": {"replicas": 3}, "metadata": {"labels": {"a": null}}});
        assert_eq!(shown(&of_patch(&patch)), ["metadata.labels.a ? -", "spec.replicas ? 3"]);
        assert_eq!(of_patch(&json!({})), []);
    }
}
