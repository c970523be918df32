//! Redaction: what goes, what stays, and that nothing else changes.

use super::*;

/// Redacts one event with a request body about `resource`.
fn run(resource: &str, verb: &str, member: &str, body: &str, rules: &RuleSet) -> Option<Redacted> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let text = format!(
        r#"{{"verb":"{verb}","objectRef":{{"resource":"{resource}","apiGroup":"{group}","subresource":"{subresource}"}},"{member}":{body},"stage":"Panic"}}"#
    );
    let event = Event::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    let redacted = redact(&text, &event, rules)?;
    // Putting every value back gives the original: nothing else changed.
    let mut rest = text.as_str();
    let mut restored = String::new();
    let mut left = redacted.text.as_str();
    for finding in &redacted.findings {
        let mark = placeholder(&finding.rule, finding.bytes);
        let (before, after) = left.split_once(&mark).expect("every finding shows");
        restored.push_str(before);
        rest = &text[restored.len()..];
        restored.push_str(&rest[..finding.bytes]);
        left = after;
    }
    restored.push_str(left);
    assert_eq!(restored, text, "rest {rest}");
    assert!(Event::parse(redacted.text.as_bytes()).is_ok());
    Some(redacted)
}

fn paths(redacted: Option<&Redacted>) -> Vec<&str> {
    redacted.iter().flat_map(|r| r.findings.iter().map(|f| f.path.as_str())).collect()
}

