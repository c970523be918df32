//! Which files belong to a log: the log itself, and what rotation made of it. The names are those
//! of kube-apiserver (`audit-2026-01-02T03-04-05.678.log`, with `.gz` behind it once it is packed)
//! and of logrotate (`audit.log.1`, `audit.log-20260102.gz`).

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use whodid_event::time;

/// A log has at most so many files that are looked at, the newest.
const FILES_MAX: usize = 1_000;

/// A file of a log.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
    /// Older files sort before newer ones, the log itself last.
    order: (bool, String),
}

/// What makes it likely that a file is as it was.
pub(super) type Trace = (u64, u64, u64, i64, i64);

impl Candidate {
    pub(super) fn trace(&self) -> Trace {
        let m = &self.metadata;
        (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec())
    }
}

/// Lists the files of a log, oldest first.
#[expect(clippy::disallowed_methods, reason = "a log of an API server is not the store's")]
pub(super) fn list(log: &Path) -> io::Result<Vec<Candidate>> {
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let path = log.with_file_name(entry?.file_name());
        if path != log && !is_rotated(log, &path) {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let order = (path == log, age(&path, &metadata));
                found.push(Candidate { path, metadata, order });
            }
            Ok(_) => {}
            // Rotation took it away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|a, b| a.order.cmp(&b.order));
    Ok(found.split_off(found.len().saturating_sub(FILES_MAX)))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether rotation may have given a log this name.
fn is_rotated(log: &Path, path: &Path) -> bool {
    let stem = log.file_stem().unwrap_or_default().to_string_lossy();
    let extension = log.extension().map(|ext| format!(".{}", ext.to_string_lossy()));
    let name = name(path);
    let Some(rest) = name.strip_prefix(&*stem) else { return false };
    let rest = extension.and_then(|ext| rest.strip_prefix(&ext)).unwrap_or(rest);
    let digits = rest.strip_prefix(['-', '.']);
    digits.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))
}

/// When a file was rotated: as kube-apiserver writes it into the name, or when it was last changed.
fn age(path: &Path, metadata: &Metadata) -> String {
    let name = name(path);
    let in_name = name.char_indices().find_map(|(at, c)| {
        let rest = name.get(at + 1..at + 24).filter(|_| c == '-')?;
        let is_like =
            |(shape, c): (char, char)| if shape == 'd' { c.is_ascii_digit() } else { shape == c };
        "dddd-dd-ddTdd-dd-dd.ddd".chars().zip(rest.chars()).all(is_like).then(|| rest.to_owned())
    });
    let changed = || {
        let since = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        time::format(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)).replace(':', "-")
    };
    in_name.unwrap_or_else(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotation() {
        let log = Path::new("/var/log/audit/audit.log");
        for (name, is) in [
            ("audit-2026-01-02T03-04-05.678.log", true),
            ("audit-2026-01-02T03-04-05.678.log.gz", true),
            ("audit.log.1", true),
            ("audit.log.12.gz", true),
            ("audit.log-20260102", true),
            ("audit.log-20260102.gz", true),
            ("audit.log", false),
            ("audit-policy.yaml", false),
            ("audit.log.tmp", false),
            ("audit2.log", false),
            ("other.log.1", false),
        ] {
            assert_eq!(is_rotated(log, &log.with_file_name(name)), is, "{name}");
        }
        assert!(is_rotated(Path::new("audit"), Path::new("audit.1")));
    }

    #[test]
    fn older_files_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        for name in [
            "audit.log",
            "audit-2026-01-02T03-04-05.678.log",
            "audit-2026-01-02T03-04-04.999.log.gz",
            "audit.log.1",
        ] {
            std::fs::write(log.with_file_name(name), "x").unwrap();
        }
        let names: Vec<String> = list(&log).unwrap().iter().map(|file| name(&file.path)).collect();
        assert_eq!(
            names,
            [
                "audit-2026-01-02T03-04-04.999.log.gz",
                "audit-2026-01-02T03-04-05.678.log",
                "audit.log.1",
                "audit.log"
            ]
        );
    }
}
