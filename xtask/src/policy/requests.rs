//! Every kind of request by everybody: how it is sent, and what the API server makes of it before
//! it asks its policy. `testbed/requests.py` sends them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use whodid_policy::{Request, Target};

use super::Log;
use crate::testbed::{ApiServer, Testbed, build};

/// What is there before the requests are sent.
pub(super) const PREPARED: [&str; 6] = [
    "create configmap one -n default --from-literal=a=b",
    "create secret generic one -n default --from-literal=a=b",
    "create deployment web -n default --image=registry.example/web:1 --replicas=1",
    "create serviceaccount robot -n default",
    "create clusterrolebinding alice --clusterrole=cluster-admin --user=alice@example.com",
    "create rolebinding ci -n default --clusterrole=edit --serviceaccount=ci:deployer",
];

/// Who sends: the name of a kubeconfig, the user, and the groups.
const USERS: [(&str, Option<&str>, &[&str]); 6] = [
    ("admin", Some("admin"), &["system:masters", "system:authenticated"]),
    ("alice", Some("alice@example.com"), &["platform", "system:authenticated"]),
    ("bob", Some("bob@example.com"), &["developers", "system:authenticated"]),
    (
        "ci",
        Some("system:serviceaccount:ci:deployer"),
        &["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"],
    ),
    ("", Some("system:anonymous"), &["system:unauthenticated"]),
    // With a token that nobody gave out.
    ("nobody", None, &[]),
];

/// A kind of request: method, path, body, verb, and target, with its namespace and name.
struct Kind(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const CONFIG_MAP: &str =
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"x-"},"data":{"a":"b"}}"#;
const PATCH: &str = r#"{"data":{"a":"c"}}"#;
const NONE: &str = "";

const KINDS: [Kind; 34] = [
    Kind(
        "GET",
        "/api/v1/namespaces/default/configmaps/one",
        NONE,
        "get",
        "configmaps",
        "default",
        "one",
    ),
    Kind("GET", "/api/v1/namespaces/default/configmaps", NONE, "list", "configmaps", "default", ""),
    Kind("GET", "/api/v1/configmaps?limit=2", NONE, "list", "configmaps", "", ""),
    Kind(
        "GET",
        "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Done",
        NONE,
        "list",
        "configmaps",
        "default",
        "one",
    ),
    Kind(
        "GET",
        "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1",
        NONE,
        "watch",
        "configmaps",
        "default",
        "",
    ),
    Kind(
        "GET",
        "/api/v1/namespaces/kube-system/configmaps",
        NONE,
        "list",
        "configmaps",
        "kube-system",
        "",
    ),
    Kind(
        "POST",
        "/api/v1/namespaces/default/configmaps",
        CONFIG_MAP,
        "create",
        "configmaps",
        "default",
        "",
    ),
    Kind(
        "PATCH",
        "/api/v1/namespaces/default/configmaps/one",
        PATCH,
        "patch",
        "configmaps",
        "default",
        "one",
    ),
    Kind(
        "DELETE",
        "/api/v1/namespaces/default/configmaps/missing",
        NONE,
        "delete",
        "configmaps",
        "default",
        "missing",
    ),
    Kind(
        "DELETE",
        "/api/v1/namespaces/default/configmaps?labelSelector=none%3Dthere",
        NONE,
        "deletecollection",
        "configmaps",
        "default",
        "",
    ),
    Kind("GET", "/api/v1/namespaces/default/secrets/one", NONE, "get", "secrets", "default", "one"),
    Kind("GET", "/api/v1/secrets?limit=1", NONE, "list", "secrets", "", ""),
    Kind("GET", "/api/v1/namespaces/default/pods", NONE, "list", "pods", "default", ""),
    Kind("GET", "/api/v1/pods?limit=1", NONE, "list", "pods", "", ""),
    Kind(
        "GET",
        "/api/v1/namespaces/default/pods/missing",
        NONE,
        "get",
        "pods",
        "default",
        "missing",
    ),
    Kind(
        "GET",
        "/api/v1/namespaces/default/pods/missing/log",
        NONE,
        "get",
        "pods/log",
        "default",
        "missing",
    ),
    Kind(
        "GET",
        "/api/v1/namespaces/default/pods/missing/exec?command=id",
        NONE,
        "get",
        "pods/exec",
        "default",
        "missing",
    ),
    Kind(
        "POST",
        "/api/v1/namespaces/default/pods/missing/exec?command=id",
        NONE,
        "create",
        "pods/exec",
        "default",
        "missing",
    ),
    Kind("GET", "/api/v1/namespaces/kube-system", NONE, "get", "namespaces", "", "kube-system"),
    Kind("GET", "/api/v1/namespaces", NONE, "list", "namespaces", "", ""),
    Kind("GET", "/api/v1/nodes?limit=1", NONE, "list", "nodes", "", ""),
    Kind(
        "GET",
        "/apis/apps/v1/namespaces/default/deployments/web",
        NONE,
        "get",
        "deployments.apps",
        "default",
        "web",
    ),
    Kind(
        "GET",
        "/apis/apps/v1/namespaces/default/deployments/web/scale",
        NONE,
        "get",
        "deployments.apps/scale",
        "default",
        "web",
    ),
    Kind(
        "PATCH",
        "/apis/apps/v1/namespaces/default/deployments/web/scale",
        r#"{"spec":{"replicas":1}}"#,
        "patch",
        "deployments.apps/scale",
        "default",
        "web",
    ),
    Kind(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/robot/token",
        r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#,
        "create",
        "serviceaccounts/token",
        "default",
        "robot",
    ),
    Kind(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"x"}}"#,
        "create",
        "tokenreviews.authentication.k8s.io",
        "",
        "",
    ),
    Kind("GET", "/api", NONE, "get", "/api", "", ""),
    Kind("GET", "/apis/apps/v1", NONE, "get", "/apis/apps/v1", "", ""),
    Kind("GET", "/apis", NONE, "get", "/apis", "", ""),
    Kind("GET", "/version", NONE, "get", "/version", "", ""),
    Kind("GET", "/readyz", NONE, "get", "/readyz", "", ""),
    Kind("GET", "/readyz/etcd", NONE, "get", "/readyz/etcd", "", ""),
    Kind("GET", "/healthz", NONE, "get", "/healthz", "", ""),
    Kind("POST", "/version", "{}", "post", "/version", "", ""),
];

