//! What an event means: who acted, what they did in a person's words, to which object, and how it
//! ended. One function computes it, at ingest and again when it is checked, so that search, rules
//! and reports agree and nobody can make the columns lie.
//!
//! What cannot be known at the event's audit level is `None`, never guessed. The tables are in
//! `docs/fields.md`, which a test reads.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::envelope::{Event, ObjectRef, Stage};
use crate::json::{Pairs, Str};
use crate::time::Micros;
use crate::uri::{Query, shell_line};
use crate::{agent, resource};

mod action;

pub use action::Action;

/// What kind of identity acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// None of the others: a person, or a machine with a person's kind of credential.
    Human,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    ServiceAccount,
    /// `system:node:NAME`.
    Node,
    /// Another `system:` name: scheduler, controller manager, the API server itself.
    ControlPlane,
    /// Nobody: `system:anonymous`, or authentication failed.
    Anonymous,
}

impl ActorKind {
    /// The word for it in columns and queries.
    pub fn name(self) -> &'static str {
        match self {
            ActorKind::Human => "human",
            ActorKind::ServiceAccount => "serviceaccount",
            ActorKind::Node => "node",
            ActorKind::ControlPlane => "control-plane",
            ActorKind::Anonymous => "anonymous",
        }
    }

    fn of(actor: Option<&str>) -> ActorKind {
        match actor {
            None | Some("" | "system:anonymous") => ActorKind::Anonymous,
            Some(name) if name.starts_with("system:serviceaccount:") => ActorKind::ServiceAccount,
            Some(name) if name.starts_with("system:node:") => ActorKind::Node,
            Some(name) if name.starts_with("system:") => ActorKind::ControlPlane,
            Some(_) => ActorKind::Human,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A code below 400.
    Success,
    /// 401 or 403: authentication, authorization, or an admission plugin said no.
    Denied,
    /// Any other code.
    Failed,
}

impl Outcome {
    /// The word for it in columns and queries.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        }
    }

    /// A long-running request that was let in is open, so without an outcome, until it completes.
    fn of(stage: Option<Stage>, code: Option<i32>) -> Option<Outcome> {
        match code? {
            401 | 403 => Some(Outcome::Denied),
            400.. => Some(Outcome::Failed),
            _ if stage == Some(Stage::ResponseStarted) => None,
            _ => Some(Outcome::Success),
        }
    }
}

/// The fields derived from one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived<'e> {
    /// `stageTimestamp`, else `requestReceivedTimestamp`; the store adds its own clock as a last
    /// resort.
    pub time: Option<Micros>,
    /// The effective identity: whom the user acted as, else the user.
    pub actor: Option<&'e str>,
    /// What kind of identity `actor` is.
    pub actor_kind: ActorKind,
    /// What was done.
    pub action: Action,
    /// How it ended; `None` before the answer and while a long-running request is open.
    pub outcome: Option<Outcome>,
    /// Whether it was a dry run; `None` where only an unrecorded body would tell.
    pub dry_run: Option<bool>,
    /// The `fieldManager` the client named.
    pub field_manager: Option<String>,
    /// The client program.
    pub tool: Option<&'e str>,
    /// The version of the client program.
    pub tool_version: Option<&'e str>,
    /// The command of an exec, as a shell would read it.
    pub exec_command: Option<String>,
    /// `GROUP/VERSION/RESOURCE[/SUBRESOURCE]`, without the group for the core group.
    pub gvr: Option<String>,
    /// `[NAMESPACE/]KIND/NAME`.
    pub object: Option<String>,
    /// Whether the API server left out bodies because the event was too long.
    pub is_truncated: bool,
}

