//! What the record has of a log, line by line.

use std::collections::HashMap;

use super::writer::Written;
use crate::product::Record;

/// Every stage of every request, and what is no event.
const EVERYTHING: &str = "stage:* OR raw:true";

/// So many characters of a line are shown.
const SHOWN: usize = 200;

/// What is stored.
#[derive(Default)]
pub(super) struct Stored {
    /// How often each written line is.
    pub(super) counts: Vec<u32>,
    /// What nobody has written.
    pub(super) others: Vec<String>,
}

impl Stored {
    /// Reads all originals of a cluster.
    pub(super) fn read(record: &Record, cluster: &str, written: &Written) -> anyhow::Result<Self> {
        let lines = written.lines.iter().enumerate();
        let numbers: HashMap<u64, usize> = lines.map(|(i, line)| (line.digest, i)).collect();
        // Two lines of one digest would be one written and one missing: it would not be overlooked.
        let mut stored = Stored { counts: vec![0; written.lines.len()], others: Vec::new() };
        record.originals(cluster, EVERYTHING, |text| stored.add(&numbers, text))?;
        Ok(stored)
    }

    fn add(&mut self, numbers: &HashMap<u64, usize>, text: &[u8]) {
        let digest = super::history::Line::of(text).digest;
        match numbers.get(&digest).and_then(|number| self.counts.get_mut(*number)) {
            Some(count) => *count += 1,
            None => self.others.push(String::from_utf8_lossy(text).into_owned()),
        }
    }

    pub(super) fn is_missing(&self, number: usize) -> bool {
        self.counts.get(number).is_none_or(|count| *count == 0)
    }

    pub(super) fn missing(&self) -> usize {
        self.counts.iter().filter(|count| **count == 0).count()
    }

    pub(super) fn twice(&self) -> usize {
        self.counts.iter().filter(|count| **count > 1).count()
    }

    /// What is wrong if every line has to be there once, and nothing else.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let numbers = self.counts.iter().enumerate();
        if let Some((first, _)) = numbers.clone().find(|(_, count)| **count == 0) {
            faults.push(format!("{} lines are missing, the first is {first}", self.missing()));
        }
        if let Some((first, _)) = numbers.clone().find(|(_, count)| **count > 1) {
            faults.push(format!("{} lines are there twice, the first is {first}", self.twice()));
        }
        if let Some(first) = self.others.first() {
            let shown: String = first.chars().take(SHOWN).collect();
            faults.push(format!("{} were never written, for example {shown}", self.others.len()));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::history::Line;

    #[test]
    fn a_line_too_few_or_too_many_is_noticed() {
        let numbers = ["a", "b"].map(|text| Line::of(text.as_bytes()).digest);
        let numbers = numbers.into_iter().zip(0..).collect();
        for (texts, expected) in [
            (&["b", "a"][..], &[][..]),
            (&["a"], &["1 lines are missing, the first is 1"]),
            (&["a", "b", "a"], &["1 lines are there twice, the first is 0"]),
            (&["a", "b", "c"], &["1 were never written, for example c"]),
        ] {
            let mut stored = Stored { counts: vec![0; 2], others: Vec::new() };
            for text in texts {
                stored.add(&numbers, text.as_bytes());
            }
            assert_eq!(stored.faults(), expected, "{texts:?}");
        }
    }
}
