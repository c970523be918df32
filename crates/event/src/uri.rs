//! What the query string of a `requestURI` tells: options of writes, the command of an exec.
//! kube-apiserver records it as the client sent it, so anything may stand here.

use std::borrow::Cow;

/// The query string of a request URI, decoded parameter by parameter as Go's `net/url` does.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn of(uri: &'a str) -> Self {
        Query(uri.split_once('?').map_or("", |(_, query)| query))
    }

    /// Returns every value of a parameter in order.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        form_urlencoded::parse(self.0.as_bytes())
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// Returns the first value of a parameter, as the API server reads options.
    pub(crate) fn first(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }
}

/// Writes a command line so that a shell would read the same arguments again.
pub(crate) fn shell_line<'a>(arguments: impl Iterator<Item = Cow<'a, str>>) -> Option<String> {
    let mut line: Option<String> = None;
    for argument in arguments {
        let line = line.get_or_insert_default();
        if !line.is_empty() {
            line.push(' ');
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            line.push_str(&argument);
        } else {
            line.push('\'');
            line.push_str(&argument.replace('\'', r"'\''"));
            line.push('\'');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::of("/x?a=1&b=%20%26+c&a=2&flag&=v&a=%zz");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2", "%zz"]);
        assert_eq!(query.first("b").as_deref(), Some(" & c"));
        assert_eq!(query.first("flag").as_deref(), Some(""));
        assert_eq!(query.first("none"), None);
        assert_eq!(Query::of("/x").first("a"), None);
    }

    #[test]
    fn shell_lines() {
        for (uri, line) in [
            ("?command=ls", Some("ls")),
            ("?command=sh&command=-c&command=ls%20-l%20%2Fetc", Some("sh -c 'ls -l /etc'")),
            ("?command=echo&command=it%27s&command=", Some(r"echo 'it'\''s' ''")),
            ("?stdin=true", None),
        ] {
            assert_eq!(shell_line(Query::of(uri).all("command")).as_deref(), line, "{uri}");
        }
    }
}
