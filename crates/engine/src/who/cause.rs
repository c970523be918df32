//! The act behind an act. Controllers do what people made necessary: the garbage collector deletes
//! what belonged to a deleted owner, the namespace controller empties a deleted namespace, a
//! kubelet finishes the deletion of a pod. Where the record shows that act, it is found here;
//! where it does not, nothing is guessed.

use serde::{Deserialize, Serialize};
use whodid_event::resource;
use whodid_query::{
    Comparison, Expr, Field, Known, Moment, ObjectRef, Precision, Query, Term, Test, Value,
    Wildcard,
};

use super::{Event, happened, is};
use crate::error::Result;
use crate::row::Row;
use crate::{Engine, Search};

/// A chain of acts is followed this far.
const LINKS_MAX: usize = 8;

/// What caused an act.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// The first act of the chain that is known.
    pub event: Event,
    /// How the two hang together.
    pub link: Link,
}

/// How an act hangs together with the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Link {
    /// The one followed from the other.
    Because,
    /// The one came after the other, which changed what the controller looks after.
    After,
}

/// What one step back along a chain looks for.
enum Step {
    /// The deletion of an object.
    Deletion(Object),
    /// The deletion of this object by somebody else than a kubelet.
    FirstDeletion(Object),
    /// The deletion of whatever owns this object.
    OwnerDeletion(Object),
    /// The last change of whatever owns this object.
    OwnerChange(Object),
}

/// An object as the record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    cluster: String,
    namespace: Option<String>,
    resource: String,
    name: String,
}

impl Object {
    fn of(row: &Row) -> Option<Object> {
        let own = |name: &str| row.text(name).map(str::to_owned);
        Some(Object {
            cluster: own("cluster")?,
            namespace: own("namespace"),
            resource: own("resource")?,
            name: own("name")?,
        })
    }

    fn test(&self) -> Expr {
        let literal = |text: &String| Wildcard::literal(text.clone());
        let object = ObjectRef {
            namespace: self.namespace.as_ref().map(literal),
            resource: literal(&self.resource),
            name: literal(&self.name),
        };
        let test = Test::Is(Value::Object(object));
        let object = Term { field: Field::Known(Known::Object), test };
        Expr::and([object.into(), is(Known::Cluster, &self.cluster)])
    }
}

/// The step that leads from what a controller did to why; `None` for everybody else.
fn step(row: &Row) -> Option<Step> {
    let actor = row.text("actor")?;
    let is_deletion = matches!(row.text("action"), Some("delete" | "delete-collection"));
    if actor.starts_with("system:node:") && is_deletion {
        return Object::of(row).map(Step::FirstDeletion);
    }
    let controller = actor.strip_prefix("system:serviceaccount:kube-system:")?;
    match controller {
        "namespace-controller" if is_deletion => {
            let namespace = row.text("namespace")?.to_owned();
            Some(Step::Deletion(Object {
                cluster: row.text("cluster")?.to_owned(),
                namespace: Some(namespace.clone()),
                resource: "namespaces".to_owned(),
                name: namespace,
            }))
        }
        "generic-garbage-collector" if is_deletion => Object::of(row).map(Step::OwnerDeletion),
        "replicaset-controller"
        | "deployment-controller"
        | "statefulset-controller"
        | "daemon-set-controller"
        | "job-controller"
        | "cronjob-controller"
        | "replication-controller" => Object::of(row).map(Step::OwnerChange),
        _ => None,
    }
}

impl Engine {
    /// Follows an act back to the first one that is known to have led to it.
    pub(super) async fn cause(&self, row: &Row) -> Result<Option<Cause>> {
        let mut first: Option<Row> = None;
        let mut link = Link::Because;
        for _ in 0..LINKS_MAX {
            let last = first.as_ref().unwrap_or(row);
            let Some(step) = step(last) else { break };
            if matches!(step, Step::OwnerChange(_)) {
                link = Link::After;
            }
            let Some(before) = self.before(last, step).await? else { break };
            first = Some(before);
        }
        Ok(first.map(|row| Cause { event: self.json(&row), link }))
    }

