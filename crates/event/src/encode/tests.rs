//! Re-encoding: every captured event, and events made at random.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::testdata;

#[test]
fn every_capture_comes_back_byte_for_byte() {
    let (mut counted, mut shell) = (0, String::new());
    for (name, events) in testdata::captures() {
        for text in &events {
            let event = Event::parse(text.as_bytes()).unwrap();
            let form = Form::of(&event).unwrap();
            assert_eq!(&encode(&event, form), text, "{name}");
            let written = Written::of(text, &event, &mut shell).unwrap();
            let without = Event { request_object: None, response_object: None, ..event.clone() };
            assert_eq!(written.form, form);
            assert_eq!(form.head().to_owned() + &written.members.concat(), encode(&without, form));
            let at = text.len() / 2;
            for other in [format!("{text} "), text.replacen(':', ": ", 1), text[..at].to_owned()] {
                assert_eq!(Written::of(&other, &event, &mut shell), None, "{other}");
            }
        }
        counted += events.len();
    }
    assert!(counted >= 12_000, "only {counted} events");
}

#[test]
fn go_escapes() {
    for (text, expected) in [
        ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
        ("\"\\/\u{7f}", "\"\\\"\\\\/\u{7f}\""),
        ("\u{0}\u{8}\t\n\u{c}\r\u{1f}", r#""\u0000\b\t\n\f\r\u001f""#),
        ("ä\u{2028}\u{2029}😀", r#""ä\u2028\u2029😀""#),
    ] {
        let mut written = String::new();
        Writer(&mut written).string(text);
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}

prop_compose! {
    fn text()(text in prop_oneof![
        3 => "[a-z0-9:/.@-]{1,12}",
        1 => "\\PC{1,6}",
        1 => any::<String>().prop_filter("omitempty leaves empty strings out", |s| !s.is_empty()),
    ]) -> Str<'static> {
        text.into()
    }
}

fn unique_pairs<V: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = V> + 'static,
) -> impl Strategy<Value = Pairs<'static, V>> {
    proptest::collection::btree_map("[a-z./<]{1,9}", value, 0..4)
        .prop_map(|map| Pairs(map.into_iter().map(|(k, v)| (k.into(), v)).collect()))
}

fn user() -> impl Strategy<Value = User<'static>> {
    (of(text()), of(text()), vec(text(), 0..3), unique_pairs(vec(text(), 1..3)))
        .prop_map(|(username, uid, groups, extra)| User { username, uid, groups, extra })
}

fn object_ref() -> impl Strategy<Value = ObjectRef<'static>> {
    (vec(of(text()), 8), text()).prop_map(|(mut parts, resource)| {
        let mut part = || parts.pop().flatten();
        ObjectRef {
            resource: Some(resource),
            namespace: part(),
            name: part(),
            uid: part(),
            api_group: part(),
            api_version: part(),
            resource_version: part(),
            subresource: part(),
        }
    })
}

/// An event, with its JSON bodies kept apart because the event borrows them.
#[derive(Debug, Clone)]
struct Made {
    event: Event<'static>,
    request: Option<String>,
    response: Option<String>,
    status: Option<(Option<Str<'static>>, Option<i32>)>,
}

fn made() -> impl Strategy<Value = Made> {
    let body = || {
        of(prop_oneof![Just("null"), Just("{\"a\": [1, \"\\u0026<\"]}"), Just("[]"), Just("1e3")])
    };
    let instant = || of(0_i64..4_000_000_000_000_000);
    (
        (vec(of(text()), 6), user(), of(user()), vec(text(), 0..3)),
        (of(object_ref()), of((of(text()), of(100..600))), body(), body()),
        (instant(), instant(), unique_pairs(text()), any::<bool>()),
    )
        .prop_map(
            |(
                (mut texts, user, impersonated_user, source_ips),
                (object_ref, status, request, response),
                (received, staged, annotations, line),
            )| {
                let mut part = || texts.pop().flatten();
                let event = Event {
                    kind: line.then(|| "Event".into()),
                    api_version: line.then(|| "audit.k8s.io/v1".into()),
                    level: part(),
                    audit_id: Some(part().unwrap_or("id".into())),
                    stage_text: part(),
                    request_uri: part(),
                    verb: part(),
                    user_agent: part(),
                    user: Some(user),
                    impersonated_user,
                    source_ips,
                    object_ref,
                    request_received: received,
                    stage_time: staged,
                    annotations,
                    ..Event::default()
                };
                Made {
                    event,
                    request: request.map(Into::into),
                    response: response.map(Into::into),
                    status,
                }
            },
        )
}

proptest! {
    #[test]
    fn encode_parse_encode_is_the_identity(made in made()) {
        let mut event = made.event.clone();
        event.request_object = made.request.as_deref();
        event.response_object = made.response.as_deref();
        let status = |(message, code)| Status { message, code, ..Status::default() };
        event.response_status = made.status.clone().map(status);
        let form = Form::of(&event).unwrap();
        let text = encode(&event, form);
        let again = Event::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(Form::of(&again), Some(form));
        prop_assert_eq!(&encode(&again, form), &text);
        prop_assert_eq!(&again.annotations, &event.annotations);
        prop_assert_eq!(again.user, event.user);
        prop_assert_eq!(again.object_ref, event.object_ref);
        prop_assert_eq!(again.request_received, event.request_received);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(event) = Event::parse(&bytes) {
            let _encoded = Form::of(&event).map(|form| encode(&event, form));
        }
    }
}
