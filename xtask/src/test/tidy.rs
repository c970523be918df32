//! The habits of this repository that no other tool checks: sizes, headers, what may not be
//! written, and links between documents.

use std::fs;
use std::path::{Component, Path};

use anyhow::{Context, ensure};

use crate::repository;

const LINES_MAX: usize = 500;
const TEST_LINES_MAX: usize = 1_000;
const COLUMNS_MAX: usize = 100;
/// A word or a string literal longer than this may make a line too long: nothing could break it.
const UNBREAKABLE_CHARS: usize = 60;
/// With fewer files than this the list of files is wrong, not the repository tidy.
const FILES_MIN: usize = 40;

/// What may not stand in Rust code, and what to do instead. Cut in two, so as not to find itself.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("to", "do!("), "write it, or leave it out"),
    (concat!("unimplemen", "ted!("), "write it, or leave it out"),
    (concat!("db", "g!("), "remove it"),
    (concat!("#[ig", "nore"), "make the test pass, or delete it"),
    (concat!("#[should_", "panic"), "assert on the error"),
];

/// Folders of one machine, which mean nothing on another.
const MACHINE_FOLDERS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/")];

/// Input kept byte for byte.
const DATA: [&str; 2] = ["fuzz/corpus/", "testdata/"];

pub(super) fn run() -> anyhow::Result<()> {
    let root = repository::root();
    let paths = repository::files()?;
    let mut read = 0;
    let mut findings = Vec::new();
    for path in &paths {
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        // What is no text is data.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        read += 1;
        let exists = |target: &str| root.join(target).try_exists().unwrap_or(false);
        findings.extend(check(path, &text, exists));
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    println!("{read} files read");
    ensure!(read >= FILES_MIN, "only {read} files found; is this a clone with git?");
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}

/// Returns what is wrong with one file, each as `PATH:LINE: WHAT`.
fn check(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |line: usize, what: String| found.push(format!("{path}:{line}: {what}"));
    for (number, line) in (1..).zip(text.split('\n')) {
        if line.ends_with([' ', '\t', '\r']) && !DATA.iter().any(|data| path.starts_with(data)) {
            note(number, "white space at the end of the line".into());
        }
        if let Some(folder) = MACHINE_FOLDERS.into_iter().find(|folder| names_folder(line, folder))
        {
            note(number, format!("`{folder}…` is a folder of one machine; write a relative path"));
        }
    }
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("rs") => check_rust(path, text, &mut note),
        Some("md") => check_links(path, text, exists, &mut note),
        _ => {}
    }
    found
}

/// Tells whether `folder` stands in the line as the beginning of an absolute path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let behind = line.get(at + folder.len()..).and_then(|behind| behind.chars().next());
        let is_absolute = !before.is_some_and(|c| c.is_alphanumeric() || "._-*".contains(c));
        is_absolute && behind.is_some_and(char::is_alphabetic)
    })
}

