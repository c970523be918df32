//! The typed, borrowed view of one audit event: the members of `audit.k8s.io` Event, bodies left
//! as raw text. It decides what counts as an event at all; what the members mean is [`derive()`]'s.
//!
//! [`derive()`]: crate::derive()

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::gap::Gap;
use crate::json::{self, Pairs, Str};
use crate::time::{self, Micros};

/// Objects and arrays nest at most this deep in an event (Kubernetes itself stops far earlier).
pub const DEPTH_MAX: usize = 512;

/// An event has at most this many members at its top level; the API defines twenty-one.
pub const MEMBERS_MAX: usize = 256;

/// Everything but the values of the top-level members takes at most this many bytes, so that an
/// entry whose values are all committed still fits a log leaf.
pub const SHELL_BYTES_MAX: usize = 32_768;

/// Why bytes are kept as they are instead of being read as an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnEvent {
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Objects and arrays nest deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// The text is not one JSON object, or a member is not of its type, or stands twice.
    #[error("{0}")]
    Json(String),
    /// `kind` names something else.
    #[error("`kind` is {0:?}, not \"Event\"")]
    Kind(String),
    /// It records that part of a log was lost.
    #[error("a gap: {0}")]
    Gap(String),
    /// None of the members that tell who did what is there.
    #[error("none of `auditID`, `requestURI` and `verb` is there")]
    NoRequest,
    /// The top level holds more, or longer named, members than an event can have.
    #[error(
        "more than {MEMBERS_MAX} members, or more than {SHELL_BYTES_MAX} bytes around their values"
    )]
    TooManyMembers,
}

/// One audit event (`k8s.io/apiserver/pkg/apis/audit/v1`, `Event`). Absent members are `None` or
/// empty; unknown members are passed over.
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    /// `Event` in log files; absent on the items of a webhook body.
    pub kind: Option<Str<'a>>,
    /// `audit.k8s.io/v1` in log files; older events say `v1beta1`.
    pub api_version: Option<Str<'a>>,
    /// `Metadata`, `Request` or `RequestResponse`.
    pub level: Option<Str<'a>>,
    /// What the client sent as `Audit-ID`, else a random UUID. Never unique, never trusted.
    pub audit_id: Option<Str<'a>>,
    /// The stage as written; see [`Event::stage`].
    pub stage_text: Option<Str<'a>>,
    /// Escaped path and raw query.
    pub request_uri: Option<Str<'a>>,
    /// The Kubernetes verb; may be empty.
    pub verb: Option<Str<'a>>,
    /// Who was authenticated; `Some` and empty when authentication failed.
    pub user: Option<User<'a>>,
    /// Whom the user acted as, if impersonation was authorized.
    pub impersonated_user: Option<User<'a>>,
    /// `authenticationMetadata.impersonationConstraint`.
    pub impersonation_constraint: Option<Str<'a>>,
    /// Forwarded addresses first, the connection's peer last; only the last can be trusted.
    pub source_ips: Vec<Str<'a>>,
    /// What the client calls itself.
    pub user_agent: Option<Str<'a>>,
    /// What the request is about; absent for non-resource URLs.
    pub object_ref: Option<ObjectRef<'a>>,
    /// The answer; absent in `RequestReceived`.
    pub response_status: Option<Status<'a>>,
    /// The request body, JSON as it stands in the event.
    pub request_object: Option<&'a str>,
    /// The response body, JSON as it stands in the event.
    pub response_object: Option<&'a str>,
    /// When the API server received the request.
    pub request_received: Option<Micros>,
    /// When this stage was reached.
    pub stage_time: Option<Micros>,
    /// Notes of the server and its plugins.
    pub annotations: Pairs<'a, Str<'a>>,
}

/// `authentication.k8s.io` UserInfo.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub struct User<'a> {
    /// The name that identifies the user.
    #[serde(borrow)]
    pub username: Option<Str<'a>>,
    /// An identifier that survives renaming.
    #[serde(borrow)]
    pub uid: Option<Str<'a>>,
    /// The groups the user is in.
    #[serde(borrow, deserialize_with = "or_default")]
    pub groups: Vec<Str<'a>>,
    /// Further facts from the authenticator.
    #[serde(borrow, deserialize_with = "or_default")]
    pub extra: Pairs<'a, Vec<Str<'a>>>,
}

/// What a request is about, as far as the URL and the submitted object tell.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectRef<'a> {
    /// The plural resource, `deployments`.
    #[serde(borrow)]
    pub resource: Option<Str<'a>>,
    /// The namespace; for namespaces themselves their own name.
    #[serde(borrow)]
    pub namespace: Option<Str<'a>>,
    /// The object's name; absent for lists and for `generateName`.
    #[serde(borrow)]
    pub name: Option<Str<'a>>,
    /// The object's UID, where the submitted object named it.
    #[serde(borrow)]
    pub uid: Option<Str<'a>>,
    /// The API group; absent for the core group.
    #[serde(borrow)]
    pub api_group: Option<Str<'a>>,
    /// The API version, `v1`.
    #[serde(borrow)]
    pub api_version: Option<Str<'a>>,
    /// The resource version that was submitted.
    #[serde(borrow)]
    pub resource_version: Option<Str<'a>>,
    /// `exec`, `status`, `scale`, …
    #[serde(borrow)]
    pub subresource: Option<Str<'a>>,
}