    /// Finds the act that a step leads to.
    async fn before(&self, row: &Row, step: Step) -> Result<Option<Row>> {
        let any =
            |actions: &[&str]| Expr::or(actions.iter().map(|action| is(Known::Action, action)));
        let deleted = || any(&["delete", "delete-collection", "evict"]);
        let expr = match &step {
            Step::Deletion(object) => Expr::and([any(&["delete"]), object.test()]),
            Step::FirstDeletion(object) => {
                let by_node = is(Known::ActorKind, "node");
                Expr::and([deleted(), object.test(), Expr::not(by_node)])
            }
            Step::OwnerDeletion(object) => match self.owner(object).await? {
                Some(owner) => Expr::and([any(&["delete"]), owner.test()]),
                None => return Ok(None),
            },
            Step::OwnerChange(object) => match self.owner(object).await? {
                Some(owner) => {
                    let changed = any(&["create", "update", "apply", "patch", "scale", "delete"]);
                    let is_status = is(Known::Subresource, "status");
                    Expr::and([changed, owner.test(), Expr::not(is_status)])
                }
                None => return Ok(None),
            },
        };
        let Some(time) = row.instant("time") else { return Ok(None) };
        let moment = Value::Time(Moment::At(time, Precision::Micro));
        let test = Test::Compare(Comparison::LessOrEqual, moment);
        let earlier = Term { field: Field::Known(Known::Time), test };
        let query = Query { expr: Expr::and([expr, happened(), earlier.into()]) };
        // Two, as an act does not cause itself.
        let found = self.search(&Search { query, now: 0, limit: 2 }).await?;
        let other = found.ids.into_iter().rev().find(|id| *id != row.id());
        match other {
            Some(id) => Ok(self.fetch(&[id]).await?.pop()),
            None => Ok(None),
        }
    }

    /// What controls an object, as the newest body says that the record holds of it.
    async fn owner(&self, object: &Object) -> Result<Option<Object>> {
        let written = ["create", "update", "patch", "apply", "delete", "read"];
        let actions = Expr::or(written.iter().map(|action| is(Known::Action, action)));
        let said = whodid_query::Field::Body(
            whodid_query::Side::Either,
            ["metadata", "ownerReferences"]
                .map(|key| whodid_query::Segment::Key(key.into()))
                .to_vec(),
        );
        let says = Term { field: said, test: Test::Exists };
        let query = Query { expr: Expr::and([object.test(), actions, says.into()]) };
        let found = self.search(&Search { query, now: 0, limit: 1 }).await?;
        for original in self.originals(&found.ids).await? {
            let Ok((_, bodies)) = original else { continue };
            let owner = [bodies.request, bodies.response]
                .iter()
                .flatten()
                .find_map(|body| controlling_owner(body));
            if let Some((kind, name)) = owner {
                let resource = resource::canonical(&kind)
                    .map_or_else(|| kind.to_lowercase(), |found| found.plural.to_owned());
                return Ok(Some(Object { resource, name, ..object.clone() }));
            }
        }
        Ok(None)
    }
}

/// The kind and name of the owner that controls an object, from its body.
fn controlling_owner(body: &str) -> Option<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(default, rename = "ownerReferences")]
        owners: Vec<Owner>,
    }
    #[derive(serde::Deserialize)]
    struct Owner {
        kind: String,
        name: String,
        #[serde(default)]
        controller: Option<bool>,
    }
    let object: Object = serde_json::from_str(body).ok()?;
    let owners = object.metadata.owners;
    let controlling = owners.iter().find(|owner| owner.controller == Some(true));
    controlling.or(owners.first()).map(|owner| (owner.kind.clone(), owner.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        for (body, owner) in [
            (
                r#"{"metadata":{"ownerReferences":[{"kind":"A","name":"a"},{"kind":"B","name":"b","controller":true}]}}"#,
                Some(("B", "b")),
            ),
            (r#"{"metadata":{"ownerReferences":[{"kind":"A","name":"a"}]}}"#, Some(("A", "a"))),
            (r#"{"metadata":{}}"#, None),
            (r#"[{"op":"add"}]"#, None),
        ] {
            let found = controlling_owner(body);
            assert_eq!(found.as_ref().map(|(k, n)| (&**k, &**n)), owner, "{body}");
        }
    }
}
