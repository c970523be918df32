//! What managed clouds export, made by hand, and what comes out of it.

use super::*;
use crate::Event;

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","verb":"get"}"#;

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn events_come_out_of_their_wrappings_as_they_were() {
    let text = quoted(EVENT);
    let line = quoted(&format!("{EVENT}\n"));
    let record = format!(r#"{{"category":"kube-audit","properties":{{"log":{line},"pod":"x"}}}}"#);
    let as_text = quoted(&format!(r#"{{"log":{text}}}"#));
    let cases = [
        // A subscription of CloudWatch, and what the command line prints.
        (
            format!(
                r#"{{"messageType":"DATA_MESSAGE","logGroup":"/aws/eks/c/cluster","logStream":"kube-apiserver-audit-1f","logEvents":[{{"id":"3","timestamp":1,"message":{text}}},{{"id":"4","timestamp":2,"message":{line}}}]}}"#
            ),
            2,
        ),
        (format!(r#"{{"events":[{{"logStreamName":"x","timestamp":1,"message":{text}}}]}}"#), 1),
        // Azure Monitor: a record, several, and one whose properties are a text.
        (record.clone(), 1),
        (record.replace("kube-audit", "kube-audit-admin"), 1),
        (format!(r#"{{"records":[{record},{record},{record}]}}"#), 3),
        (format!(r#"{{"category":"kube-audit","properties":{as_text}}}"#), 1),
    ];
    for (wrapping, count) in cases {
        let found = unwrap(wrapping.as_bytes()).unwrap_or_else(|| panic!("{wrapping}"));
        assert_eq!(found, vec![EVENT.to_owned(); count], "{wrapping}");
    }
}

#[test]
fn other_logs_are_no_wrappings() {
    let text = quoted(EVENT);
    let record = format!(r#"{{"category":"kube-audit","properties":{{"log":{text}}}}}"#);
    for other in [
        EVENT.to_owned(),
        String::new(),
        "[1]".into(),
        r#"{"kind":"EventList","items":[]}"#.into(),
        format!(r#"{{"logStream":"authenticator-1","logEvents":[{{"message":{text}}}]}}"#),
        r#"{"logStream":"kube-apiserver-audit-1","logEvents":[{"message":"I1126 starting"}]}"#
            .into(),
        r#"{"events":[]}"#.into(),
        record.replace("kube-audit", "kube-apiserver"),
        // One of two is no event: both stay as they came.
        format!(r#"{{"records":[{record},{{"category":"guard","properties":{{}}}}]}}"#),
        r#"{"category":"kube-audit","properties":{"log":"not JSON"}}"#.into(),
        r#"{"protoPayload":{"serviceName":"compute","methodName":"io.k8s.core.v1.pods.delete"}}"#
            .into(),
        r#"{"protoPayload":{"serviceName":"k8s.io","methodName":"delete"}}"#.into(),
    ] {
        assert_eq!(unwrap(other.as_bytes()), None, "{other}");
    }
}

/// An entry of Cloud Logging for a method and a resource.
fn entry(method: &str, resource: &str, more: &str) -> String {
    format!(
        r#"{{"insertId":"8-1","logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","timestamp":"2026-01-02T03:04:05.678901Z","labels":{{"authorization.k8s.io/decision":"allow"}},"operation":{{"id":"85371f7c-0000-4041-96e8-dad63d2d1990"}},"protoPayload":{{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","serviceName":"k8s.io","methodName":"{method}","resourceName":"{resource}","authenticationInfo":{{"principalEmail":"ann@example.com"}},"requestMetadata":{{"callerIp":"203.0.113.9","callerSuppliedUserAgent":"kubectl/v1.33.1"}}{more}}}}}"#
    )
}

#[test]
fn entries_of_cloud_logging_become_events() {
    let pods = entry(
        "io.k8s.core.v1.pods.delete",
        "core/v1/namespaces/shop/pods/web-1",
        r#","request":{"kind":"DeleteOptions"},"status":{}"#,
    );
    let made = unwrap(pods.as_bytes()).unwrap().remove(0);
    let event = Event::parse(made.as_bytes()).unwrap();
    let object = event.object_ref.as_ref().unwrap();
    let text = |text: &Option<Str<'_>>| text.as_deref().unwrap_or_default().to_owned();
    assert_eq!(text(&event.audit_id), "85371f7c-0000-4041-96e8-dad63d2d1990");
    assert_eq!(
        (text(&event.verb), text(&event.stage_text)),
        ("delete".into(), "ResponseComplete".into())
    );
    assert_eq!(text(&event.level), "", "nobody knows");
    assert_eq!(text(&event.user.as_ref().unwrap().username), "ann@example.com");
    assert_eq!(
        (text(&object.resource), text(&object.namespace), text(&object.name)),
        ("pods".into(), "shop".into(), "web-1".into())
    );
    assert_eq!(event.response_status.as_ref().unwrap().code, Some(200));
    assert_eq!(event.request_object, Some(r#"{"kind":"DeleteOptions"}"#));
    assert!(made.contains(
        r#""whodid/made-of":"projects/p/logs/cloudaudit.googleapis.com%2Factivity 8-1""#
    ));
    assert!(made.contains(r#""authorization.k8s.io/decision":"allow""#));

    let cases = [
        (
            "io.k8s.core.v1.pods.exec.create",
            "core/v1/namespaces/shop/pods/web/exec",
            "pods/exec web shop ",
        ),
        (
            "io.k8s.apps.v1.deployments.patch",
            "apps/v1/namespaces/shop/deployments/web",
            "deployments/ web shop apps",
        ),
        (
            "io.k8s.authorization.rbac.v1.clusterrolebindings.create",
            "rbac.authorization.k8s.io/v1/clusterrolebindings/x",
            "clusterrolebindings/ x  rbac.authorization.k8s.io",
        ),
        (
            "io.k8s.storage.v1.storageclasses.get",
            "storage.k8s.io/v1/storageclasses/fast",
            "storageclasses/ fast  storage.k8s.io",
        ),
        ("io.k8s.core.v1.namespaces.delete", "core/v1/namespaces/shop", "namespaces/ shop shop "),
        (
            "com.example.v1.widgets.list",
            "example.com/v1/namespaces/shop/widgets",
            "widgets/  shop example.com",
        ),
        ("io.k8s.core.v1.nodes.list", "core/v1/nodes", "nodes/   "),
    ];
    for (method, resource, expected) in cases {
        let made = unwrap(entry(method, resource, "").as_bytes()).unwrap().remove(0);
        let event = Event::parse(made.as_bytes()).unwrap();
        let object = event.object_ref.as_ref().unwrap();
        let found = [&object.subresource, &object.name, &object.namespace, &object.api_group];
        let [sub, name, namespace, group] = found.map(text);
        let found = format!("{}/{sub} {name} {namespace} {group}", text(&object.resource));
        assert_eq!(found, expected, "{method}");
    }
    for (status, code) in
        [(r#"{"code":7,"message":"no"}"#, 403), (r#"{"code":5}"#, 404), ("{}", 200)]
    {
        let denied =
            entry("io.k8s.core.v1.pods.get", "core/v1/pods", &format!(",\"status\":{status}"));
        let made = unwrap(denied.as_bytes()).unwrap().remove(0);
        let event = Event::parse(made.as_bytes()).unwrap();
        assert_eq!(event.response_status.unwrap().code, Some(code));
    }
}