fn check_rust(path: &str, text: &str, note: &mut impl FnMut(usize, String)) {
    if !text.starts_with("//!") {
        note(1, "begin the file with `//!` and a sentence on what it is for".into());
    }
    let is_test = path.ends_with("/tests.rs") || path.split('/').any(|folder| folder == "tests");
    let (max, kind) = if is_test { (TEST_LINES_MAX, "tests") } else { (LINES_MAX, "code") };
    let lines = if is_test { text.lines().count() } else { code_lines(text) };
    if lines > max {
        note(max + 1, format!("{lines} lines of {kind}, at most {max}; split the file"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && !is_unbreakable(line) {
            note(number, format!("{columns} columns, at most {COLUMNS_MAX}"));
        }
        for (text, instead) in FORBIDDEN {
            if line.contains(text) {
                note(number, format!("`{text}`: {instead}"));
            }
        }
    }
}

/// The number of lines before the tests that end the file.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .position(|pair| matches!(pair, ["#[cfg(test)]", tests] if tests.starts_with("mod tests")))
        .unwrap_or(lines.len())
}

/// A line with a long word or a long string literal.
fn is_unbreakable(line: &str) -> bool {
    let quoted = line.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
    let longest = line.split_whitespace().chain(quoted.map(|(literal, _)| literal));
    longest.map(|part| part.chars().count()).any(|chars| chars > UNBREAKABLE_CHARS)
}

/// Reports links to files that do not exist.
fn check_links(
    path: &str,
    text: &str,
    exists: impl Fn(&str) -> bool,
    note: &mut impl FnMut(usize, String),
) {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        in_code ^= line.trim_start().starts_with("```");
        for target in line.split("](").skip(1).filter(|_| !in_code) {
            let target = target.split([')', ' ', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains(':') {
                // A place in the same document, or another site.
                continue;
            }
            if !inside(&folder.join(target)).is_some_and(|file| exists(&file)) {
                note(number, format!("there is no file `{target}`; correct the link"));
            }
        }
    }
}

/// Resolves `..`; `None` if it leads out of the repository.
fn inside(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a file, in a repository that holds only `docs/query.md` otherwise.
    fn found(path: &str, text: &str) -> Vec<String> {
        check(path, text, |target| target == "docs/query.md")
    }

    #[track_caller]
    fn green(path: &str, text: &str) {
        assert_eq!(found(path, text), Vec::<String>::new());
    }

    #[track_caller]
    fn red(path: &str, text: &str, line: usize, what: &str) {
        let found = found(path, text);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert!(only.starts_with(&format!("{path}:{line}: ")) && only.contains(what), "{only}");
    }

    #[test]
    fn files_open_with_what_they_are_for() {
        green("a/src/b.rs", "//! What.\nfn f() {}\n");
        red("fuzz/fuzz_targets/b.rs", "#![no_main]\n//! What.\n", 1, "begin the file");
    }

    #[test]
    fn files_are_short() {
        let code = |lines: usize| format!("//! What.\n{}", "x\n".repeat(lines - 1));
        green("a/src/b.rs", &code(500));
        red("a/src/b.rs", &code(501), 501, "501 lines of code, at most 500");
        let tests = "#[cfg(test)]\nmod tests {\n}\n".to_owned() + &"x\n".repeat(900);
        green("a/src/b.rs", &(code(500) + &tests));
        red("a/src/b.rs", &(code(501) + &tests), 501, "501 lines");
        for path in ["a/src/b/tests.rs", "a/tests/it/b.rs"] {
            green(path, &code(1_000));
            red(path, &code(1_001), 1_001, "1001 lines of tests, at most 1000");
        }
        green("a/b.txt", &code(5_000));
    }

    #[test]
    fn lines_are_short_where_they_can_be() {
        let words = |columns: usize| {
            "ab ".chars().cycle().take(columns - 1).chain(['.']).collect::<String>()
        };
        green("a/src/b.rs", &format!("//! What.\n{}", words(100)));
        red("a/src/b.rs", &format!("//! What.\n{}", words(101)), 2, "101 columns");
        green("a/src/b.rs", &format!("//! What.\nlet a = \"{}\";", words(101)));
        green("a/src/b.rs", &format!("//! What.\n// {} https://{}", words(60), "x".repeat(60)));
        green("a/src/b.md", &words(101));
    }

    #[test]
    fn what_may_not_be_written() {
        for (forbidden, _) in FORBIDDEN {
            red("a/src/b.rs", &format!("//! What.\n{forbidden}"), 2, forbidden);
            green("a/b.md", forbidden);
        }
    }

    #[test]
    fn no_folder_of_a_machine() {
        for folder in MACHINE_FOLDERS {
            for text in [format!("see {folder}a"), format!("{folder}a"), format!("\"{folder}a\"")] {
                red("a.toml", &text, 1, folder);
            }
            green("a.toml", &format!("{folder}, {folder}*, home{folder}a, ..{folder}a"));
        }
    }

    #[test]
    fn no_white_space_at_the_end() {
        red("a.md", "a\nb \nc\n", 2, "white space");
        red("a.toml", "a\t", 1, "white space");
        red("a.py", "a\r\n", 1, "white space");
        green("fuzz/corpus/query/a", "a ");
    }

    #[test]
    fn links_lead_somewhere() {
        green("README.md", "[a](docs/query.md) [b](docs/query.md#c) [d](#e) [f](https://g.h/i)");
        green("docs/fields.md", "[a](query.md) [b](../docs/query.md \"title\")");
        green("README.md", "```\n[a](nothing)\n```\n");
        red("README.md", "x\n[a](docs/querry.md)", 2, "there is no file `docs/querry.md`");
        red("docs/fields.md", "[a](docs/query.md)", 1, "there is no file");
        red("README.md", "[a](../docs/query.md)", 1, "there is no file");
    }
}
