//! Mistakes, and what is said about them: `mistakes.txt` holds both and reads as one page.

use std::fmt::Write;

use whodid_query::parse;

use crate::reference::expect_file;

/// What a line of the file starts with that is a query.
const PROMPT: &str = "> ";

#[test]
fn are_explained() {
    let path = "tests/it/mistakes.txt";
    let file = std::fs::read_to_string(path).unwrap();
    let mut explained = String::new();
    for line in file.lines() {
        if let Some(text) = line.strip_prefix(PROMPT) {
            let error = match parse(text) {
                Ok(query) => panic!("`{text}` must be refused, but means `{query}`"),
                Err(error) => error,
            };
            write!(explained, "{PROMPT}{text}\n{error}\n{}\n", error.render(text)).unwrap();
        }
    }
    expect_file(path, &file, &explained);
}
