//! Writing an event as kube-apiserver writes it, so that an event kept in columns can be given
//! back byte for byte: key order of the Go struct, `omitempty`, and `encoding/json`'s escapes.
//!
//! Whether the result equals the original is for the caller to check; where it does not, the
//! original text is kept.

use crate::entry::BODY_NAMES;
use crate::envelope::{Event, ObjectRef, Status, User};
use crate::json::{Pairs, Str};
use crate::time::{self, Micros};

/// How an event begins: the part that tells log files from webhook bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line of a log file: `kind` and `apiVersion` come first.
    Line,
    /// An item of an `EventList`, which names both once for all.
    Item,
}

impl Form {
    /// What stands before the members that both forms have.
    fn head(self) -> &'static str {
        match self {
            Form::Line => r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#,
            Form::Item => "{",
        }
    }

    /// The form this event could be in, or `None` if it is in neither.
    pub fn of(event: &Event<'_>) -> Option<Form> {
        match (event.kind.as_deref(), event.api_version.as_deref()) {
            (Some("Event"), Some("audit.k8s.io/v1")) => Some(Form::Line),
            (None, None) => Some(Form::Item),
            _ => None,
        }
    }
}

/// The text of an event that writing the event gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written<'s> {
    /// The form that it is in.
    pub form: Form,
    /// Its members but for its bodies, and without what tells one form from the other: one text,
    /// in three parts.
    pub members: [&'s str; 3],
}

impl<'s> Written<'s> {
    /// Finds out whether `text` is what [`encode`] makes of `event`, which was read from it, in one
    /// of the forms. Bodies are not copied for that; the rest is, in the place of `shell`.
    pub fn of(text: &str, event: &Event<'_>, shell: &'s mut String) -> Option<Self> {
        /// Of a member, what is neither its name nor its value: `,"":`.
        const MARKS: usize = 4;
        let form = Form::of(event)?;
        shell.clear();
        let places = encode_into(shell, event, form, [true; 2]);
        let (mut rest, mut from) = (text.strip_prefix(form.head())?, form.head().len());
        let [mut request, mut response] = [""; 2];
        let bodies = [(event.request_object, &mut request), (event.response_object, &mut response)];
        for (((body, before), place), name) in bodies.into_iter().zip(places).zip(BODY_NAMES) {
            let (Some(body), Some(place)) = (body, place) else { continue };
            rest = rest.strip_prefix(shell.get(from..place)?)?.strip_prefix(body)?;
            *before = shell.get(from..place - name.len() - MARKS)?;
            from = place;
        }
        let behind = shell.get(from..)?;
        (rest == behind).then_some(Written { form, members: [request, response, behind] })
    }
}

/// Writes `event` as kube-apiserver v1.36 would.
pub fn encode(event: &Event<'_>, form: Form) -> String {
    let bodies = [event.request_object, event.response_object].into_iter().flatten();
    let mut out = String::with_capacity(1_024 + bodies.map(str::len).sum::<usize>());
    encode_into(&mut out, event, form, [false; 2]);
    out
}

/// Writes `event` to the end of `out`, but for the bodies that are `left_out`: what returns is
/// where in `out` these belong.
pub fn encode_into(
    out: &mut String,
    event: &Event<'_>,
    form: Form,
    left_out: [bool; 2],
) -> [Option<usize>; 2] {
    let mut out = Writer(out);
    out.0.push_str(form.head());
    for (key, value) in [
        ("level", &event.level),
        ("auditID", &event.audit_id),
        ("stage", &event.stage_text),
        ("requestURI", &event.request_uri),
        ("verb", &event.verb),
    ] {
        out.key(key);
        out.string(value.as_deref().unwrap_or_default());
    }
    out.key("user");
    out.user(event.user.as_ref().unwrap_or(&User::default()));
    if let Some(user) = &event.impersonated_user {
        out.key("impersonatedUser");
        out.user(user);
    }
    if let Some(constraint) = &event.impersonation_constraint {
        out.key("authenticationMetadata");
        out.0.push('{');
        out.text("impersonationConstraint", Some(constraint));
        out.0.push('}');
    }
    out.strings("sourceIPs", &event.source_ips);
    out.text("userAgent", event.user_agent.as_ref());
    if let Some(object) = &event.object_ref {
        out.object_ref(object);
    }
    if let Some(status) = &event.response_status {
        out.status(status);
    }
    let mut places = [None; 2];
    let bodies = [event.request_object, event.response_object].into_iter().zip(left_out);
    for (((body, is_left_out), key), place) in bodies.zip(BODY_NAMES).zip(&mut places) {
        let Some(body) = body else { continue };
        out.key(key);
        if is_left_out {
            *place = Some(out.0.len());
            continue;
        }
        out.0.push_str(body);
    }
    out.instant("requestReceivedTimestamp", event.request_received);
    out.instant("stageTimestamp", event.stage_time);
    out.annotations(&event.annotations);
    out.0.push('}');
    places
}

