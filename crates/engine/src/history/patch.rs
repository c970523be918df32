//! Patches as the API server applies them, as far as the record tells which kind one was: a list
//! is a JSON patch (RFC 6902); an object is merged (RFC 7396), lists of things with names by name,
//! as a strategic merge patch and an apply do.

use serde_json::{Map, Value};

use super::diff::names;

/// What directives of strategic merge patches begin with.
const DIRECTIVE: char = '$';

/// Applies a patch; `None` if it does not fit.
pub(super) fn apply(object: &Value, patch: &Value) -> Option<Value> {
    let mut object = object.clone();
    if patch.is_array() {
        let operations: json_patch::Patch = serde_json::from_value(patch.clone()).ok()?;
        json_patch::patch(&mut object, &operations).ok()?;
    } else {
        merge(&mut object, patch);
    }
    Some(object)
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(object) = object else { return };
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with(DIRECTIVE)) {
        match value {
            Value::Null => drop(object.remove(key)),
            Value::Array(things) if names(things).is_some() => {
                merge_list(object.entry(key).or_insert(Value::Array(Vec::new())), things);
            }
            value => merge(object.entry(key).or_insert(Value::Null), value),
        }
    }
}

fn merge_list(list: &mut Value, things: &[Value]) {
    if !list.as_array().is_some_and(|list| list.is_empty() || names(list).is_some()) {
        *list = Value::Array(things.to_vec());
        return;
    }
    let Value::Array(list) = list else { return };
    for thing in things {
        let at = list.iter().position(|one| one.get("name") == thing.get("name"));
        let is_deleted = thing.get("$patch").is_some_and(|directive| directive == "delete");
        match at.and_then(|at| list.get_mut(at).map(|one| (at, one))) {
            Some((at, _)) if is_deleted => drop(list.remove(at)),
            Some((_, one)) => merge(one, thing),
            None if is_deleted => {}
            None => list.push(thing.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_are_applied() {
        let object = json!({"spec": {"replicas": 2, "containers": [{"name": "a", "image": "x"}]}});
        for (patch, expected) in [
            (
                json!({"spec": {"replicas": 3}}),
                json!({"spec": {"replicas": 3, "containers": [{"name": "a", "image": "x"}]}}),
            ),
            (
                json!({"spec": {"replicas": null}}),
                json!({"spec": {"containers": [{"name": "a", "image": "x"}]}}),
            ),
            (
                json!({"spec": {"$setElementOrder/containers": [{"name": "a"}],
                    "containers": [{"name": "a", "image": "y"}, {"name": "b"}]}}),
                json!({"spec": {"replicas": 2,
                    "containers": [{"name": "a", "image": "y"}, {"name": "b"}]}}),
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
                json!({"spec": {"replicas": 2, "containers": []}}),
            ),
            (
                json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]),
                json!({"spec": {"replicas": 5, "containers": [{"name": "a", "image": "x"}]}}),
            ),
        ] {
            assert_eq!(apply(&object, &patch), Some(expected), "{patch}");
        }
        let misses = json!([{"op": "remove", "path": "/status/phase"}]);
        assert_eq!(apply(&object, &misses), None);
    }
}
