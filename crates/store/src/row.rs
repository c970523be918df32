//! Between an event and its row: filling the columns from an event, and giving the original bytes
//! back from them. The two must stay each other's inverse; tests hold them to it.

use std::borrow::Cow;

use arrow::array::Array;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use whodid_event::encode::{Form, encode};
use whodid_event::{Event, ObjectRef, Pairs, Status, Str, User, derive, entry};

use crate::batch::COMMITTED;
use crate::columns::{Builders, View, append_map, append_maps, append_texts, map, maps, texts};
use crate::error::{Error, Result};

/// Annotations that have columns of their own.
const DECISION: &str = "authorization.k8s.io/decision";
const DECISION_REASON: &str = "authorization.k8s.io/reason";

/// The word for a form in its column.
pub(crate) fn form_name(form: Form) -> &'static str {
    match form {
        Form::Line => "line",
        Form::Item => "item",
    }
}

/// Appends a value where there is one; the row's end makes the rest null.
macro_rules! put {
    ($builders:ident, $($column:ident = $value:expr),* $(,)?) => {
        $(if let Some(value) = $value { $builders.$column.append_value(value); })*
    };
}

/// Fills the envelope and the derived columns of one row, but for bodies and text.
pub(crate) fn fill(b: &mut Builders, event: &Event<'_>) -> Result<()> {
    fill_audit_id(b, event.audit_id.as_deref());
    put!(
        b,
        level = event.level.as_deref(),
        stage = event.stage_text.as_deref(),
        request_uri = event.request_uri.as_deref(),
        verb = event.verb.as_deref(),
        impersonation_constraint = event.impersonation_constraint.as_deref(),
        user_agent = event.user_agent.as_deref(),
        request_received_timestamp = event.request_received,
        stage_timestamp = event.stage_time,
        decision = event.annotations.get(DECISION).map(|value| &**value),
        decision_reason = event.annotations.get(DECISION_REASON).map(|value| &**value),
    );
    append_texts(&mut b.source_ips, &event.source_ips);
    let others = event.annotations.0.iter().filter(|(key, _)| !is_hot(key));
    append_map(&mut b.annotations, others)?;
    if let Some(user) = &event.user {
        put!(b, username = user.username.as_deref(), user_uid = user.uid.as_deref());
        append_texts(&mut b.user_groups, &user.groups);
        append_maps(&mut b.user_extra, &user.extra)?;
    }
    if let Some(user) = &event.impersonated_user {
        put!(
            b,
            impersonated_username = user.username.as_deref(),
            impersonated_uid = user.uid.as_deref(),
        );
        append_texts(&mut b.impersonated_groups, &user.groups);
        append_maps(&mut b.impersonated_extra, &user.extra)?;
    }
    if let Some(object) = &event.object_ref {
        put!(
            b,
            resource = object.resource.as_deref(),
            namespace = object.namespace.as_deref(),
            name = object.name.as_deref(),
            object_uid = object.uid.as_deref(),
            api_group = object.api_group.as_deref(),
            api_version = object.api_version.as_deref(),
            resource_version = object.resource_version.as_deref(),
            subresource = object.subresource.as_deref(),
        );
    }
    if let Some(answer) = &event.response_status {
        put!(
            b,
            code = answer.code,
            status = answer.status.as_deref(),
            message = answer.message.as_deref(),
            reason = answer.reason.as_deref(),
            status_details = answer.details,
        );
    }
    fill_derived(b, event);
    Ok(())
}

fn fill_derived(b: &mut Builders, event: &Event<'_>) {
    let derived = derive(event);
    put!(
        b,
        time = derived.time,
        actor = derived.actor,
        actor_kind = Some(derived.actor_kind.name()),
        action = Some(derived.action.name()),
        outcome = derived.outcome.map(whodid_event::Outcome::name),
        dry_run = derived.dry_run,
        field_manager = derived.field_manager.as_deref(),
        tool = derived.tool,
        tool_version = derived.tool_version,
        exec_command = derived.exec_command.as_deref(),
        gvr = derived.gvr.as_deref(),
        object = derived.object.as_deref(),
        truncated = Some(derived.is_truncated),
    );
}

