//! What a table's log says of a file, held against the file: readers of other engines, and our own,
//! skip files by it.

use std::fmt::Debug;

use crate::segment::day_text;
use crate::table::{DataFile, FileStats};

/// What is wrong with the entry of a file whose rows are these.
pub(super) fn wrong(file: &DataFile, length: u64, rows: &FileStats) -> Vec<String> {
    let folder = format!("cluster={}/day={}/", file.cluster, file.day);
    let of = |what: &str, stated: &dyn Debug, found: &dyn Debug| {
        format!("the table's log says {what} {stated:?}, and it has {found:?}")
    };
    let stated = &file.stats;
    let checks = [
        (file.bytes == length, of("bytes", &file.bytes, &length)),
        (stated.rows == rows.rows, of("rows", &stated.rows, &rows.rows)),
        (stated.seq == rows.seq, of("seq", &stated.seq, &rows.seq)),
        (stated.received == rows.received, of("received", &stated.received, &rows.received)),
        (stated.time == rows.time, of("time", &stated.time, &rows.time)),
        (stated.twins == rows.twins, of("twins", &stated.twins, &rows.twins)),
        (file.path.starts_with(&folder), of("it is in", &folder, &file.path)),
        (file.day == day_text(rows.received.0), of("day", &file.day, &day_text(rows.received.0))),
    ];
    checks.into_iter().filter(|(is_right, _)| !is_right).map(|(_, what)| what).collect()
}
