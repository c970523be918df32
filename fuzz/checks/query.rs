//! What must hold of any text taken for a query.

use whodid_query::parse;

/// Checks one input, and returns whether it is a query.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match parse(text) {
        Ok(query) => {
            let printed = query.to_string();
            let again = parse(&printed).expect("a query reads back from its print");
            assert_eq!(again, query, "{text:?} prints as {printed:?}");
            assert_eq!(again.to_string(), printed);
            true
        }
        Err(error) => {
            let span = error.span();
            assert!(text.get(span.clone()).is_some(), "{span:?} is no part of {text:?}");
            assert!(error.render(text).contains('^'), "nothing is pointed at in {text:?}");
            false
        }
    }
}
