//! What was done, in a person's words: independent of transport (exec is exec by GET and by POST)
//! and of the way kubectl happens to do it.

use crate::envelope::ObjectRef;
use crate::json;
use crate::uri::Query;

/// What was done. `docs/fields.md` has the table that tells when which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the words of the table")]
pub enum Action {
    Read,
    List,
    Watch,
    Create,
    Update,
    Apply,
    Patch,
    Delete,
    DeleteCollection,
    Exec,
    Attach,
    PortForward,
    Logs,
    Proxy,
    Debug,
    Scale,
    Evict,
    Bind,
    Grant,
    Approve,
    Token,
    Review,
    Other,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Action; 23] = [
        Action::Read,
        Action::List,
        Action::Watch,
        Action::Create,
        Action::Update,
        Action::Apply,
        Action::Patch,
        Action::Delete,
        Action::DeleteCollection,
        Action::Exec,
        Action::Attach,
        Action::PortForward,
        Action::Logs,
        Action::Proxy,
        Action::Debug,
        Action::Scale,
        Action::Evict,
        Action::Bind,
        Action::Grant,
        Action::Approve,
        Action::Token,
        Action::Review,
        Action::Other,
    ];

    /// The word for it in columns and queries.
    pub fn name(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::List => "list",
            Action::Watch => "watch",
            Action::Create => "create",
            Action::Update => "update",
            Action::Apply => "apply",
            Action::Patch => "patch",
            Action::Delete => "delete",
            Action::DeleteCollection => "delete-collection",
            Action::Exec => "exec",
            Action::Attach => "attach",
            Action::PortForward => "port-forward",
            Action::Logs => "logs",
            Action::Proxy => "proxy",
            Action::Debug => "debug",
            Action::Scale => "scale",
            Action::Evict => "evict",
            Action::Bind => "bind",
            Action::Grant => "grant",
            Action::Approve => "approve",
            Action::Token => "token",
            Action::Review => "review",
            Action::Other => "other",
        }
    }
}

pub(super) fn of(
    verb: &str,
    object: &ObjectRef<'_>,
    query: Query<'_>,
    body: Option<&str>,
) -> Action {
    let resource = object.resource.as_deref().unwrap_or_default();
    let subresource = object.subresource.as_deref().unwrap_or_default();
    let is_write = matches!(verb, "create" | "update" | "patch");
    match (resource, subresource) {
        ("pods", "exec") => return Action::Exec,
        ("pods", "attach") => return Action::Attach,
        ("pods", "portforward") => return Action::PortForward,
        ("pods", "log") => return Action::Logs,
        ("pods" | "services" | "nodes", "proxy") => return Action::Proxy,
        _ if verb == "proxy" => return Action::Proxy,
        ("pods", "ephemeralcontainers") if is_write => return Action::Debug,
        ("pods", "") if verb == "create" && is_node_debugger(object) => return Action::Debug,
        (_, "scale") if is_write => return Action::Scale,
        ("pods", "eviction") if verb == "create" => return Action::Evict,
        ("pods", "binding") | ("bindings", "") if verb == "create" => return Action::Bind,
        ("rolebindings" | "clusterrolebindings", "") if is_write => return Action::Grant,
        ("certificatesigningrequests", "approval") if is_write => return Action::Approve,
        ("serviceaccounts", "token") if verb == "create" => return Action::Token,
        (reviewed, "") if verb == "create" && is_review(reviewed) => return Action::Review,
        _ => {}
    }
    match verb {
        "create" | "update" | "patch" if is_apply(verb, query, body) => Action::Apply,
        "get" | "head" => Action::Read,
        "list" => Action::List,
        "watch" => Action::Watch,
        "create" => Action::Create,
        "update" => Action::Update,
        "patch" => Action::Patch,
        "delete" => Action::Delete,
        "deletecollection" => Action::DeleteCollection,
        _ => Action::Other,
    }
}

/// `kubectl debug node/NAME` makes a pod of this name.
fn is_node_debugger(object: &ObjectRef<'_>) -> bool {
    object.name.as_deref().is_some_and(|name| name.starts_with("node-debugger-"))
}

/// Questions put to the API server in the form of a create.
fn is_review(resource: &str) -> bool {
    matches!(
        resource,
        "tokenreviews"
            | "selfsubjectreviews"
            | "subjectaccessreviews"
            | "localsubjectaccessreviews"
            | "selfsubjectaccessreviews"
            | "selfsubjectrulesreviews"
    )
}

/// Server-side apply is a patch that says `force=` or carries a whole object; client-side apply
/// shows only in the manager's name.
fn is_apply(verb: &str, query: Query<'_>, body: Option<&str>) -> bool {
    let is_client_side =
        query.first("fieldManager").is_some_and(|manager| manager.ends_with("-client-side-apply"));
    is_client_side
        || verb == "patch" && (query.first("force").is_some() || body.is_some_and(is_whole_object))
}

fn is_whole_object(body: &str) -> bool {
    // The two names are looked for first: most patches are not worth reading twice.
    body.contains("apiVersion")
        && json::members(body)
            .is_ok_and(|object| object.get("apiVersion").is_some() && object.get("kind").is_some())
}
