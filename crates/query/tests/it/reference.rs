//! Keeps `docs/query.md` true: its list of fields is generated, and its examples must parse.

use std::fmt::Write;

use whodid_query::{Family, Kind, Known, parse};

/// The page, from the root of this package, which is where tests run.
const PAGE: &str = "../../docs/query.md";
/// The lines around the generated part of the page.
const MARKS: [&str; 2] = ["<!-- fields: generated -->\n", "<!-- end of fields -->\n"];

/// Fails if the file is not as it should be, unless it was asked to make it so.
#[track_caller]
pub(crate) fn expect_file(path: &str, actual: &str, expected: &str) {
    if actual == expected {
        return;
    }
    if std::env::var_os("WHODID_BLESS").is_some() {
        std::fs::write(path, expected).unwrap();
        return;
    }
    let line = actual.lines().zip(expected.lines()).take_while(|(a, e)| a == e).count() + 1;
    panic!(
        "{path} is out of date from line {line}; WHODID_BLESS=1 cargo test -p whodid-query \
         rewrites it, then read the difference\n{expected}"
    );
}

fn fields() -> String {
    let code = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let mut table = String::from("| field | also | value | meaning |\n|---|---|---|---|\n");
    for field in Known::ALL {
        let values = match field.kind() {
            Kind::OneOf(list) => code(list),
            kind => kind.to_string(),
        };
        let (name, also, doc) = (field.name(), code(field.aliases()), field.doc());
        writeln!(table, "| `{name}` | {also} | {values} | {doc} |").unwrap();
    }
    for family in Family::ALL {
        let (name, rest, also) = (family.name(), family.rest(), code(family.aliases()));
        let (values, doc) = (family.values(), family.doc());
        writeln!(table, "| `{name}{rest}` | {also} | {values} | {doc} |").unwrap();
    }
    table
}

#[test]
fn lists_every_field() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    expect_file(PAGE, &page, &format!("{before}{}{}{}{after}", MARKS[0], fields(), MARKS[1]));
}

#[test]
fn examples_parse() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut examples = 0;
    for block in page.split("```").skip(1).step_by(2) {
        for line in block.lines().filter(|line| !line.is_empty()) {
            let query = line.split("  #").next().unwrap().trim();
            parse(query).unwrap_or_else(|error| panic!("{error}\n{}", error.render(query)));
            examples += 1;
        }
    }
    assert!(examples >= 20, "only {examples} examples were found");
}
