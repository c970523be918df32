//! One request that an act has to cause, as one line: what the product has to say of it, at each
//! stage.
//!
//! `VERB RESOURCE[/SUBRESOURCE] CODE ACTION OUTCOME OBJECT [FLAGS] [: COMMAND]`, where `OBJECT` may
//! have one `*`, and `-` is none. Flags: `*` any number, `+` one or more, else exactly one; `dry` a
//! dry run; `as=USER` an impersonation; `generated` the object's name is in the answer only. A path
//! of the API, such as `/metrics`, may stand for the resource.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// See the head of this file.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) text: String,
    verb: String,
    target: String,
    code: i64,
    action: String,
    outcome: String,
    object: Option<String>,
    actor: Option<String>,
    command: Option<String>,
    is_dry_run: bool,
    is_generated: bool,
    pub(super) least: usize,
    pub(super) most: usize,
}

/// An event, as it was logged and as the product shows it.
pub(super) struct Seen<'r> {
    pub(super) logged: &'r Value,
    pub(super) found: &'r Value,
}

impl Seen<'_> {
    fn logged(&self, pointer: &str) -> Option<&str> {
        self.logged.pointer(pointer).and_then(Value::as_str)
    }

    fn found(&self, field: &str) -> Option<&str> {
        self.found.get(field).and_then(Value::as_str)
    }

    pub(super) fn stage(&self) -> &str {
        self.logged("/stage").unwrap_or_default()
    }

    /// The resource with its subresource, else the path.
    pub(super) fn target(&self) -> String {
        match (self.found("resource"), self.found("subresource")) {
            (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
            (Some(resource), None) => resource.to_owned(),
            (None, _) => {
                let uri = self.found("request_uri").unwrap_or_default();
                uri.split('?').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// The line that would have expected it.
    pub(super) fn line(&self) -> String {
        let code = self.found.get("code").map_or_else(|| "-".into(), Value::to_string);
        let command = self.found("exec_command").map(|command| format!(" : {command}"));
        format!(
            "{} {} {code} {} {} {}{} by {}{}",
            self.found("verb").unwrap_or("-"),
            self.target(),
            self.found("action").unwrap_or("-"),
            self.found("outcome").unwrap_or("-"),
            self.found("object").unwrap_or("-"),
            if self.found.get("dry_run") == Some(&Value::Bool(true)) { " dry" } else { "" },
            self.found("actor").unwrap_or("-"),
            command.unwrap_or_default(),
        )
    }
}

impl Expected {
    pub(super) fn parse(line: &str) -> anyhow::Result<Expected> {
        let line = line.trim();
        let (words, command) = match line.split_once(" : ") {
            Some((words, command)) => (words, Some(command.to_owned())),
            None => (line, None),
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        let [verb, target, code, action, outcome, object, flags @ ..] = &words[..] else {
            bail!("`{line}` is no request");
        };
        ensure!(object.matches('*').count() <= 1, "`{line}`: an object has one `*` at most");
        let mut expected = Expected {
            text: line.to_owned(),
            verb: (*verb).to_owned(),
            target: (*target).to_owned(),
            code: code.parse().with_context(|| format!("`{line}`: {code} is no code"))?,
            action: (*action).to_owned(),
            outcome: (*outcome).to_owned(),
            object: (*object != "-").then(|| (*object).to_owned()),
            actor: None,
            command,
            is_dry_run: false,
            is_generated: false,
            least: 1,
            most: 1,
        };
        for flag in flags {
            match (*flag, flag.strip_prefix("as=")) {
                (_, Some(actor)) => expected.actor = Some(actor.to_owned()),
                ("dry", _) => expected.is_dry_run = true,
                ("generated", _) => expected.is_generated = true,
                ("*", _) => (expected.least, expected.most) = (0, usize::MAX),
                ("+", _) => expected.most = usize::MAX,
                _ => bail!("`{line}`: there is no flag `{flag}`"),
            }
        }
        Ok(expected)
    }

    /// What the product says otherwise of an event, field by field.
    pub(super) fn differences(&self, seen: &Seen<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |field: &str, expected: Option<String>, actual: Option<String>| {
            if !matches(expected.as_deref(), actual.as_deref()) {
                let shown = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
                found.push(format!("{field} {} instead of {}", shown(actual), shown(expected)));
            }
        };
        let text = |field: &str| seen.found(field).map(str::to_owned);
        let other = |field: &str| seen.found.get(field).map(Value::to_string);
        compare("verb", Some(self.verb.clone()), text("verb"));
        compare("resource", Some(self.target.clone()), Some(seen.target()));
        compare("code", self.code_at(seen), other("code"));
        compare("action", Some(self.action_at(seen)), text("action"));
        compare("actor", self.actor_at(seen), text("actor"));
        compare("outcome", self.outcome_at(seen), text("outcome"));
        compare("object", self.object_at(seen), text("object"));
        compare("dry_run", self.dry_run_at(seen), other("dry_run"));
        compare("exec_command", self.command.clone(), text("exec_command"));
        found
    }

    fn code_at(&self, seen: &Seen<'_>) -> Option<String> {
        (seen.stage() != RECEIVED).then(|| self.code.to_string())
    }

    fn action_at(&self, seen: &Seen<'_>) -> String {
        // That a pod debugs a node is known by its name only.
        let is_unnamed = seen.stage() == RECEIVED && self.is_named_late() && self.action == "debug";
        if is_unnamed { self.verb.clone() } else { self.action.clone() }
    }

    /// Impersonation begins once a request has been received.
    fn actor_at(&self, seen: &Seen<'_>) -> Option<String> {
        let authenticated = seen.logged("/user/username").map(str::to_owned);
        if seen.stage() == RECEIVED { authenticated } else { self.actor.clone().or(authenticated) }
    }

    fn outcome_at(&self, seen: &Seen<'_>) -> Option<String> {
        let is_open = seen.stage() == STARTED && self.code < 400;
        (seen.stage() != RECEIVED && !is_open).then(|| self.outcome.clone())
    }

    fn object_at(&self, seen: &Seen<'_>) -> Option<String> {
        let is_hidden = seen.stage() == RECEIVED && self.is_named_late()
            || self.is_generated && seen.logged.get("responseObject").is_none();
        self.object.clone().filter(|_| !is_hidden)
    }

    /// The options of a delete or an eviction stand in a body, which is not always recorded.
    fn dry_run_at(&self, seen: &Seen<'_>) -> Option<String> {
        let has_options = self.verb.starts_with("delete") || self.target == "pods/eviction";
        let is_hidden = has_options && seen.logged.get("requestObject").is_none();
        (!is_hidden).then(|| self.is_dry_run.to_string())
    }

    /// The name of what is created stands in the body.
    fn is_named_late(&self) -> bool {
        self.verb == "create" && !self.target.contains('/')
    }
}

pub(super) const RECEIVED: &str = "RequestReceived";
pub(super) const STARTED: &str = "ResponseStarted";
pub(super) const COMPLETE: &str = "ResponseComplete";

/// Tells whether a text is as expected; `*` stands for anything that is not empty.
fn matches(expected: Option<&str>, actual: Option<&str>) -> bool {
    match (expected, actual) {
        (None, None) => true,
        (Some(expected), Some(actual)) => match expected.split_once('*') {
            Some((begin, end)) => {
                let rest = actual.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
                rest.is_some_and(|rest| !rest.is_empty())
            }
            None => expected == actual,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(line: &str, logged: &Value, found: &Value) -> Vec<String> {
        Expected::parse(line).unwrap().differences(&Seen { logged, found })
    }

    #[test]
    fn every_line_of_the_script_is_a_request() {
        for act in super::super::acts::script() {
            for line in act.requests.lines() {
                Expected::parse(line).unwrap();
            }
        }
        for wrong in ["", "get pods 200 read success", "get pods x read success -", "a b 1 c d - e"]
        {
            assert!(Expected::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_field_counts() {
        let line = "delete pods 200 delete success shop/pod/web-* dry as=bob";
        let logged = json!({
            "stage": "ResponseComplete", "user": { "username": "alice" }, "requestObject": {},
        });
        let good = json!({
            "verb": "delete", "resource": "pods", "code": 200, "action": "delete", "actor": "bob",
            "outcome": "success", "object": "shop/pod/web-1", "dry_run": true,
        });
        assert_eq!(differences(line, &logged, &good), Vec::<String>::new());
        for field in good.as_object().unwrap().keys() {
            let mut wrong = good.clone();
            wrong[field] = json!("x");
            let found = differences(line, &logged, &wrong);
            assert!(found.len() == 1 && found[0].starts_with(field), "{found:?}");
        }
        let hidden = json!({ "stage": "ResponseComplete", "user": { "username": "alice" } });
        assert_eq!(differences(line, &hidden, &good), ["dry_run true instead of unknown"]);
    }

    #[test]
    fn what_is_received_is_not_answered_yet() {
        let line = "create pods 201 debug success shop/pod/node-debugger-* as=bob";
        let logged = json!({ "stage": "RequestReceived", "user": { "username": "alice" } });
        let found = json!({
            "verb": "create", "resource": "pods", "action": "create", "actor": "alice",
            "dry_run": false,
        });
        assert_eq!(differences(line, &logged, &found), Vec::<String>::new());
        let started = json!({ "stage": "ResponseStarted", "user": { "username": "alice" } });
        let found = json!({
            "verb": "get", "resource": "pods", "subresource": "exec", "action": "exec",
            "actor": "alice", "dry_run": false, "code": 101, "object": "shop/pod/a",
            "exec_command": "ls -l",
        });
        let line = "get pods/exec 101 exec success shop/pod/a : ls -l";
        assert_eq!(differences(line, &started, &found), Vec::<String>::new());
    }
}
