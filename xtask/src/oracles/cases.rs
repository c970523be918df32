//! What is asked: everything that a log shows, as it is, and with each of its bytes flipped in
//! turn.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;
use whodid_testkit::generate::Random;
use whodid_tlog::proof;
use whodid_tlog::tile::Tile;
use whodid_tlog::{Hash, ProofFile};

use super::Break;
use super::judge::BREAK_EVERY;
use super::log::{Log, Vast, entry};
use super::request::Request;
use super::rule::Rule;
use crate::repository;

/// Of so many good ones, a negative control spoils one.
const SPOIL_EVERY: usize = 100;

/// Besides those whose bytes are flipped, so many proofs of each size are asked about as they are.
const PROOFS: usize = 8;

/// Trees that nobody can keep: the log of a busy cluster after a year, and one that is nearly as
/// large as x/mod can be asked about.
const VAST: [u64; 2] = [0x92_9b_7f_5d_b3, (1 << 62) - 0x1234_5679];

/// Something to be judged.
pub(super) struct Case {
    pub(super) request: Request,
    /// The bit that was flipped, if the case is not good.
    pub(super) flip: Option<(usize, usize)>,
    /// The rule by which the flip has no effect.
    pub(super) rule: Option<Rule>,
    pub(super) about: Arc<str>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.about)?;
        match self.flip {
            None => Ok(()),
            Some((at, bit)) => write!(f, " with bit {bit} of byte {at} flipped"),
        }
    }
}

/// All cases, the same for the same `random`.
pub(super) fn all(
    log: &Log,
    folder: &Path,
    random: Random,
    broken: Option<Break>,
) -> anyhow::Result<Vec<Case>> {
    let mut cases = Cases { log, random, broken, goods: 0, flips: 0, list: Vec::new() };
    for size in &log.sizes {
        cases.files(*size)?;
        cases.proofs(*size)?;
        cases.tiles(*size, folder)?;
        let about = format!("the root of {size} entries");
        cases.flipped(&Request::RootOfNumbers { head: log.head(*size)? }, &about);
    }
    cases.talkative()?;
    for size in VAST {
        cases.vast(size)?;
    }
    cases.roots()?;
    Ok(cases.list)
}

struct Cases<'l> {
    log: &'l Log,
    random: Random,
    broken: Option<Break>,
    /// How many were made.
    goods: usize,
    flips: usize,
    list: Vec<Case>,
}

