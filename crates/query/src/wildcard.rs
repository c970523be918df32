//! Text patterns with `*`, and a matcher whose time is linear in the text.
//!
//! How a pattern is written in a query, quotes included, is for the lexer and the printer.

/// A text with `*` in it, each standing for any run of characters, also for none.
///
/// It is kept as the literal parts between the stars, so a literal `*` in a part is no wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wildcard {
    /// One more than there are stars; only the first and the last may be empty.
    parts: Vec<String>,
}

impl Wildcard {
    /// Returns the pattern without any star that matches only `text`.
    pub fn literal(text: impl Into<String>) -> Wildcard {
        Wildcard { parts: vec![text.into()] }
    }

    /// Returns the pattern with one star between each two of `parts`. Neighboring stars are one.
    pub fn from_parts(parts: impl IntoIterator<Item = String>) -> Wildcard {
        let mut parts: Vec<String> = parts.into_iter().collect();
        let last = parts.len().saturating_sub(1);
        let mut index = 0;
        parts.retain(|part| {
            let is_end = index == 0 || index == last;
            index += 1;
            is_end || !part.is_empty()
        });
        if parts.is_empty() { Wildcard::literal("") } else { Wildcard { parts } }
    }

    /// Returns the literal parts, one more than there are stars; only the first and the last may
    /// be empty.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Returns the text that every match starts with; empty if the pattern opens with a star.
    pub fn prefix(&self) -> &str {
        self.parts.first().map_or("", String::as_str)
    }

    /// Returns the one text that matches, if there is no star.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether the whole of `text` matches.
    ///
    /// Taking the first occurrence of each middle part leaves the most room for those after it,
    /// so nothing is ever tried twice.
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.as_literal() == Some(text);
        };
        let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        for part in middle {
            let Some((_, after)) = rest.split_once(part.as_str()) else { return false };
            rest = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Wildcard {
        Wildcard::from_parts(text.split('*').map(str::to_owned))
    }

    /// The definition, word for word, at exponential cost.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                naive(rest, text) || matches!(text, [_, after @ ..] if naive(pattern, after))
            }
            ([first, rest @ ..], [head, after @ ..]) => first == head && naive(rest, after),
            _ => false,
        }
    }

    #[test]
    fn matches_whole_texts() {
        for (text, yes, no) in [
            ("alice", "alice", "alice2"),
            ("", "", "a"),
            ("*", "", "\0"),
            ("a*", "a", "b"),
            ("*e", "alice", "alice "),
            ("a*a", "aa", "a"),
            ("a**b", "ab", "a"),
            ("system:*:kube-*", "system:node:kube-1", "system:kube-1"),
            ("é*ß", "é…ß", "e…ß"),
        ] {
            assert!(pattern(text).matches(yes), "{text} must match {yes}");
            assert!(text == "*" || !pattern(text).matches(no), "{text} must not match {no}");
        }
    }

    #[test]
    fn is_linear_where_backtracking_explodes() {
        let hostile = pattern(&"a*".repeat(16));
        assert!(!pattern(&format!("{}b", "a*".repeat(16))).matches(&"a".repeat(1 << 20)));
        assert!(hostile.matches(&"a".repeat(1 << 20)));
    }

    #[test]
    fn collapses_neighboring_stars() {
        assert_eq!(pattern("a***b"), pattern("a*b"));
        assert_eq!(pattern("**"), pattern("*"));
        assert_eq!(pattern("**").parts(), ["", ""]);
        assert_eq!(pattern("abc*").prefix(), "abc");
        assert_eq!(pattern("*c").prefix(), "");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(text in "[ab*]{0,8}", sample in "[abc]{0,8}") {
            let chars: Vec<char> = text.chars().collect();
            let sampled: Vec<char> = sample.chars().collect();
            prop_assert_eq!(pattern(&text).matches(&sample), naive(&chars, &sampled));
        }
    }
}
