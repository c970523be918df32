//! Queries, and the canonical form of what they mean.

use whodid_query::{NESTING_MAX, QUERY_BYTES_MAX, TERMS_MAX, WILDCARDS_MAX, parse};

/// Checks the canonical form, and that it reads back as the same query.
#[track_caller]
fn check(text: &str, canonical: &str) {
    let query = parse(text).unwrap_or_else(|error| panic!("{error}\n{}", error.render(text)));
    assert_eq!(query.to_string(), canonical);
    assert_eq!(parse(canonical).as_ref(), Ok(&query), "{canonical} reads back differently");
}

macro_rules! cases {
    ($($name:ident: $($text:literal => $canonical:literal)+)+) => {
        $(
            #[test]
            fn $name() {
                $(check($text, $canonical);)+
            }
        )+
    };
}

cases! {
everything:
    "" => ""
    " \t\n\u{a0}" => ""
    "*" => ""
    r#"""*"# => ""
    "**" => ""
    "(*)" => ""
    "-*" => "-*"
    "* verb:get" => "verb:get"
    "* OR verb:get" => ""

terms_join:
    r#"verb:delete actor:alice* -dry_run:true code:>=400 object:deploy/web "stripe""#
        => "verb:delete actor:alice* -dry_run:true code:>=400 object:deployments/web stripe"
    "a b" => "a b"
    "a AND b" => "a b"
    "a OR b c" => "a OR b c"
    "a b OR c" => "a b OR c"
    "(a OR b) c" => "(a OR b) c"
    "a (b c)" => "a b c"
    "a OR (b OR c)" => "a OR b OR c"
    "((a))" => "a"
    "(a)(b)" => "a b"
    "(a)b" => "a b"
    "and or not" => "and or not"

negation:
    "NOT a b" => "-a b"
    "-a OR b" => "-a OR b"
    "NOT (a OR b)" => "-(a OR b)"
    "NOT(a b)" => "-(a b)"
    "-(a)" => "-a"
    "NOT -a" => "a"
    "NOT NOT NOT a" => "-a"
    "-(-(a b))" => "a b"
    "a-b" => "a-b"
    "-a-" => "-a-"
    r#"-"-a""# => r#"-"-a""#

words:
    "stripe" => "stripe"
    r#""stripe""# => "stripe"
    r#""two words""# => r#""two words""#
    r#""https://example.com/x""# => r#""https://example.com/x""#
    "strip*" => "strip*"
    "*ripe" => "*ripe"
    r#""a"*"# => "a*"
    r#"*"not found"*"# => r#"*"not found"*"#
    r#""a*b""# => r#""a*b""#
    r#""OR""# => r#""OR""#
    "ORACLE" => "ORACLE"
    r#""->""# => r#""->""#
    r#""say \"hi\" \\ ""# => r#""say \"hi\" \\ ""#
    r#"con"cat"enated"# => "concatenated"
    "verb=delete" => "verb=delete"
    "grün 日本" => "grün 日本"

texts:
    "verb:delete" => "verb:delete"
    r#"verb:"delete""# => "verb:delete"
    r#"verb:"""# => r#"verb:"""#
    "ns:*" => "ns:*"
    "-ns:*" => "-ns:*"
    "ns:**" => "ns:*"
    r#"ns:"*""# => r#"ns:"*""#
    "actor:system:serviceaccount:kube-system:default"
        => "actor:system:serviceaccount:kube-system:default"
    "actor:*:kube-*:*" => "actor:*:kube-*:*"
    r"actor:CORP\alice@example.com" => r"actor:CORP\alice@example.com"
    "uri:/api/v1/pods?limit=500&continue=x" => "uri:/api/v1/pods?limit=500&continue=x"
    "name:a..b" => "name:a..b"
    "name:-a" => "name:-a"
    r#"reason:"<none>""# => r#"reason:"<none>""#
    r#"message:*"not found"*"# => r#"message:*"not found"*"#
    "user:a username:b namespace:c sub:exec requestURI:/x userAgent:k* manager:kubectl"
        => "actor:a authenticated:b ns:c subresource:exec uri:/x agent:k* field_manager:kubectl"
    "group:system:masters" => "group:system:masters"

groups:
    "verb:(delete OR patch)" => "verb:delete OR verb:patch"
    "verb:(delete OR NOT get)" => "verb:delete OR -verb:get"
    "-verb:(get OR list OR watch)" => "-(verb:get OR verb:list OR verb:watch)"
    "group:(a b)" => "group:a group:b"
    "code:(>=500 OR 400..404)" => "code:>=500 OR code:400..404"
    "actor:(system:node:* OR (alice* -alice2))"
        => "actor:system:node:* OR actor:alice* -actor:alice2"
    r#"verb:("ns:a" OR nothing:known)"# => "verb:ns:a OR verb:nothing:known"
    "time:(>-2h OR 2026-11-22)" => "time:>-2h OR time:2026-11-22"

lists_of_values:
    "action:exec outcome:denied" => "action:exec outcome:denied"
    "actor_kind:serviceaccount" => "actor_kind:serviceaccount"
    "action:del*" => "action:del*"
    "dry_run:true raw:false" => "dry_run:true raw:false"

numbers:
    "code:403" => "code:403"
    "code:0403" => "code:403"
    "code:>=400" => "code:>=400"
    "code:<-1" => "code:<-1"
    "code:400..499" => "code:400..499"
    "code:500.." => "code:500.."
    "code:..199" => "code:..199"
    "code:7..7" => "code:7..7"
    "seq:9223372036854775807" => "seq:9223372036854775807"

times:
    "time:>-2h" => "time:>-2h"
    "time:>-120m" => "time:>-2h"
    "time:<=now" => "time:<=now"
    "time:2026-11-22" => "time:2026-11-22"
    "time:2026-11-22T17:25" => "time:2026-11-22T17:25Z"
    "time:>2026-11-22T17:25:03Z" => "time:>2026-11-22T17:25:03Z"
    "time:<2026-11-22T17:25:03.250+02:00" => "time:<2026-11-22T15:25:03.250000Z"
    "time:2026-11-22..2026-11-23" => "time:2026-11-22..2026-11-23"
    "time:2026-11-22T17:25..2026-11-22" => "time:2026-11-22T17:25Z..2026-11-22"
    "time:-7d.. received:-2h..-1h" => "time:-1w.. received:-2h..-1h"
    "time:2026-11-22..now" => "time:2026-11-22..now"

addresses:
    "ip:10.0.0.0/8" => "ip:10.0.0.0/8"
    "ip:10.1.2.3/8" => "ip:10.0.0.0/8"
    "from:10.1.2.3" => "ip:10.1.2.3"
    "ip:10.1.2.3/32" => "ip:10.1.2.3"
    "sourceIPs:fd00::/8" => "ip:fd00::/8"
    "ip:FD00:0::1" => "ip:fd00::1"
    "ip:10.*" => "ip:10.*"

events:
    "id:prod/18231" => "id:prod/18231"
    "id:prod/0018231" => "id:prod/18231"

resources:
    "resource:deploy" => "resource:deployments"
    "resource:Deployment" => "resource:deployments"
    r#"resource:"deploy""# => r#"resource:"deploy""#
    "resource:deploy*" => "resource:deploy*"
    "resource:deploy.apps" => "resource:deployments api_group:apps"
    "-resource:deploy.apps" => "-(resource:deployments api_group:apps)"
    "resource:(deploy.apps OR po)" => "resource:deployments api_group:apps OR resource:pods"
    "resource:*.cert-manager.io" => "resource:* api_group:cert-manager.io"
    "resource:ev.*.k8s.io" => "resource:events api_group:*.k8s.io"
    "resource:pods/exec" => "resource:pods subresource:exec"
    "resource:deploy.apps/*" => "resource:deployments api_group:apps subresource:*"
    "resource:PodMetrics" => "resource:pods api_group:metrics.k8s.io"
    "resource:widgets" => "resource:widgets"
    "resource:service.serving.knative.dev"
        => r#"resource:"service" api_group:serving.knative.dev"#
    r#"resource:"a.b"*"# => r#"resource:"a.b"*"#

objects:
    "object:deploy/web" => "object:deployments/web"
    "object:payments/Deployment/web" => "object:payments/deployments/web"
    "object:crd/widgets.example.com" => "object:customresourcedefinitions/widgets.example.com"
    "object:*/sec*/db-*" => "object:*/sec*/db-*"
    "object:deploy.apps/web" => "object:deployments/web api_group:apps"
    r#"object:"deploy"/"a*b"*"# => r#"object:"deploy"/"a*b"*"#
    "object:*" => "object:*"

annotations:
    r#"annotation."authorization.k8s.io/decision":forbid"#
        => "annotation.authorization.k8s.io/decision:forbid"
    "annotation.pod-security.kubernetes.io/audit-violations:*"
        => "annotation.pod-security.kubernetes.io/audit-violations:*"
    r#"annotations."a:b c":"x y""# => r#"annotation."a:b c":"x y""#

bodies:
    "body:*" => "body:*"
    r#"body:"xmrig""# => "body:xmrig"
    "request:xmr*" => "request:xmr*"
    "body:a:b" => "body:a:b"
    "body.spec.replicas:5" => "body.spec.replicas:5"
    "body.spec.replicas:>5" => "body.spec.replicas:>5"
    "body.spec.replicas:>=1.50" => "body.spec.replicas:>=1.5"
    "body.spec.replicas:-1..5" => "body.spec.replicas:-1..5"
    "body.spec.replicas:..1e3" => "body.spec.replicas:..1000.0"
    r#"body.x:>"5""# => r#"body.x:>"5""#
    "body.metadata.creationTimestamp:>2026-01-01" => "body.metadata.creationTimestamp:>2026-01-01"
    "request.spec.hostPath.path:../etc" => r#"request.spec.hostPath.path:"../etc""#
    r#"body.x:"1..5""# => r#"body.x:"1..5""#
    "body.spec.containers.0.image:*/xmrig" => "body.spec.containers.0.image:*/xmrig"
    "body.spec.containers.*.image:web" => "body.spec.containers.*.image:web"
    r#"body.metadata.labels."app.kubernetes.io/name":web"#
        => r#"body.metadata.labels."app.kubernetes.io/name":web"#
    r#"body.data."0"."*"."007".007:x"# => r#"body.data."0"."*".007.007:x"#
    r#"body.x.""."a b":"c d""# => r#"body.x.""."a b":"c d""#
    "responseObject.status:*" => "response.status:*"
}

