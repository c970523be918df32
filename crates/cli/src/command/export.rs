//! `whodid export`: evidence that can be checked without the record and without this program
//! (`docs/format/bundle.md`). What is in it is the query's choice; that it is true is shown by
//! proofs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use whodid_engine::{EventId, Search};
use whodid_event::time;
use whodid_store::{Evidence, Proven, Reader, Record, Stamp, hex};
use whodid_tlog::Note;

use super::prove::evidence;
use super::{now, open, query};
use crate::args::{ExportArgs, Layout};
use crate::failure::Failure;
use crate::output::say;
use crate::output::{left_out, print};

mod layout;

/// The log of what was done with the record.
const META: &str = "meta";

/// Checks a bundle with Python's standard library and openssl.
pub const VERIFIER: &str = include_str!("export/verify.py");

pub async fn run(args: ExportArgs) -> Result<(), Failure> {
    if args.layout == Layout::TlogTiles {
        return layout::run(&args).await;
    }
    let text = args.query.join(" ");
    let query = query(&text, &args.scope)?;
    let range = args.complete_range.as_deref().map(complete_range).transpose()?;
    let engine = open(&args.store).await?;
    let search = Search { query, now: now(), limit: args.scope.limit };
    let found = engine.search(&search).await?;
    let mut clusters: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for EventId { cluster, seq } in found.ids {
        clusters.entry(cluster).or_default().insert(seq);
    }
    if clusters.is_empty() {
        return Err(Failure::NothingFound(format!("nothing matches {}", search.query)));
    }
    if found.left_out > 0 {
        say!("{} older matches left out; --limit 0 takes all", left_out(found.left_out));
    }
    let reader = Reader::open_dir(&args.store.dir())?;
    let mut bundle = Bundle::new(&args.out)?;
    let mut logs = Vec::new();
    for (cluster, seqs) in &clusters {
        let evidence = evidence(&reader, cluster, seqs).await?;
        let of_cluster = range.as_ref().filter(|(of, _)| of == cluster).map(|(_, range)| range);
        logs.push(bundle.log(cluster, &evidence, args.with_bodies, of_cluster).await?);
        bundle.stamp(&reader, cluster, &evidence).await?;
    }
    let records = about(&reader, &clusters)?;
    if !records.is_empty() {
        let evidence = evidence(&reader, META, &records).await?;
        logs.push(bundle.log(META, &evidence, false, None).await?);
    }
    if let Some((cluster, _)) = range.filter(|(cluster, _)| !clusters.contains_key(cluster)) {
        return Err(Failure::Usage(format!("--complete-range: nothing of {cluster} was found")));
    }
    let signer = reader.export_signer()?;
    bundle.add("policy.txt", reader.policy()?.as_bytes())?;
    bundle.add("export.vkey", format!("{}\n", signer.verifier()).as_bytes())?;
    bundle.add("verify.py", VERIFIER.as_bytes())?;
    let manifest = bundle.manifest(&search.query.to_string(), &args.purpose, &logs);
    let mut note = Note::new(format!("whodid export\n{}\n", digest(manifest.as_bytes())))
        .map_err(|error| Failure::Unavailable(error.to_string()))?;
    note.add(signer.sign(note.text(), 0));
    bundle.write("manifest.json", manifest.as_bytes())?;
    bundle.write("manifest.note", note.to_string().as_bytes())?;
    let events: usize = clusters.values().map(BTreeSet::len).sum();
    let path = bundle.finish()?;
    print(&format!(
        "wrote {events} events with their proofs; to check them:\n  python3 {} {}\n",
        if path.is_dir() {
            path.join("verify.py").display().to_string()
        } else {
            "verify.py".into()
        },
        path.display()
    ))?;
    Ok(())
}

/// The records of the meta log that say why something of these events is not in the record any
/// more, and where their logs come from.
fn about(
    reader: &Reader,
    clusters: &BTreeMap<String, BTreeSet<u64>>,
) -> Result<BTreeSet<u64>, Failure> {
    let is_about = |record: &Record| match record {
        Record::Prune { cluster, .. } | Record::Expire { cluster, .. } => {
            clusters.contains_key(cluster)
        }
        Record::Redact { cluster, seq, .. } => {
            clusters.get(cluster).is_some_and(|seqs| seqs.contains(seq))
        }
        // Names of other clusters are nothing that this evidence has to tell.
        Record::Reopen { frozen, .. } => {
            frozen.split('/').any(|part| part == META || clusters.contains_key(part))
        }
        _ => false,
    };
    let records = reader.records()?.into_iter().filter(|entry| is_about(&entry.record));
    Ok(records.map(|entry| entry.seq).collect())
}

fn complete_range(text: &str) -> Result<(String, Range<u64>), Failure> {
    parse_range(text).ok_or_else(|| {
        Failure::Usage(format!(
            "--complete-range {text}: write CLUSTER/FROM..TO, for example prod/1000..2000, of \
             which TO is the first event that is left out"
        ))
    })
}

/// Reads `CLUSTER/FROM..TO`.
pub fn parse_range(text: &str) -> Option<(String, Range<u64>)> {
    let (cluster, range) = text.split_once('/')?;
    let (from, to) = range.split_once("..")?;
    let range = from.parse().ok()?..to.parse().ok()?;
    (!range.is_empty()).then(|| (cluster.to_owned(), range))
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes).into())
}

/// A bundle that is being written.
struct Bundle {
    /// Where it is to be in the end.
    out: PathBuf,
    /// Where its files are written.
    folder: tempfile::TempDir,
    /// The SHA-256 of each file.
    files: BTreeMap<String, String>,
}