impl Cases<'_> {
    /// A number below another.
    fn below(&mut self, end: u64) -> u64 {
        self.random.below(usize::try_from(end).unwrap_or(usize::MAX)) as u64
    }

    fn good(&mut self, mut request: Request, about: impl Into<Arc<str>>) {
        self.goods += 1;
        if self.broken == Some(Break::Proof) && self.goods.is_multiple_of(SPOIL_EVERY) {
            request = request.flipped(0, 0);
        }
        self.list.push(Case { request, flip: None, rule: None, about: about.into() });
    }

    fn flip(&mut self, request: &Request, about: &Arc<str>, at: usize) {
        let bit = self.random.below(8);
        let mut flipped = request.flipped(at, bit);
        let rule = Rule::of(request, &flipped, &self.log.keys);
        self.flips += 1;
        if self.broken == Some(Break::Flip) && self.flips.is_multiple_of(BREAK_EVERY) {
            flipped = request.clone();
        }
        let (request, about) = (flipped, Arc::clone(about));
        self.list.push(Case { request, flip: Some((at, bit)), rule, about });
    }

    /// A request as it is, and with each of its bytes flipped.
    fn flipped(&mut self, request: &Request, about: &str) {
        let about: Arc<str> = about.into();
        self.good(request.clone(), Arc::clone(&about));
        for at in 0..request.bytes() {
            self.flip(request, &about, at);
        }
    }

    /// What people are given: a checkpoint, and proof files.
    fn files(&mut self, size: u64) -> anyhow::Result<()> {
        let note = self.log.checkpoint(size)?.to_string().into_bytes();
        self.flipped(&Request::Checkpoint { note }, &format!("the checkpoint of {size} leaves"));
        let index = self.below(size);
        let (request, about) = proof_file(&self.log.proof_file(index, size)?, size);
        self.flipped(&request, &about);
        for _ in 0..PROOFS {
            let index = self.below(size);
            let (request, about) = proof_file(&self.log.proof_file(index, size)?, size);
            self.good(request, about);
        }
        Ok(())
    }

    /// Bare proofs, the last leaf's among them, and from each smaller size.
    fn proofs(&mut self, size: u64) -> anyhow::Result<()> {
        let log = self.log;
        let head = log.head(size)?;
        let index = size - 1;
        let path = proof::inclusion(log, index, size)?;
        let request = Request::Inclusion { head, index, entry: entry(index), path };
        self.flipped(&request, &format!("leaf {index} of {size}"));
        for _ in 0..PROOFS {
            let index = self.below(size);
            let path = proof::inclusion(log, index, size)?;
            let request = Request::Inclusion { head, index, entry: entry(index), path };
            self.good(request, format!("leaf {index} of {size}"));
        }
        let old = 1 + self.below(size);
        let request = consistency(log, old, size)?;
        self.flipped(&request, &format!("{size} leaves after {old}"));
        for old in log.sizes.iter().filter(|old| **old <= size) {
            self.good(consistency(log, *old, size)?, format!("{size} leaves after {old}"));
        }
        Ok(())
    }

    /// Each tile, with one of its bytes flipped.
    fn tiles(&mut self, size: u64, folder: &Path) -> anyhow::Result<()> {
        let head = self.log.head(size)?;
        let folder = folder.to_str().context("the cache's name is no text")?;
        let request = |index, instead| {
            let folder = folder.to_owned();
            Request::Tiles { folder, head, index, instead }
        };
        for _ in 0..PROOFS {
            let index = self.below(size);
            self.good(request(index, None), format!("leaf {index} of {size}, from tiles"));
        }
        for tile in Tile::of_tree(size) {
            // Any leaf below it has it on its way to the root.
            let below = u64::from(tile.width) << (8 * u32::from(tile.level));
            let index = tile.begin() + self.below(below);
            let bytes = self.log.tile(tile)?;
            let at = self.random.below(bytes.len());
            let request = request(index, Some((tile.to_string(), bytes)));
            let about = format!("leaf {index} of {size}, from tiles with {tile}").into();
            self.good(request.clone(), Arc::clone(&about));
            self.flip(&request, &about, at);
        }
        Ok(())
    }

    /// A proof file with lines that nobody vouches for: the only one with flips that even we have
    /// to let pass.
    fn talkative(&mut self) -> anyhow::Result<()> {
        let (request, about) = proof_file(&self.log.talkative_file(200, 257)?, 257);
        self.flipped(&request, &format!("{about}, with lines beside it"));
        Ok(())
    }

    fn vast(&mut self, size: u64) -> anyhow::Result<()> {
        let index = self.below(size);
        let tree = Vast::new(index);
        let path = proof::inclusion(&tree, index, size)?;
        let request =
            Request::Inclusion { head: tree.head(size)?, index, entry: entry(index), path };
        self.flipped(&request, &format!("leaf {index} of {size}"));
        let request = consistency(&tree, index, size)?;
        self.flipped(&request, &format!("{size} leaves after {index}"));
        Ok(())
    }

    /// Roots of entries: a few of the log, and those that `docs/format` publishes.
    fn roots(&mut self) -> anyhow::Result<()> {
        let entries: Vec<_> = (0..3).map(entry).collect();
        let root = self.log.head(3)?.root;
        self.flipped(&Request::Root { entries, root }, "the root of 3 entries");
        let published = published().context("the published vectors have another format")?;
        self.good(published, "the root that is published");
        Ok(())
    }
}

fn proof_file(file: &ProofFile, size: u64) -> (Request, String) {
    let about = format!("the proof file of leaf {} of {size}", file.index);
    (Request::Proof { file: file.to_string().into_bytes(), entry: entry(file.index) }, about)
}

fn consistency<N>(nodes: &N, old: u64, new: u64) -> anyhow::Result<Request>
where
    N: whodid_tlog::range::Nodes<Error: Into<anyhow::Error>>,
{
    let head = |size| super::log::head(nodes, size).map_err(Into::into);
    let path = proof::consistency(nodes, old, new).map_err(Into::into)?;
    Ok(Request::Consistency { old: head(old)?, new: head(new)?, path })
}

/// The entries of `docs/format/entry-vectors.json`, and their root. An entry is a list of texts,
/// and of texts that are repeated.
fn published() -> Option<Request> {
    let path = repository::root().join("docs/format/entry-vectors.json");
    let vectors: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let text = |run: &Value| {
        let repeated = || {
            let times = usize::try_from(run.get(1)?.as_u64()?).ok()?;
            Some(run.get(0)?.as_str()?.repeat(times))
        };
        run.as_str().map(str::to_owned).or_else(repeated)
    };
    let entry = |vector: &Value| {
        let runs = vector.get("entry")?.as_array()?;
        Some(runs.iter().map(text).collect::<Option<String>>()?.into_bytes())
    };
    let entries = vectors.get("vectors")?.as_array()?.iter().map(entry).collect::<Option<_>>()?;
    let root = Hash::parse(vectors.get("root")?.as_str()?)?;
    Some(Request::Root { entries, root })
}
