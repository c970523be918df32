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
        for hand in HANDS {
            writeln!(f, "\n{}: {}", hand.name, hand.title)?;
            write!(f, "{:52}", "")?;
            JUDGES.iter().try_for_each(|judge| write!(f, " {judge:14}"))?;
            writeln!(f)?;
            for (_, name, title, verdicts) in self.of(hand) {
                write!(f, "{:52}", format!("{name}: {title}"))?;
                for verdict in verdicts.all() {
                    let shown = match verdict {
                        Verdict::Found(_) => "found",
                        Verdict::Missed => "-",
                        Verdict::NotAsked => "",
                    };
                    write!(f, " {shown:14}")?;
                }
                writeln!(f)?;
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
