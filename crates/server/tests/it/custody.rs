//! Signers and witnesses: what they have signed cannot be taken back or written anew, by whoever
//! holds the store and all of its keys.

use std::fs;
use std::path::Path;

use reqwest::Client;
use tempfile::TempDir;
use whodid_event::redact::RuleSet;
use whodid_server::{Cosigner, CosignerSettings, CosigningSettings, Error, Role, Server, Settings};
use whodid_store::{Options, Reader, Verification, Wanted, Writer};
use whodid_testkit::captures;
use whodid_tlog::note::{Kind, Signer};
use whodid_tlog::proof::Head;
use whodid_tlog::{AddCheckpoint, Checkpoint, Hash, Policy};

use crate::support::copy;

fn options() -> Options {
    Options { rules: RuleSet::off(), ..Options::default() }
}

async fn cosigner(dir: &Path, role: Role) -> Cosigner {
    let listen = ([127, 0, 0, 1], 0).into();
    let settings = CosignerSettings { data_dir: dir.to_owned(), listen, identity: None, role };
    Cosigner::start(settings).await.unwrap()
}

/// A store, and the folders of those who sign for it.
struct Domain {
    folder: TempDir,
    signer: Cosigner,
}

impl Domain {
    async fn new() -> Domain {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let writer = Writer::open_dir(&store, options()).await.unwrap();
        let key = writer.store_signer().unwrap().verifier().clone();
        writer.close().await.unwrap();
        let signer = cosigner(&folder.path().join("signer"), Role::Signer(vec![key])).await;
        Domain { folder, signer }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, name: &str, witnesses: Option<Policy>) -> Settings {
        let signer = Some(self.signer.url.clone());
        Settings {
            data_dir: self.path(name),
            listen: ([127, 0, 0, 1], 0).into(),
            ingest_listen: None,
            identity: None,
            tails: Vec::new(),
            cosigning: CosigningSettings { signer, witnesses, authority: None },
            timestamp_authority: None,
            retained: Vec::new(),
            options: options(),
        }
    }

    /// One life of the server over a store to which events were added before.
    async fn serve(&self, name: &str, witnesses: Option<Policy>) -> Result<(), Error> {
        Server::start(self.settings(name, witnesses)).await?.stop().await
    }

    /// What `GET /policy` of a cosigner says.
    async fn policy(&self, cosigner: &Cosigner) -> String {
        let url = format!("{}/policy", cosigner.url);
        reqwest::get(url).await.unwrap().error_for_status().unwrap().text().await.unwrap()
    }

    async fn verify(&self, name: &str, policy: &str) -> Verification {
        let policy = Policy::parse(policy).unwrap();
        let reader = Reader::open_dir(&self.path(name)).unwrap();
        let wanted = Wanted { cluster: None, policy: Some(&policy) };
        reader.verify(wanted, |_, _| {}).await.unwrap()
    }

    /// Adds events to a store, without anybody who cosigns.
    async fn add(&self, name: &str, from: usize, count: usize) {
        let writer = Box::pin(Writer::open_dir(&self.path(name), options())).await.unwrap();
        let mut builder = writer.preparer().begin("prod", "test").unwrap();
        for line in captures::typical().iter().skip(from).take(count) {
            builder.add(&whodid_event::split::Item::Value(line.as_bytes())).unwrap();
        }
        writer.append(builder.finish().unwrap()).await.unwrap();
        writer.close().await.unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        copy(&self.path(from), &self.path(to));
    }
}

