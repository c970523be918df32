//! The state of an object as the record lets it be known: from answers exactly, from what was sent
//! nearly, from patches as far as what they were applied to is known.

use serde_json::Value;

use super::diff::{Difference, differences, of_patch};
use super::patch;

/// How a state is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// What a change came to.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    /// What is different; nothing where it is not known what was before.
    pub(super) differences: Vec<Difference>,
    /// How the state behind it is known.
    pub(super) basis: Basis,
    /// Whether it is known what was before.
    pub(super) knows_before: bool,
}

impl State {
    /// Goes on to the state behind a change.
    pub(super) fn follow(&mut self, change: &Change<'_>) -> Outcome {
        if matches!(change.verb, "delete" | "deletecollection") {
            (self.object, self.is_gone) = (None, true);
            return Outcome { differences: Vec::new(), basis: Basis::Gone, knows_before: true };
        }
        // What is created had nothing before, nor has what comes after a deletion.
        if change.verb == "create" && change.subresource.is_none() || self.is_gone {
            (self.object, self.is_gone) = (Some(Value::Object(serde_json::Map::new())), false);
        }
        let answer = change.response.as_ref().and_then(|response| whole(response, change));
        if let Some(answer) = answer {
            return self.reach(answer, Basis::Answer);
        }
        let Some(part) = part(change) else {
            let knows_before = self.object.take().is_some();
            return Outcome { differences: Vec::new(), basis: Basis::Nothing, knows_before };
        };
        if change.subresource.is_none() && matches!(change.verb, "create" | "update") {
            return self.reach(part, Basis::Request);
        }
        let patched = self.object.as_ref().and_then(|object| patch::apply(object, &part));
        if let Some(object) = patched {
            return self.reach(object, Basis::Patch);
        }
        self.object = None;
        let differences = operations(&part).unwrap_or_else(|| of_patch(&part));
        Outcome { differences, basis: Basis::Part, knows_before: false }
    }

    fn reach(&mut self, object: Value, basis: Basis) -> Outcome {
        let before = self.object.as_ref();
        let knows_before = before.is_some();
        let differences = before.map(|before| differences(before, &object)).unwrap_or_default();
        self.object = Some(object);
        Outcome { differences, basis, knows_before }
    }
}

/// What a request says of the object, as a patch to it.
fn part(change: &Change<'_>) -> Option<Value> {
    let request = change.request.as_ref()?;
    match change.subresource {
        None | Some("status" | "ephemeralcontainers" | "resize") => Some(request.clone()),
        Some("scale") => {
            let answered =
                change.response.as_ref().and_then(|scale| scale.pointer("/spec/replicas"));
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

    fn change(verb: &str, request: Value, response: Value) -> Change<'_> {
        let some = |value: Value| (!value.is_null()).then_some(value);
        Change { verb, subresource: None, request: some(request), response: some(response) }
    }

    #[test]
    fn a_life() {
        let object =
            |replicas: u64| json!({"metadata": {"name": "web"}, "spec": {"replicas": replicas}});
        let mut state = State::default();
        let mut follow = |change: Change<'_>| {
            let Outcome { differences, basis, knows_before } = state.follow(&change);
            (differences.len(), basis, knows_before, state.object.clone())
        };
        let patch = |replicas: u64| json!({"spec": {"replicas": replicas}});
        let scale = Change {
            verb: "update",
            subresource: Some("scale"),
            request: Some(patch(5)),
            response: Some(
                json!({"kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 6}}),
            ),
        };
        let null = Value::Null;
        for (change, expected) in [
            (change("patch", patch(1), null.clone()), (1, Basis::Part, false, None)),
            (
                change("update", object(2), null.clone()),
                (0, Basis::Request, false, Some(object(2))),
            ),
            (change("update", object(3), object(3)), (1, Basis::Answer, true, Some(object(3)))),
            (change("patch", patch(4), null.clone()), (1, Basis::Patch, true, Some(object(4)))),
            (scale, (1, Basis::Patch, true, Some(object(6)))),
            // What was not recorded may have changed anything.
            (change("update", null.clone(), null.clone()), (0, Basis::Nothing, true, None)),
            (change("update", object(7), object(7)), (0, Basis::Answer, false, Some(object(7)))),
            (change("delete", null.clone(), null.clone()), (0, Basis::Gone, true, None)),
            (change("create", object(8), object(8)), (2, Basis::Answer, true, Some(object(8)))),
        ] {
            let shown = format!("{change:?}");
            assert_eq!(follow(change), expected, "{shown}");
        }
    }
}
