//! In which spans of time a search looks, one after another; what it finds there is [`super`]'s.

use datafusion::logical_expr::Expr;
use whodid_store::{DataFile, Snapshot, Table};

use super::PAGE_ROWS;
use crate::filter::{column, instant};

/// Spans of time, the newest first: whoever wants few rows of many finds them in the first. How
/// many events the next one has follows from how many were found in the one before.
pub(super) struct Windows {
    /// The times of the events in each file, and how many there are.
    files: Vec<(i64, i64, u64)>,
    from: Option<i64>,
    until: Option<i64>,
    rows: u64,
}

impl Windows {
    /// About a page of a file: less is not read faster.
    const FIRST_ROWS: u64 = 20_000;
    /// The first has so many events for each that is wanted,
    const FIRST_SHARE: u64 = 16;
    /// but no more than for so many pages; after nothing, the next has so many times as many.
    const FIRST_PAGES: u64 = 4;
    const GROWTH: u64 = 16;

    /// One that has everything.
    pub(super) fn all() -> Self {
        Windows { files: Vec::new(), from: None, until: None, rows: u64::MAX }
    }

    pub(super) fn new(snapshot: &Snapshot, wanted: usize) -> Self {
        let times = |file: &DataFile| Some((file.stats.time?, file.stats.rows));
        let files = snapshot.files(Table::Events).iter().filter_map(times);
        Windows::over(files.map(|((first, last), rows)| (first, last, rows)).collect(), wanted)
    }

    fn over(files: Vec<(i64, i64, u64)>, wanted: usize) -> Self {
        let rows = (wanted as u64).saturating_mul(Self::FIRST_SHARE);
        let rows = rows.clamp(Self::FIRST_ROWS, Self::FIRST_PAGES * PAGE_ROWS as u64);
        let mut windows = Windows { files, from: None, until: None, rows };
        windows.from = windows.begin();
        windows
    }

    /// When about so many rows lie before the end; `None` if that is all of them.
    fn begin(&self) -> Option<i64> {
        let first = self.files.iter().map(|(first, ..)| *first).min()?;
        let last = self.files.iter().map(|(_, last, _)| *last).max()?;
        let (mut low, mut high) = (first, self.until.unwrap_or(last).min(last));
        if self.rows_since(low) <= self.rows {
            return None;
        }
        while high.saturating_sub(low) > 1_000 {
            let middle = low.midpoint(high);
            if self.rows_since(middle) > self.rows { low = middle } else { high = middle }
        }
        Some(low)
    }

    /// About how many rows lie between a time and the end, as if each file had them evenly.
    fn rows_since(&self, time: i64) -> u64 {
        let until = self.until.unwrap_or(i64::MAX);
        let share = |(first, last, rows): &(i64, i64, u64)| {
            let span = i128::from(*last) - i128::from(*first) + 1;
            let common = i128::from(until.min(*last)) - i128::from(time.max(*first)) + 1;
            u64::try_from(i128::from(*rows) * common.max(0) / span).unwrap_or(u64::MAX)
        };
        self.files.iter().map(share).fold(0, u64::saturating_add)
    }

    /// `None` if it has everything.
    pub(super) fn filter(&self) -> Option<Expr> {
        let from = self.from.map(|from| column("time").gt_eq(instant(from)));
        let until = self.until.map(|until| column("time").lt(instant(until)));
        from.into_iter().chain(until).reduce(Expr::and)
    }

    /// Moves to the window before, in which the missing ones are expected twice; `false` if there
    /// is none.
    pub(super) fn go_on(&mut self, found: usize, missing: usize) -> bool {
        let Some(from) = self.from else { return false };
        let (found, missing) = (found as u64, missing.min(PAGE_ROWS) as u64);
        let rows = self.rows.saturating_mul(missing.saturating_mul(2)).checked_div(found);
        self.rows = rows.unwrap_or(self.rows.saturating_mul(Self::GROWTH)).max(Self::FIRST_ROWS);
        self.until = Some(from);
        self.from = self.begin();
        true
    }

    /// After a full page that ended with this time: moves on to a window with two such pages.
    /// However many there are in the rest of this one, they are not looked through for each page.
    pub(super) fn go_on_behind(&mut self, last: i64) {
        self.rows = self.rows_since(last).saturating_mul(2).max(Self::FIRST_ROWS);
        // Others may have the same time.
        self.until = Some(last.saturating_add(1));
        self.from = self.begin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at the times of some matches as a search does; returns what it found, and how many
    /// matches it looked at.
    fn looked_at(mut windows: Windows, matches: &[i64], limit: usize) -> (Vec<usize>, usize) {
        let (mut found, mut looked, mut last) = (Vec::new(), 0, None);
        loop {
            let is_in = |at: &usize| {
                let time = matches[*at];
                windows.from.is_none_or(|from| time >= from)
                    && windows.until.is_none_or(|until| time < until)
                    && last.is_none_or(|last: usize| *at < last)
            };
            let here: Vec<usize> = (0..matches.len()).rev().filter(is_in).collect();
            looked += here.len();
            let page = &here[..here.len().min(limit)];
            found.extend(page);
            last = page.last().copied().or(last);
            if page.len() == limit {
                windows.go_on_behind(matches[last.unwrap()]);
            } else if !windows.go_on(page.len(), usize::MAX) {
                return (found, looked);
            }
        }
    }

    fn windows(files: &[(i64, i64, u64)], wanted: usize) -> Windows {
        Windows::over(files.to_vec(), wanted)
    }

    #[test]
    fn each_match_is_found_once() {
        let files = [(0, 9_999_999, 200_000), (10_000_000, 19_999_999, 300_000)];
        let every = |step: usize| (0..20_000_000).step_by(step).collect::<Vec<i64>>();
        for matches in [
            every(1_000),
            every(100_000),
            every(7_000_000),
            // Only old ones, many at one time, none.
            (0..10_000).collect(),
            vec![5_000_000; 10_000],
            Vec::new(),
        ] {
            for wanted in [1, 100, usize::MAX] {
                let (found, _) = looked_at(windows(&files, wanted), &matches, 500);
                let all: Vec<usize> = (0..matches.len()).rev().collect();
                assert_eq!(found, all, "{} matches, {wanted} wanted", matches.len());
            }
        }
    }

    #[test]
    fn pages_of_everything_are_looked_through_a_few_times() {
        let files = [(0, 9_999_999, 200_000), (10_000_000, 19_999_999, 200_000)];
        let matches: Vec<i64> = (0..20_000_000).step_by(50).collect();
        let (found, looked) = looked_at(windows(&files, usize::MAX), &matches, 16_384);
        assert_eq!(found.len(), matches.len());
        assert!(looked < 4 * matches.len(), "{looked} of {}", matches.len());
    }
}
