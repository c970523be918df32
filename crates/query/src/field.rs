//! The table of fields: what each is called, what it holds and what it means.
//!
//! The field list of `docs/query.md` is generated from here, so a field is added in one place.

use std::fmt;

use crate::Side;

/// What the values of a field are, which decides the tests it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text: exact or with wildcards.
    Text,
    /// Any number of texts, of which one must pass.
    Texts,
    /// One of these texts. A value that is none of them is an error, unless it has a wildcard.
    OneOf(&'static [&'static str]),
    /// A whole number, with comparisons and ranges.
    Int,
    /// `true` or `false`.
    Bool,
    /// A time, with comparisons and ranges.
    Time,
    /// IP addresses, of which one must be in the network.
    Addresses,
    /// `CLUSTER/SEQ`.
    EventId,
    /// A resource type; short names, singulars and kinds are read as the plural.
    Resource,
    /// `[NS/]KIND/NAME`.
    Object,
}

impl fmt::Display for Kind {
    /// Prints what to write as the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "text",
            Kind::Texts => "list of texts",
            Kind::OneOf(_) => "one of a list",
            Kind::Int => "whole number",
            Kind::Bool => "`true` or `false`",
            Kind::Time => "time",
            Kind::Addresses => "address or CIDR",
            Kind::EventId => "`CLUSTER/SEQ`",
            Kind::Resource => "resource type",
            Kind::Object => "`[NS/]KIND/NAME`",
        })
    }
}

/// Makes the enum and its look-ups from one row a field: doc, variant, name, aliases, kind.
macro_rules! fields {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $name:literal [$($alias:literal)*] $kind:expr;
    )+) => {
        /// A field that has a name of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Known {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Known {
            /// Every field, in the order in which the documentation lists them.
            pub const ALL: &[Known] = &[$(Known::$variant),+];

            /// Returns the canonical name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Known::$variant => $name,)+
                }
            }

            /// Returns the other names that are understood.
            pub const fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(Known::$variant => &[$($alias),*],)+
                }
            }

            /// Returns what its values are.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Known::$variant => $kind,)+
                }
            }

            /// Returns what it means, in one sentence of Markdown.
            pub fn doc(self) -> &'static str {
                match self {
                    $(Known::$variant => concat!($($doc),+).trim_start(),)+
                }
            }
        }
    };
}

fields! {
    /// When it happened: the stage's timestamp, else the request's, else `received`.
    Time "time" [] Kind::Time;
    /// The Kubernetes verb, such as `get`, `create` or `deletecollection`.
    Verb "verb" [] Kind::Text;
    /// What was done in a person's words, independent of transport.
    Action "action" [] Kind::OneOf(&[
        "read", "list", "watch", "create", "update", "apply", "patch", "delete",
        "delete-collection", "exec", "attach", "port-forward", "logs", "proxy", "debug", "scale",
        "evict", "bind", "grant", "approve", "token", "review", "other",
    ]);
    /// How it ended; unknown while a long-running request is open.
    Outcome "outcome" [] Kind::OneOf(&["success", "denied", "failed"]);
    /// The identity that acted: the impersonated one if there is one.
    Actor "actor" ["user"] Kind::Text;
    /// The identity that logged in, also when it impersonated another.
    Authenticated "authenticated" ["username"] Kind::Text;
    /// The effective identity when another was impersonated, else unknown.
    Impersonated "impersonated" [] Kind::Text;
    /// What sort of identity acted.
    ActorKind "actor_kind" [] Kind::OneOf(&[
        "human", "serviceaccount", "node", "control-plane", "anonymous",
    ]);
    /// The groups of the identity that logged in.
    Group "group" ["groups"] Kind::Texts;
    /// The addresses the request came through; only the last is trustworthy.
    Ip "ip" ["source_ip" "sourceIPs" "from"] Kind::Addresses;
    /// The user agent as the client sent it.
    Agent "agent" ["user_agent" "userAgent"] Kind::Text;
    /// The program that the user agent names, such as `kubectl`.
    Tool "tool" [] Kind::Text;
    /// That program's version.
    ToolVersion "tool_version" [] Kind::Text;
    /// The object acted on.
    Object "object" [] Kind::Object;
    /// The resource type, such as `deployments`; `deploy.apps` names the API group too.
    Resource "resource" [] Kind::Resource;
    /// The subresource, such as `exec`, `scale` or `status`.
    Subresource "subresource" ["sub"] Kind::Text;
    /// The namespace.
    Ns "ns" ["namespace"] Kind::Text;
    /// The object's name.
    Name "name" [] Kind::Text;
    /// The object's UID.
    Uid "uid" ["object_uid"] Kind::Text;
    /// The API group; unknown for the core group.
    ApiGroup "api_group" ["apiGroup"] Kind::Text;
    /// The API version, such as `v1`.
    ApiVersion "api_version" ["apiVersion"] Kind::Text;
    /// Group, version and resource in one.
    Gvr "gvr" [] Kind::Text;
    /// The object's resource version as the request gave it.
    ResourceVersion "resource_version" ["resourceVersion"] Kind::Text;
    /// The HTTP status code of the response.
    Code "code" [] Kind::Int;
    /// The response's status, `Success` or `Failure`.
    Status "status" [] Kind::Text;
    /// The response's reason, such as `Forbidden`.
    Reason "reason" [] Kind::Text;
    /// The response's message.
    Message "message" [] Kind::Text;
    /// What authorization decided, `allow` or `forbid`.
    Decision "decision" [] Kind::Text;
    /// Why authorization decided so, such as the role binding that allowed it.
    DecisionReason "decision_reason" [] Kind::Text;
    /// Whether the request asked for a dry run.
    DryRun "dry_run" ["dryRun"] Kind::Bool;
    /// The field manager that the client named.
    FieldManager "field_manager" ["manager"] Kind::Text;
    /// The command line of an exec, decoded.
    ExecCommand "exec_command" ["command"] Kind::Text;
    /// The request's path and query string.
    Uri "uri" ["request_uri" "requestURI"] Kind::Text;
    /// The audit level the event was written at.
    Level "level" [] Kind::Text;
    /// The stage, such as `ResponseComplete`.
    Stage "stage" [] Kind::Text;
    /// The audit ID; clients can choose it, so it need not be unique.
    AuditId "audit_id" ["auditID" "auditid"] Kind::Text;
    /// The event's own id.
    Id "id" [] Kind::EventId;
    /// The cluster the event comes from.
    Cluster "cluster" [] Kind::Text;
    /// The event's number in the cluster's log, from 0.
    Seq "seq" [] Kind::Int;
    /// When whodid received the event.
    Received "received" [] Kind::Time;
    /// The way it came in, such as `webhook/NAME`, `file/NAME` or `import/FILE`.
    Source "source" [] Kind::Text;
    /// Whether an earlier event is the same, byte for byte or with more in it.
    Duplicate "duplicate" [] Kind::Bool;
    /// Whether another event claims the same key with other content.
    Conflict "conflict" [] Kind::Bool;
    /// Whether a part of the event was cut off.
    Truncated "truncated" [] Kind::Bool;
    /// Whether it is not an audit event and was kept as it came.
    Raw "raw" [] Kind::Bool;
    /// How many values a redaction rule took out.
    Redacted "redacted" [] Kind::Int;
}

