//! Taking secrets out of an event before anything is written: which values go, and the text
//! without them. A value that went shows as `{"$redacted":"RULE","n":BYTES}` in its place.
//!
//! The built-in rules name what is *kept* of a secret-bearing object, so that an unknown member, a
//! patch of an unknown kind or a body that is no object goes as a whole. Rules of users name what
//! goes, in bodies and in URLs. Reading rule files is the caller's business.

use std::ops::Range;

use serde_json::value::RawValue;

use crate::encode;
use crate::envelope::{Event, ObjectRef};
use crate::json::{self, Pairs, Str, span_of};

mod rules;
mod shape;
mod uri;

pub use rules::{RuleError, RuleFile, RuleSet, RuleSpec};

use rules::Rule;
use shape::{OTHERS_REDACT, Shape};

/// A value that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stood: a JSON Pointer (RFC 6901) into the event.
    pub path: String,
    /// The rule that took it out.
    pub rule: String,
    /// The length of its JSON text in bytes; of a part of a URL, that of the part.
    pub bytes: usize,
}

/// An event without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The text of the event with every finding replaced.
    pub text: String,
    /// What was taken out, in the order of the text.
    pub findings: Vec<Finding>,
    /// `requestObject` went as a whole.
    pub is_request_whole: bool,
    /// `responseObject` went as a whole.
    pub is_response_whole: bool,
}