/// The answer (`meta/v1` Status); for anything but a Status only `code` is there.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Status<'a> {
    /// `Success` or `Failure`.
    #[serde(borrow)]
    pub status: Option<Str<'a>>,
    /// The message for people.
    #[serde(borrow)]
    pub message: Option<Str<'a>>,
    /// The reason for machines, `NotFound`.
    #[serde(borrow)]
    pub reason: Option<Str<'a>>,
    /// More about the reason, JSON as it stands in the event.
    #[serde(borrow, deserialize_with = "details")]
    pub details: Option<&'a str>,
    /// The HTTP status code.
    #[serde(deserialize_with = "http_code")]
    pub code: Option<i32>,
}

/// How far a request had come when the event was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Received and authenticated, nothing done yet.
    RequestReceived,
    /// Headers of a long-running answer were sent, or authentication failed.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The handler panicked; no `ResponseComplete` follows.
    Panic,
}

impl Stage {
    /// All of them, in the order of a request.
    pub const ALL: [Stage; 4] =
        [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];

    /// The name in events and policies.
    pub fn name(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }

    /// The stage of this name; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl<'a> Event<'a> {
    /// Reads one event.
    ///
    /// # Errors
    /// The bytes are not an event; they are then to be kept as they are.
    pub fn parse(bytes: &'a [u8]) -> Result<Event<'a>, NotAnEvent> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| NotAnEvent::NotUtf8(error.valid_up_to()))?;
        if !json::is_nested_at_most(bytes, DEPTH_MAX) {
            return Err(NotAnEvent::TooDeep);
        }
        let Members { event, count } =
            serde_json::from_str(text).map_err(|error| NotAnEvent::Json(error.to_string()))?;
        match &event.kind {
            Some(kind) if &**kind != "Event" => {
                let gap = Gap::parse(text).map(|gap| NotAnEvent::Gap(gap.to_string()));
                return Err(gap.unwrap_or_else(|| NotAnEvent::Kind(kind.to_string())));
            }
            _ => {}
        }
        if count > MEMBERS_MAX
            || text.len() > SHELL_BYTES_MAX && shell_bytes(text) > SHELL_BYTES_MAX
        {
            return Err(NotAnEvent::TooManyMembers);
        }
        if event.audit_id.is_none() && event.request_uri.is_none() && event.verb.is_none() {
            return Err(NotAnEvent::NoRequest);
        }
        Ok(event)
    }

    /// Returns the stage, if it is one of the API's.
    pub fn stage(&self) -> Option<Stage> {
        self.stage_text.as_deref().and_then(Stage::from_name)
    }
}

/// An event being read, with what it takes to judge its top level.
struct Members<'a> {
    event: Event<'a>,
    count: usize,
}

/// Returns how many bytes of an object are not the value of a member of its top level.
fn shell_bytes(text: &str) -> usize {
    let values = json::members(text)
        .map_or(0, |members| members.0.iter().map(|(_, value)| value.get().len()).sum());
    text.len() - values
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an audit event (a JSON object)")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut read = Members { event: Event::default(), count: 0 };
        let mut seen: Vec<Str<'de>> = Vec::with_capacity(24);
        while let Some(key) = map.next_key::<Str<'de>>()? {
            // Past the limit the answer is known; the rest is only checked for being JSON.
            if seen.len() <= MEMBERS_MAX {
                if seen.contains(&key) {
                    return Err(M::Error::custom(format_args!(
                        "the member `{}` stands twice",
                        &*key
                    )));
                }
                read.count += 1;
            }
            read_member(&mut read.event, &key, &mut map)
                .map_err(|error| M::Error::custom(format_args!("member `{}`: {error}", &*key)))?;
            if seen.len() <= MEMBERS_MAX {
                seen.push(key);
            }
        }
        Ok(read)
    }
}

