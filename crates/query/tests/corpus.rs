//! Runs the fuzzer's seeds on every build: what parses must read back from its own print.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is a test and reports a count")]

use std::{env, fs, path::Path};

use whodid_query::parse;

#[test]
fn seeds_read_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/query");
    let mut files = 0;
    let mut queries = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        files += 1;
        match parse(&text) {
            Ok(query) => {
                let printed = query.to_string();
                assert_eq!(parse(&printed).as_ref(), Ok(&query), "{}", path.display());
                queries += 1;
            }
            Err(error) => assert!(error.render(&text).contains('^'), "{}", path.display()),
        }
    }
    println!("{files} seeds, {queries} of them queries");
    assert!(files >= 20, "{} holds only {files} seeds", folder.display());
}
