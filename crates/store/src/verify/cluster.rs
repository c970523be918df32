//! Verifying the log of one cluster: its files in the order of the log, then what is in none yet.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use arrow::array::RecordBatch;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use whodid_event::time::Micros;

use super::rows::{self, Again, Checked, CheckedFile};
use super::tree::Blocks;
use super::{Finding, Log, Progress, Verification, listed};
use crate::entries::overlaps;
use crate::error::{Error, Result};
use crate::flush::blocking;
use crate::ledger::Seal;
use crate::ledger::meta::Standing;
use crate::positions::hex;
use crate::rebuild::{decode, fetch};
use crate::segment::stats_of_bodies;
use crate::snapshot::{Snapshot, Table};
use crate::table::{DataFile, FileStats};
use crate::words::{self, WordIndex};

/// What stands for the path of an event that is in no segment yet.
const WAL: &str = "wal";

pub(super) struct Work<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) seals: HashMap<String, Seal>,
    /// What was pruned, expired and redacted.
    pub(super) standing: Standing,
    pub(super) verification: Verification,
    pub(super) progress: &'a mut Progress<'a>,
    pub(super) total: u64,
}

impl Work<'_> {
    /// Verifies the log of a cluster.
    pub(super) async fn cluster(&mut self, cluster: &str, log: &Log) -> Result<()> {
        let of_cluster = |table| {
            let files = self.snapshot.files(table).iter();
            let mut files: Vec<&DataFile> = files.filter(|file| file.cluster == cluster).collect();
            files.sort_by_key(|file| file.stats.seq);
            files
        };
        let (events, bodies) = (of_cluster(Table::Events), of_cluster(Table::Bodies));
        let begin = self.begin(cluster, &events);
        let mut twins = HashSet::new();
        for file in events.iter().filter(|file| file.stats.twins > 0) {
            // What cannot be read is found when its turn comes.
            let fetched = fetch(&self.snapshot.store, Table::Events, file).await;
            let of_file = blocking(move || {
                let batches = decode(Table::Events, &fetched?)?;
                batches.iter().map(rows::twins).collect::<Result<Vec<_>>>()
            });
            twins.extend(of_file.await.unwrap_or_default().into_iter().flatten());
        }
        for (_, chunk) in self.snapshot.chunks().filter(|(of, _)| *of == cluster) {
            twins.extend(rows::twins(&chunk.events)?);
        }
        let mut again = Again::new(cluster, &self.snapshot.disk, begin, &self.standing, twins);
        let mut blocks = Blocks::new(log.signed(), log.stamped(), begin);
        // The tiles have their hashes.
        (0..begin).try_for_each(|_| blocks.push(None).map(|_| ()))?;
        for file in bodies {
            if !events.iter().any(|of| is_within(file, of)) {
                let _rows = self.bodies(file).await?;
            }
        }
        for file in events {
            self.file(file, &mut again, &mut blocks).await?;
        }
        for (_, chunk) in self.snapshot.chunks().filter(|(of, _)| *of == cluster) {
            self.reach(cluster, WAL, chunk.first_seq(), &mut blocks)?;
            match again.batch(&chunk.events, std::slice::from_ref(&chunk.bodies)) {
                Ok(checked) => self.add(cluster, (WAL, chunk.received), checked, &mut blocks)?,
                Err(error) => self.verification.found(Finding {
                    path: WAL.into(),
                    leaves: Some((cluster.into(), chunk.first_seq(), chunk.end_seq() - 1)),
                    received: Some(chunk.received),
                    what: error.to_string(),
                }),
            }
        }
        let path = format!("ledger/{cluster}/checkpoint");
        self.verification.close(&path, cluster, log, &mut blocks, begin);
        Ok(())
    }

    /// The first leaf of a cluster that has to be there. A crash may have left more.
    fn begin(&self, cluster: &str, events: &[&DataFile]) -> u64 {
        let pruned = self.standing.pruned.get(cluster).copied().unwrap_or(0);
        events.first().map_or(pruned, |file| file.stats.seq.0.min(pruned))
    }

    /// Verifies a file of bodies without the events that they belong to, and returns its rows; none
    /// if it cannot be decoded.
    async fn bodies(&mut self, file: &DataFile) -> Result<Vec<RecordBatch>> {
        let Some(bytes) = self.sealed(Table::Bodies, file).await? else { return Ok(Vec::new()) };
        let length = bytes.len() as u64;
        let checked = blocking(move || {
            let rows = decode(Table::Bodies, &bytes)?;
            let index = words::of_file(Table::Bodies, &bytes)?;
            let made = index.as_ref().map(|_| WordIndex::of_at_once(Table::Bodies, &rows));
            let made = made.transpose()?;
            Ok((stats_of_bodies(&rows)?, made == index, rows))
        });
        Ok(match checked.await {
            Ok((stats, is_indexed, rows)) => {
                self.listed(Table::Bodies, file, length, &stats);
                self.indexed(Table::Bodies, file, is_indexed);
                rows
            }
            Err(error) => {
                self.undecodable(Table::Bodies, file, error);
                Vec::new()
            }
        })
    }

    /// The bodies that belong to a file of events: the rows of files that are only its, which are
    /// verified with it, and the files in which more may be.
    async fn bodies_of(
        &mut self,
        file: &DataFile,
        range: &Range<u64>,
    ) -> Result<(Vec<RecordBatch>, Vec<Bytes>)> {
        let (mut bodies, mut parts) = (Vec::new(), Vec::new());
        let all = self.snapshot.files(Table::Bodies).iter();
        for body in all.filter(|body| overlaps(body, &file.cluster, range)) {
            if is_within(body, file) {
                bodies.extend(self.bodies(body).await?);
            } else {
                // What cannot be read was found already.
                parts.extend(fetch(&self.snapshot.store, Table::Bodies, body).await);
            }
        }
        Ok((bodies, parts))
    }

    /// Verifies a file of events and the bodies that belong to it.
    async fn file(
        &mut self,
        file: &DataFile,
        again: &mut Again,
        blocks: &mut Blocks<'_>,
    ) -> Result<()> {
        let (first, last) = file.stats.seq;
        let range = first..last + 1;
        let bodies = self.bodies_of(file, &range).await?;
        let (path, end) = (path(Table::Events, file), blocks.end());
        if first < end {
            self.verification.found(about(Table::Events, file, "these leaves stand twice"));
            return Ok(());
        }
        self.reach(&file.cluster, &path, first, blocks)?;
        let Some(events) = self.sealed(Table::Events, file).await? else { return Ok(()) };
        let length = events.len() as u64;
        match again.file(events, bodies, range).await {
            Ok(CheckedFile { batches, stats, strays, is_indexed }) => {
                self.listed(Table::Events, file, length, &stats);
                self.indexed(Table::Events, file, is_indexed);
                for seq in strays {
                    let what = "the table of bodies has more for it than it has";
                    let leaves = Some((file.cluster.clone(), seq, seq));
                    let path = Table::Bodies.name().to_owned();
                    let received = Some(file.stats.received.0);
                    let what = what.to_owned();
                    self.verification.found_in_leaves(Finding { path, leaves, received, what });
                }
                for checked in batches {
                    self.add(&file.cluster, (&path, file.stats.received.0), checked, blocks)?;
                }
            }
            Err(error) => self.undecodable(Table::Events, file, error),
        }
        Ok(())
    }

    /// Holds what the table's log says of a file against its rows.
    fn listed(&mut self, table: Table, file: &DataFile, length: u64, rows: &FileStats) {
        for what in listed::wrong(file, length, rows) {
            self.verification.found(about(table, file, &what));
        }
    }

    /// Notes that the index of a file is not what its rows give.
    fn indexed(&mut self, table: Table, file: &DataFile, is_right: bool) {
        if !is_right {
            let what = "its index of words is not what its rows say";
            self.verification.found(about(table, file, what));
        }
    }

    fn undecodable(&mut self, table: Table, file: &DataFile, error: Error) {
        let what = match error {
            // The library that reads it panicked.
            Error::Stopped(_) => "it cannot be decoded".to_owned(),
            error => error.to_string(),
        };
        self.verification.found(about(table, file, &what));
    }

    /// Reads a file, and holds it against its seal; `None` if it cannot be read.
    async fn sealed(&mut self, table: Table, file: &DataFile) -> Result<Option<Bytes>> {
        let bytes = match fetch(&self.snapshot.store, table, file).await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.verification.found(about(table, file, &format!("it cannot be read: {error}")));
                return Ok(None);
            }
        };
        self.verification.files += 1;
        let hashed = bytes.clone();
        let sha256 = blocking(move || Ok(hex(&Sha256::digest(&hashed).into()))).await?;
        let length = bytes.len() as u64;
        let what = match self.seals.get(&path(table, file)) {
            Some(seal) if seal.sha256 == sha256 && seal.bytes == length => return Ok(Some(bytes)),
            None => "no seal names it: it was not written by this record's writer".to_owned(),
            Some(Seal { bytes, sha256: sealed, .. }) => format!(
                "it was sealed with {bytes} bytes and SHA-256 {sealed}, and has {length} and {sha256}"
            ),
        };
        self.verification.found(about(table, file, &what));
        Ok(Some(bytes))
    }

    /// Goes on at a place; what is missing before it is a finding, and left to the tiles.
    fn reach(
        &mut self,
        cluster: &str,
        path: &str,
        first: u64,
        blocks: &mut Blocks<'_>,
    ) -> Result<()> {
        let end = blocks.end();
        if end < first {
            self.verification.found(Finding {
                path: path.to_owned(),
                leaves: Some((cluster.to_owned(), end, first - 1)),
                received: None,
                what: "these leaves are missing before it".into(),
            });
        }
        (end..first).try_for_each(|_| blocks.push(None).map(|_| ()))
    }

    fn add(
        &mut self,
        cluster: &str,
        (path, received): (&str, Micros),
        checked: Checked,
        blocks: &mut Blocks<'_>,
    ) -> Result<()> {
        let mut found = |first, last, what: String| {
            let leaves = Some((cluster.to_owned(), first, last));
            let (path, received) = (path.to_owned(), Some(received));
            self.verification.found_in_leaves(Finding { path, leaves, received, what });
        };
        for (seq, what) in checked.findings {
            found(seq, seq, what);
        }
        let events = checked.hashes.len() as u64;
        for hash in checked.hashes {
            if let Some((first, last)) = blocks.push(hash)? {
                found(first, last, "at least one of them is not what was signed".into());
            }
        }
        self.verification.events += events;
        self.verification.bodies += checked.bodies.len() as u64;
        self.verification.gone += checked.gone;
        (self.progress)(self.verification.events, self.total);
        Ok(())
    }
}

/// Whether all bodies of a file belong to events of one.
fn is_within(bodies: &DataFile, events: &DataFile) -> bool {
    let ((first, last), (from, until)) = (bodies.stats.seq, events.stats.seq);
    from <= first && last <= until
}

fn path(table: Table, file: &DataFile) -> String {
    format!("{}/{}", table.name(), file.path)
}

fn about(table: Table, file: &DataFile, what: &str) -> Finding {
    let (first, last) = file.stats.seq;
    Finding {
        path: path(table, file),
        leaves: Some((file.cluster.clone(), first, last)),
        received: Some(file.stats.received.0),
        what: what.to_owned(),
    }
}
