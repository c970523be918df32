//! Reading back what is not in a segment: the frames of the write-ahead log above the watermark of
//! `events`. The writer does it once when it starts and refuses to go on over damage; readers do it
//! for every snapshot and say what they could not read.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::sync::Arc;
use whodid_event::redact::RuleSet;
use whodid_event::time::{Micros, day};
use whodid_event::{Event, NotAnEvent};
use whodid_tlog::Hash;

use crate::batch::{Batch, Preparer};
use crate::chunk::{Chunk, push_merging};
use crate::dedupe::{Fingerprint, Fingerprints};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::keys::BlockKeys;
use crate::ledger::hash_rows;
use crate::memtable::{Frozen, Run};
use crate::positions::{Positions, SourcePosition};
use crate::wal::frame::Frame;
use crate::wal::record::{self, Kind, Reader};
use crate::wal::replay::{Flaw, Piece, WalFile};

/// Watermarks of the clusters that have one: the last `seq` in a segment.
pub(crate) type Watermarks = HashMap<String, u64>;

/// What the log holds above the watermarks.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// One memtable for each log file that has events above the watermarks.
    pub(crate) frozen: Vec<Frozen>,
    /// The leaf index behind the last event of each cluster.
    pub(crate) ends: BTreeMap<Arc<str>, u64>,
    /// What the duplicate window has to know of these events, in order.
    pub(crate) prints: Vec<(Arc<str>, Fingerprint, u64, Micros)>,
    pub(crate) positions: Vec<(Arc<str>, SourcePosition)>,
    /// The hashes of the leaves of each cluster, frame by frame, behind the index of the first;
    /// read only for a writer.
    pub(crate) leaves: BTreeMap<Arc<str>, Vec<(u64, Vec<Hash>)>>,
    pub(crate) last_received: Micros,
    /// Where a torn end of a file begins.
    pub(crate) torn: Vec<(String, u64)>,
    /// What could not be read although it had been acknowledged.
    pub(crate) losses: Vec<Error>,
}

/// Reads the log files, which must be all there are, in order; leaves are hashed if their keys are
/// given.
pub(crate) fn read(
    files: &[WalFile],
    watermarks: &Watermarks,
    fingerprints: &Fingerprints,
    keys: Option<&Arc<dyn Disk>>,
) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    for (i, file) in files.iter().enumerate() {
        let mut frames = Vec::new();
        let is_covered = |cluster: &str, end_seq: u64| {
            watermarks.get(cluster).is_some_and(|last| end_seq <= last + 1)
        };
        file.read(i + 1 == files.len(), is_covered, |piece| {
            match piece {
                Piece::Frame(frame) => {
                    recovered.check(&frame, watermarks)?;
                    frames.push(frame);
                }
                Piece::Flaw(Flaw::Torn(at)) => recovered.torn.push((file.path.clone(), at)),
                Piece::Flaw(Flaw::Damaged { offset, why }) => {
                    recovered.losses.push(Error::Damaged { path: file.path.clone(), offset, why });
                }
            }
            Ok(())
        })?;
        let runs = recovered.load(&file.path, &frames, fingerprints, keys)?;
        if !runs.is_empty() {
            let memory = runs.iter().flat_map(|run| &run.chunks).map(|chunk| chunk.memory).sum();
            recovered.frozen.push(Frozen { wal_number: file.number, runs, memory });
        }
    }
    Ok(recovered)
}

impl Recovered {
    /// Checks that a frame follows on what came before, and notes what it says.
    fn check(&mut self, frame: &Frame, watermarks: &Watermarks) -> Result<()> {
        let cluster = Arc::clone(&frame.cluster);
        let segment_end = watermarks.get(&*cluster).map_or(0, |last| last + 1);
        let expected = self.ends.get(&cluster).copied().unwrap_or(segment_end);
        if frame.first_seq > expected {
            self.losses.push(Error::Missing {
                cluster: cluster.to_string(),
                from: expected,
                to: frame.first_seq - 1,
            });
        } else if frame.first_seq < expected {
            return Err(Error::Format {
                path: crate::wal::FOLDER.into(),
                why: format!("events {} and up of cluster {cluster} stand twice", frame.first_seq),
            });
        }
        self.ends.insert(Arc::clone(&cluster), frame.end_seq());
        self.last_received = self.last_received.max(frame.received);
        self.positions.extend(frame.position.map(|position| (cluster, position)));
        Ok(())
    }

