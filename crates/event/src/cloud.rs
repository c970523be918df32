//! Audit events in the wrappings of managed clouds: what CloudWatch exports of EKS, what Azure
//! Monitor exports of AKS, and the entries that Cloud Logging has of GKE. The first two hold events
//! as they were; the third has a form of its own, of which an event is made as far as it goes.
//!
//! Values come from strangers: what does not look as it should is no wrapping.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{self, Pairs, Str};

/// The annotation that says that an event was made of an entry of Cloud Logging, and which.
pub const MADE_OF: &str = "whodid/made-of";

/// What an event that was made of such an entry lacks, by the name of the column, and why.
pub const LACKING: [(&str, &str); 6] = [
    ("level", "an entry of Cloud Logging does not say by which rule of a policy it was written"),
    ("request_uri", "an entry of Cloud Logging has no URL, and with it no query string"),
    ("user_uid", "an entry of Cloud Logging has a principal's address and no uid"),
    ("user_groups", "an entry of Cloud Logging has a principal's address and no groups"),
    ("object_uid", "an entry of Cloud Logging names an object by its path alone"),
    ("exec_command", "the command of an exec stands in the URL, which Cloud Logging leaves out"),
];

/// The events in a wrapping, in order; `None` if it is none.
pub fn unwrap(bytes: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    // Nearly everything that is no event is no wrapping either.
    let has = |part: &str| text.contains(part);
    if has("\"logEvents\"") || has("\"events\"") {
        return cloud_watch(text);
    }
    if has("\"records\"") {
        return records(text);
    }
    if has("kube-audit") {
        return azure(text).map(|event| vec![event]);
    }
    has("\"protoPayload\"").then(|| google(text))?.map(|event| vec![event])
}

/// What an export of CloudWatch holds, as a subscription delivers it (`logEvents`) or as
/// `aws logs filter-log-events` prints it (`events`).
fn cloud_watch(text: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Export<'a> {
        #[serde(borrow, rename = "logStream")]
        stream: Option<Str<'a>>,
        #[serde(borrow, alias = "logEvents")]
        events: Vec<Message<'a>>,
    }
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        message: Str<'a>,
    }
    let export: Export<'_> = serde_json::from_str(text).ok()?;
    // Beside it are streams of the API server's own log, and of the authenticator's.
    let is_audit = |stream: &Str<'_>| stream.starts_with("kube-apiserver-audit");
    if !export.stream.as_ref().is_none_or(is_audit) {
        return None;
    }
    let messages = export.events.iter().map(|event| event.message.trim());
    let messages: Vec<String> =
        messages.filter(|message| message.starts_with('{')).map(str::to_owned).collect();
    (!messages.is_empty()).then_some(messages)
}

/// What Event Hubs and storage accounts hold: several records of Azure Monitor.
fn records(text: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Records<'a> {
        #[serde(borrow)]
        records: Vec<&'a RawValue>,
    }
    let found: Records<'_> = serde_json::from_str(text).ok()?;
    let events: Vec<String> = found.records.iter().filter_map(|one| azure(one.get())).collect();
    // One that is no event would be lost with the others.
    (!events.is_empty() && events.len() == found.records.len()).then_some(events)
}

/// A record of Azure Monitor of the category `kube-audit` or `kube-audit-admin`: the event is a
/// text in `properties.log`.
fn azure(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        category: Str<'a>,
        #[serde(borrow)]
        properties: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Properties<'a> {
        #[serde(borrow)]
        log: Str<'a>,
    }
    let record: Record<'_> = serde_json::from_str(text).ok()?;
    if !matches!(&*record.category, "kube-audit" | "kube-audit-admin") {
        return None;
    }
    let properties = match serde_json::from_str::<String>(record.properties.get()) {
        // Some exports have an object there, some its text.
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(record.properties.get()),
    };
    let properties: Properties<'_> = serde_json::from_str(&properties).ok()?;
    let event = properties.log.trim();
    event.starts_with('{').then(|| event.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry<'a> {
    #[serde(borrow)]
    insert_id: Option<Str<'a>>,
    #[serde(borrow)]
    log_name: Option<Str<'a>>,
    #[serde(borrow)]
    timestamp: Option<Str<'a>>,
    #[serde(borrow, default)]
    labels: Pairs<'a, Str<'a>>,
    #[serde(borrow)]
    operation: Option<Operation<'a>>,
    #[serde(borrow)]
    proto_payload: AuditLog<'a>,
}

#[derive(Deserialize)]
struct Operation<'a> {
    #[serde(borrow)]
    id: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditLog<'a> {
    #[serde(borrow)]
    service_name: Str<'a>,
    #[serde(borrow)]
    method_name: Str<'a>,
    #[serde(borrow, default)]
    resource_name: Option<Str<'a>>,
    #[serde(borrow)]
    authentication_info: Option<Authentication<'a>>,
    #[serde(borrow)]
    request_metadata: Option<RequestMetadata<'a>>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'a> {
    #[serde(borrow)]
    principal_email: Option<Str<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestMetadata<'a> {
    #[serde(borrow)]
    caller_ip: Option<Str<'a>>,
    #[serde(borrow)]
    caller_supplied_user_agent: Option<Str<'a>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    code: Option<i32>,
    #[serde(borrow)]
    message: Option<Str<'a>>,
}