#[test]
fn limits_are_exact() {
    let nested = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(NESTING_MAX), "a");
    assert!(parse(&nested(NESTING_MAX + 1)).is_err());

    check(&format!("{}a", "NOT ".repeat(1001)), "-a");

    assert!(parse(&"a ".repeat(TERMS_MAX)).is_ok());
    assert!(parse(&"a ".repeat(TERMS_MAX + 1)).is_err());

    assert!(parse(&"a".repeat(QUERY_BYTES_MAX)).is_ok());
    assert!(parse(&"a".repeat(QUERY_BYTES_MAX + 1)).is_err());

    assert!(parse(&"*a".repeat(WILDCARDS_MAX)).is_ok());
    assert!(parse(&"*a".repeat(WILDCARDS_MAX + 1)).is_err());
}

/// What a query means can be longer or deeper than what was written.
#[test]
fn limits_hold_for_the_canonical_form_too() {
    let refusal = |text: &str| parse(text).map(|_| ()).unwrap_err().message().to_owned();

    let half = "k".repeat(QUERY_BYTES_MAX / 2);
    check(&format!("annotation.{half}:(a)"), &format!("annotation.{half}:a"));
    assert!(refusal(&format!("annotation.{half}:(a b)")).starts_with("written out in full"));
    assert!(refusal(&"sub:abcd ".repeat(TERMS_MAX)).starts_with("written out in full"));

    let deep =
        |term| format!("{}{term}{}", "a (b OR ".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
    assert!(parse(&deep("-resource:deploy")).is_ok());
    assert!(refusal(&deep("-resource:deploy.apps")).starts_with("written out in full"));
}
