//! The state of an object as the record lets it be known: from answers exactly, from what was sent
//! nearly, from patches as far as what they were applied to is known.

use serde_json::Value;

use super::diff::{Difference, differences, of_patch};
use super::patch;

/// How a state is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// The API server answered with it.
    Answer,
    /// It is what was sent; what the server fills in is not in it.
    Request,
    /// A patch was applied to a state that was known.
    Patch,
    /// There was only a patch, or a part, of an object that is not known.
    Part,
    /// The object is gone.
    Gone,
    /// Nothing of it is in the record.
    Nothing,
}

/// What a request did, as far as it is in the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Change<'a> {
    pub(super) verb: &'a str,
    pub(super) subresource: Option<&'a str>,
    pub(super) request: Option<Value>,
    pub(super) response: Option<Value>,
}

/// The object, from change to change.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// `None` while it is not known, and when it is gone.
    pub(super) object: Option<Value>,
    is_gone: bool,
}

impl State {
    /// Goes on to the state behind a change; what is different, and how it is known.
    pub(super) fn follow(&mut self, change: Change<'_>) -> (Vec<Difference>, Basis) {
        if matches!(change.verb, "delete" | "deletecollection") {
            (self.object, self.is_gone) = (None, true);
            return (Vec::new(), Basis::Gone);
        }
        if let Some(answer) = change.response.as_ref().and_then(|response| whole(response, &change)) {
            return (self.become_(answer), Basis::Answer);
        }
        let Some(part) = self.part(&change) else { return (Vec::new(), Basis::Nothing) };
        let is_whole = change.subresource.is_none() && matches!(change.verb, "create" | "update");
        if is_whole {
            return (self.become_(part), Basis::Request);
        }
        match self.object.as_ref().and_then(|object| patch::apply(object, &part)) {
            Some(object) => (self.become_(object), Basis::Patch),
            None => {
                self.object = None;
                (operations(&part).unwrap_or_else(|| of_patch(&part)), Basis::Part)
            }
        }
    }

    fn become_(&mut self, object: Value) -> Vec<Difference> {
        let before = match &self.object {
            Some(before) => before,
            // What was created, or created anew, had nothing before.
            None => &Value::Object(serde_json::Map::new()),
        };
        let found = differences(before, &object);
        (self.object, self.is_gone) = (Some(object), false);
        found
    }

    /// What a request says of the object, as a patch to it.
    fn part(&self, change: &Change<'_>) -> Option<Value> {
        let request = change.request.as_ref()?;
        match change.subresource {
            None | Some("status" | "ephemeralcontainers" | "resize") => Some(request.clone()),
            Some("scale") => {
                let answered = change.response.as_ref().and_then(|scale| scale.pointer("/spec/replicas"));
                let replicas = answered.or_else(|| request.pointer("/spec/replicas"))?;
                Some(serde_json::json!({ "spec": { "replicas": replicas } }))
            }
            Some("binding") => {
                let node = request.pointer("/target/name")?;
                Some(serde_json::json!({ "spec": { "nodeName": node } }))
            }
            Some(_) => None,
        }
    }
}

/// An answer that is the object itself.
fn whole(response: &Value, change: &Change<'_>) -> Option<Value> {
    let kind = response.get("kind").and_then(Value::as_str);
    let is_other = matches!(kind, Some("Status" | "Scale" | "Table" | "Eviction" | "Binding"));
    let has_name = response.pointer("/metadata/name").is_some();
    let is_part = matches!(change.subresource, Some("scale" | "binding" | "eviction" | "token"));
    (has_name && !is_other && !is_part).then(|| response.clone())
}

/// What a JSON patch does to an object that is not known.
fn operations(patch: &Value) -> Option<Vec<Difference>> {
    use super::diff::Side;
    let operation = |operation: &Value| {
        let path = operation.get("path")?.as_str()?;
        let path = path.trim_start_matches('/').replace('/', ".");
        let path = path.replace("~1", "/").replace("~0", "~");
        let new = match operation.get("op")?.as_str()? {
            "remove" => Side::Absent,
            "add" | "replace" => Side::Value(operation.get("value")?.clone()),
            "test" => return None,
            _ => Side::Unknown,
        };
        Some(Difference { path, old: Side::Unknown, new })
    };
    Some(patch.as_array()?.iter().filter_map(operation).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change<'a>(verb: &'a str, request: Value, response: Value) -> Change<'a> {
        let some = |value: Value| (!value.is_null()).then_some(value);
        Change { verb, subresource: None, request: some(request), response: some(response) }
    }

    #[test]
    fn a_life() {
        let object = |replicas: u64| json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas}});
        let mut state = State::default();
        let (found, basis) = state.follow(change("patch", json!({"spec": {"replicas": 1}}), Value::Null));
        assert_eq!((found.len(), basis), (1, Basis::Part));
        let (found, basis) = state.follow(change("update", object(2), Value::Null));
        assert_eq!((found.len(), basis), (2, Basis::Request));
        let (found, basis) = state.follow(change("update", object(3), object(3)));
        assert_eq!((found.len(), basis), (1, Basis::Answer));
        let patch = json!({"spec": {"replicas": 4}});
        let (found, basis) = state.follow(change("patch", patch, Value::Null));
        assert_eq!((found[0].path.as_str(), basis), ("spec.replicas", Basis::Patch));
        let scale = Change {
            verb: "update",
            subresource: Some("scale"),
            request: Some(json!({"spec": {"replicas": 5}})),
            response: Some(json!({"kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 6}})),
        };
        let (found, basis) = state.follow(scale);
        assert_eq!((found.len(), basis), (1, Basis::Patch));
        assert_eq!(state.object.as_ref().unwrap()["spec"]["replicas"], 6);
        assert_eq!(state.follow(change("delete", Value::Null, Value::Null)).1, Basis::Gone);
        assert_eq!(state.object, None);
        let metadata_only = change("update", Value::Null, Value::Null);
        assert_eq!(state.follow(metadata_only).1, Basis::Nothing);
    }
}