/// Every kind by everybody, as a policy sees it; the number of a request is its place here.
pub(super) fn all() -> Vec<Request<'static>> {
    let of = |user: &(&str, Option<&'static str>, &'static [&'static str])| {
        let (_, user, groups) = *user;
        KINDS.iter().map(move |Kind(_, _, _, verb, target, namespace, name)| {
            let target = Target::parse(target).unwrap_or(Target::Path("".into()));
            let groups = groups.to_vec();
            Request { user, groups, verb, target: target.at(namespace, name) }
        })
    };
    USERS.iter().flat_map(of).collect()
}

/// Begins the user agent of our requests.
const AGENT: &str = "policy-check/";

/// Sends all requests to one API server, and waits for the answers.
pub(super) fn send(testbed: &Testbed, server: &ApiServer) -> anyhow::Result<()> {
    let mut lines = String::new();
    for (i, (who, ..)) in USERS.iter().enumerate() {
        for (j, Kind(method, path, body, ..)) in KINDS.iter().enumerate() {
            let kubeconfig = match *who {
                "" | "nobody" => None,
                who => Some(testbed.kubeconfig(who)?),
            };
            let request = json!({
                "kubeconfig": kubeconfig,
                "server": server.url,
                "authority": testbed.kubeconfig("admin")?,
                "method": method,
                "path": path,
                "type": if *method == "PATCH" {
                    "application/strategic-merge-patch+json"
                } else {
                    "application/json"
                },
                "body": Some(*body).filter(|body| !body.is_empty()),
                "agent": format!("{AGENT}{}", i * KINDS.len() + j),
                "token": (*who == "nobody").then_some("not-a-token"),
            });
            lines.push_str(&format!("{request}\n"));
        }
    }
    let mut python = Command::new("python3");
    python.arg("-B").arg(build::module().join("requests.py"));
    let mut child =
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("python3")?;
    child.stdin.take().context("no stdin")?.write_all(lines.as_bytes())?;
    let ended = child.wait_with_output()?;
    let count = String::from_utf8_lossy(&ended.stdout).lines().count();
    ensure!(ended.status.success() && count == USERS.len() * KINDS.len(), "{count} answers");
    Ok(())
}

/// The events of our requests in a log.
pub(super) fn logged(path: &Path) -> anyhow::Result<Log> {
    let mut log = Log::new();
    // An API server whose policy records nothing makes no file.
    let text = if path.try_exists()? { fs::read_to_string(path)? } else { String::new() };
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        let agent = event.get("userAgent").and_then(Value::as_str).unwrap_or_default();
        if let Some(number) = agent.strip_prefix(AGENT) {
            log.entry(number.parse()?).or_default().push(event);
        }
    }
    Ok(log)
}
