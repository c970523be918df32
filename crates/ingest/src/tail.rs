//! Following the log of an API server: its files are found, read as they grow, and taken in up to
//! where the record knows them. A file is what its first line is, whatever it is called and however
//! it is packed: so it is the same after a rotation, a copy and a restart, and nothing of it is
//! taken in twice. What went away unread is recorded as a gap.
//!
//! Where the lines go is a [`Sink`]'s business: the record of this process, or a server's.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use whodid_event::Micros;
use whodid_store::{Clock, SourcePosition};

mod files;
mod follow;
mod gaps;
mod local;
mod notes;
mod patience;
mod portion;
#[cfg(test)]
mod tests;

pub use local::Local;
pub use portion::Portion;

use crate::source::{Inode, Packing, Source};
use files::{Candidate, Trace};
use follow::{Follow, State};
use notes::{Note, Notes};

/// How often files are looked at; many programs that follow logs wait longer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often the folder is looked at although nothing seems to have happened in it.
const LIST_EVERY: Micros = 5_000_000;

/// A file that is no longer the log and has not grown for so long is done. A line that is cut off
/// at its end is taken in as it is.
const QUIET: Micros = 5_000_000;

/// A packed file that ends too early may still be being written, for so long.
const PACKING_MAX: Micros = 60_000_000;

/// One file is not read for longer than this before others are looked for.
const TURN: Micros = 500_000;

/// Why lines could not be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It passes: the same is tried again until it succeeds.
    Passing(String),
    /// Only a person can change it.
    Lasting(String),
}

/// Where the lines of a log go.
pub trait Sink: Send + Sync {
    /// How far files are taken in that begin with the item whose digest is `id`.
    ///
    /// # Errors
    /// See [`Trouble`].
    fn known(
        &self,
        id: &[u8; 32],
    ) -> impl Future<Output = Result<Vec<SourcePosition>, Trouble>> + Send;

    /// Takes lines in; when it returns `Ok`, they are durable, and their position with them.
    ///
    /// # Errors
    /// See [`Trouble`].
    fn take(&self, portion: &Portion) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Why a log is no longer followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its folder, or a file in it, cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its lines are refused.
    #[error("{0}")]
    Refused(String),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

type Result<T, E = Error> = std::result::Result<T, E>;

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Io { path, source }
}

/// Follows one log.
pub struct Tail<S> {
    log: PathBuf,
    sink: S,
    notes: Notes,
    /// Oldest first.
    follows: Vec<Open>,
    /// Identities of files that are not followed, by what makes it likely that they are the same.
    identities: HashMap<Trace, [u8; 32]>,
    /// When the folder was last listed.
    listed: Option<Micros>,
    /// Whether there are files that cannot be read yet.
    is_any_unknown: bool,
    /// Since when files are missing that were not done, by their identities.
    missing: HashMap<String, Micros>,
    /// What the folder was then.
    folder: Option<(i64, i64)>,
    stop: watch::Receiver<bool>,
    runtime: Handle,
    clock: Arc<dyn Clock>,
}

/// A file being followed, and where it was last seen.
struct Open {
    follow: Follow,
    path: PathBuf,
    /// Whether it has lost its name; it can be read, and whoever writes to it may go on.
    is_deleted: bool,
}

/// How far a file is taken in.
fn farthest(known: &[SourcePosition]) -> u64 {
    known.iter().map(|position| position.at.offset).max().unwrap_or(0)
}

/// Opens a file and finds out which it is. One that cannot be read is looked at again later.
fn open(candidate: &Candidate) -> Option<(Source, Vec<u8>, [u8; 32])> {
    let opened = Source::open(&candidate.path)
        .and_then(|source| Ok(follow::identify(&source)?.map(|(head, id)| (source, head, id))));
    opened.unwrap_or_else(|error| {
        // Gone meanwhile, or not packed to its end yet.
        let is_passing =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof);
        if !is_passing {
            tracing::warn!(file = %candidate.path.display(), %error, "cannot be read");
        }
        None
    })
}

impl<S: Sink> Tail<S> {
    /// A tail of a log, which need not be there yet. What it knows of the log's files is kept in
    /// `notes`, a file of its own. It has to be called within a runtime.
    ///
    /// # Errors
    /// The log's folder cannot be read, or the notes cannot.
    pub fn new(
        log: &Path,
        notes: &Path,
        sink: S,
        stop: watch::Receiver<bool>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        files::list(log).map_err(failed(log))?;
        Ok(Tail {
            log: log.to_owned(),
            sink,
            notes: Notes::load(notes.to_owned()).map_err(failed(notes))?,
            follows: Vec::new(),
            identities: HashMap::new(),
            listed: None,
            is_any_unknown: false,
            missing: HashMap::new(),
            folder: None,
            stop,
            runtime: Handle::current(),
            clock,
        })
    }

