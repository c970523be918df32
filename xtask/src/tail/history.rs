//! What was written to a log, line by line; and what the files were called that held it, and when.
//! What lies between two rotations is one file here, whatever its name and however it is packed.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970.
pub(super) type Micros = i64;

/// A line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) digest: u64,
    pub(super) bytes: u32,
}

impl Line {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text);
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Line { digest: hasher.finish(), bytes }
    }
}

/// When a file had a name.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) path: PathBuf,
    pub(super) from: Micros,
    pub(super) until: Option<Micros>,
}

/// A file of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// Its first line, counted through all files.
    pub(super) first: usize,
    pub(super) names: Vec<Name>,
}

impl Content {
    pub(super) fn born(&self) -> Option<Micros> {
        self.names.iter().map(|name| name.from).min()
    }

    /// When its last name went.
    pub(super) fn died(&self) -> Option<Micros> {
        self.names.iter().map(|name| name.until).max_by_key(|until| until.unwrap_or(Micros::MAX))?
    }
}

/// The files of a log. Whoever gives a name says so before, and whoever takes one afterwards: a
/// file may have a name for a shorter time than stands here, but not for a longer one.
#[derive(Default)]
pub(super) struct History(Mutex<Vec<Content>>);

impl History {
    fn files(&self) -> MutexGuard<'_, Vec<Content>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new file begins; returns its number.
    pub(super) fn begin(&self, path: &Path, first: usize) -> usize {
        let mut files = self.files();
        files.push(Content { first, names: Vec::new() });
        let number = files.len() - 1;
        drop(files);
        self.named(number, path);
        number
    }

    pub(super) fn named(&self, number: usize, path: &Path) {
        if let Some(file) = self.files().get_mut(number) {
            file.names.push(Name { path: path.to_owned(), from: now(), until: None });
        }
    }

    pub(super) fn unnamed(&self, number: usize, path: &Path) {
        let mut files = self.files();
        let names = files.get_mut(number).into_iter().flat_map(|file| &mut file.names);
        for name in names.filter(|name| name.path == path && name.until.is_none()) {
            name.until = Some(now());
        }
    }

    /// The names that a file has at the moment.
    pub(super) fn names(&self, number: usize) -> Vec<PathBuf> {
        let files = self.files();
        let names = files.get(number).into_iter().flat_map(|file| &file.names);
        names.filter(|name| name.until.is_none()).map(|name| name.path.clone()).collect()
    }

    pub(super) fn into_files(self) -> Vec<Content> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// A moment as RFC 3339 has it, with all digits: earlier ones sort before later ones.
pub(super) fn utc(at: Micros) -> String {
    let (days, micros) = (at.div_euclid(86_400_000_000), at.rem_euclid(86_400_000_000));
    // Hinnant, `civil_from_days`: years begin in March.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (second, micro) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_793_491_199_999_999, "2026-10-31T23:59:59.999999Z"),
            (1_793_491_200_000_000, "2026-11-01T00:00:00.000000Z"),
        ] {
            assert_eq!(utc(at), expected);
        }
    }

    #[test]
    fn a_file_lives_as_long_as_it_has_a_name() {
        let history = History::default();
        let (log, copy) = (Path::new("a.log"), Path::new("a.log.1"));
        let number = history.begin(log, 0);
        history.named(number, copy);
        history.unnamed(number, log);
        assert_eq!(history.names(number), [copy]);
        history.begin(log, 3);
        history.unnamed(number, copy);
        let files = history.into_files();
        assert!(files[0].died() >= files[0].born() && files[0].died().is_some());
        assert_eq!((files[1].first, files[1].died()), (3, None));
    }
}
