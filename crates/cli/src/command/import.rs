//! `whodid import`: audit events from files into the record. An import that was interrupted goes
//! on where it was, and a file that was imported before adds only what is new in it.

mod progress;
mod source;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;
use whodid_event::redact::{RuleFile, RuleSet};
use whodid_event::split::Item;
use whodid_store::{Batch, Options, Preparer, Receipt, SOURCE_BYTES_MAX, Submitted, Writer};

use crate::args::ImportArgs;
use crate::failure::Failure;
use crate::output::{print, sentence};
use progress::Progress;
use source::{Items, Kind, Resume};

/// Batches that are being made at once, and that wait for the disk at once.
const IN_FLIGHT: usize = 4;

/// Items that are not events are named one by one up to this many.
const RAW_NAMED: usize = 5;

pub async fn run(args: ImportArgs) -> Result<(), Failure> {
    let rules = rules(&args.redaction)?;
    whodid_store::check_cluster(&args.cluster)?;
    for file in args.files.iter().filter(|file| !is_stdin(file)) {
        // Found out before anything is written.
        source::check(file)?;
    }
    let options = Options { rules, ..Options::default() };
    let writer = Writer::open_dir(&args.store.dir(), options).await?;
    let started = Instant::now();
    let mut import = Import {
        writer: &writer,
        cluster: &args.cluster,
        totals: Totals::default(),
        progress: Progress::new(&args.files, args.quiet),
    };
    let ended = tokio::select! {
        ended = import.files(&args.files) => ended,
        error = writer.failed() => return Err(Failure::Unavailable(format!(
            "{error}. Run the same command again to go on where it stopped"
        ))),
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(String::new())),
    };
    import.progress.finish();
    let totals = import.totals;
    let closed = writer.close().await;
    match ended {
        Err(Failure::Interrupted(_)) => {
            return Err(Failure::Interrupted(format!(
                "interrupted; run the same command again to go on. {}",
                totals.sentence(started)
            )));
        }
        ended => ended?,
    }
    closed?;
    print(&format!("{}\n", totals.sentence(started)))?;
    if totals.events == 0 && totals.raw > 0 {
        let file = args.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        return Err(Failure::NothingFound(format!(
            "none of it is an audit event; is {file} an audit log? `whodid ingest status` says what is wrong with it"
        )));
    }
    Ok(())
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// What `--redaction` asks for.
pub fn rules(redaction: &str) -> Result<RuleSet, Failure> {
    /// A rule file is small; more is a mistake.
    const RULE_FILE_BYTES_MAX: u64 = 1 << 20;
    let wrong = |why: String| Failure::Usage(format!("--redaction {redaction}: {why}"));
    match redaction {
        "off" => return Ok(RuleSet::off()),
        "default" => return Ok(RuleSet::built_in()),
        _ => {}
    }
    let length = std::fs::metadata(redaction).map_err(|error| wrong(error.to_string()))?.len();
    if length > RULE_FILE_BYTES_MAX {
        return Err(wrong(format!("{length} bytes are more than a rule file may have")));
    }
    let text = std::fs::read_to_string(redaction).map_err(|error| wrong(error.to_string()))?;
    let file: RuleFile = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    RuleSet::from_file(&file).map_err(|error| wrong(error.to_string()))
}

/// An import in progress.
struct Import<'w> {
    writer: &'w Writer,
    cluster: &'w str,
    totals: Totals,
    progress: Progress,
}

/// What an import took in.
#[derive(Debug, Default)]
struct Totals {
    events: u64,
    duplicates: u64,
    conflicts: u64,
    raw: u64,
    /// Items that an earlier import had taken in.
    known: u64,
    redacted: BTreeMap<String, u64>,
}

