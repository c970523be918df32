//! What must hold of every tree and of every text, however hostile.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use whodid_query::{
    Comparison, Expr, Field, Kind, Known, Moment, ObjectRef, Precision, Query, Segment, Side, Term,
    Test, Value, Wildcard, Words, parse,
};

/// Texts that look like syntax wherever they may.
fn text() -> impl Strategy<Value = String> {
    let traps = "AND OR NOT -a -- * a*b a:b .. 1..5 >5 <= =x ! 5 -1 1e5 1e999 007 deploy Pod pods \
                 deploy.apps pods/exec (a) \" \\ \\\" a.b/c [0] now -2h 2026-11-22 日本";
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,8}",
        ".{0,6}",
        select(traps.split(' ').collect::<Vec<_>>()).prop_map(str::to_owned),
        select(vec!["", " ", "a b", "\n", "\u{a0}", "\u{1b}[2J", "\u{202e}"])
            .prop_map(str::to_owned),
    ]
}

fn wildcard() -> impl Strategy<Value = Wildcard> {
    vec(text(), 1..4).prop_map(Wildcard::from_parts)
}

fn moment() -> impl Strategy<Value = Moment> {
    let precision =
        select(vec![Precision::Day, Precision::Minute, Precision::Second, Precision::Micro]);
    // The years 0 to 9999, less a day.
    let start = -62_167_219_200_000_000..253_402_200_000_000_000_i64;
    prop_oneof![
        any::<u32>().prop_map(Moment::Ago),
        (start, precision).prop_map(|(start, precision)| {
            Moment::At(start - start.rem_euclid(precision.micros()), precision)
        }),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    select(vec![
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
    ])
}

/// Comparisons, and ranges that are open or of a single value.
fn ordered(value: impl Strategy<Value = Value> + Clone + 'static) -> BoxedStrategy<Test> {
    prop_oneof![
        (comparison(), value.clone())
            .prop_map(|(comparison, value)| Test::Compare(comparison, value)),
        value.clone().prop_map(|value| Test::Within(Some(value), None)),
        value.clone().prop_map(|value| Test::Within(None, Some(value))),
        value.prop_map(|value| Test::Within(Some(value.clone()), Some(value))),
    ]
    .boxed()
}

fn number() -> impl Strategy<Value = Value> + Clone {
    let float = any::<f64>().prop_filter("JSON has no others", |float| float.is_finite());
    prop_oneof![any::<i64>().prop_map(Value::Int), float.prop_map(Value::Float)]
}

fn pattern() -> impl Strategy<Value = Test> {
    wildcard().prop_map(Test::from)
}

/// A pattern that has a star, and so is text wherever it stands.
fn starred() -> impl Strategy<Value = Test> {
    pattern().prop_filter("no star", |test| !matches!(test, Test::Is(_)))
}

fn words() -> impl Strategy<Value = Test> {
    wildcard()
        .prop_filter("it must look for something", |pattern| {
            pattern.parts().iter().any(|part| !part.is_empty())
        })
        .prop_map(|pattern| Test::Words(Words { pattern }))
}

fn network() -> impl Strategy<Value = Test> {
    (any::<IpAddr>(), any::<u8>()).prop_map(|(address, len)| {
        let widest = IpNet::from(address).max_prefix_len();
        Test::Cidr(IpNet::new(address, len % (widest + 1)).unwrap().trunc())
    })
}

fn object() -> impl Strategy<Value = Test> {
    let part =
        || wildcard().prop_filter("a part is never empty", |part| part.as_literal() != Some(""));
    (option::of(part()), part(), part()).prop_map(|(namespace, resource, name)| {
        Test::Is(Value::Object(ObjectRef { namespace, resource, name }))
    })
}

fn known_test(known: Known) -> BoxedStrategy<Test> {
    let test = match known.kind() {
        Kind::Text | Kind::Texts | Kind::Resource => pattern().boxed(),
        Kind::OneOf(list) => {
            let listed = select(list).prop_map(|text| Test::Is(Value::Text(text.to_owned())));
            prop_oneof![listed, starred()].boxed()
        }
        Kind::Int => {
            let int = any::<i64>().prop_map(Value::Int);
            prop_oneof![ordered(int.clone()), int.prop_map(Test::Is)].boxed()
        }
        Kind::Bool => any::<bool>().prop_map(|flag| Test::Is(Value::Bool(flag))).boxed(),
        Kind::Time => {
            let span =
                moment().prop_filter("an instant", |moment| matches!(moment, Moment::At(..)));
            prop_oneof![
                ordered(moment().prop_map(Value::Time).boxed()),
                span.prop_map(|moment| Test::Is(Value::Time(moment))),
            ]
            .boxed()
        }
        Kind::Addresses => prop_oneof![network(), starred()].boxed(),
        Kind::EventId => ("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", any::<u64>())
            .prop_map(|(cluster, seq)| Test::Is(Value::EventId { cluster, seq }))
            .boxed(),
        Kind::Object => object().boxed(),
    };
    prop_oneof![5 => test, 1 => Just(Test::Exists)].boxed()
}

fn body_term() -> impl Strategy<Value = Term> {
    let side = || select(vec![Side::Either, Side::Request, Side::Response]);
    let segment = prop_oneof![
        text().prop_map(Segment::Key),
        any::<u32>().prop_map(Segment::Index),
        Just(Segment::Any),
    ];
    let text_operand = (comparison(), text())
        .prop_map(|(comparison, text)| Test::Compare(comparison, Value::Text(text)));
    let at_path = prop_oneof![pattern(), ordered(number()), text_operand];
    let at_path = (side(), vec(segment, 1..5), at_path)
        .prop_map(|(side, path, test)| Term { field: Field::Body(side, path), test });
    let as_a_whole = (side(), prop_oneof![words(), Just(Test::Exists)])
        .prop_map(|(side, test)| Term { field: Field::Body(side, Vec::new()), test });
    prop_oneof![at_path, as_a_whole]
}

fn term() -> impl Strategy<Value = Term> {
    let known = select(Known::ALL).prop_flat_map(|known| {
        known_test(known).prop_map(move |test| Term { field: Field::Known(known), test })
    });
    let key = text().prop_filter("a key is never empty", |key| !key.is_empty());
    let annotation =
        (key, pattern()).prop_map(|(key, test)| Term { field: Field::Annotation(key), test });
    let anywhere = words().prop_map(|test| Term { field: Field::Text, test });
    prop_oneof![3 => known, 1 => annotation, 1 => body_term(), 1 => anywhere]
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![20 => term().prop_map(Expr::from), 1 => Just(Expr::All)];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Expr::and),
            vec(inner.clone(), 0..5).prop_map(Expr::or),
            inner.prop_map(Expr::not),
        ]
    })
}