/// A JSON text being written; every method leaves it ready for the next member.
struct Writer<'o>(&'o mut String);

impl Writer<'_> {
    /// Begins a member of a name that needs no escapes.
    fn key(&mut self, key: &'static str) {
        self.separate();
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    /// Begins a member of any name.
    fn any_key(&mut self, key: &str) {
        self.separate();
        self.string(key);
        self.0.push(':');
    }

    fn separate(&mut self) {
        if !matches!(self.0.as_bytes().last(), Some(b'{' | b',')) {
            self.0.push(',');
        }
    }

    fn text(&mut self, key: &'static str, value: Option<&Str<'_>>) {
        if let Some(value) = value {
            self.key(key);
            self.string(value);
        }
    }

    fn strings(&mut self, key: &'static str, values: &[Str<'_>]) {
        if !values.is_empty() {
            self.key(key);
            self.list(values);
        }
    }

    fn list(&mut self, values: &[Str<'_>]) {
        self.0.push('[');
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.0.push(',');
            }
            self.string(value);
        }
        self.0.push(']');
    }

    fn user(&mut self, user: &User<'_>) {
        self.0.push('{');
        self.text("username", user.username.as_ref());
        self.text("uid", user.uid.as_ref());
        self.strings("groups", &user.groups);
        if !user.extra.0.is_empty() {
            self.key("extra");
            self.0.push('{');
            for (key, values) in &user.extra.0 {
                self.any_key(key);
                self.list(values);
            }
            self.0.push('}');
        }
        self.0.push('}');
    }

    fn object_ref(&mut self, object: &ObjectRef<'_>) {
        self.key("objectRef");
        self.0.push('{');
        for (key, value) in [
            ("resource", &object.resource),
            ("namespace", &object.namespace),
            ("name", &object.name),
            ("uid", &object.uid),
            ("apiGroup", &object.api_group),
            ("apiVersion", &object.api_version),
            ("resourceVersion", &object.resource_version),
            ("subresource", &object.subresource),
        ] {
            self.text(key, value.as_ref());
        }
        self.0.push('}');
    }

    fn status(&mut self, status: &Status<'_>) {
        self.key("responseStatus");
        self.0.push_str(r#"{"metadata":{}"#);
        self.text("status", status.status.as_ref());
        self.text("message", status.message.as_ref());
        self.text("reason", status.reason.as_ref());
        if let Some(details) = status.details {
            self.key("details");
            self.0.push_str(details);
        }
        if let Some(code) = status.code {
            self.key("code");
            self.0.push_str(&code.to_string());
        }
        self.0.push('}');
    }

    fn instant(&mut self, key: &'static str, instant: Option<Micros>) {
        self.key(key);
        match instant {
            None => self.0.push_str("null"),
            Some(micros) => {
                self.0.push('"');
                self.0.push_str(&time::format(micros));
                self.0.push('"');
            }
        }
    }

    fn annotations(&mut self, annotations: &Pairs<'_, Str<'_>>) {
        if annotations.0.is_empty() {
            return;
        }
        self.key("annotations");
        self.0.push('{');
        for (key, value) in &annotations.0 {
            self.any_key(key);
            self.string(value);
        }
        self.0.push('}');
    }

    /// Writes a string as Go's `encoding/json` does with HTML escaping on, its default.
    fn string(&mut self, text: &str) {
        self.0.push('"');
        // Most texts have nothing to escape, which their bytes show faster than their characters.
        if !text.bytes().fold(false, |any, byte| any | may_need_escape(byte)) {
            self.0.push_str(text);
            self.0.push('"');
            return;
        }
        let mut rest = text;
        while let Some(at) = rest.find(needs_escape) {
            let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.0.push_str(plain);
            let mut chars = tail.chars();
            if let Some(special) = chars.next() {
                self.escape(special);
            }
            rest = chars.as_str();
        }
        self.0.push_str(rest);
        self.0.push('"');
    }

    fn escape(&mut self, special: char) {
        match special {
            '"' => self.0.push_str("\\\""),
            '\\' => self.0.push_str("\\\\"),
            '\n' => self.0.push_str("\\n"),
            '\r' => self.0.push_str("\\r"),
            '\t' => self.0.push_str("\\t"),
            '\u{8}' => self.0.push_str("\\b"),
            '\u{c}' => self.0.push_str("\\f"),
            other => {
                use std::fmt::Write;
                // Writing to a String cannot fail.
                let _written = write!(self.0, "\\u{:04x}", u32::from(other));
            }
        }
    }
}

/// A string as Go's `encoding/json` writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    Writer(&mut out).string(text);
    out
}

/// U+2028 and U+2029 begin with the byte 0xE2.
fn may_need_escape(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}') || c < ' '
}

#[cfg(test)]
mod tests;