impl Bundle {
    fn new(out: &Path) -> Result<Self, Failure> {
        if out.exists() {
            let out = out.display();
            return Err(Failure::Usage(format!(
                "{out} exists; an export never writes over anything"
            )));
        }
        let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let beside = beside.unwrap_or(Path::new("."));
        std::fs::create_dir_all(beside).map_err(|error| failed(beside, &error))?;
        let folder = tempfile::Builder::new().prefix(".whodid-export").tempdir_in(beside);
        let folder = folder.map_err(|error| failed(beside, &error))?;
        Ok(Bundle { out: out.to_owned(), folder, files: BTreeMap::new() })
    }

    /// Adds a file that the manifest names.
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.files.insert(path.to_owned(), digest(bytes));
        self.write(path, bytes)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.folder.path().join(path);
        let parent = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        std::fs::write(&path, bytes).map_err(|error| failed(&path, &error))
    }

    /// Adds the events of one log; what returns is what the manifest says of it.
    async fn log(
        &mut self,
        cluster: &str,
        evidence: &Evidence,
        has_bodies: bool,
        range: Option<&Range<u64>>,
    ) -> Result<Value, Failure> {
        let mut disclosures = String::new();
        for Proven { leaf, proof } in evidence.proven() {
            let seq = leaf.seq;
            self.add(&format!("{cluster}/entries/{seq}.json"), &leaf.entry)?;
            self.add(&format!("{cluster}/proofs/{seq}.tlog-proof"), proof.to_string().as_bytes())?;
            for body in leaf.bodies.iter().filter(|_| has_bodies) {
                let (member, salt) = (body.member, BASE64.encode(body.salt));
                let value = Value::from(&*body.value);
                // Writing to a String cannot fail.
                let _written = writeln!(
                    disclosures,
                    r#"{{"seq":{seq},"member":"{member}","salt":"{salt}","value":{value}}}"#
                );
            }
        }
        if !disclosures.is_empty() {
            self.add(&format!("{cluster}/disclosures.jsonl"), disclosures.as_bytes())?;
        }
        self.add(&format!("{cluster}/checkpoint"), evidence.note().to_string().as_bytes())?;
        let range = match range {
            Some(range) => self.range(cluster, evidence, range).await?,
            None => Value::Null,
        };
        let checkpoint = evidence.checkpoint();
        Ok(json!({
            "cluster": cluster,
            "origin": checkpoint.origin,
            "size": checkpoint.head.size,
            "events": evidence.proven().len(),
            "range": range,
        }))
    }

    /// Adds the newest time stamp of a log, and what shows that its tree grew from there.
    async fn stamp(
        &mut self,
        reader: &Reader,
        cluster: &str,
        evidence: &Evidence,
    ) -> Result<(), Failure> {
        let size = evidence.checkpoint().head.size;
        let Some(Stamp { size, checkpoint, answer }) = reader.stamp(cluster, size)? else {
            return Ok(());
        };
        let (left, right) = evidence.split_at(size).await?;
        let mut text = format!("stamp {size}\n");
        for (side, hash) in [("left", left), ("right", right)]
            .iter()
            .flat_map(|(side, hashes)| hashes.iter().map(move |hash| (side, hash)))
        {
            // Writing to a String cannot fail.
            let _written = writeln!(text, "{side} {hash}");
        }
        self.add(&format!("{cluster}/stamp.checkpoint"), &checkpoint)?;
        self.add(&format!("{cluster}/stamp.tsr"), &answer)?;
        self.add(&format!("{cluster}/stamp.hashes"), text.as_bytes())
    }

    /// Adds what shows that nothing of a range is left out in silence.
    async fn range(
        &mut self,
        cluster: &str,
        evidence: &Evidence,
        range: &Range<u64>,
    ) -> Result<Value, Failure> {
        let shown: BTreeSet<u64> = evidence.proven().iter().map(|proven| proven.leaf.seq).collect();
        let [left, leaves, right] = evidence.range(range).await?;
        let mut text = format!("range {} {}\n", range.start, range.end);
        let mut withheld = 0;
        let mut add = |line: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _written = text.write_fmt(line);
        };
        for hash in left {
            add(format_args!("left {hash}\n"));
        }
        for (seq, hash) in range.clone().zip(&leaves) {
            if !shown.contains(&seq) {
                add(format_args!("leaf {seq} {hash}\n"));
                withheld += 1;
            }
        }
        for hash in right {
            add(format_args!("right {hash}\n"));
        }
        self.add(&format!("{cluster}/range"), text.as_bytes())?;
        Ok(json!({ "from": range.start, "to": range.end, "withheld": withheld }))
    }

    fn manifest(&self, query: &str, purpose: &str, logs: &[Value]) -> String {
        let manifest = json!({
            "format": 1,
            "made": time::format(now()),
            "query": query,
            "purpose": purpose,
            "logs": logs,
            "files": self.files,
        });
        format!("{manifest:#}\n")
    }

    /// Gives the bundle its name: a folder, or an archive if it ends in `.tar`.
    fn finish(self) -> Result<PathBuf, Failure> {
        let out = self.out;
        if out.extension().is_some_and(|extension| extension == "tar") {
            let partial = self.folder.path().with_extension("tar.partial");
            archive(self.folder.path(), &partial).map_err(|error| failed(&out, &error))?;
            std::fs::rename(&partial, &out).map_err(|error| failed(&out, &error))?;
            return Ok(out);
        }
        let folder = self.folder.keep();
        std::fs::rename(&folder, &out).map_err(|error| failed(&out, &error))?;
        Ok(out)
    }
}

fn archive(folder: &Path, to: &Path) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(std::fs::File::create_new(to)?);
    archive.append_dir_all(".", folder)?;
    archive.into_inner()?.sync_all()
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Unavailable(format!("{}: {error}", path.display()))
}
