//! `whodid ingest token` and `whodid ingest certificate`: who may send events, and as whom. They
//! work beside a running server, which sees every change at once.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use whodid_server::Authority;
use whodid_store::{CredentialKind, State};

use super::now;
use crate::args::{CertificateCommand, StoreArgs, TokenCommand};
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{duration, print};

/// A token says what it is, so that one that leaked is recognised.
const TOKEN_PREFIX: &str = "whodid_ingest_";

pub fn token(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => {
            // Alone on stdout, for `> token-file`.
            print(&format!("{}\n", create(&args.store, &args.cluster, &args.source)?))?;
        }
        TokenCommand::List(args) => list(&args)?,
        TokenCommand::Revoke(args) => {
            let state = State::open(&record(&args.store)?)?;
            let revoked = state.revoke(&args.cluster, &args.source)?;
            if revoked == 0 {
                let (cluster, source) = (args.cluster, args.source);
                return Err(Failure::NothingFound(format!(
                    "cluster {cluster} has no credential of source {source}"
                )));
            }
            print(&format!("revoked {revoked}\n"))?;
        }
    }
    Ok(())
}

/// Makes a token that a source may send with.
pub fn create(store: &StoreArgs, cluster: &str, source: &str) -> Result<String, Failure> {
    let mut secret = [0; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut secret)
        .map_err(|error| Failure::Unavailable(format!("no random bytes: {error}")))?;
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let print_of = Sha256::digest(token.as_bytes()).into();
    let state = State::open(&record(store)?)?;
    state.add_credential(&print_of, CredentialKind::Token, cluster, source)?;
    Ok(token)
}

pub fn certificate(command: CertificateCommand) -> Result<(), Failure> {
    let CertificateCommand::Create(args) = command;
    let dir = record(&args.credential.store)?;
    let state = State::open(&dir)?;
    let (cluster, source) = (&args.credential.cluster, &args.credential.source);
    let (certificate, key, der) = Authority::open(&dir.join("tls"))?.issue_client(source)?;
    let file = |name: &str| args.out.join(name);
    write(&file("client.crt"), &certificate)?;
    write(&file("client.key"), &key)?;
    // Last: nobody could use a certificate whose key was not written.
    let print_of = Sha256::digest(&der).into();
    state.add_credential(&print_of, CredentialKind::Certificate, cluster, source)?;
    print(&format!("{}\n{}\n", file("client.crt").display(), file("client.key").display()))?;
    Ok(())
}

/// The folder of the record, made if need be: a token may be made before the first start.
fn record(store: &StoreArgs) -> Result<std::path::PathBuf, Failure> {
    let dir = store.dir();
    whodid_store::disk::RealDisk::new(&dir)
        .create_root()
        .map_err(|error| Failure::Unavailable(format!("{}: {error}", dir.display())))?;
    Ok(dir)
}

fn list(store: &StoreArgs) -> Result<(), Failure> {
    let mut table = Table::new(["CLUSTER", "SOURCE", "KIND", "AGE"]);
    let found = State::open(&record(store)?)?.credentials()?;
    if found.is_empty() {
        return Err(Failure::NothingFound("nobody may send yet".into()));
    }
    for credential in found {
        let age = (now() - credential.created).div_euclid(1_000_000);
        table.row(vec![
            credential.cluster,
            format!("webhook/{}", credential.source),
            credential.kind.name().to_owned(),
            duration::human(age),
        ]);
    }
    print(&table.print(true))?;
    Ok(())
}

/// Writes a secret that is not there yet.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "; name another folder with --out",
                _ => "",
            };
            Failure::Unavailable(format!("{}: {error}{hint}", path.display()))
        })
}