/// What stands in the place of a value that was taken out.
pub fn placeholder(rule: &str, bytes: usize) -> String {
    format!(r#"{{"$redacted":"{rule}","n":{bytes}}}"#)
}

/// Applies `rules` to an event that was parsed from `text`; `None` if nothing has to go.
pub fn redact(text: &str, event: &Event<'_>, rules: &RuleSet) -> Option<Redacted> {
    let mut out = Edits { text, replacements: Vec::new(), findings: Vec::new() };
    out.uri(rules, event);
    let request = event.request_object.and_then(|body| {
        let rule = rules.for_body(event.object_ref.as_ref(), body)?;
        Some(out.body(rule, "/requestObject", body, is_options(event)))
    });
    let response = event.response_object.and_then(|body| {
        let rule = rules.for_body(event.object_ref.as_ref(), body)?;
        Some(out.body(rule, "/responseObject", body, has_kind(body, "Status")))
    });
    if let Some(rule) = rules.for_object(event.object_ref.as_ref()) {
        out.webhook_patches(rule, event, text);
    }
    if out.replacements.is_empty() {
        return None;
    }
    out.replacements.sort_by_key(|(span, _)| span.start);
    Some(Redacted {
        text: json::splice(text, &out.replacements),
        findings: out.findings,
        is_request_whole: request == Some(Whole(true)),
        is_response_whole: response == Some(Whole(true)),
    })
}

/// The body of a delete is `DeleteOptions`, not the object.
fn is_options(event: &Event<'_>) -> bool {
    matches!(event.verb.as_deref(), Some("delete" | "deletecollection"))
}

fn has_kind(body: &str, kind: &str) -> bool {
    json::members(body)
        .ok()
        .and_then(|object| serde_json::from_str::<Str<'_>>(object.get("kind")?.get()).ok())
        .is_some_and(|found| &*found == kind)
}

/// Whether a body went as a whole.
#[derive(PartialEq)]
struct Whole(bool);

/// The replacements gathered for one event.
struct Edits<'t> {
    text: &'t str,
    replacements: Vec<(Range<usize>, String)>,
    findings: Vec<Finding>,
}

impl Edits<'_> {
    fn body(&mut self, rule: &Rule, path: &str, body: &str, is_harmless: bool) -> Whole {
        if is_harmless {
            return Whole(false);
        }
        let before = self.replacements.len();
        self.document(rule, path, body);
        let whole = span_of(self.text, body);
        Whole(self.replacements.get(before).map(|(span, _)| span) == whole.as_ref())
    }

    /// An object, a list or table of them, or a patch to one.
    fn document(&mut self, rule: &Rule, path: &str, body: &str) {
        let shape = &rule.shape;
        if *shape == Shape::Redact {
            return self.take(rule, path, body);
        }
        if let Ok(operations) = serde_json::from_str::<Vec<&RawValue>>(body) {
            for (i, operation) in operations.iter().enumerate() {
                self.json_patch(rule, &format!("{path}/{i}"), operation.get());
            }
            return;
        }
        let Ok(object) = json::members(body) else {
            return self.take(rule, path, body);
        };
        let list = if object.get("items").is_some() {
            shape::list("items", shape.clone())
        } else if has_kind(body, "Table") {
            shape::table(shape.clone())
        } else {
            return self.shaped(rule, path, body, shape);
        };
        self.shaped(rule, path, body, &list);
    }

    /// One operation of a JSON Patch (RFC 6902): its value is judged by where it goes.
    fn json_patch(&mut self, rule: &Rule, path: &str, operation: &str) {
        let Ok(members) = json::members(operation) else {
            return self.take(rule, path, operation);
        };
        let target = members
            .get("path")
            .and_then(|path| serde_json::from_str::<Str<'_>>(path.get()).ok())
            .map_or(&OTHERS_REDACT, |path| rule.shape.at(&path));
        for (key, value) in &members.0 {
            let path = format!("{path}/{}", pointer_segment(key));
            match &**key {
                "op" | "path" | "from" => {}
                "value" => self.shaped(rule, &path, value.get(), target),
                _ => self.take(rule, &path, value.get()),
            }
        }
    }

    fn shaped(&mut self, rule: &Rule, path: &str, value: &str, shape: &Shape) {
        match shape {
            Shape::Keep => {}
            Shape::Redact => self.take(rule, path, value),
            Shape::Each(inner) => {
                let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(value) else {
                    return self.take(rule, path, value);
                };
                for (i, value) in values.iter().enumerate() {
                    self.shaped(rule, &format!("{path}/{i}"), value.get(), inner);
                }
            }
            Shape::Members { .. } => {
                let Ok(members) = json::members(value) else {
                    return self.take(rule, path, value);
                };
                for (key, value) in &members.0 {
                    let path = format!("{path}/{}", pointer_segment(key));
                    self.shaped(rule, &path, value.get(), shape.member(key));
                }
            }
        }
    }

    /// At level Request and above, kube-apiserver notes what mutating webhooks changed in the
    /// object, values included.
    fn webhook_patches(&mut self, rule: &Rule, event: &Event<'_>, text: &str) {
        const PREFIX: &str = "patch.webhook.admission.k8s.io/";
        if !event.annotations.0.iter().any(|(key, _)| key.starts_with(PREFIX)) {
            return;
        }
        let Ok(members) = json::members(text) else { return };
        let annotations: Option<Pairs<'_, &RawValue>> = members
            .get("annotations")
            .and_then(|annotations| serde_json::from_str(annotations.get()).ok());
        for (key, value) in &annotations.unwrap_or_default().0 {
            if key.starts_with(PREFIX) {
                let path = format!("/annotations/{}", pointer_segment(key));
                // Annotations are strings, so the placeholder becomes one.
                let text = placeholder(&rule.name, value.get().len());
                self.replace(
                    rule,
                    &path,
                    value.get(),
                    format!("\"{}\"", text.replace('"', "\\\"")),
                );
            }
        }
    }

    /// Parts of the URL, which stays a URL.
    fn uri(&mut self, rules: &RuleSet, event: &Event<'_>) {
        let Some(uri) = event.request_uri.as_deref() else { return };
        let parts = uri::parts(uri, event.object_ref.as_ref(), rules.uris());
        if parts.is_empty() {
            return;
        }
        let members = json::members(self.text).ok();
        let value = members.as_ref().and_then(|members| members.get("requestURI"));
        let Some(span) = value.and_then(|value| span_of(self.text, value.get())) else { return };
        let mut edits = Vec::with_capacity(parts.len());
        for part in parts {
            let bytes = part.span.len();
            edits.push((part.span, uri::mark(part.rule, bytes)));
            let (path, rule) = ("/requestURI".to_owned(), part.rule.to_owned());
            self.findings.push(Finding { path, rule, bytes });
        }
        self.replacements.push((span, encode::quoted(&json::splice(uri, &edits))));
    }

    fn take(&mut self, rule: &Rule, path: &str, value: &str) {
        // Nothing hides nothing, and what was taken out before is not taken out again.
        if matches!(value, "null" | "\"\"") || is_placeholder(value) {
            return;
        }
        self.replace(rule, path, value, placeholder(&rule.name, value.len()));
    }

    fn replace(&mut self, rule: &Rule, path: &str, value: &str, new: String) {
        let Some(span) = span_of(self.text, value) else {
            debug_assert!(false, "every value is a slice of the event");
            return;
        };
        let bytes = value.len();
        self.findings.push(Finding { path: path.to_owned(), rule: rule.name.clone(), bytes });
        self.replacements.push((span, new));
    }
}

fn is_placeholder(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Placeholder<'a> {
        #[serde(rename = "$redacted", borrow)]
        rule: Str<'a>,
        n: u64,
    }
    text.starts_with(r#"{"$redacted":""#)
        && serde_json::from_str::<Placeholder<'_>>(text)
            .is_ok_and(|found| rules::is_rule_name(&found.rule) && found.n < u64::MAX)
}

/// Escapes a key for a JSON Pointer.
fn pointer_segment(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Matches `PLURAL[.GROUP][/SUBRESOURCE]` against what a request is about.
fn is_about(pattern: &str, object: &ObjectRef<'_>) -> bool {
    let (resource, subresource) = pattern.split_once('/').unwrap_or((pattern, ""));
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let is = |found: &Option<Str<'_>>, wanted: &str| found.as_deref().unwrap_or_default() == wanted;
    is(&object.resource, plural)
        && is(&object.api_group, group)
        && is(&object.subresource, subresource)
}

#[cfg(test)]
mod tests;
