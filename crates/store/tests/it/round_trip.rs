//! Every captured event comes back byte for byte: from memory, from another process's view of the
//! write-ahead log, from segments, after compaction.

use whodid_event::redact::RuleSet;
use whodid_store::{Options, Reader, Writer};
use whodid_testkit::captures;

use crate::support::{append, everything, texts};

fn options() -> Options {
    Options { rules: RuleSet::off(), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_come_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    let (typical, broad) = (captures::typical(), captures::broad());
    append(&writer, "typical", &typical, 400).await;
    append(&writer, "broad", &broad, 1).await;

    let check = async |snapshot: whodid_store::Snapshot, place: &str| {
        assert!(texts(&everything(&snapshot, "typical").await) == typical, "typical {place}");
        assert!(texts(&everything(&snapshot, "broad").await) == broad, "broad {place}");
    };
    check(writer.snapshot(), "in memory").await;
    let reader = Reader::open_dir(folder.path()).unwrap();
    check(reader.snapshot().await.unwrap(), "in the write-ahead log").await;
    writer.flush().await.unwrap();
    check(writer.snapshot(), "in segments").await;
    check(reader.snapshot().await.unwrap(), "in segments, to a reader").await;
    writer.close().await.unwrap();

    let writer = Writer::open_dir(folder.path(), options()).await.unwrap();
    check(writer.snapshot(), "after a restart").await;
    append(&writer, "typical", &typical[..1_000], 100).await;
    writer.flush().await.unwrap();
    let report = writer.compact().await.unwrap();
    assert_eq!((report.files_before, report.files_after), (6, 4), "{report:?}");
    let seen = everything(&writer.snapshot(), "typical").await;
    assert!(texts(&seen)[..8_000] == typical && texts(&seen)[8_000..] == typical[..1_000]);
    assert!(seen.values().skip(8_000).all(|event| event.duplicate && event.twin < Some(1_000)));
    writer.close().await.unwrap();
}