/// Pieces of the language in any order.
fn soup() -> impl Strategy<Value = String> {
    let pieces = "( ) - ! AND OR NOT \" \"\" \\ * : . .. > >= < = / body body. annotation. [0] \
                  deploy 400 -2h now 2026-11-22 T17:25 Z 10.0.0.0/8 fd00:: true exec a é";
    let piece = prop_oneof![
        3 => Just(" ".to_owned()),
        1 => select(vec!["\t", "\n", "\0"]).prop_map(str::to_owned),
        5 => select(Known::ALL).prop_map(|known| format!("{}:", known.name())),
        15 => select(pieces.split(' ').collect::<Vec<_>>()).prop_map(str::to_owned),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Printing must be a fixed point, and an error must render, whatever the text.
fn check_total(text: &str) {
    match parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            let again = parse(&printed).unwrap_or_else(|error| {
                panic!("{text:?} prints as {printed:?}: {error}\n{}", error.render(&printed))
            });
            assert_eq!(again, query, "{text:?} prints as {printed:?}");
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => {
            let span = error.span();
            assert!(span.start <= span.end && span.end <= text.len(), "{text:?} {error:?}");
            assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end));
            assert!(error.render(text).contains('^'));
        }
    }
}

proptest! {
    // A failure belongs into the tables of `language`, not into a file of seeds.
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_tree_reads_back(expr in expr()) {
        let query = Query { expr };
        let printed = query.to_string();
        match parse(&printed) {
            Ok(again) => prop_assert_eq!(again, query, "{}", printed),
            Err(error) => prop_assert!(false, "{}\n{}", error, error.render(&printed)),
        }
    }

    #[test]
    fn every_text_is_answered(text in any::<String>()) {
        check_total(&text);
    }

    #[test]
    fn every_soup_of_tokens_is_answered(text in soup()) {
        check_total(&text);
    }
}
