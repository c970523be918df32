//! Whether what is missing is exactly what the gaps on record say.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::history::{Content, Micros, utc};
use super::stored::Stored;
use super::writer::Written;

/// A file may have lost its name so long before it was last looked at: it is read on all the same,
/// until nothing more is written to it.
const NAMELESS_MAX: Micros = 30_000_000;

/// A program that is stopped has looked for the last time up to so long before, and one that is
/// started looks for the first time up to so long afterwards.
const LOOK_MAX: Micros = 1_000_000;

/// A gap, as the product records it: the first byte that was not read, and the one behind the last
/// if anybody knows.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    file: PathBuf,
    from: u64,
    until: Option<u64>,
    last_look: String,
}

impl Gap {
    /// Reads one; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |name| value.get(name).and_then(Value::as_str);
        if text("kind") != Some("Gap") || text("apiVersion") != Some("whodid/v1") {
            return None;
        }
        let until = value.get("until")?;
        Some(Gap {
            file: text("file")?.into(),
            from: value.get("from")?.as_u64()?,
            until: if until.is_null() { None } else { Some(until.as_u64()?) },
            last_look: text("lastLook")?.to_owned(),
        })
    }
}

/// From when until when the program was not running.
#[derive(Clone, Copy, Debug)]
pub(super) struct Down {
    pub(super) from: Micros,
    pub(super) to: Micros,
}

/// What is missing, and what was wrong with how it is said.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) faults: Vec<String>,
    /// Lines that a gap names.
    pub(super) named: usize,
    /// Those of them that stand behind the end that the gap says its file had.
    pub(super) behind_end: usize,
    /// Files that came and went while nobody looked, and their lines; nothing can name them.
    pub(super) unseen_files: usize,
    pub(super) unseen: usize,
    /// Gaps of files of which nothing is missing.
    pub(super) needless: Vec<String>,
}

/// Where a line stands in its file, without its end.
struct Span {
    from: u64,
    until: u64,
    is_missing: bool,
}

struct File<'w> {
    content: &'w Content,
    spans: Vec<Span>,
}

impl File<'_> {
    fn missing(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.is_missing)
    }

    /// Whether lines end here.
    fn is_boundary(&self, at: u64) -> bool {
        at == 0 || self.spans.iter().any(|span| span.until == at || span.until + 1 == at)
    }

    fn was_called(&self, path: &Path, at: &str) -> bool {
        self.content.names.iter().filter(|name| name.path == path).any(|name| {
            let had_lost_it = name.until.is_some_and(|until| *utc(until + NAMELESS_MAX) < *at);
            *utc(name.from) <= *at && !had_lost_it
        })
    }

    fn was_unseen(&self, downs: &[Down]) -> bool {
        let lived = self.content.born().zip(self.content.died());
        let is_all_missing = self.spans.iter().all(|span| span.is_missing);
        lived.filter(|_| is_all_missing).is_some_and(|(born, died)| {
            downs.iter().any(|down| born >= down.from - LOOK_MAX && died <= down.to + LOOK_MAX)
        })
    }
}

fn files<'w>(written: &'w Written, stored: &Stored) -> Vec<File<'w>> {
    let mut files = Vec::new();
    for (i, content) in written.files.iter().enumerate() {
        let next = written.files.get(i + 1).map_or(written.lines.len(), |next| next.first);
        let mut at = 0;
        let lines = written.lines.iter().enumerate().take(next).skip(content.first);
        let spans = lines.map(|(number, line)| {
            let from = at;
            at += u64::from(line.bytes) + 1;
            Span { from, until: at - 1, is_missing: stored.is_missing(number) }
        });
        files.push(File { content, spans: spans.collect() });
    }
    files
}

