//! Every derived field with its table of cases; the table of actions is that of `docs/fields.md`.

use std::collections::HashSet;

use super::*;

/// Builds an event from a line of `key=value` parts and derives from it.
fn with<T>(text: &str, look: impl FnOnce(&Derived<'_>) -> T) -> T {
    let event = Event::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    look(&derive(&event))
}

fn request(verb: &str, resource: &str, more: &str) -> String {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let resource = if resource == "*" { "deployments" } else { resource };
    let (condition, value) = more.split_once(' ').unwrap_or((more, ""));
    let name = if condition == "name" { value } else { "web" };
    let query = if condition == "query" { value } else { "" };
    let body =
        if condition == "body" { format!(r#","requestObject":{value}"#) } else { String::new() };
    let subresource = if subresource.is_empty() {
        String::new()
    } else {
        format!(r#","subresource":"{subresource}""#)
    };
    format!(
        r#"{{"verb":"{verb}","requestURI":"/x?{query}","objectRef":{{"resource":"{resource}","namespace":"shop","name":"{name}"{subresource}}}{body}}}"#
    )
}

#[test]
fn the_documented_table_of_actions() {
    let path = whodid_testkit::captures::repository().join("docs/fields.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = page.split("### action").nth(1).unwrap().split("###").next().unwrap();
    let mut seen = HashSet::new();
    let mut cases = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<String> = row
            .trim_matches('|')
            .split(" | ")
            .map(|c| c.trim().trim_end_matches('|').trim().to_owned())
            .collect();
        let unquote = |cell: &str| cell.replace('`', "");
        let (action, resource) = (unquote(&cells[0]), unquote(&cells[2]));
        let condition = unquote(cells.get(3).map_or("", |cell| cell));
        for verb in cells[1].split_whitespace().map(unquote) {
            let derived = |condition: &str| {
                with(&request(&verb, &resource, condition), |d| d.action.name().to_owned())
            };
            assert_eq!(derived(&condition), action, "{row}");
            if !condition.is_empty() {
                assert_ne!(derived(""), action, "the condition decides: {row}");
            }
            cases += 1;
        }
        seen.insert(action);
    }
    for action in Action::ALL {
        assert!(seen.contains(action.name()), "{} is not in the table", action.name());
    }
    assert!(cases >= 55, "only {cases} cases");
}

#[test]
fn exec_is_exec_over_get_and_post() {
    for verb in ["get", "create"] {
        let text =
            request(verb, "pods/exec", "query command=sh&command=-c&command=id%3B%20ls&stdin=true");
        with(&text, |d| {
            assert_eq!(d.action, Action::Exec);
            assert_eq!(d.exec_command.as_deref(), Some("sh -c 'id; ls'"));
            assert_eq!(d.dry_run, Some(false).filter(|_| verb == "get").or(Some(false)));
        });
    }
    with(&request("get", "pods/attach", "query command=ls"), |d| assert_eq!(d.exec_command, None));
}

#[test]
fn actors() {
    for (users, actor, kind) in [
        (r#""user":{"username":"alice"}"#, Some("alice"), ActorKind::Human),
        (
            r#""user":{"username":"alice"},"impersonatedUser":{"username":"bob"}"#,
            Some("bob"),
            ActorKind::Human,
        ),
        (
            r#""user":{"username":"alice"},"impersonatedUser":{"groups":["x"]}"#,
            Some("alice"),
            ActorKind::Human,
        ),
        (
            r#""user":{"username":"system:serviceaccount:ns:sa"}"#,
            Some("system:serviceaccount:ns:sa"),
            ActorKind::ServiceAccount,
        ),
        (
            r#""user":{"username":"system:node:node-1"}"#,
            Some("system:node:node-1"),
            ActorKind::Node,
        ),
        (
            r#""user":{"username":"system:kube-scheduler"}"#,
            Some("system:kube-scheduler"),
            ActorKind::ControlPlane,
        ),
        (
            r#""user":{"username":"system:anonymous"}"#,
            Some("system:anonymous"),
            ActorKind::Anonymous,
        ),
        (r#""user":{}"#, None, ActorKind::Anonymous),
        (r#""level":"Metadata""#, None, ActorKind::Anonymous),
    ] {
        with(&format!(r#"{{"verb":"get",{users}}}"#), |d| {
            assert_eq!((d.actor, d.actor_kind), (actor, kind), "{users}");
        });
    }
}

#[test]
fn outcomes() {
    for (stage, code, outcome) in [
        ("RequestReceived", None, None),
        ("ResponseStarted", Some(101), None),
        ("ResponseStarted", Some(200), None),
        ("ResponseStarted", Some(401), Some(Outcome::Denied)),
        ("ResponseStarted", Some(400), Some(Outcome::Failed)),
        ("ResponseComplete", Some(101), Some(Outcome::Success)),
        ("ResponseComplete", Some(201), Some(Outcome::Success)),
        ("ResponseComplete", Some(302), Some(Outcome::Success)),
        ("ResponseComplete", Some(403), Some(Outcome::Denied)),
        ("ResponseComplete", Some(404), Some(Outcome::Failed)),
        ("ResponseComplete", Some(422), Some(Outcome::Failed)),
        ("ResponseComplete", Some(429), Some(Outcome::Failed)),
        ("Panic", Some(500), Some(Outcome::Failed)),
        ("ResponseComplete", None, None),
    ] {
        let status =
            code.map_or(String::new(), |code| format!(r#","responseStatus":{{"code":{code}}}"#));
        with(&format!(r#"{{"verb":"get","stage":"{stage}"{status}}}"#), |d| {
            assert_eq!(d.outcome, outcome, "{stage} {code:?}");
        });
    }
}

#[test]
fn dry_runs() {
    let options = r#"body {"kind":"DeleteOptions","dryRun":["All"]}"#;
    let eviction = r#"body {"kind":"Eviction","deleteOptions":{"dryRun":["All"]}}"#;
    for (verb, resource, more, expected) in [
        ("create", "*", "", Some(false)),
        ("create", "*", "query dryRun=All", Some(true)),
        ("patch", "*", "query dryRun=All&fieldManager=x", Some(true)),
        ("update", "*", "query dryRun=", Some(false)),
        ("delete", "*", "query dryRun=All", Some(true)),
        ("delete", "*", options, Some(true)),
        ("delete", "*", r#"body {"propagationPolicy":"Background"}"#, Some(false)),
        ("delete", "*", "", None),
        ("deletecollection", "*", "", None),
        ("create", "pods/eviction", eviction, Some(true)),
        ("create", "pods/eviction", r#"body {"kind":"Eviction"}"#, Some(false)),
        ("create", "pods/eviction", "", None),
        ("get", "*", "query dryRun=All", Some(false)),
    ] {
        with(&request(verb, resource, more), |d| {
            assert_eq!(d.dry_run, expected, "{verb} {resource} {more}");
        });
    }
}

#[test]
fn objects() {
    let none = "";
    for (verb, object_ref, response, object, gvr) in [
        (
            "get",
            r#"{"resource":"pods","namespace":"shop","name":"web","apiVersion":"v1"}"#,
            none,
            Some("shop/pod/web"),
            Some("v1/pods"),
        ),
        (
            "get",
            r#"{"resource":"pods","namespace":"shop","name":"web","apiVersion":"v1","subresource":"log"}"#,
            none,
            Some("shop/pod/web"),
            Some("v1/pods/log"),
        ),
        (
            "delete",
            r#"{"resource":"namespaces","namespace":"shop","name":"shop","apiVersion":"v1"}"#,
            none,
            Some("namespace/shop"),
            Some("v1/namespaces"),
        ),
        (
            "get",
            r#"{"resource":"clusterroles","name":"admin","apiGroup":"rbac.authorization.k8s.io","apiVersion":"v1"}"#,
            none,
            Some("clusterrole/admin"),
            Some("rbac.authorization.k8s.io/v1/clusterroles"),
        ),
        (
            "get",
            r#"{"resource":"widgets","namespace":"shop","name":"w","apiGroup":"example.com","apiVersion":"v1"}"#,
            none,
            Some("shop/widgets/w"),
            Some("example.com/v1/widgets"),
        ),
        (
            "list",
            r#"{"resource":"pods","namespace":"shop","apiVersion":"v1"}"#,
            none,
            None,
            Some("v1/pods"),
        ),
        (
            "create",
            r#"{"resource":"pods","namespace":"shop","apiVersion":"v1"}"#,
            r#"{"kind":"Pod","metadata":{"name":"job-x7k2p"}}"#,
            Some("shop/pod/job-x7k2p"),
            Some("v1/pods"),
        ),
        (
            "create",
            r#"{"resource":"pods","namespace":"shop","apiVersion":"v1"}"#,
            r#"{"kind":"Status","metadata":{"name":"job-x7k2p"}}"#,
            None,
            Some("v1/pods"),
        ),
        (
            "create",
            r#"{"resource":"pods","namespace":"shop","apiVersion":"v1"}"#,
            none,
            None,
            Some("v1/pods"),
        ),
    ] {
        let response = if response.is_empty() {
            String::new()
        } else {
            format!(r#","responseObject":{response}"#)
        };
        with(&format!(r#"{{"verb":"{verb}","objectRef":{object_ref}{response}}}"#), |d| {
            assert_eq!((d.object.as_deref(), d.gvr.as_deref()), (object, gvr), "{object_ref}");
        });
    }
    with(r#"{"verb":"get","requestURI":"/healthz"}"#, |d| {
        assert_eq!((d.object.as_deref(), d.gvr.as_deref(), d.action), (None, None, Action::Read));
    });
}

#[test]
fn times_managers_and_truncation() {
    with(
        r#"{"verb":"get","requestReceivedTimestamp":"1970-01-01T00:00:01.000000Z","stageTimestamp":"1970-01-01T00:00:02.000000Z"}"#,
        |d| {
            assert_eq!(d.time, Some(2_000_000));
        },
    );
    with(
        r#"{"verb":"get","requestReceivedTimestamp":"1970-01-01T00:00:01.000000Z","stageTimestamp":null}"#,
        |d| {
            assert_eq!(d.time, Some(1_000_000));
            assert!(!d.is_truncated);
        },
    );
    with(
        r#"{"verb":"patch","requestURI":"/x?fieldManager=helm%20x&fieldManager=y","annotations":{"audit.k8s.io/truncated":"true"}}"#,
        |d| {
            assert_eq!(d.time, None);
            assert_eq!(d.field_manager.as_deref(), Some("helm x"));
            assert!(d.is_truncated);
        },
    );
}
