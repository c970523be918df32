//! Who the server is: a certificate of its own authority in the data directory, or one that was
//! given. Either is renewed without a restart; connections that are open keep theirs.

#![expect(clippy::disallowed_methods, reason = "keys and certificates lie beside the record")]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, Result};

/// The authority is good for ten years, what it signs for 90 days, renewed after 60.
const AUTHORITY_DAYS: i64 = 3_650;
const CERTIFICATE_DAYS: i64 = 90;
const RENEWAL: Duration = Duration::from_hours(60 * 24);

/// How often a renewal is looked for.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where the server's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// These files, PEM.
    Files {
        /// The certificate, and those between it and its authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// An authority of its own, in `tls` of the data directory, for these names and addresses.
    Own {
        /// DNS names and IP addresses.
        names: Vec<String>,
    },
}

/// The server's side of TLS.
pub(crate) struct Tls {
    dir: PathBuf,
    identity: Identity,
    current: Arc<Current>,
    pub(crate) config: Arc<ServerConfig>,
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(RwLock<(Arc<CertifiedKey>, Option<SystemTime>)>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

impl Tls {
    /// Loads or makes the server's certificate. Client certificates of the own authority are asked
    /// for; which of them may send is the record's to say.
    pub(crate) fn open(data_dir: &Path, identity: Identity) -> Result<Self> {
        let dir = data_dir.join("tls");
        let authority = Authority::open(&dir)?;
        let loaded = load(&dir, &identity)?;
        let current = Arc::new(Current(RwLock::new(loaded)));
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()?).map_err(|error| tls(&dir, error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|error| tls(&dir, error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(&dir, error))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { dir, identity, current, config: Arc::new(config) })
    }

    /// Takes over a certificate that was renewed; one that cannot be used leaves the old in use.
    pub(crate) fn renew(&self) -> Result<bool> {
        let known = self.current.0.read().unwrap_or_else(PoisonError::into_inner).1;
        if modified(&self.certificate_path()) == known && !self.is_old(known) {
            return Ok(false);
        }
        let loaded = load(&self.dir, &self.identity)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }

    fn is_old(&self, made: Option<SystemTime>) -> bool {
        matches!(self.identity, Identity::Own { .. }) && is_due(made)
    }

    fn certificate_path(&self) -> PathBuf {
        match &self.identity {
            Identity::Files { certificate, .. } => certificate.clone(),
            Identity::Own { .. } => self.dir.join("server.crt"),
        }
    }
}

/// The own authority: what clients have to trust.
pub struct Authority {
    dir: PathBuf,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    /// Opens the authority in a folder, making it if there is none.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|error| file(dir, error))?;
        }
        let (certificate_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let params = authority_params().map_err(|error| tls(dir, error))?;
        if certificate_path.is_file() && key_path.is_file() {
            let pem = fs::read_to_string(&key_path).map_err(|error| file(&key_path, error))?;
            let key = KeyPair::from_pem(&pem).map_err(|error| tls(&key_path, error))?;
            return Ok(Authority { dir: dir.to_owned(), params, key });
        }
        let key = KeyPair::generate().map_err(|error| tls(dir, error))?;
        let certificate = params.self_signed(&key).map_err(|error| tls(dir, error))?;
        write(&key_path, 0o600, &key.serialize_pem())?;
        write(&certificate_path, 0o644, &certificate.pem())?;
        Ok(Authority { dir: dir.to_owned(), params, key })
    }

    /// Where its certificate is, for clients to trust.
    pub fn certificate_path(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    fn certificate(&self) -> Result<CertificateDer<'static>> {
        let path = self.certificate_path();
        CertificateDer::from_pem_file(&path).map_err(|error| tls(&path, error))
    }

    /// Makes a certificate for a sender; what comes back are the certificate and its key, PEM, and
    /// the certificate's bytes.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn issue_client(&self, name: &str) -> Result<(String, String, Vec<u8>)> {
        let mut params =
            CertificateParams::new(Vec::new()).map_err(|error| tls(&self.dir, error))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.issue(params, AUTHORITY_DAYS)?;
        Ok((certificate.pem(), key.serialize_pem(), certificate.der().to_vec()))
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        days: i64,
    ) -> Result<(rcgen::Certificate, KeyPair)> {
        let failed = |error| tls(&self.dir, error);
        (params.not_before, params.not_after) = validity(days);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok((certificate, key))
    }
}

fn authority_params() -> std::result::Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "whodid's own authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(AUTHORITY_DAYS);
    Ok(params)
}

/// From an hour ago, as clocks differ, for so many days.
fn validity(days: i64) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let now = time::OffsetDateTime::now_utc();
    (now - time::Duration::hours(1), now + time::Duration::days(days))
}

fn is_due(made: Option<SystemTime>) -> bool {
    made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age >= RENEWAL)
}

type Loaded = (Arc<CertifiedKey>, Option<SystemTime>);

fn load(dir: &Path, identity: &Identity) -> Result<Loaded> {
    match identity {
        Identity::Files { certificate, key } => read_pair(certificate, key),
        Identity::Own { names } => {
            let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
            let wanted = names.join("\n");
            let known = fs::read_to_string(dir.join("server.names")).unwrap_or_default();
            if known != wanted || !key.is_file() || is_due(modified(&certificate)) {
                make_server(dir, names, &wanted)?;
            }
            read_pair(&certificate, &key)
        }
    }
}

fn make_server(dir: &Path, names: &[String], wanted: &str) -> Result<()> {
    let mut params = CertificateParams::new(names).map_err(|error| tls(dir, error))?;
    params.distinguished_name.push(DnType::CommonName, "whodid");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (certificate, key) = Authority::open(dir)?.issue(params, CERTIFICATE_DAYS)?;
    write(&dir.join("server.key"), 0o600, &key.serialize_pem())?;
    write(&dir.join("server.crt"), 0o644, &certificate.pem())?;
    write(&dir.join("server.names"), 0o600, wanted)
}

fn read_pair(certificate: &Path, key: &Path) -> Result<Loaded> {
    let made = modified(certificate);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| tls(certificate, error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| tls(key, error))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let pair = CertifiedKey::from_der(chain, secret, &provider)
        .map_err(|error| tls(certificate, error))?;
    Ok((Arc::new(pair), made))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Writes a file in one step: a reader sees the old one or the new one.
fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    let written = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(mode).open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| file(path, error))
}

fn file(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}

fn tls(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Tls { path: path.to_owned(), why: error.to_string() }
}

/// The names a server on this address has unless told otherwise.
pub fn usual_names(address: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        names.push(host.trim().to_owned());
    }
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_authority_stays() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::Own { names: vec!["localhost".into()] };
        let tls = Tls::open(folder.path(), identity.clone()).unwrap();
        let ca = fs::read(folder.path().join("tls/ca.crt")).unwrap();
        assert!(!tls.renew().unwrap());
        let again = Tls::open(folder.path(), identity).unwrap();
        assert_eq!(fs::read(folder.path().join("tls/ca.crt")).unwrap(), ca);
        // Another name makes another certificate of the same authority.
        let before = fs::read(folder.path().join("tls/server.crt")).unwrap();
        let named = Identity::Own { names: vec!["whodid.example".into()] };
        Tls::open(folder.path(), named).unwrap();
        assert_ne!(fs::read(folder.path().join("tls/server.crt")).unwrap(), before);
        assert!(again.renew().unwrap(), "a server that runs takes it over");
    }
}