/// An entry of Cloud Logging that is about a cluster of GKE. It has no level, no stage, no groups
/// and no URL: the event has none either, but for the stage, as entries are written at the end.
fn google(text: &str) -> Option<String> {
    let entry: LogEntry<'_> = serde_json::from_str(text).ok()?;
    let LogEntry { proto_payload: payload, .. } = &entry;
    if &*payload.service_name != "k8s.io" {
        return None;
    }
    let object = object(&payload.method_name, payload.resource_name.as_deref())?;
    let mut out = String::from(r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1""#);
    let operation = entry.operation.as_ref().and_then(|operation| operation.id.as_deref());
    let id = operation.or(entry.insert_id.as_deref()).unwrap_or_default();
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut member = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _written = write!(out, ",\"{name}\":{value}");
        }
    };
    member("auditID", Some(quoted(id)));
    member("stage", Some("\"ResponseComplete\"".into()));
    member("verb", Some(quoted(object.verb)));
    let who = payload.authentication_info.as_ref().and_then(|who| who.principal_email.as_deref());
    member(
        "user",
        Some(who.map_or("{}".into(), |who| format!("{{\"username\":{}}}", quoted(who)))),
    );
    let from = payload.request_metadata.as_ref();
    let address = from.and_then(|from| from.caller_ip.as_deref());
    member("sourceIPs", address.map(|address| format!("[{}]", quoted(address))));
    let agent = from.and_then(|from| from.caller_supplied_user_agent.as_deref());
    member("userAgent", agent.map(quoted));
    member("objectRef", Some(object.reference()));
    let status = payload.status.as_ref();
    member("responseStatus", Some(response_status(status)));
    let body = |body: Option<&RawValue>| body.map(|body| body.get().to_owned());
    member("requestObject", body(payload.request));
    member("responseObject", body(payload.response));
    let time = entry.timestamp.as_deref().map(quoted);
    member("requestReceivedTimestamp", time.clone());
    member("stageTimestamp", time);
    member("annotations", Some(annotations(&entry)));
    out.push('}');
    // Of values that were slices of JSON, this is JSON.
    json::members(&out).is_ok().then_some(out)
}

/// What `methodName` and `resourceName` say.
struct Object<'a> {
    verb: &'a str,
    group: String,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

/// Reads `io.k8s.apps.v1.deployments.scale.patch`, the group's parts the other way round, and
/// `apps/v1/namespaces/shop/deployments/web/scale`.
fn object<'a>(method: &'a str, resource: Option<&'a str>) -> Option<Object<'a>> {
    let parts: Vec<&str> = method.split('.').collect();
    let is_version = |part: &&str| {
        let mut chars = part.chars();
        chars.next() == Some('v') && chars.next().is_some_and(|c| c.is_ascii_digit())
    };
    let at = parts.iter().position(is_version)?;
    let (group, rest) = (parts.get(..at)?, parts.get(at + 1..)?);
    let (verb, kinds) = rest.split_last()?;
    let plural = kinds.first()?;
    let group = match group {
        ["io", "k8s", "core"] => String::new(),
        // Groups without a domain are below `io.k8s`, too.
        ["io", "k8s", one] => (*one).to_owned(),
        parts => parts.iter().rev().copied().collect::<Vec<_>>().join("."),
    };
    let path: Vec<&str> = resource.unwrap_or_default().split('/').collect();
    let (namespace, rest) = match path.get(2..).unwrap_or_default() {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && *plural != "namespaces" => {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let name = rest.get(1).copied().unwrap_or_default();
    // Of a Namespace, its name is its namespace, too.
    let namespace = if group.is_empty() && *plural == "namespaces" { name } else { namespace };
    Some(Object {
        verb,
        group: with_domain(group, path.first().copied()),
        version: parts.get(at)?,
        resource: plural,
        subresource: kinds.get(1).copied().unwrap_or_default(),
        namespace,
        name,
    })
}

/// `resourceName` has the group as the API has it.
fn with_domain(group: String, named: Option<&str>) -> String {
    match named {
        Some("core" | "") | None => group,
        Some(named) => named.to_owned(),
    }
}

impl Object<'_> {
    fn reference(&self) -> String {
        let members = [
            ("resource", self.resource),
            ("namespace", self.namespace),
            ("name", self.name),
            ("apiGroup", &self.group),
            ("apiVersion", self.version),
            ("subresource", self.subresource),
        ];
        let there = members.iter().filter(|(_, value)| !value.is_empty());
        let member = |(name, value): &(&str, &str)| {
            format!("\"{name}\":{}", serde_json::Value::from(*value))
        };
        format!("{{{}}}", there.map(member).collect::<Vec<_>>().join(","))
    }
}

/// The code of HTTP for one of gRPC (google.rpc.Code); none is success.
fn response_status(status: Option<&Status<'_>>) -> String {
    let code = match status.and_then(|status| status.code).unwrap_or(0) {
        0 => 200,
        3 | 9 | 11 => 400,
        16 => 401,
        7 => 403,
        5 => 404,
        6 | 10 => 409,
        8 => 429,
        1 => 499,
        12 => 501,
        14 => 503,
        4 => 504,
        _ => 500,
    };
    let message = status.and_then(|status| status.message.as_deref());
    let message = message.map(|text| format!(",\"message\":{}", serde_json::Value::from(text)));
    format!("{{\"metadata\":{{}}{},\"code\":{code}}}", message.unwrap_or_default())
}

/// The annotations of the event, which are labels there, and where it came from.
fn annotations(entry: &LogEntry<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let label = |(name, value): &(Str<'_>, Str<'_>)| format!("{}:{}", quoted(name), quoted(value));
    let mut members: Vec<String> =
        entry.labels.0.iter().filter(|(name, _)| &**name != MADE_OF).map(label).collect();
    let made_of = format!(
        "{} {}",
        entry.log_name.as_deref().unwrap_or_default(),
        entry.insert_id.as_deref().unwrap_or_default()
    );
    members.push(format!("{}:{}", quoted(MADE_OF), quoted(made_of.trim())));
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests;