/// The file that a gap is about. Names come again, and every file has a first byte: of those that
/// can be meant it is the last that misses lines from there on and has no such gap yet; else the
/// last.
fn owner(files: &[File<'_>], gap: &Gap, gaps_of: &[Vec<&Gap>]) -> Option<usize> {
    let is_meant = |(_, file): &(usize, &File<'_>)| {
        file.was_called(&gap.file, &gap.last_look) && file.is_boundary(gap.from)
    };
    let meant = || files.iter().enumerate().rev().filter(is_meant);
    let misses = |(number, file): &(usize, &File<'_>)| {
        let has_one = |gaps: &Vec<&Gap>| gaps.iter().any(|other| other.from == gap.from);
        file.missing().any(|span| span.from == gap.from)
            && !gaps_of.get(*number).is_some_and(has_one)
    };
    meant().find(misses).or_else(|| meant().next()).map(|(number, _)| number)
}

/// Compares what is missing with what the gaps say.
pub(super) fn judge(written: &Written, stored: &Stored, gaps: &[Gap], downs: &[Down]) -> Judgement {
    let files = files(written, stored);
    let mut judgement = Judgement::default();
    let mut gaps_of: Vec<Vec<&Gap>> = vec![Vec::new(); files.len()];
    for gap in gaps {
        match owner(&files, gap, &gaps_of).and_then(|owner| gaps_of.get_mut(owner)) {
            Some(gaps) => gaps.push(gap),
            None => judgement.faults.push(format!("{gap:?} names no file that there was")),
        }
    }
    for (number, (file, gaps)) in files.iter().zip(gaps_of).enumerate() {
        let missing = file.missing().count();
        if !gaps.is_empty() {
            judgement.named += missing;
            if missing == 0 {
                let (names, bytes) =
                    (&file.content.names, file.spans.last().map(|span| span.until));
                let said = format!("{gaps:?} of file {number}, {bytes:?} bytes, {names:?}");
                judgement.needless.push(said);
            }
            judgement.check(number, file, &gaps);
        } else if missing > 0 && file.was_unseen(downs) {
            judgement.unseen_files += 1;
            judgement.unseen += missing;
        } else if missing > 0 {
            judgement.faults.push(format!(
                "{missing} of {} lines of file {number} are missing, and no gap says so: {:?}",
                file.spans.len(),
                file.content.names
            ));
        }
    }
    judgement
}

impl Judgement {
    /// Checks the gaps of one file.
    fn check(&mut self, number: usize, file: &File<'_>, gaps: &[&Gap]) {
        let from = gaps.iter().map(|gap| gap.from).min().unwrap_or_default();
        let before = file.missing().filter(|span| span.from < from).count();
        if before > 0 {
            self.faults.push(format!("file {number}: {before} lines are missing before {gaps:?}"));
        }
        let ends: Option<Vec<u64>> = gaps.iter().map(|gap| gap.until).collect();
        if let Some(end) = ends.and_then(|ends| ends.into_iter().max()) {
            self.behind_end += file.missing().filter(|span| span.from >= end).count();
        }
        for gap in gaps {
            let Some(until) = gap.until else { continue };
            let is_within = |span: &&Span| span.from >= gap.from && span.from < until;
            let named = file.spans.iter().filter(is_within);
            let there = named.clone().filter(|span| !span.is_missing).count();
            if there > 0 || named.clone().count() == 0 {
                let named = named.count();
                self.faults.push(format!(
                    "file {number}: of {named} lines that {gap:?} names, {there} are there"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::history::{Line, Name};

    const SECOND: Micros = 1_000_000;

    /// Two files of three lines of nine characters: the first was renamed and deleted.
    fn written() -> Written {
        let name = |path: &str, from, until: Option<Micros>| Name {
            path: path.into(),
            from: from * SECOND,
            until: until.map(|until| until * SECOND),
        };
        let names = [
            vec![name("a.log", 100, Some(110)), name("a-1.log", 110, Some(120))],
            vec![name("a.log", 110, None)],
        ];
        let files = names.into_iter().zip([0, 3]);
        Written {
            lines: vec![Line { digest: 0, bytes: 9 }; 6],
            files: files.map(|(names, first)| Content { first, names }).collect(),
            ..Written::default()
        }
    }

    fn gap(file: &str, from: u64, until: Option<u64>, looked: Micros) -> Gap {
        Gap { file: file.into(), from, until, last_look: utc(looked * SECOND) }
    }

    fn judged(counts: [u32; 6], gaps: &[Gap], down: (Micros, Micros)) -> Judgement {
        let stored = Stored { counts: counts.to_vec(), others: Vec::new() };
        let down = Down { from: down.0 * SECOND, to: down.1 * SECOND };
        judge(&written(), &stored, gaps, &[down])
    }

    #[test]
    fn a_gap_has_to_say_what_is_missing() {
        let rest = [1, 0, 0, 1, 1, 1];
        for (counts, gaps, faults) in [
            ([1; 6], vec![], 0),
            (rest, vec![gap("a.log", 9, None, 105)], 0),
            (rest, vec![gap("a-1.log", 9, None, 115)], 0),
            (rest, vec![gap("a.log", 9, Some(29), 105)], 0),
            // A name that it never had; a place within a line; nothing said.
            (rest, vec![gap("b.log", 9, None, 105)], 2),
            (rest, vec![gap("a.log", 7, None, 105)], 2),
            (rest, vec![], 1),
            // Too far in front, too far behind.
            (rest, vec![gap("a.log", 0, Some(30), 105)], 1),
            (rest, vec![gap("a.log", 19, None, 105)], 1),
            // The wrong file.
            (rest, vec![gap("a.log", 9, None, 145)], 1),
        ] {
            let judgement = judged(counts, &gaps, (105, 130));
            assert_eq!(judgement.faults.len(), faults, "{gaps:?}: {:#?}", judgement.faults);
        }
        // Both files are missing from their first byte on, and both were called the same.
        let gaps = [gap("a.log", 0, None, 115), gap("a.log", 0, None, 116)];
        let judgement = judged([0; 6], &gaps, (99, 100));
        assert_eq!((judgement.faults.len(), judgement.needless.len()), (0, 0), "{judgement:?}");
        let judgement = judged(rest, &[gap("a.log", 9, Some(15), 105)], (105, 130));
        assert_eq!((judgement.named, judgement.behind_end), (2, 1));
    }

    #[test]
    fn nobody_can_name_what_nobody_saw() {
        let lost = [0, 0, 0, 1, 1, 1];
        let judgement = judged(lost, &[], (99, 121));
        assert_eq!((judgement.unseen_files, judgement.unseen), (1, 3));
        assert!(judgement.faults.is_empty());
        assert_eq!(judged(lost, &[], (103, 121)).faults.len(), 1);
        assert_eq!(judged([1, 0, 0, 1, 1, 1], &[], (99, 121)).faults.len(), 1);
    }

    #[test]
    fn gaps_are_read() {
        let text = r#"{"kind":"Gap","apiVersion":"whodid/v1","log":"a","file":"b","from":4,
            "until":null,"lastLook":"2026-01-02T03:04:05.000000Z","found":"c"}"#;
        let gap = Gap::parse(text).unwrap();
        assert_eq!((gap.from, gap.until), (4, None));
        assert_eq!(Gap::parse(&text.replace("null", "9")).unwrap().until, Some(9));
        for broken in [text.replace("Gap", "Gip"), text.replace(r#""until""#, r#""u""#)] {
            assert!(Gap::parse(&broken).is_none());
        }
    }
}