fn is_hot(annotation: &str) -> bool {
    annotation == DECISION || annotation == DECISION_REASON
}

/// A UUID as every API server writes it takes 16 bytes; whatever else a client may have sent is
/// kept as text.
fn fill_audit_id(b: &mut Builders, id: Option<&str>) {
    let Some(id) = id else { return };
    match uuid_bytes(id) {
        Some(bytes) => b.audit_id.append_value(bytes),
        None => b.audit_id_text.append_value(id),
    }
}

/// Returns the bytes of a UUID in its canonical form, lower case with hyphens; else `None`.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    let mut buffer = uuid::Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut buffer) == text).then(|| id.into_bytes())
}

/// What came in, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Original {
    /// An event.
    Event(String),
    /// Bytes that are not an event; of one that was too long, its beginning.
    Raw(Vec<u8>),
}

/// The values of one row in the table `bodies`, as far as they are still there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowBodies<T = String> {
    /// `requestObject`.
    pub request: Option<T>,
    /// `responseObject`.
    pub response: Option<T>,
    /// `raw`.
    pub raw: Option<T>,
    /// What stands in the leaf for a request or a response whose value is gone.
    pub(crate) gone: [Option<String>; 2],
}

impl RowBodies<&str> {
    /// The same, no longer a part of what it was read from.
    pub fn to_owned(&self) -> RowBodies {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        RowBodies {
            request: owned(self.request),
            response: owned(self.response),
            raw: owned(self.raw),
            gone: self.gone.clone(),
        }
    }
}

impl<T> RowBodies<T> {
    /// The members whose values are gone; their commitments are left.
    pub fn gone(&self) -> impl Iterator<Item = &'static str> {
        let gone = entry::BODY_NAMES.into_iter().zip(&self.gone);
        gone.filter_map(|(name, gone)| gone.is_some().then_some(name))
    }
}

/// Gives back what came in as one row, its bodies being at hand. Where a value is gone, its
/// commitment stands, as it does in the leaf.
///
/// # Errors
/// A body that belongs to it is not at hand, or the row is not of this store's making.
pub(crate) fn original(view: &View<'_>, row: usize, bodies: &RowBodies<&str>) -> Result<Original> {
    Ok(match rebuilt(view, row, bodies)? {
        Rebuilt::Encoded(event, form) => Original::Event(encode(&event, form)),
        Rebuilt::Text(text) => Original::Event(text.into_owned()),
        Rebuilt::Raw(bytes) => Original::Raw(bytes),
    })
}

/// What came in as one row, in the way that it is kept.
pub(crate) enum Rebuilt<'a> {
    /// Writing it gives what came in.
    Encoded(Box<Event<'a>>, Form),
    /// An event that came in another spelling.
    Text(Cow<'a, str>),
    /// Bytes that are not an event; of one that was too long, its beginning.
    Raw(Vec<u8>),
}

/// As [`original`], but not written yet.
pub(crate) fn rebuilt<'a>(
    view: &View<'a>,
    row: usize,
    bodies: &'a RowBodies<&'a str>,
) -> Result<Rebuilt<'a>> {
    if !view.raw_reason.is_null(row) {
        return raw(view, row, bodies).map(Rebuilt::Raw);
    }
    let [request_gone, response_gone] = &bodies.gone;
    let [request, response] = [
        body(view.request_object, row, bodies.request.or(request_gone.as_deref()))?,
        body(view.response_object, row, bodies.response.or(response_gone.as_deref()))?,
    ];
    if !view.text.is_null(row) {
        let text = entry::with_bodies(view.text.value(row), [request, response]);
        return Ok(Rebuilt::Text(text.map_err(|e| defect(&e))?));
    }
    let form = match text(view.form, row) {
        Some("line") => Form::Line,
        Some("item") => Form::Item,
        other => return Err(Error::Invalid(format!("a row has the unknown form {other:?}"))),
    };
    let mut event = Box::new(event(view, row));
    (event.request_object, event.response_object) = (request, response);
    if form == Form::Line {
        event.kind = Some("Event".into());
        event.api_version = Some("audit.k8s.io/v1".into());
    }
    Ok(Rebuilt::Encoded(event, form))
}

