//! What these tests share: reading everything a snapshot sees, without the query engine.

use std::collections::BTreeMap;

use arrow::array::{Array, Int64Array, RecordBatch};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use whodid_event::split::Item;
use whodid_store::columns::{bodies_schema, events_schema};
use whodid_store::{
    Batch, Finding, Original, Preparer, Reader, Rows, Snapshot, Table, Wanted, Writer,
};

/// One event as a snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub original: Original,
    pub duplicate: bool,
    pub conflict: bool,
    pub twin: Option<i64>,
}

impl Seen {
    pub fn text(&self) -> String {
        match &self.original {
            Original::Event(text) => text.clone(),
            Original::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Everything a snapshot sees of one cluster, by `seq`; an event seen twice is a failure.
pub async fn everything(snapshot: &Snapshot, cluster: &str) -> BTreeMap<i64, Seen> {
    let (events, bodies) = batches(snapshot, cluster).await;
    let mut seen = BTreeMap::new();
    for batch in &events {
        let rows = Rows::new(batch, &bodies).unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let flag = |name: &str, row: usize| {
            column(name).as_any().downcast_ref::<arrow::array::BooleanArray>().unwrap().value(row)
        };
        let seqs = column("seq");
        let seqs: &Int64Array = seqs.as_any().downcast_ref().unwrap();
        let twins = column("twin");
        let twins: &Int64Array = twins.as_any().downcast_ref().unwrap();
        for row in 0..batch.num_rows() {
            let event = Seen {
                original: rows.original(row).unwrap(),
                duplicate: flag("duplicate", row),
                conflict: flag("conflict", row),
                twin: twins.is_valid(row).then(|| twins.value(row)),
            };
            let before = seen.insert(seqs.value(row), event);
            assert!(before.is_none(), "event {} is there twice", seqs.value(row));
        }
    }
    seen
}

/// All rows of both tables that a snapshot sees of one cluster.
pub async fn batches(snapshot: &Snapshot, cluster: &str) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let mut events = read_files(snapshot, Table::Events, cluster).await;
    let mut bodies = read_files(snapshot, Table::Bodies, cluster).await;
    for (_, chunk) in snapshot.chunks().filter(|(of, _)| *of == cluster) {
        events.push(chunk.events.clone());
        bodies.push(chunk.bodies.clone());
    }
    (events, bodies)
}

async fn read_files(snapshot: &Snapshot, table: Table, cluster: &str) -> Vec<RecordBatch> {
    let store = snapshot.object_store();
    let mut batches = Vec::new();
    for file in snapshot.files(table).iter().filter(|file| file.cluster == cluster) {
        let path = Path::from(format!("{}/{}", table.name(), file.path));
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        let read = read_parquet(table, bytes);
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.stats.rows);
        batches.extend(read);
    }
    batches
}

fn read_parquet(table: Table, bytes: Bytes) -> Vec<RecordBatch> {
    let schema = if table == Table::Events { events_schema() } else { bodies_schema() };
    let options = ArrowReaderOptions::new().with_schema(schema);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// Makes a batch of complete JSON values.
pub fn batch(preparer: &Preparer, cluster: &str, events: &[impl AsRef<[u8]>]) -> Batch {
    let mut builder = preparer.begin(cluster, "import/test").unwrap();
    for event in events {
        builder.add(&Item::Value(event.as_ref())).unwrap();
    }
    builder.finish().unwrap()
}

/// Appends events to a cluster in batches of `size`.
pub async fn append(writer: &Writer, cluster: &str, events: &[String], size: usize) {
    for share in events.chunks(size) {
        let made = batch(&writer.preparer(), cluster, share);
        assert_eq!(writer.append(made).await.unwrap().rows, share.len() as u64);
    }
}

/// What `verify` finds wrong with the store on a disk.
pub async fn findings(reader: &Reader) -> Vec<String> {
    let verification = reader.verify(Wanted::default(), |_, _| {}).await.unwrap();
    let line = |finding: &Finding| format!("{finding:?}");
    verification.findings.iter().map(line).collect()
}

/// The texts of events in the order of the log.
pub fn texts(seen: &BTreeMap<i64, Seen>) -> Vec<String> {
    seen.values().map(Seen::text).collect()
}

/// A small generator of numbers; the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True so many times out of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// An event that no other call makes, as kube-apiserver writes it; every third has a body.
pub fn event(tag: u64, i: u64) -> String {
    let body = if i.is_multiple_of(3) {
        format!(r#","requestObject":{{"n":{i}}}"#)
    } else {
        String::new()
    };
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"{:08x}-0000-4000-8000-{:012x}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/n{}/pods/p{i}","verb":"update","user":{{"username":"u{}"}},"objectRef":{{"resource":"pods","namespace":"n{}","name":"p{i}","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":200}}{body},"requestReceivedTimestamp":"2026-01-02T03:04:05.678900Z","stageTimestamp":"2026-01-02T03:04:05.678900Z"}}"#,
        tag,
        i,
        i % 7,
        i % 5,
        i % 7,
    )
}

/// A clock that ticks whenever somebody looks.
#[derive(Debug)]
pub struct TickingClock {
    now: std::sync::atomic::AtomicI64,
    step: i64,
}

impl TickingClock {
    pub fn new(start: i64, step: i64) -> Self {
        TickingClock { now: start.into(), step }
    }
}

impl whodid_store::Clock for TickingClock {
    fn now(&self) -> i64 {
        self.now.fetch_add(self.step, std::sync::atomic::Ordering::Relaxed)
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
