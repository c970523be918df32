//! Time stamps of a real authority, `openssl ts`, which is also who checks them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use tempfile::TempDir;
use whodid_event::redact::RuleSet;
use whodid_event::split::Item;
use whodid_server::{CosigningSettings, Server, Settings};
use whodid_store::{Options, Reader, Verification, Wanted, Writer};
use whodid_testkit::captures;

use crate::support::copy;

/// With fractions of a second in its times, as RFC 3161 allows.
const CONFIGURATION: &str = "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\n\
    default_policy = 1.2.3.4.1\ndigests = sha256, sha512\nsigner_digest = sha256\n\
    clock_precision_digits = 3\naccuracy = secs:1\ness_cert_id_alg = sha256\n";

/// An authority; while it `is_absent_minded`, its answers are about something else.
struct Authority {
    folder: TempDir,
    is_absent_minded: AtomicBool,
}

impl Authority {
    async fn start() -> (Arc<Authority>, String) {
        let folder = tempfile::tempdir().unwrap();
        let is_absent_minded = AtomicBool::new(false);
        let authority = Arc::new(Authority { folder, is_absent_minded });
        fs::write(authority.path("tsa.cnf"), CONFIGURATION).unwrap();
        authority.openssl(&[
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"][..],
            &["-nodes", "-keyout", "tsa.key", "-out", "tsa.crt", "-subj", "/CN=TSA", "-days", "2"],
            &["-addext", "extendedKeyUsage=critical,timeStamping"],
        ]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let router = Router::new().route("/tsr", post(answer)).with_state(Arc::clone(&authority));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (authority, url)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs openssl; what it printed.
    fn openssl(&self, args: &[&[&str]]) -> String {
        let mut openssl = Command::new("openssl");
        let out = openssl.args(args.concat()).current_dir(self.folder.path()).output().unwrap();
        let printed = [out.stdout, out.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(out.status.success(), "{args:?}: {printed}");
        printed
    }

    /// Whether a stamp is of these bytes, and this authority's.
    fn has_stamped(&self, bytes: &Path, answer: &Path) -> bool {
        let verify = ["ts", "-verify", "-CAfile", "tsa.crt", "-data"];
        let mut openssl = Command::new("openssl");
        openssl.args(verify).arg(bytes).arg("-in").arg(answer).current_dir(self.folder.path());
        openssl.output().unwrap().status.success()
    }
}

async fn answer(State(authority): State<Arc<Authority>>, query: Bytes) -> Vec<u8> {
    fs::write(authority.path("query"), query).unwrap();
    if authority.is_absent_minded.load(Ordering::Relaxed) {
        let other = ["ts", "-query", "-data", "tsa.crt", "-sha256", "-cert", "-out", "query"];
        authority.openssl(&[&other]);
    }
    authority.openssl(&[
        &["ts", "-reply", "-queryfile", "query", "-out", "answer", "-config", "tsa.cnf"],
        &["-signer", "tsa.crt", "-inkey", "tsa.key"],
    ]);
    fs::read(authority.path("answer")).unwrap()
}

fn options() -> Options {
    Options { rules: RuleSet::off(), ..Options::default() }
}

async fn add(dir: &Path, from: usize, count: usize) {
    let writer = Box::pin(Writer::open_dir(dir, options())).await.unwrap();
    let mut builder = writer.preparer().begin("prod", "test").unwrap();
    for line in captures::typical().iter().skip(from).take(count) {
        builder.add(&Item::Value(line.as_bytes())).unwrap();
    }
    writer.append(builder.finish().unwrap()).await.unwrap();
    writer.close().await.unwrap();
}

/// One life of a server.
async fn serve(dir: &Path, url: &str) {
    let settings = Settings {
        data_dir: dir.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        ingest_listen: None,
        identity: None,
        tails: Vec::new(),
        cosigning: CosigningSettings::default(),
        timestamp_authority: Some(url.to_owned()),
        retained: Vec::new(),
        options: options(),
    };
    Box::pin(Server::start(settings)).await.unwrap().stop().await.unwrap();
}

async fn verify(dir: &Path) -> Verification {
    Reader::open_dir(dir).unwrap().verify(Wanted::default(), |_, _| {}).await.unwrap()
}

fn stamps(verification: &Verification) -> usize {
    let log = verification.logs.iter().find(|log| log.origin.ends_with("/prod"));
    log.map_or(0, |log| log.stamps)
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_stamped_and_bind_the_record() {
    let (authority, url) = Authority::start().await;
    let folder = tempfile::tempdir().unwrap();
    let dir = &folder.path().join("store");
    add(dir, 0, 300).await;
    let before = folder.path().join("before");
    copy(dir, &before);
    serve(dir, &url).await;
    let stamp = |dir: &Path, size: u64, what: &str| {
        dir.join(format!("ledger/prod/stamps/{size:015}.{what}"))
    };
    let (note, token) = (stamp(dir, 300, "checkpoint"), stamp(dir, 300, "tsr"));
    assert!(authority.has_stamped(&note, &token));
    // The control: of another checkpoint, it is not.
    assert!(!authority.has_stamped(&dir.join("ledger/meta/checkpoint"), &token));
    // What has not grown is not stamped again.
    let first = fs::read(&token).unwrap();
    serve(dir, &url).await;
    assert_eq!(fs::read(&token).unwrap(), first);
    add(dir, 300, 100).await;
    // An answer about something else is none.
    authority.is_absent_minded.store(true, Ordering::Relaxed);
    serve(dir, &url).await;
    assert!(!stamp(dir, 400, "tsr").exists());
    authority.is_absent_minded.store(false, Ordering::Relaxed);
    serve(dir, &url).await;
    let verification = verify(dir).await;
    assert_eq!((verification.findings.len(), stamps(&verification)), (0, 2), "{verification:?}");

    // Put back to before, with its keys, and written anew from there: the stamps know.
    for (events, says) in [(0, "put back to an older state"), (200, "a time stamp is of another")] {
        let other = folder.path().join(format!("other-{events}"));
        copy(&before, &other);
        copy(&dir.join("ledger/prod/stamps"), &other.join("ledger/prod/stamps"));
        if events > 0 {
            add(&other, 500, events).await;
        }
        let found = verify(&other).await.findings;
        assert!(found.iter().any(|finding| finding.what.contains(says)), "{found:?}");
    }
}
