//! What is known of a log's files from one look to the next, and what went away unread: that is
//! recorded as a gap. What is there to be read is [`super`]'s business.

use std::path::Path;

use bytes::Bytes;
use whodid_event::{Gap, Micros, time};

use super::notes::Note;
use super::portion::{Content, Portion};
use super::{Open, PACKING_MAX, Result, Sink, Tail, farthest};

/// A file counts as gone only when it was not found for so long: while it is renamed or packed, a
/// listing of the folder may hold none of its names.
pub(super) const MISSING_MIN: Micros = 1_000_000;

impl<S: Sink> Tail<S> {
    pub(super) fn note_all(&mut self, now: Micros) {
        for Open { follow, path, is_deleted } in &self.follows {
            // A copy may be shorter than what it was copied from.
            let before = self.notes.get(&follow.id).map_or(0, |note| note.seen);
            let (taken, seen) = (follow.taken(), follow.seen().max(before));
            let is_log = *path == self.log || *is_deleted;
            let path = path.clone();
            let note = Note { path, taken, seen, is_log, is_done: false, looked: now };
            self.notes.set(&follow.id, note);
        }
    }

    /// Forgets files that were done and are gone.
    pub(super) fn forget_done(&mut self, present: &[[u8; 32]]) {
        for (id, note) in self.notes.all() {
            if note.is_done && !present.iter().any(|present| whodid_store::hex(present) == id) {
                self.notes.remove(&id);
            }
        }
    }

    /// Records what went away unread: files that were not done and are nowhere any more.
    pub(super) fn record_gaps(&mut self, now: Micros) -> Result<()> {
        let mut missing = self.notes.all();
        missing.retain(|(id, note)| {
            let is_it = |open: &Open| whodid_store::hex(&open.follow.id) == *id;
            !note.is_done && !self.follows.iter().any(is_it)
        });
        let before = std::mem::take(&mut self.missing);
        for (id, note) in missing {
            let since = before.get(&id).copied().unwrap_or(now);
            // One whose first line cannot be read yet may be the one that is missing.
            let longest = if self.is_any_unknown { PACKING_MAX } else { MISSING_MIN };
            if now - since < longest {
                self.missing.insert(id, since);
                continue;
            }
            // More may have been taken in than was noted in the end.
            let known = match whodid_store::unhex(&id) {
                Some(id) => farthest(&self.until_done(|sink| sink.known(&id))?),
                None => 0,
            };
            if let Some(range) = note.gap(note.taken.max(known)) {
                self.record_gap(&note.path, range, note.looked, since)?;
            }
            self.notes.remove(&id);
        }
        Ok(())
    }

    pub(super) fn record_gap(
        &self,
        file: &Path,
        range: (u64, Option<u64>),
        looked: Micros,
        found: Micros,
    ) -> Result<()> {
        let (log, file) = (self.log.to_string_lossy(), file.to_string_lossy());
        let gap = Gap::new(log, file, range, time::format(looked), time::format(found));
        tracing::error!("{gap}");
        let mut line = serde_json::to_vec(&gap).unwrap_or_default();
        line.push(b'\n');
        self.hand_over(&Portion { content: Content::Memory(Bytes::from(line)), position: None })
    }
}