impl Import<'_> {
    async fn files(&mut self, files: &[PathBuf]) -> Result<(), Failure> {
        for file in files {
            self.file(file).await?;
        }
        Ok(())
    }

    async fn file(&mut self, file: &Path) -> Result<(), Failure> {
        let name = source_name(file);
        let resume = self.resume(file).await?;
        self.totals.known += resume.items;
        let (sender, mut receiver) = mpsc::channel::<Items>(IN_FLIGHT);
        let (path, counter) = (file.to_owned(), self.progress.counter());
        let reader =
            tokio::task::spawn_blocking(move || source::read(&path, resume, &counter, &sender));
        let mut making = FuturesOrdered::new();
        let mut waiting = VecDeque::new();
        loop {
            while making.len() < IN_FLIGHT {
                let Some(items) = receiver.recv().await else { break };
                let (preparer, cluster, name) =
                    (self.writer.preparer(), self.cluster.to_owned(), name.clone());
                let make = move || make(&preparer, &cluster, &name, &items);
                making.push_back(tokio::task::spawn_blocking(make));
            }
            let Some(made) = making.next().await else { break };
            let batch = made.map_err(|panic| Failure::Unavailable(panic.to_string()))??;
            let remarks = Remarks::of(&batch);
            waiting.push_back((self.writer.submit(batch).await?, remarks));
            if waiting.len() >= IN_FLIGHT {
                self.settle(&mut waiting, &name).await?;
            }
        }
        while !waiting.is_empty() {
            self.settle(&mut waiting, &name).await?;
        }
        reader.await.map_err(|panic| Failure::Unavailable(panic.to_string()))?
    }

    /// Finds out how much of a file is in the record already.
    async fn resume(&self, file: &Path) -> Result<Resume, Failure> {
        let Some(id) = source::identity(file)? else { return Ok(Resume::default()) };
        let known = self.writer.positions(self.cluster, &id);
        let path = file.to_owned();
        let found = tokio::task::spawn_blocking(move || source::resume(&path, id, &known));
        found.await.map_err(|panic| Failure::Unavailable(panic.to_string()))?
    }

    /// Waits until the oldest batch is durable, and counts it.
    async fn settle(
        &mut self,
        waiting: &mut VecDeque<(Submitted, Remarks)>,
        name: &str,
    ) -> Result<(), Failure> {
        let Some((submitted, remarks)) = waiting.pop_front() else { return Ok(()) };
        let receipt = submitted.receipt().await.map_err(|error| {
            Failure::Unavailable(format!("{error}. Run the same command again to go on"))
        })?;
        self.totals.add(self.cluster, name, receipt, &remarks, &self.progress);
        self.progress.events(self.totals.events + self.totals.raw);
        Ok(())
    }
}

/// What a batch has to say besides its events.
struct Remarks {
    raws: Vec<(usize, String)>,
    rules: Vec<String>,
}

impl Remarks {
    fn of(batch: &Batch) -> Self {
        Remarks {
            raws: batch.raws().to_vec(),
            rules: batch.findings().iter().map(|(_, finding)| finding.rule.clone()).collect(),
        }
    }
}

impl Totals {
    fn add(
        &mut self,
        cluster: &str,
        name: &str,
        receipt: Receipt,
        remarks: &Remarks,
        progress: &Progress,
    ) {
        for (row, reason) in &remarks.raws {
            self.raw += 1;
            if self.raw <= RAW_NAMED as u64 {
                let seq = receipt.first_seq + *row as u64;
                progress.say(&format!(
                    "warning: {name}: not an audit event: {}; kept as {cluster}/{seq}",
                    sentence(reason)
                ));
            }
        }
        for rule in &remarks.rules {
            *self.redacted.entry(rule.clone()).or_default() += 1;
        }
        self.events += receipt.rows - remarks.raws.len() as u64;
        self.duplicates += receipt.duplicates;
        self.conflicts += receipt.conflicts;
    }

    fn sentence(&self, started: Instant) -> String {
        let seconds = started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (self.events + self.raw) as f64 / seconds.max(0.001);
        let mut parts =
            vec![format!("imported {} events in {seconds:.1} s ({rate:.0}/s)", self.events)];
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        note(self.known, "imported before");
        note(self.duplicates, "in the record already");
        note(self.conflicts, "in conflict with an earlier event");
        note(self.raw, "not audit events, kept as they came");
        for (rule, count) in &self.redacted {
            note(*count, &format!("values redacted by {rule}"));
        }
        parts.join(", ")
    }
}

/// The name that the record gives a file: `import/NAME`, cut to what a source may have.
fn source_name(file: &Path) -> String {
    let name = if is_stdin(file) {
        "-".to_owned()
    } else {
        file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    let mut source = format!("import/{name}");
    while source.len() > SOURCE_BYTES_MAX {
        source.pop();
    }
    source
}

/// Makes a batch of items.
fn make(preparer: &Preparer, cluster: &str, source: &str, items: &Items) -> Result<Batch, Failure> {
    let mut builder = preparer.begin(cluster, source)?;
    builder.expect(items.len(), items.bytes());
    for (kind, bytes) in items.iter() {
        match kind {
            Kind::Value => builder.add(&Item::Value(bytes))?,
            Kind::Broken => builder.add(&Item::Broken(bytes))?,
            Kind::Oversized(oversized) => builder.add(&Item::Oversized(oversized.clone()))?,
        }
    }
    let mut batch = builder.finish()?;
    batch.set_position(items.position);
    Ok(batch)
}