/// Computes the derived fields of an event.
pub fn derive<'e>(event: &'e Event<'_>) -> Derived<'e> {
    let actor = actor(event);
    let query = Query::of(event.request_uri.as_deref().unwrap_or_default());
    let verb = event.verb.as_deref().unwrap_or_default();
    let none = ObjectRef::default();
    let object_ref = event.object_ref.as_ref().unwrap_or(&none);
    let field_manager = query.first("fieldManager").map(Cow::into_owned);
    let (tool, tool_version) = agent::tool(event.user_agent.as_deref().unwrap_or_default());
    let action = action::of(verb, object_ref, query, event.request_object);
    Derived {
        time: event.stage_time.or(event.request_received),
        actor,
        actor_kind: ActorKind::of(actor),
        action,
        outcome: Outcome::of(event.stage(), event.response_status.as_ref().and_then(|s| s.code)),
        dry_run: dry_run(verb, object_ref, query, event.request_object),
        field_manager,
        tool,
        tool_version,
        exec_command: (action == Action::Exec).then(|| shell_line(query.all("command"))).flatten(),
        gvr: gvr(object_ref),
        object: object(verb, object_ref, event.response_object),
        is_truncated: event
            .annotations
            .get("audit.k8s.io/truncated")
            .is_some_and(|value| &**value == "true"),
    }
}

fn actor<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    let name = |user: &'e Option<crate::User<'_>>| user.as_ref()?.username.as_deref();
    name(&event.impersonated_user).or_else(|| name(&event.user))
}

/// Reads and connects change nothing, so they are no dry runs. Options of a delete may stand in a
/// body, so that without one in view only `true` is certain.
fn dry_run(
    verb: &str,
    object_ref: &ObjectRef<'_>,
    query: Query<'_>,
    body: Option<&str>,
) -> Option<bool> {
    let is_write = matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection");
    if !is_write {
        return Some(false);
    }
    if query.first("dryRun").is_some_and(|value| value == "All") {
        return Some(true);
    }
    let is_eviction = object_ref.subresource.as_deref() == Some("eviction");
    if !matches!(verb, "delete" | "deletecollection") && !is_eviction {
        return Some(false);
    }
    let options: DeleteOptions<'_> = serde_json::from_str(body?).ok()?;
    let listed =
        if is_eviction { options.delete_options.unwrap_or_default() } else { options.dry_run };
    Some(listed.iter().any(|value| &**value == "All"))
}

/// `meta/v1` DeleteOptions, or a `policy/v1` Eviction, which holds such options.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteOptions<'a> {
    #[serde(borrow, default)]
    dry_run: Vec<Str<'a>>,
    #[serde(borrow, default, deserialize_with = "inner_dry_run")]
    delete_options: Option<Vec<Str<'a>>>,
}

fn inner_dry_run<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Str<'de>>>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Inner<'a> {
        #[serde(borrow, default, rename = "dryRun")]
        dry_run: Vec<Str<'a>>,
    }
    let inner = <Option<Inner<'de>> as serde::Deserialize>::deserialize(deserializer)?;
    Ok(inner.map(|inner| inner.dry_run))
}

fn gvr(object_ref: &ObjectRef<'_>) -> Option<String> {
    let parts = [
        &object_ref.api_group,
        &object_ref.api_version,
        &object_ref.resource,
        &object_ref.subresource,
    ];
    object_ref.resource.as_ref()?;
    Some(parts.into_iter().flatten().map(|part| &**part).collect::<Vec<_>>().join("/"))
}

/// The name may stand in the answer only (`generateName`); a list has none.
fn object(verb: &str, object_ref: &ObjectRef<'_>, response: Option<&str>) -> Option<String> {
    let plural = object_ref.resource.as_deref()?;
    let named = match object_ref.name.as_deref() {
        Some(name) => Cow::Borrowed(name),
        None if verb == "create" && object_ref.subresource.is_none() => created_name(response?)?,
        None => return None,
    };
    let kind = resource::by_plural(plural)
        .map_or(Cow::Borrowed(plural), |found| Cow::Owned(found.singular()));
    Some(match object_ref.namespace.as_deref() {
        Some(namespace) if plural != "namespaces" => format!("{namespace}/{kind}/{named}"),
        _ => format!("{kind}/{named}"),
    })
}

fn created_name(response: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        name: Option<Str<'a>>,
    }
    let object: Pairs<'_, &RawValue> = serde_json::from_str(response).ok()?;
    let is = |key: &str, text: &str| object.get(key).is_some_and(|value| value.get() == text);
    if is("kind", "\"Status\"") {
        return None;
    }
    let metadata: Metadata<'_> = serde_json::from_str(object.get("metadata")?.get()).ok()?;
    metadata.name.map(|name| name.0)
}

#[cfg(test)]
mod tests;