fn size(verification: &Verification, log: &str) -> (u64, u64) {
    assert_eq!(verification.findings, []);
    let log = verification.logs.iter().find(|found| found.origin.ends_with(log)).unwrap();
    (log.size, log.unsigned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_elsewhere_cannot_be_taken_back() {
    let domain = Domain::new().await;
    domain.add("store", 0, 300).await;
    domain.serve("store", None).await.unwrap();
    let policy = format!("{}quorum none\n", domain.policy(&domain.signer).await);
    let verified = domain.verify("store", &policy).await;
    assert!(verified.detects_rewriting);
    assert_eq!(size(&verified, "/prod"), (300, 0));
    // The keys in the store alone are believed by its own policy, and by no other.
    let own = Reader::open_dir(&domain.path("store")).unwrap().policy().unwrap();
    assert!(!domain.verify("store", &own).await.detects_rewriting);
    domain.copy("store", "yesterday");
    domain.add("store", 300, 50).await;
    let verified = domain.verify("store", &policy).await;
    assert_eq!(size(&verified, "/prod"), (300, 50));
    domain.serve("store", None).await.unwrap();
    assert_eq!(size(&domain.verify("store", &policy).await, "/prod"), (350, 0));

    // A whole older copy is a true record of yesterday; only who remembers more can tell.
    domain.copy("yesterday", "back");
    let refused = domain.serve("back", None).await.unwrap_err().to_string();
    assert!(refused.contains("was put back to an older state"), "{refused}");
    // Other events under the same keys, in the place of those that were signed.
    domain.copy("yesterday", "other");
    domain.add("other", 400, 50).await;
    let refused = domain.serve("other", None).await.unwrap_err().to_string();
    assert!(refused.contains("has signed"), "{refused}");
    domain.add("other", 500, 50).await;
    let refused = domain.serve("other", None).await.unwrap_err().to_string();
    assert!(refused.contains("was rewritten"), "{refused}");
    // A person decides to go on; the signer begins another log.
    let names = ["prod".to_owned(), "meta".to_owned()];
    whodid_store::reopen_dir(&domain.path("back"), &names, "a copy was put back").await.unwrap();
    domain.serve("back", None).await.unwrap();
    let newer = format!("{}quorum none\n", domain.policy(&domain.signer).await);
    let verified = domain.verify("back", &newer).await;
    assert_eq!(size(&verified, "/prod/2"), (301, 0));
    let says = |said: &String| said.contains("/prod was frozen at 300 leaves");
    assert!(verified.reopened.iter().any(says), "{:?}", verified.reopened);
    // From now on nobody signs the log that was frozen.
    domain.add("store", 600, 10).await;
    domain.serve("store", None).await.unwrap();
    assert_eq!(size(&domain.verify("store", &policy).await, "/prod"), (350, 10));
    // A signer that forgets is the control: it takes what was put back.
    let key = Writer::open_dir(&domain.path("yesterday"), options()).await.unwrap();
    let role = Role::Signer(vec![key.store_signer().unwrap().verifier().clone()]);
    drop(key);
    let forgetful = Domain { signer: cosigner(&domain.path("forgetful"), role).await, ..domain };
    forgetful.serve("yesterday", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_see_what_the_signer_signed() {
    let domain = Domain::new().await;
    domain.add("store", 0, 100).await;
    domain.serve("store", None).await.unwrap();
    let logs = domain.policy(&domain.signer).await;
    let file = domain.path("logs.txt");
    fs::write(&file, format!("{logs}quorum none\n")).unwrap();
    let role = Role::Witness { name: "audit.example/w1".into(), policy: file };
    let witness = cosigner(&domain.path("witness"), role).await;
    let line = domain.policy(&witness).await;
    let (_, key) = line.trim_end().rsplit_once(' ').unwrap();
    let policy = format!("{logs}{line}quorum audit.example/w1\n");
    // Nobody has cosigned yet.
    assert!(domain.verify("store", &policy).await.findings_in_all > 0);
    domain.add("store", 100, 10).await;
    let asked = |text: &str| Some(Policy::parse(text).unwrap());
    let at = format!("witness audit.example/w1 {key} {}\n", witness.url);
    let away = format!("witness audit.example/w1 {key} http://127.0.0.1:1\nquorum none\n");
    domain.serve("store", asked(&format!("{at}quorum none\n"))).await.unwrap();
    let verified = domain.verify("store", &policy).await;
    assert_eq!(size(&verified, "/prod"), (110, 0));
    assert!(verified.detects_rewriting);
    // The proof of an event is in what was cosigned.
    let reader = Reader::open_dir(&domain.path("store")).unwrap();
    let evidence = reader.prove("prod", &[105].into()).await.unwrap().unwrap();
    Policy::parse(&policy).unwrap().open(evidence.note()).unwrap();
    // A witness that cannot be reached stops nobody, and what it saw before stays.
    domain.add("store", 110, 10).await;
    domain.serve("store", asked(&away)).await.unwrap();
    assert_eq!(size(&domain.verify("store", &policy).await, "/prod"), (110, 10));
    // Unless the store's own policy says that the other one is enough.
    let stranger = Signer::new("audit.example/w2", Kind::Cosignature, &[3; 32]).unwrap();
    let stranger = stranger.verifier();
    let other = format!("{at}witness w2 {stranger} http://127.0.0.1:1\n");
    let both =
        |quorum: &str| asked(&format!("{other}group any 1 audit.example/w1 w2\nquorum {quorum}\n"));
    for quorum in ["none", "w2"] {
        domain.serve("store", both(quorum)).await.unwrap();
        assert_eq!(size(&domain.verify("store", &policy).await, "/prod"), (110, 10), "{quorum}");
    }
    domain.serve("store", both("any")).await.unwrap();
    assert_eq!(size(&domain.verify("store", &policy).await, "/prod"), (120, 0));
}

/// A checkpoint of a log with so many leaves, signed by these keys.
fn signed(origin: &str, leaves: u64, keys: &[&Signer]) -> String {
    let mut range = whodid_tlog::CompactRange::default();
    (0..leaves).for_each(|leaf| range.append(Hash::of_leaf(&leaf.to_le_bytes()), |_, _| {}));
    let head = Head { size: leaves, root: range.root() };
    let mut note = Checkpoint::new(origin, head).sign(keys[0], 0).unwrap();
    for key in keys {
        note.add(key.sign(note.clone().text(), 0));
    }
    AddCheckpoint { old: 0, path: vec![], checkpoint: note }.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_signs_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let own = Signer::new("example.com/store", Kind::Ed25519, &[1; 32]).unwrap();
    let other = Signer::new("example.com/store", Kind::Ed25519, &[2; 32]).unwrap();
    let signer = cosigner(folder.path(), Role::Signer(vec![own.verifier().clone()])).await;
    let url = format!("{}/add-checkpoint", signer.url);
    let long = "x".repeat(AddCheckpoint::BYTES_MAX + 1);
    let cases = [
        ("of an unknown log", 404, signed("example.com/elsewhere/a", 1, &[&own])),
        ("whose name only begins alike", 404, signed("example.com/store2/a", 1, &[&own])),
        ("by another key", 403, signed("example.com/store/a", 1, &[&other])),
        ("that is none", 400, "old 1\n\nno".into()),
        ("that is too long", 413, long),
        ("the first", 200, signed("example.com/store/a", 5, &[&own])),
        ("that forgets what was signed", 409, signed("example.com/store/a", 6, &[&own])),
        (
            "without a proof",
            422,
            signed("example.com/store/a", 6, &[&own]).replacen("old 0", "old 5", 1),
        ),
        ("of another log of the store", 200, signed("example.com/store/b", 5, &[&own])),
    ];
    for (what, status, body) in cases {
        let answer = Client::new().post(&url).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{what}");
        if status == 409 {
            assert_eq!(answer.headers()["content-type"], "text/x.tlog.size");
            assert_eq!(answer.text().await.unwrap(), "5\n");
        }
    }
    signer.stop().await;
}