fn read_member<'de, M: MapAccess<'de>>(
    event: &mut Event<'de>,
    key: &str,
    map: &mut M,
) -> Result<(), M::Error> {
    match key {
        "kind" => event.kind = map.next_value()?,
        "apiVersion" => event.api_version = map.next_value()?,
        "level" => event.level = map.next_value()?,
        "auditID" => event.audit_id = map.next_value()?,
        "stage" => event.stage_text = map.next_value()?,
        "requestURI" => event.request_uri = map.next_value()?,
        "verb" => event.verb = map.next_value()?,
        "user" => event.user = map.next_value()?,
        "impersonatedUser" => event.impersonated_user = map.next_value()?,
        "authenticationMetadata" => {
            event.impersonation_constraint = map
                .next_value::<Option<AuthenticationMetadata<'de>>>()?
                .and_then(|metadata| metadata.impersonation_constraint);
        }
        "sourceIPs" => event.source_ips = map.next_value::<Option<_>>()?.unwrap_or_default(),
        "userAgent" => event.user_agent = map.next_value()?,
        "objectRef" => event.object_ref = map.next_value()?,
        "responseStatus" => event.response_status = map.next_value()?,
        "requestObject" => event.request_object = Some(map.next_value::<&RawValue>()?.get()),
        "responseObject" => event.response_object = Some(map.next_value::<&RawValue>()?.get()),
        "requestReceivedTimestamp" => event.request_received = instant(map)?,
        "stageTimestamp" => event.stage_time = instant(map)?,
        "annotations" => event.annotations = map.next_value::<Option<_>>()?.unwrap_or_default(),
        _ => {
            map.next_value::<IgnoredAny>()?;
        }
    }
    Ok(())
}

/// An instant that cannot be read is unknown, not a reason to refuse the event.
fn instant<'de, M: MapAccess<'de>>(map: &mut M) -> Result<Option<Micros>, M::Error> {
    Ok(map.next_value::<Option<Str<'de>>>()?.and_then(|text| time::parse(&text)))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationMetadata<'a> {
    #[serde(borrow, default)]
    impersonation_constraint: Option<Str<'a>>,
}

fn details<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Ok(Option::<&RawValue>::deserialize(deserializer)?.map(RawValue::get))
}

fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Accepts an integer or a float with an integer's value, as other encoders write it.
fn http_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    let whole = |code: f64| {
        let in_range =
            code.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&code);
        in_range.then_some(code as i32)
    };
    Ok(Option::<f64>::deserialize(deserializer)?.and_then(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &[u8]) -> String {
        Event::parse(text).expect_err("refused").to_string()
    }

    #[test]
    fn foreign_and_older_shapes_are_accepted() {
        for text in [
            r#"{"auditID":"x"}"#,
            r#"{"verb":"get"}"#,
            r#"{"requestURI":"/"}"#,
            r#"{"kind":null,"verb":"get","annotations":null,"user":null,"sourceIPs":null}"#,
            r#"{"apiVersion":"audit.k8s.io/v1beta1","kind":"Event","metadata":{"creationTimestamp":"x"},"timestamp":"x","verb":"get"}"#,
            r#"{"verb":"get","user":{"groups":null,"extra":null,"later":[1]}}"#,
            r#"{"verb":"get","stageTimestamp":"yesterday"}"#,
        ] {
            assert!(Event::parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn code_may_be_a_float() {
        for (text, code) in [
            ("200", Some(200)),
            ("200.0", Some(200)),
            ("2e2", Some(200)),
            ("200.5", None),
            ("1e99", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"verb":"get","responseStatus":{{"code":{text}}}}}"#);
            let event = Event::parse(text.as_bytes()).unwrap();
            assert_eq!(event.response_status.unwrap().code, code, "{text}");
        }
    }

    #[test]
    fn what_is_no_event_says_why() {
        let deep =
            format!(r#"{{"verb":"get","requestObject":{}{}}}"#, "[".repeat(512), "]".repeat(512));
        let wide = format!(
            r#"{{"verb":"get",{}}}"#,
            (0..300).map(|i| format!(r#""k{i}":0"#)).collect::<Vec<_>>().join(",")
        );
        let long = format!(r#"{{"verb":"get","{}":0}}"#, "k".repeat(40_000));
        for (bytes, reason) in [
            (&b"\xff{}"[..], "invalid UTF-8 at byte 0"),
            (b"", "EOF while parsing a value at line 1 column 0"),
            (
                b"[]",
                "invalid type: sequence, expected an audit event (a JSON object) at line 1 column 0",
            ),
            (b"{}", "none of `auditID`, `requestURI` and `verb` is there"),
            (
                br#"{"kind": 0}"#,
                "member `kind`: invalid type: integer `0`, expected a string at line 1 column 10",
            ),
            (br#"{"kind":"Status","verb":"get"}"#, "`kind` is \"Status\", not \"Event\""),
            (
                br#"{"verb":"get","verb":"list"}"#,
                "the member `verb` stands twice at line 1 column 20",
            ),
            (
                br#"{"verb":"get","x":0,"\u0078":0}"#,
                "the member `x` stands twice at line 1 column 28",
            ),
            (br#"{"verb":"get"} x"#, "trailing characters at line 1 column 16"),
            (deep.as_bytes(), "nested deeper than 512 levels"),
            (
                wide.as_bytes(),
                "more than 256 members, or more than 32768 bytes around their values",
            ),
            (
                long.as_bytes(),
                "more than 256 members, or more than 32768 bytes around their values",
            ),
        ] {
            assert_eq!(refused(bytes), reason, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