fn raw(view: &View<'_>, row: usize, bodies: &RowBodies<&str>) -> Result<Vec<u8>> {
    if !view.raw.is_null(row) {
        return Ok(view.raw.value(row).to_vec());
    }
    let json = bodies.raw.ok_or_else(|| gone("raw"))?;
    BASE64.decode(json.trim_matches('"')).map_err(|e| defect(&e))
}

/// The body of a row: none, the placeholder that stands in the column, or what is at hand.
fn body<'a>(
    column: &'a arrow::array::StringViewArray,
    row: usize,
    at_hand: Option<&'a str>,
) -> Result<Option<&'a str>> {
    match text(column, row) {
        Some(COMMITTED) => at_hand.map(Some).ok_or_else(|| gone("body")),
        other => Ok(other),
    }
}

fn gone(what: &str) -> Error {
    Error::Invalid(format!("the {what} of this event is no longer in the record"))
}

fn defect(error: &dyn std::error::Error) -> Error {
    Error::Invalid(format!("a row is not of this store's making: {error}"))
}

/// The envelope of one row, without bodies.
fn event<'a>(view: &View<'a>, row: usize) -> Event<'a> {
    let get = |column: &'a arrow::array::StringViewArray| text(column, row).map(Str::from);
    let audit_id = if view.audit_id.is_null(row) {
        get(view.audit_id_text)
    } else {
        uuid::Uuid::from_slice(view.audit_id.value(row)).ok().map(|id| Str::from(id.to_string()))
    };
    let impersonated = User {
        username: get(view.impersonated_username),
        uid: get(view.impersonated_uid),
        groups: texts(view.impersonated_groups, row),
        extra: maps(view.impersonated_extra, row),
    };
    let object = ObjectRef {
        resource: get(view.resource),
        namespace: get(view.namespace),
        name: get(view.name),
        uid: get(view.object_uid),
        api_group: get(view.api_group),
        api_version: get(view.api_version),
        resource_version: get(view.resource_version),
        subresource: get(view.subresource),
    };
    let status = Status {
        status: get(view.status),
        message: get(view.message),
        reason: get(view.reason),
        details: text(view.status_details, row),
        code: view.code.is_valid(row).then(|| view.code.value(row)),
    };
    let has_status = status.code.is_some()
        || status.status.is_some()
        || status.message.is_some()
        || status.reason.is_some()
        || status.details.is_some();
    let instant = |column: &arrow::array::TimestampMicrosecondArray| {
        column.is_valid(row).then(|| column.value(row))
    };
    Event {
        level: get(view.level),
        audit_id,
        stage_text: get(view.stage),
        request_uri: get(view.request_uri),
        verb: get(view.verb),
        user: Some(User {
            username: get(view.username),
            uid: get(view.user_uid),
            groups: texts(view.user_groups, row),
            extra: maps(view.user_extra, row),
        }),
        impersonated_user: (impersonated != User::default()).then_some(impersonated),
        impersonation_constraint: get(view.impersonation_constraint),
        source_ips: texts(view.source_ips, row),
        user_agent: get(view.user_agent),
        object_ref: (object != ObjectRef::default()).then_some(object),
        response_status: has_status.then_some(status),
        request_received: instant(view.request_received_timestamp),
        stage_time: instant(view.stage_timestamp),
        annotations: annotations(view, row),
        ..Event::default()
    }
}

/// Annotations as kube-apiserver writes them, by key.
fn annotations<'a>(view: &View<'a>, row: usize) -> Pairs<'a, Str<'a>> {
    let mut all = map(view.annotations, row);
    for (key, column) in [(DECISION, view.decision), (DECISION_REASON, view.decision_reason)] {
        if let Some(value) = text(column, row) {
            let at = all.partition_point(|(other, _)| &**other < key);
            all.insert(at, (key.into(), value.into()));
        }
    }
    Pairs(all)
}

pub(crate) fn text(column: &arrow::array::StringViewArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}
