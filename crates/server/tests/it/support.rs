//! What these tests share: a server on a record of its own, with a token to send and a client.

use std::path::Path;

use reqwest::{Certificate, Client};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use whodid_engine::{Cache, Engine, Search};
use whodid_event::redact::RuleSet;
use whodid_server::{CosigningSettings, Identity, Server, Settings};
use whodid_store::{CredentialKind, Options, Original, Reader, State};

pub const TOKEN: &str = "a-token-for-tests";

pub struct Running {
    pub folder: TempDir,
    pub server: Server,
}

impl Running {
    pub async fn start(is_tls: bool) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let identity = is_tls.then(|| Identity::Own { names: vec!["127.0.0.1".into()] });
        let server = Server::start(Settings {
            data_dir: folder.path().to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            ingest_listen: None,
            identity,
            tails: Vec::new(),
            cosigning: CosigningSettings::default(),
            timestamp_authority: None,
            retained: Vec::new(),
            options: Options { rules: RuleSet::off(), ..Options::default() },
        })
        .await
        .unwrap();
        let running = Running { folder, server };
        running.add_sender("cp-1", TOKEN);
        running
    }

    /// Lets an API server send.
    pub fn add_sender(&self, source: &str, token: &str) {
        let state = State::open(self.folder.path()).unwrap();
        let print = Sha256::digest(token).into();
        state.add_credential(&print, CredentialKind::Token, "prod", source).unwrap();
    }

    /// A client that trusts the server's authority.
    pub fn client(&self) -> Client {
        let mut builder = Client::builder().no_proxy();
        if let Ok(pem) = std::fs::read(self.folder.path().join("tls/ca.crt")) {
            builder = builder.tls_certs_only([Certificate::from_pem(&pem).unwrap()]);
        }
        builder.build().unwrap()
    }

    pub fn url(&self) -> String {
        format!("{}/ingest/prod", self.server.url)
    }

    pub fn address(&self) -> String {
        self.server.url.split("//").nth(1).unwrap().to_owned()
    }

    /// Everything that is stored, as it came in, in the order of the log.
    pub async fn originals(&self) -> Vec<String> {
        originals(self.folder.path()).await
    }
}

pub async fn originals(folder: &Path) -> Vec<String> {
    let snapshot = Reader::open_dir(folder).unwrap().snapshot().await.unwrap();
    assert!(snapshot.warnings().is_empty(), "{:?}", snapshot.warnings());
    let engine = Engine::new(snapshot, &Cache::default()).await.unwrap();
    let query = whodid_query::parse("stage:* OR raw:true").unwrap();
    let mut ids = engine.search(&Search { query, now: 0, limit: 0 }).await.unwrap().ids;
    ids.sort_unstable();
    let originals = engine.originals(&ids).await.unwrap();
    originals
        .into_iter()
        .map(|original| match original.unwrap().0 {
            Original::Event(text) => text,
            Original::Raw(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        })
        .collect()
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