#[test]
fn secrets_in_every_form() {
    let rules = RuleSet::built_in();
    let applied = r#"{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{}}","note":"x"}}}"#;
    for (verb, member, body, expected) in [
        (
            "create",
            "requestObject",
            r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","labels":{"b":"c"}},"type":"Opaque","data":{"pass/word":"czNjcjN0","n":null},"stringData":{"x":"y"}}"#,
            vec!["/requestObject/data/pass~1word", "/requestObject/stringData/x"],
        ),
        (
            "update",
            "responseObject",
            r#"{"kind":"Secret","data":{"a":"b"}}"#,
            vec!["/responseObject/data/a"],
        ),
        ("patch", "requestObject", r#"{"data":{"a":"b"}}"#, vec!["/requestObject/data/a"]),
        (
            "patch",
            "requestObject",
            r#"{"data":"all of it","metadata":{"labels":{"a":"b"}}}"#,
            vec!["/requestObject/data"],
        ),
        (
            "patch",
            "requestObject",
            r#"{"dataa":{"a":"b"},"$patch":"replace"}"#,
            vec!["/requestObject/dataa", "/requestObject/$patch"],
        ),
        (
            "patch",
            "requestObject",
            applied,
            vec![
                "/requestObject/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            ],
        ),
        (
            "patch",
            "requestObject",
            r#"[{"op":"add","path":"/data/a","value":"b"},{"op":"replace","path":"/metadata/labels/x","value":"y"},{"op":"remove","path":"/data/c"},{"op":"add","path":"/data","value":{"d":"e"}},{"op":"add","path":"/elsewhere","value":1,"more":2}]"#,
            vec![
                "/requestObject/0/value",
                "/requestObject/3/value/d",
                "/requestObject/4/value",
                "/requestObject/4/more",
            ],
        ),
        (
            "patch",
            "requestObject",
            r#"[{"op":"add","path":"","value":{"data":{"d":"e"},"kind":"Secret"}},"odd"]"#,
            vec!["/requestObject/0/value/data/d", "/requestObject/1"],
        ),
        (
            "patch",
            "requestObject",
            r#"[{"op":"add","path":"/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration","value":"x"}]"#,
            vec!["/requestObject/0/value"],
        ),
        (
            "list",
            "responseObject",
            r#"{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"data":{"a":"b"}},{"data":{"c":"d"},"metadata":{"name":"n"}}]}"#,
            vec!["/responseObject/items/0/data/a", "/responseObject/items/1/data/c"],
        ),
        (
            "list",
            "responseObject",
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[],"rows":[{"cells":["n","Opaque",1],"object":{"kind":"PartialObjectMetadata","metadata":{"name":"n","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"s"}}}},{"cells":[],"object":{"kind":"Secret","data":{"a":"b"}}}]}"#,
            vec![
                "/responseObject/rows/0/object/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
                "/responseObject/rows/1/object/data/a",
            ],
        ),
        ("create", "requestObject", r#""a string""#, vec!["/requestObject"]),
        ("create", "requestObject", r#"{"kind":"Secret","kind":"Secret"}"#, vec!["/requestObject"]),
        ("create", "responseObject", r#"{"kind":"Status","message":"no"}"#, vec![]),
        (
            "patch",
            "requestObject",
            r#"{"kind":"Status","data":{"a":"b"}}"#,
            vec!["/requestObject/data/a"],
        ),
        (
            "delete",
            "requestObject",
            r#"{"kind":"DeleteOptions","propagationPolicy":"Background"}"#,
            vec![],
        ),
    ] {
        let redacted = run("secrets", verb, member, body, &rules);
        assert_eq!(paths(redacted.as_ref()), expected, "{body}");
        let is_whole = expected == [format!("/{member}").as_str()];
        assert_eq!(
            redacted.is_some_and(|r| r.is_request_whole || r.is_response_whole),
            is_whole,
            "{body}"
        );
    }
}

#[test]
fn tokens() {
    let rules = RuleSet::built_in();
    for (resource, member, body, expected) in [
        (
            "tokenreviews.authentication.k8s.io",
            "requestObject",
            r#"{"kind":"TokenReview","spec":{"token":"ey","audiences":["a"]},"status":{"user":{}}}"#,
            vec!["/requestObject/spec/token"],
        ),
        (
            "tokenreviews.authentication.k8s.io",
            "responseObject",
            r#"{"spec":{"token":"ey"},"status":{"authenticated":true,"user":{"username":"a"}}}"#,
            vec!["/responseObject/spec/token"],
        ),
        (
            "serviceaccounts/token",
            "responseObject",
            r#"{"kind":"TokenRequest","spec":{"audiences":["a"],"expirationSeconds":3607},"status":{"token":"ey","expirationTimestamp":"t"}}"#,
            vec!["/responseObject/status/token"],
        ),
        (
            "serviceaccounts",
            "responseObject",
            r#"{"kind":"ServiceAccount","secrets":[{"name":"a"}]}"#,
            vec![],
        ),
        ("secrets.example.com", "requestObject", r#"{"kind":"Other","data":{"a":"b"}}"#, vec![]),
        // By the kind of the body, whatever the request says it is about.
        (
            "things.example.com",
            "requestObject",
            r#"{"kind":"Secret","data":{"a":"b"}}"#,
            vec!["/requestObject/data/a"],
        ),
        (
            "things.example.com",
            "requestObject",
            r#"{"kind":"List","items":[{"kind":"Pod"},{"kind":"Secret","data":{"a":"b"}}]}"#,
            vec!["/requestObject/items/1/data/a"],
        ),
    ] {
        assert_eq!(
            paths(run(resource, "create", member, body, &rules).as_ref()),
            expected,
            "{body}"
        );
    }
}

#[test]
fn what_mutating_webhooks_did_to_a_secret_goes_too() {
    let text = r#"{"verb":"create","objectRef":{"resource":"secrets"},"annotations":{"a":"b","patch.webhook.admission.k8s.io/round_0_index_0":"{\"patch\":[]}"}}"#;
    let event = Event::parse(text.as_bytes()).unwrap();
    let redacted = redact(text, &event, &RuleSet::built_in()).unwrap();
    let expected = r#""a":"b","patch.webhook.admission.k8s.io/round_0_index_0":"{\"$redacted\":\"secrets\",\"n\":16}"}"#;
    assert!(redacted.text.contains(expected), "{}", redacted.text);
    assert!(Event::parse(redacted.text.as_bytes()).is_ok());
}

#[test]
fn off_takes_nothing_and_twice_takes_no_more() {
    let body = r#"{"kind":"Secret","data":{"a":"b"}}"#;
    assert_eq!(run("secrets", "create", "requestObject", body, &RuleSet::off()), None);
    let once = run("secrets", "create", "requestObject", body, &RuleSet::built_in()).unwrap();
    let event = Event::parse(once.text.as_bytes()).unwrap();
    assert_eq!(redact(&once.text, &event, &RuleSet::built_in()), None);
    // A look-alike is not a placeholder.
    let fake = r#"{"data":{"a":{"$redacted":"secrets","n":1,"b":"hidden"}}}"#;
    assert_eq!(
        paths(run("secrets", "create", "requestObject", fake, &RuleSet::built_in()).as_ref()).len(),
        1
    );
}

fn file(json: &str) -> Result<RuleSet, String> {
    let file: RuleFile = serde_json::from_str(json).map_err(|e| e.to_string())?;
    RuleSet::from_file(&file).map_err(|e| e.to_string())
}

#[test]
fn rules_of_a_file() {
    let rules = file(r#"{"rules":[{"name":"vault","resources":["vaultauths.example.com","configmaps"],"redact":["spec.token","data.*","spec.list"]}]}"#).unwrap();
    for (resource, body, expected) in [
        (
            "configmaps",
            r#"{"data":{"a":"b","c":"d"},"spec":{"x":1}}"#,
            vec!["/requestObject/data/a", "/requestObject/data/c"],
        ),
        (
            "vaultauths.example.com",
            r#"{"spec":{"token":"t","role":"r","list":[1]},"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"x"}}}"#,
            vec![
                "/requestObject/spec/token",
                "/requestObject/spec/list",
                "/requestObject/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            ],
        ),
        ("secrets", r#"{"data":{"a":"b"}}"#, vec!["/requestObject/data/a"]),
    ] {
        assert_eq!(
            paths(run(resource, "update", "requestObject", body, &rules).as_ref()),
            expected,
            "{body}"
        );
    }
    let whole =
        file(r#"{"default":false,"rules":[{"name":"all","resources":["things"]}]}"#).unwrap();
    assert_eq!(
        paths(run("things", "create", "requestObject", r#"{"items":[1]}"#, &whole).as_ref()),
        ["/requestObject"]
    );
    assert_eq!(run("secrets", "create", "requestObject", r#"{"data":{"a":"b"}}"#, &whole), None);
}

/// What is left of the URL of an event about a pod's exec, and how much went.
fn uri(uri: &str, rules: &RuleSet) -> Option<(String, Vec<usize>)> {
    let uri = serde_json::Value::from(uri).to_string().replace('&', "\\u0026");
    let text = format!(
        r#"{{"requestURI":{uri},"verb":"create","objectRef":{{"resource":"pods","subresource":"exec"}}}}"#
    );
    let event = Event::parse(text.as_bytes()).unwrap();
    let redacted = redact(&text, &event, rules)?;
    let without = Event::parse(redacted.text.as_bytes()).unwrap();
    let left = without.request_uri.as_deref().unwrap().to_owned();
    let beside = |text: &str| text.split_once(",\"verb\"").map(|(_, rest)| rest.to_owned());
    assert_eq!(beside(&redacted.text), beside(&text), "nothing else changed");
    assert_eq!(redact(&redacted.text, &without, rules), None, "twice takes no more");
    assert!(redacted.findings.iter().all(|finding| finding.path == "/requestURI"));
    Some((left, redacted.findings.iter().map(|finding| finding.bytes).collect()))
}

#[test]
fn secrets_in_urls() {
    let rules = file(
        r#"{"rules":[{"name":"arguments","resources":["pods/exec"],"uri":["command=--?(?:password|token)[= ]([^&]*)","command=-p&command=([^&]*)"]},{"name":"tokens","uri":["(?i)access_token=([^&]*)","tok-\\d+"]},{"name":"nodes","resources":["nodes"],"uri":["."]}]}"#,
    )
    .unwrap();
    for (given, left, bytes) in [
        ("/exec?command=ls&command=-l", None, vec![]),
        (
            "/exec?command=db&command=--password%3Dp%C3%A4ss+w",
            Some("/exec?command=db&command=--password%3D$redacted:arguments:11"),
            vec![11],
        ),
        (
            "/exec?command=-p&command=s%26t&x=1",
            Some("/exec?command=-p&command=$redacted:arguments:1%26t&x=1"),
            vec![1],
        ),
        (
            "/a?Access_Token=x&y=tok-12tok-3",
            Some("/a?Access_Token=$redacted:tokens:1&y=$redacted:tokens:6$redacted:tokens:5"),
            vec![1, 6, 5],
        ),
        ("/a?access_token=tok-12", Some("/a?access_token=$redacted:tokens:6"), vec![6]),
        ("/a?access_token=&b=%zz%4", None, vec![]),
        ("/tok-1?%", Some("/$redacted:tokens:5?%"), vec![5]),
    ] {
        let found = uri(given, &rules);
        let expected = left.map(|left| (left.to_owned(), bytes));
        assert_eq!(found, expected, "{given}");
    }
    // Those for secrets and tokens go on.
    assert!(run("secrets", "create", "requestObject", r#"{"data":{"a":"b"}}"#, &rules).is_some());
    // A rule for URLs says nothing of bodies, unless it says that, too.
    let one = r#"{"name":"a","resources":["things"],"uri":["x"]}"#;
    for (rule, takes) in
        [(one.to_owned(), false), (one.replace("\"uri\"", "\"redact\":[\"b\"],\"uri\""), true)]
    {
        let rules = file(&format!(r#"{{"rules":[{rule}]}}"#)).unwrap();
        let redacted = run("things", "create", "requestObject", r#"{"b":"c"}"#, &rules);
        assert_eq!(redacted.is_some(), takes, "{rule}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_left_of_any_url_is_as_it_was(url in "[/?&=%+0-9a-fé<\\\\\"-]{0,40}(tok-[0-9]{1,2})?[%&=0-9a-f]{0,9}") {
        let rules = file(r#"{"rules":[{"name":"t","uri":["tok-\\d+","[?&]a=([^&]*)"]}]}"#).unwrap();
        let Some((left, bytes)) = uri(&url, &rules) else { return Ok(()) };
        let mut rest = url.as_str();
        let mut pieces = left.split("$redacted:t:");
        rest = rest.strip_prefix(pieces.next().unwrap()).unwrap();
        for (piece, bytes) in pieces.zip(bytes) {
            let piece = piece.strip_prefix(&bytes.to_string()).unwrap();
            rest = rest.get(bytes..).unwrap().strip_prefix(piece).unwrap();
        }
        proptest::prop_assert_eq!(rest, "");
    }
}

#[test]
fn rule_files_that_make_no_sense_say_why() {
    for (json, message) in [
        (
            r#"{"rules":[{"name":"A","resources":["x"]}]}"#,
            "rule \"A\": a name is 1 to 63 lower-case letters, digits and `-`",
        ),
        (
            r#"{"rules":[{"name":"a","resources":[]}]}"#,
            "rule \"a\" names no resources; write for example `resources: [configmaps]`",
        ),
        (
            r#"{"rules":[{"name":"a","resources":["Pods"]}]}"#,
            "rule \"a\": cannot read \"Pods\"; write PLURAL[.GROUP][/SUBRESOURCE] in lower case",
        ),
        (
            r#"{"rules":[{"name":"a","resources":["x"],"redact":["a..b"]}]}"#,
            "rule \"a\": cannot read \"a..b\"; write a dotted path such as spec.token or data.*",
        ),
        (
            r#"{"rules":[{"name":"a","uri":["x("]}]}"#,
            "rule \"a\": cannot read \"x(\"; error: unclosed group",
        ),
        (
            r#"{"rules":[{"name":"a","uri":["x*"]}]}"#,
            "rule \"a\": cannot read \"x*\"; the pattern matches where nothing stands",
        ),
        (
            r#"{"rules":[{"name":"a","uri":["(?:.{1000}){1000}"]}]}"#,
            "rule \"a\": cannot read \"(?:.{1000}){1000}\"; the pattern takes too much memory",
        ),
        (
            r#"{"rules":[{"name":"a","uri":["x"],"redact":["b"]}]}"#,
            "rule \"a\" names no resources; write for example `resources: [configmaps]`",
        ),
        (
            r#"{"rule":[]}"#,
            "unknown field `rule`, expected `default` or `rules` at line 1 column 7",
        ),
    ] {
        assert_eq!(file(json).unwrap_err(), message);
    }
}

/// The broad capture holds 14 service-account tokens and nothing else that has to go.
#[test]
fn the_captured_tokens_and_nothing_else() {
    let rules = RuleSet::built_in();
    let mut found = Vec::new();
    for (name, events) in crate::testdata::captures() {
        for text in &events {
            let event = Event::parse(text.as_bytes()).unwrap();
            if let Some(redacted) = redact(text, &event, &rules) {
                assert_eq!(name, "broad");
                assert!(!redacted.text.contains("\"token\":\"ey"));
                found.extend(redacted.findings);
            }
        }
    }
    assert_eq!(found.len(), 14);
    assert!(
        found
            .iter()
            .all(|f| f.path == "/responseObject/status/token" && f.rule == "token-requests")
    );
}