impl Known {
    /// Returns the field with this name or alias; upper and lower case differ.
    pub fn named(text: &str) -> Option<Known> {
        Known::ALL
            .iter()
            .copied()
            .find(|field| field.name() == text || field.aliases().contains(&text))
    }
}

/// A family of fields: a name, and a key or path after it that picks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `annotation.KEY`, one field for each annotation.
    Annotation,
    /// `body[.PATH]`, `request[.PATH]` or `response[.PATH]`.
    Body(Side),
}

impl Family {
    /// Every family, in the order in which the documentation lists them.
    pub const ALL: &[Family] = &[
        Family::Annotation,
        Family::Body(Side::Either),
        Family::Body(Side::Request),
        Family::Body(Side::Response),
    ];

    /// Returns the name that stands before the first dot.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Annotation => "annotation",
            Family::Body(Side::Either) => "body",
            Family::Body(Side::Request) => "request",
            Family::Body(Side::Response) => "response",
        }
    }

    /// Returns the other names that are understood.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Family::Annotation => &["annotations"],
            Family::Body(Side::Either) => &[],
            Family::Body(Side::Request) => &["requestObject"],
            Family::Body(Side::Response) => &["responseObject"],
        }
    }

    /// Returns what may or must follow the name.
    pub const fn rest(self) -> &'static str {
        match self {
            Family::Annotation => ".KEY",
            Family::Body(_) => "[.PATH]",
        }
    }

    /// Returns what its values are, in words.
    pub const fn values(self) -> &'static str {
        match self {
            Family::Annotation => "text",
            Family::Body(_) => "text or number",
        }
    }

    /// Returns what it means, in one sentence of Markdown.
    pub const fn doc(self) -> &'static str {
        match self {
            Family::Annotation => "The annotation with this key.",
            Family::Body(Side::Either) => "Anywhere in the request or the response, or at a path.",
            Family::Body(Side::Request) => "The same in what the client sent.",
            Family::Body(Side::Response) => "The same in what the API server answered.",
        }
    }

    /// Returns the family with this name or alias; upper and lower case differ.
    pub fn named(text: &str) -> Option<Family> {
        Family::ALL
            .iter()
            .copied()
            .find(|family| family.name() == text || family.aliases().contains(&text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_plain_words() {
        let known = Known::ALL.iter().flat_map(|field| [&[field.name()], field.aliases()].concat());
        let families =
            Family::ALL.iter().flat_map(|family| [&[family.name()], family.aliases()].concat());
        let mut seen = HashSet::new();
        for name in known.chain(families) {
            assert!(name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_'), "{name}");
            assert!(seen.insert(name), "{name} stands twice");
        }
    }

    #[test]
    fn docs_are_sentences() {
        for field in Known::ALL {
            assert!(field.doc().ends_with('.') && !field.doc().contains('|'), "{}", field.doc());
        }
    }
}