    /// Follows the log until it is told to stop. It blocks its thread.
    ///
    /// # Errors
    /// See [`Error`]; being told to stop is none.
    pub fn run(mut self) -> Result<()> {
        let ended = loop {
            match self.look() {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(error) = self.pause(LOOK_EVERY) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.note_all(self.clock.now());
        self.notes.save().map_err(failed(&self.log))?;
        match ended {
            Err(Error::Stopped) => Ok(()),
            ended => ended,
        }
    }

    /// Looks at all files once; `true` if there was something new.
    fn look(&mut self) -> Result<bool> {
        let gone = self.let_go()?;
        let has_changed = !gone.is_empty();
        if self.is_listing_due(has_changed)? {
            self.discover()?;
            // Before anything is handed over: who is killed in between would never know that there
            // was a file, and not record that it went away.
            self.save_notes(self.clock.now());
        }
        for open in gone {
            self.settle(open)?;
        }
        let mut has_moved = has_changed;
        for i in 0..self.follows.len() {
            has_moved |= self.advance(i)?;
        }
        self.close_done()?;
        let now = self.clock.now();
        self.note_all(now);
        self.record_gaps(now)?;
        self.save_notes(now);
        Ok(has_moved)
    }

    /// Writes down what is known of the files. Without that, only a loss would go unnoticed.
    fn save_notes(&mut self, now: Micros) {
        self.note_all(now);
        if let Err(error) = self.notes.save() {
            tracing::warn!(log = %self.log.display(), %error, "notes cannot be written");
        }
    }

    /// Takes out the files whose content has gone although they are still there: copied elsewhere
    /// and cut, or written anew.
    fn let_go(&mut self) -> Result<Vec<Open>> {
        let mut gone = Vec::new();
        for i in (0..self.follows.len()).rev() {
            let Some(open) = self.follows.get_mut(i) else { continue };
            if open.follow.state().map_err(failed(&open.path))? == State::Replaced {
                gone.push(self.follows.remove(i));
            }
        }
        Ok(gone)
    }

    #[expect(clippy::disallowed_methods, reason = "a log of an API server is not the store's")]
    fn is_listing_due(&mut self, has_changed: bool) -> Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let folder = self.log.parent().filter(|folder| !folder.as_os_str().is_empty());
        let metadata = std::fs::metadata(folder.unwrap_or(Path::new(".")));
        let metadata = metadata.map_err(failed(&self.log))?;
        let folder = Some((metadata.mtime(), metadata.mtime_nsec()));
        let is_due = has_changed
            || folder != self.folder
            || self.listed.is_none_or(|listed| self.clock.now() - listed >= LIST_EVERY)
            // A file without a whole first line is not followed yet, and changes nothing.
            || !self.is_log_followed()
            || !self.missing.is_empty();
        self.folder = folder;
        Ok(is_due)
    }

    fn is_log_followed(&self) -> bool {
        self.follows.iter().any(|open| open.path == self.log && !open.is_deleted)
    }

    /// Finds files that are not followed yet.
    fn discover(&mut self) -> Result<()> {
        let candidates = files::list(&self.log).map_err(failed(&self.log))?;
        self.listed = Some(self.clock.now());
        let mut present = Vec::new();
        self.is_any_unknown = false;
        self.follows.iter_mut().for_each(|open| open.is_deleted = true);
        for candidate in &candidates {
            if let Some(open) = self.followed(candidate) {
                (open.is_deleted, open.path) = (false, candidate.path.clone());
                continue;
            }
            let is_known = match self.identify(candidate) {
                Some(id) => {
                    present.push(id);
                    self.begin(candidate, id)?
                }
                None => candidate.metadata.len() == 0,
            };
            self.is_any_unknown |= !is_known;
        }
        let traces: Vec<Trace> = candidates.iter().map(Candidate::trace).collect();
        self.identities.retain(|trace, _| traces.contains(trace));
        let place = |open: &Open| {
            let named = candidates.iter().position(|file| file.path == open.path);
            named.filter(|_| !open.is_deleted)
        };
        self.follows.sort_by_key(place);
        self.forget_done(&present);
        Ok(())
    }

    fn followed(&mut self, candidate: &Candidate) -> Option<&mut Open> {
        let inode = Inode::of(&candidate.metadata);
        self.follows.iter_mut().find(|open| open.follow.source.inode == inode)
    }

    /// Finds out which file it is, opening it unless that is known.
    fn identify(&mut self, candidate: &Candidate) -> Option<[u8; 32]> {
        if let Some(id) = self.identities.get(&candidate.trace()) {
            return Some(*id);
        }
        let (_, _, id) = open(candidate)?;
        self.identities.insert(candidate.trace(), id);
        Some(id)
    }

    /// Follows a file, unless it is another copy of one that is followed, or done already;
    /// `false` if it cannot be read yet as far as it is taken in.
    fn begin(&mut self, candidate: &Candidate, id: [u8; 32]) -> Result<bool> {
        if self.follows.iter().any(|open| open.follow.id == id) {
            return Ok(true);
        }
        // Written anew since it was found, it is found again.
        let Some((source, head, _)) = open(candidate).filter(|(_, _, now)| *now == id) else {
            return Ok(false);
        };
        let length = candidate.metadata.len();
        let is_plain = source.packing == Packing::Plain;
        let done = self.notes.get(&id).filter(|note| note.is_done);
        if done.is_some_and(|note| !is_plain || length <= note.taken) {
            return Ok(true);
        }
        let known = self.until_done(|sink| sink.known(&id))?;
        if is_plain && length < farthest(&known) {
            // A copy from before the last lines were written: all of it is in the record.
            return Ok(true);
        }
        match Follow::new((source, head), id, &known, self.clock.now()) {
            Ok(follow) => {
                let path = candidate.path.clone();
                tracing::info!(file = %path.display(), from = follow.taken(), "following");
                self.follows.push(Open { follow, path, is_deleted: false });
            }
            Err(error) => {
                tracing::debug!(file = %candidate.path.display(), %error, "not readable yet");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What became of a file whose content has gone: another holds it now, or what was read is all
    /// there is.
    fn settle(&mut self, open: Open) -> Result<()> {
        if self.follows.iter().any(|other| other.follow.id == open.follow.id) {
            return Ok(());
        }
        self.finish(open)
    }

    /// Takes in what is left of a file, to which nothing will be added, and records what is missing
    /// of it.
    fn finish(&mut self, mut open: Open) -> Result<()> {
        if let Some(rest) = open.follow.finish() {
            self.hand_over(&rest)?;
            open.follow.took(&rest);
        }
        let (read, now) = (open.follow.read(), self.clock.now());
        let before = self.notes.get(&open.follow.id);
        let (seen, looked) = before.map_or((read, now), |note| (note.seen, note.looked));
        if seen > read {
            self.record_gap(&open.path, (read, Some(seen)), looked, now)?;
        } else if open.follow.is_damaged {
            self.record_gap(&open.path, (read, None), looked, now)?;
        }
        tracing::info!(file = %open.path.display(), bytes = read, "done");
        let (taken, seen, path) = (read, read, open.path);
        let note = Note { path, taken, seen, is_log: false, is_done: true, looked: now };
        self.notes.set(&open.follow.id, note);
        Ok(())
    }

    /// Hands over what was added to one file; `true` if anything was.
    fn advance(&mut self, i: usize) -> Result<bool> {
        let begin = self.clock.now();
        let mut has_moved = false;
        loop {
            let now = self.clock.now();
            let Some(open) = self.follows.get_mut(i) else { return Ok(has_moved) };
            let next = open.follow.next(now).map_err(failed(&open.path))?;
            let Some(portion) = next else { return Ok(has_moved) };
            self.hand_over(&portion)?;
            if let Some(open) = self.follows.get_mut(i) {
                open.follow.took(&portion);
            }
            has_moved = true;
            if now - begin >= TURN {
                return Ok(true);
            }
        }
    }

    /// Ends with files that rotation is done with.
    fn close_done(&mut self) -> Result<()> {
        let now = self.clock.now();
        for i in (0..self.follows.len()).rev() {
            let has_newer = self.follows.iter().skip(i + 1).any(|newer| newer.follow.read() > 0);
            let Some(open) = self.follows.get(i) else { continue };
            let is_log = open.path == self.log && !open.is_deleted;
            let quiet = open.follow.at_end_since().map_or(0, |since| now - since);
            let is_done = match open.follow.source.packing {
                Packing::Plain => has_newer && !is_log && quiet >= QUIET,
                _ => open.follow.is_over || quiet >= PACKING_MAX,
            };
            if is_done {
                let open = self.follows.remove(i);
                self.finish(open)?;
            }
        }
        Ok(())
    }
}
