//! A log that is written as kube-apiserver does it, and rotated in all the ways that are in use.
//! Whoever writes knows every line, and which file it is in.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;
use whodid_testkit::generate::{Generator, Options, Random};

use super::history::{Content, History, Line, now, utc};

/// One line in this many is counted and not written when the check is broken on purpose.
const LOST_ONE_IN: usize = 10_000;

/// One line in this many is written in two halves.
const HALVES_ONE_IN: usize = 5_000;

/// What is done between two halves, and before a file is packed.
const HALF_PAUSE_MAX: Duration = Duration::from_millis(200);
const PACK_PAUSE_MAX: Duration = Duration::from_millis(500);
const PACK_HALF_PAUSE_MAX: Duration = Duration::from_millis(50);

/// So many lines at most are written before it looks whether it is over.
const SHARE_LINES: usize = 1_000;

/// How a log is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As kube-apiserver does it.
    Rename,
    /// The same, packed some time later.
    RenamePacked,
    /// As `copytruncate` of logrotate does it.
    Copy,
    CopyPacked,
}

const KIND_COUNT: usize = 4;

pub(super) const KINDS: [Kind; KIND_COUNT] =
    [Kind::Rename, Kind::RenamePacked, Kind::Copy, Kind::CopyPacked];

impl Kind {
    fn is_copied(self) -> bool {
        matches!(self, Kind::Copy | Kind::CopyPacked)
    }

    fn is_packed(self) -> bool {
        matches!(self, Kind::RenamePacked | Kind::CopyPacked)
    }
}

/// What is written.
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Lines in a second.
    pub(super) rate: u64,
    pub(super) rotate_every: Duration,
    /// Whether rotation keeps one file beside the log, and deletes older ones.
    pub(super) deletes: bool,
    /// Whether lines are counted that are not written.
    pub(super) is_broken: bool,
}

/// What a writer and those who wait for it tell each other.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) is_over: AtomicBool,
    /// How many lines are written.
    pub(super) lines: AtomicU64,
}

/// What was written.
#[derive(Default)]
pub(super) struct Written {
    pub(super) lines: Vec<Line>,
    pub(super) files: Vec<Content>,
    /// How often each of [`KINDS`] was.
    pub(super) rotations: [u32; KIND_COUNT],
    pub(super) halves: u32,
}

/// Writes to a log until it is told that it is over.
pub(super) fn write(log: &Path, plan: &Plan, signals: &Signals) -> anyhow::Result<Written> {
    let history = History::default();
    let (jobs, to_do) = mpsc::channel();
    let written = thread::scope(|scope| {
        let random = Random::new(plan.seed.wrapping_add(1));
        let keeper = scope.spawn(|| keep(to_do, &history, random));
        let written = Writer::new(log, plan, &history, jobs).and_then(|writer| writer.run(signals));
        keeper.join().map_err(|_| anyhow!("packing has panicked"))?.context("packing")?;
        written
    })?;
    Ok(Written { files: history.into_files(), ..written })
}

struct Writer<'w> {
    log: &'w Path,
    plan: &'w Plan,
    history: &'w History,
    jobs: mpsc::Sender<Job>,
    random: Random,
    generator: Generator,
    /// The file that is written to, and its number.
    out: File,
    file: usize,
    line: Vec<u8>,
    written: Written,
}

impl<'w> Writer<'w> {
    fn new(
        log: &'w Path,
        plan: &'w Plan,
        history: &'w History,
        jobs: mpsc::Sender<Job>,
    ) -> anyhow::Result<Self> {
        // A line that comes again would be told from one that is taken in twice by nothing.
        let options = Options { resent: false, ..Options::default() };
        Ok(Writer {
            log,
            plan,
            history,
            jobs,
            random: Random::new(plan.seed),
            generator: Generator::new(plan.seed, options),
            file: history.begin(log, 0),
            out: open(log)?,
            line: Vec::new(),
            written: Written::default(),
        })
    }