    /// Makes the events of a file's frames searchable again.
    fn load(
        &mut self,
        path: &str,
        frames: &[Frame],
        fingerprints: &Fingerprints,
        keys: Option<&Arc<dyn Disk>>,
    ) -> Result<Vec<Run>> {
        let preparer =
            Preparer { rules: Arc::new(RuleSet::off()), fingerprints: fingerprints.clone() };
        let mut runs = Vec::new();
        let unpacked = in_parallel(frames, |frame| -> Result<_> {
            let batch = unpack(&preparer, path, frame)?;
            let hashes = keys.map(|keys| hashes(frame, &batch, keys)).transpose()?;
            Ok((batch, hashes))
        });
        for (frame, unpacked) in frames.iter().zip(unpacked) {
            let (batch, hashes) = unpacked?;
            if let Some(hashes) = hashes {
                let leaves = self.leaves.entry(Arc::clone(&frame.cluster)).or_default();
                leaves.push((frame.first_seq, hashes));
            }
            for (seq, print) in (frame.first_seq..).zip(&batch.fingerprints) {
                self.prints.push((Arc::clone(&frame.cluster), *print, seq, frame.received));
            }
            let chunk = Chunk::place(batch, frame.first_seq, frame.received, &frame.marks)?;
            push_chunk(&mut runs, &frame.cluster, chunk)?;
        }
        Ok(runs)
    }
}

/// The hashes of a frame's leaves.
fn hashes(frame: &Frame, batch: &Batch, keys: &Arc<dyn Disk>) -> Result<Vec<Hash>> {
    let place = |row| (frame.first_seq + row as u64, &*frame.source, frame.received);
    let mut keys = BlockKeys::new(Arc::clone(keys));
    hash_rows(&batch.drafts, &frame.cluster, &mut keys, place, batch.bodies.by_row())
}

/// Applies `work` to each of `items` on all cores; results keep their order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(cores).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let shares: Vec<_> = items
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(work).collect::<Vec<R>>()))
            .collect();
        let done = shares.into_iter().map(|share| match share.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.flatten().collect()
    })
}

/// Adds a chunk to the run of its cluster and day, or begins one.
fn push_chunk(runs: &mut Vec<Run>, cluster: &Arc<str>, chunk: Chunk) -> Result<()> {
    if chunk.rows() == 0 {
        return Ok(());
    }
    let is_of = |run: &&mut Run| {
        let is_day = |first: &Chunk| day(first.received) == day(chunk.received);
        run.cluster == *cluster && run.chunks.first().is_some_and(is_day)
    };
    if let Some(run) = runs.iter_mut().rev().find(is_of) {
        return push_merging(&mut run.chunks, chunk);
    }
    runs.push(Run { cluster: Arc::clone(cluster), chunks: vec![chunk] });
    Ok(())
}

/// Makes the batch again that a frame of the file `path` was written from.
fn unpack(preparer: &Preparer, path: &str, frame: &Frame) -> Result<Batch> {
    let wrong = |why: String| Error::Format {
        path: path.to_owned(),
        why: format!("the frame of event {}: {why}", frame.first_seq),
    };
    let length = usize::try_from(frame.unpacked).unwrap_or(usize::MAX);
    let records = record::unpack(&frame.payload, length)
        .map_err(|error| wrong(format!("its events do not unpack: {error}")))?;
    let mut builder = preparer.begin_replay(&frame.cluster, &frame.source)?;
    let mut reader = Reader(&records);
    while let Some((record, bytes)) = record::next(&mut reader) {
        match (record.kind, Event::parse(bytes)) {
            (Kind::Event, Ok(event)) => {
                let text = std::str::from_utf8(bytes).unwrap_or_default();
                builder.add_event(text, &event, record)?;
            }
            (Kind::Oversized, _) => {
                let oversized = record::oversized(bytes);
                let oversized = oversized.ok_or_else(|| wrong("a record is too short".into()))?;
                builder.add_oversized(&oversized)?;
            }
            (Kind::Event | Kind::Raw, Err(reason)) => builder.add_raw(bytes, &reason)?,
            (Kind::Raw, Ok(_)) => {
                let reason = "it was not read as an event when it was taken in".to_owned();
                builder.add_raw(bytes, &NotAnEvent::Json(reason))?;
            }
        }
    }
    if builder.rows() != frame.count as usize || !reader.0.is_empty() {
        return Err(wrong(format!("it holds {} events, not {}", builder.rows(), frame.count)));
    }
    builder.finish()
}

/// Takes over the positions of the log, which are newer than those of the file.
pub(crate) fn positions(disk: &dyn Disk, recovered: &Recovered) -> Result<Positions> {
    let mut positions = Positions::load(disk)?;
    for (cluster, position) in &recovered.positions {
        positions.set(cluster, *position);
    }
    Ok(positions)
}
