//! The matrix as it is printed: for each hand, attacks against judges; and what `verify` said.

use std::fmt;

use super::expected::{HANDS, Hand};
use super::judge::{Verdict, Verdicts};

const JUDGES: [&str; 5] = ["verify", "start", "verify then", "old proof", "old checkpoint"];

#[derive(Default)]
pub(super) struct Matrix {
    rows: Vec<(Hand, String, String, Verdicts)>,
}

impl Matrix {
    pub(super) fn add(&mut self, hand: Hand, name: &str, title: &str, verdicts: Verdicts) {
        self.rows.push((hand, name.to_owned(), title.to_owned(), verdicts));
    }

    fn of(&self, hand: Hand) -> impl Iterator<Item = &(Hand, String, String, Verdicts)> {
        self.rows.iter().filter(move |(of, ..)| *of == hand)
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hand in HANDS.into_iter().filter(|hand| self.of(*hand).next().is_some()) {
            writeln!(f, "\n{}: {}", hand.name, hand.title)?;
            writeln!(f, "{}", line("", &JUDGES))?;
            for (_, name, title, verdicts) in self.of(hand) {
                let shown = verdicts.all().map(|verdict| match verdict {
                    Verdict::Found(_) => "found",
                    Verdict::Missed => "-",
                    Verdict::NotAsked => "",
                });
                writeln!(f, "{}", line(&format!("{name}: {title}"), &shown))?;
            }
        }
        writeln!(f, "\nWhat `whodid verify` said first:")?;
        for (hand, name, _, verdicts) in &self.rows {
            if let Verdict::Found(said) = &verdicts.verify {
                writeln!(f, "{name}, {}: {said}", hand.name)?;
            }
        }
        Ok(())
    }
}

/// A line of the table, without spaces at its end.
fn line(first: &str, cells: &[&str]) -> String {
    let cells: String = cells.iter().map(|cell| format!(" {cell:14}")).collect();
    format!("{first:59}{cells}").trim_end().to_owned()
}