    fn run(mut self, signals: &Signals) -> anyhow::Result<Written> {
        let begin = Instant::now();
        let mut rotate_at = self.plan.rotate_every;
        while !signals.is_over.load(Ordering::Relaxed) {
            let elapsed = begin.elapsed();
            if elapsed >= rotate_at {
                self.rotate().context("rotating")?;
                rotate_at += self.plan.rotate_every;
            }
            let due = elapsed.as_micros() * u128::from(self.plan.rate) / 1_000_000;
            let due = usize::try_from(due)?.min(self.written.lines.len() + SHARE_LINES);
            while self.written.lines.len() < due {
                self.write_line()?;
            }
            signals.lines.store(self.written.lines.len() as u64, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(2));
        }
        Ok(self.written)
    }

    fn write_line(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        self.generator.next_into(&mut self.line);
        let text = self.line.strip_suffix(b"\n").context("a line without an end")?;
        self.written.lines.push(Line::of(text));
        if self.plan.is_broken && self.written.lines.len().is_multiple_of(LOST_ONE_IN) {
            return Ok(());
        }
        let mut rest = &*self.line;
        if self.random.below(HALVES_ONE_IN) == 0 {
            let (half, behind) = rest.split_at(self.random.below(rest.len()));
            self.out.write_all(half)?;
            thread::sleep(self.random.between(Duration::ZERO, HALF_PAUSE_MAX));
            self.written.halves += 1;
            rest = behind;
        }
        // As kube-apiserver does it: a line is one write.
        self.out.write_all(rest)?;
        Ok(())
    }

    fn rotate(&mut self) -> anyhow::Result<()> {
        // Each kind once, then as it comes.
        let count: u32 = self.written.rotations.iter().sum();
        let number = match usize::try_from(count)? {
            early @ 0..KIND_COUNT => early,
            _ => self.random.below(KIND_COUNT),
        };
        let kind = KINDS.get(number).copied().context("no such kind")?;
        let to = if kind.is_copied() {
            self.log.with_extension(format!("log.{}", count + 1))
        } else {
            let stamp = utc(now()).replace(':', "-");
            let stamp = stamp.get(..23).context("a short stamp")?;
            self.log.with_file_name(format!("audit-{stamp}.log"))
        };
        self.history.named(self.file, &to);
        if kind.is_copied() {
            // Nobody writes in between: what `copytruncate` may lose is not the tail's doing.
            fs::copy(self.log, &to)?;
            self.out.set_len(0)?;
        } else {
            fs::rename(self.log, &to)?;
        }
        self.history.unnamed(self.file, self.log);
        let rotated = std::mem::replace(
            &mut self.file,
            self.history.begin(self.log, self.written.lines.len()),
        );
        if !kind.is_copied() {
            self.out = open(self.log)?;
        }
        if kind.is_packed() {
            self.jobs.send(Job::Pack(rotated, to))?;
        }
        if let Some(older) = rotated.checked_sub(1).filter(|_| self.plan.deletes) {
            self.jobs.send(Job::Delete(older))?;
        }
        if let Some(count) = self.written.rotations.get_mut(number) {
            *count += 1;
        }
        Ok(())
    }
}

fn open(log: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(log);
    file.with_context(|| format!("cannot write {}", log.display()))
}

/// What happens behind the writer's back, to the file with a number.
enum Job {
    Pack(usize, PathBuf),
    Delete(usize),
}

fn keep(jobs: mpsc::Receiver<Job>, history: &History, mut random: Random) -> anyhow::Result<()> {
    for job in jobs {
        match job {
            Job::Pack(number, path) => {
                thread::sleep(random.between(Duration::ZERO, PACK_PAUSE_MAX));
                pack(number, &path, history, &mut random)?;
            }
            Job::Delete(number) => {
                for path in history.names(number) {
                    fs::remove_file(&path)?;
                    history.unnamed(number, &path);
                }
            }
        }
    }
    Ok(())
}

fn pack(number: usize, path: &Path, history: &History, random: &mut Random) -> anyhow::Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&fs::read(path)?)?;
    let packed = encoder.finish()?;
    let to = PathBuf::from(format!("{}.gz", path.display()));
    history.named(number, &to);
    let mut out = File::create(&to)?;
    let (half, rest) = packed.split_at(packed.len() / 2);
    out.write_all(half)?;
    thread::sleep(random.between(Duration::ZERO, PACK_HALF_PAUSE_MAX));
    out.write_all(rest)?;
    fs::remove_file(path)?;
    history.unnamed(number, path);
    Ok(())
}
