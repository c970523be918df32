//! Having checkpoints signed by others, while the server runs: a signer in another domain of trust
//! first, whose signature witnesses then see. Taking events in never waits for any of them; that
//! one refuses means that the record was put back or rewritten, and is said loudly.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use whodid_api::{Client, Cosigned, Endpoint};
use whodid_store::{Evidence, Writer};
use whodid_tlog::note::{Note, Signature, Signer, Verifier};
use whodid_tlog::{AddCheckpoint, Policy};

use crate::error::{Error, Result};

/// A checkpoint that is newer than the last that was cosigned is sent so often.
const COSIGN_EVERY: Duration = Duration::from_secs(10);

/// What a cosigner has seen of a log is asked for once, and may change once meanwhile.
const TRIES: usize = 3;

/// Who signs checkpoints, beside the record itself.
#[derive(Clone, Debug, Default)]
pub struct CosigningSettings {
    /// The signer that holds the logs' keys, as a URL.
    pub signer: Option<String>,
    /// Witnesses, each with its URL.
    pub witnesses: Vec<(Verifier, String)>,
    /// The authority of their certificates, PEM, instead of those of the system.
    pub authority: Option<PathBuf>,
}

impl CosigningSettings {
    /// The witnesses of a policy.
    ///
    /// # Errors
    /// There is none, or one has no URL.
    pub fn witnesses_of(policy: &Policy) -> std::result::Result<Vec<(Verifier, String)>, String> {
        if policy.witnesses().next().is_none() {
            return Err("it names no witness".to_owned());
        }
        let of = |(witness, url): (&Verifier, Option<&str>)| match url {
            Some(url) => Ok((witness.clone(), url.to_owned())),
            None => Err(format!("the witness {} has no URL to be asked at", witness.name())),
        };
        policy.witnesses().map(of).collect()
    }

    /// Everything that makes no sense, a line each.
    pub(crate) fn faults(&self) -> Vec<String> {
        let urls = self.witnesses.iter().map(|(_, url)| url).chain(&self.signer);
        let is_open = |url: &&String| {
            let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
            host.is_some_and(|host| {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
                name != "localhost" && !address.is_ok_and(|address| address.is_loopback())
            })
        };
        let fault = |url| format!("{url} is not on this machine; write https://");
        urls.filter(is_open).map(fault).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.signer.is_none() && self.witnesses.is_empty()
    }
}

/// Why a checkpoint was not cosigned.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It passes.
    Later(String),
    /// The record is not the one that was cosigned before.
    Refused(String),
}

impl From<whodid_store::Error> for Fault {
    fn from(error: whodid_store::Error) -> Self {
        Fault::Later(error.to_string())
    }
}

/// Somebody who signs.
struct Cosigner {
    client: Client,
    url: String,
    /// The key that is expected; a signer makes its keys itself.
    key: Option<Verifier>,
    /// What it has seen of each log.
    seen: HashMap<String, u64>,
}

/// All who sign, and how far they have.
pub(crate) struct Cosigning {
    writer: Arc<Writer>,
    signer: Option<(Signer, Cosigner)>,
    witnesses: Vec<Cosigner>,
    done: HashMap<String, u64>,
}

impl Cosigning {
    pub(crate) fn new(writer: Arc<Writer>, settings: &CosigningSettings) -> Result<Self> {
        let cosigner = |url: &String, key| -> Result<Cosigner> {
            let (authority, token) = (settings.authority.clone(), None);
            let client = Client::new(Endpoint::Url { url: url.clone(), token, authority })
                .map_err(|error| Error::Config(vec![error.to_string()]))?;
            Ok(Cosigner { client, url: url.clone(), key, seen: HashMap::new() })
        };
        let signer = match &settings.signer {
            Some(url) => Some((writer.store_signer()?, cosigner(url, None)?)),
            None => None,
        };
        let witnesses = settings.witnesses.iter();
        let witnesses = witnesses.map(|(key, url)| cosigner(url, Some(key.clone())));
        let witnesses = witnesses.collect::<Result<_>>()?;
        Ok(Cosigning { writer, signer, witnesses, done: HashMap::new() })
    }

    /// Has all logs cosigned until the server ends, and once more then.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let is_over = tokio::select! {
                () = tokio::time::sleep(COSIGN_EVERY) => false,
                _ = shutdown.wait_for(|is_over| *is_over) => true,
            };
            self.round().await;
            if is_over {
                return;
            }
        }
    }

    /// Has every log cosigned that grew.
    async fn round(&mut self) {
        for fault in self.all().await {
            match fault {
                Fault::Later(why) => tracing::warn!(error = %why, "a checkpoint is not cosigned"),
                Fault::Refused(why) => tracing::error!(error = %why, "a checkpoint was refused"),
            }
        }
    }

    /// Has every log cosigned that grew, and says what hindered it.
    pub(crate) async fn all(&mut self) -> Vec<Fault> {
        let names = match self.writer.logs() {
            Ok(names) => names,
            Err(error) => return vec![error.into()],
        };
        let mut faults = Vec::new();
        for name in names {
            faults.extend(self.log(&name).await.err().into_iter().flatten());
        }
        faults
    }

    /// Has the newest checkpoint of a log signed by all, and keeps it when they have.
    async fn log(&mut self, name: &str) -> std::result::Result<(), Vec<Fault>> {
        let one = |error: whodid_store::Error| vec![Fault::from(error)];
        let Some(evidence) = self.writer.checkpoint(name).map_err(one)? else { return Ok(()) };
        let size = evidence.checkpoint().head.size;
        if self.done.get(name) == Some(&size) {
            return Ok(());
        }
        let mut note = evidence.note().clone();
        if let Some((key, signer)) = &mut self.signer {
            let mut sent = note.clone();
            sent.add(key.sign(note.text(), 0));
            // Witnesses know the log by the signer's key; without it, they have nothing to see.
            let signatures =
                signer.ask(name, &evidence, &sent).await.map_err(|fault| vec![fault])?;
            for signature in signatures {
                note.add(signature);
            }
        }
        let mut faults = Vec::new();
        let signed = note.clone();
        for witness in &mut self.witnesses {
            match witness.ask(name, &evidence, &signed).await {
                Ok(signatures) => signatures.into_iter().for_each(|signature| note.add(signature)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            // The one before has more signatures, and auditors may ask for all of them.
            return Err(faults);
        }
        self.writer.keep_cosigned(name, &note).map_err(one)?;
        self.done.insert(name.to_owned(), size);
        Ok(())
    }
}

impl Cosigner {
    /// Asks for signatures of a checkpoint.
    async fn ask(
        &mut self,
        name: &str,
        evidence: &Evidence,
        note: &Note,
    ) -> std::result::Result<Vec<Signature>, Fault> {
        let size = evidence.checkpoint().head.size;
        let origin = &evidence.checkpoint().origin;
        let mut old = self.seen.get(name).copied().unwrap_or(0);
        for _ in 0..TRIES {
            let path = evidence.consistency(old).await?;
            let body = AddCheckpoint { old, path, checkpoint: note.clone() };
            let answer = self.client.add_checkpoint(body.to_string()).await;
            match answer.map_err(|error| self.fault(origin, &error))? {
                Cosigned::Signed(lines) => {
                    let signatures = self.signatures(&lines, note)?;
                    self.seen.insert(name.to_owned(), size);
                    return Ok(signatures);
                }
                Cosigned::Size(seen) if seen > size || seen == old => {
                    return Err(self.refused(origin, size, seen));
                }
                Cosigned::Size(seen) => old = seen,
            }
        }
        Err(Fault::Later(format!("{} changes its mind about {origin}", self.url)))
    }

    fn refused(&self, origin: &str, size: u64, seen: u64) -> Fault {
        let url = &self.url;
        let how = if seen > size {
            format!("and the record has {size}: it was put back to an older state")
        } else {
            "and the record has others: it was rewritten".to_owned()
        };
        Fault::Refused(format!("{url} has signed {seen} leaves of {origin}, {how}"))
    }

    fn fault(&self, origin: &str, error: &whodid_api::Error) -> Fault {
        match error {
            // The proof was made from the record as it is.
            whodid_api::Error::Refused { status: 422, detail } => Fault::Refused(format!(
                "{} has signed another tree of {origin} ({detail}): the record was rewritten",
                self.url
            )),
            whodid_api::Error::Refused { status: 403 | 404, detail } => Fault::Later(format!(
                "{origin}: {detail}; a signer has to know this store (`whodid ledger key`, `signer \
                 serve --store`), a witness this log (`witness serve --policy`)"
            )),
            error => Fault::Later(format!("{origin}: {error}")),
        }
    }

    /// Reads the lines of an answer; those of a key that is not expected count for nothing.
    fn signatures(&self, lines: &str, note: &Note) -> std::result::Result<Vec<Signature>, Fault> {
        let wrong = |why: &str| Fault::Later(format!("{} answered {why}", self.url));
        let mut signed = note.clone();
        let mut signatures = Vec::new();
        for line in lines.lines() {
            let signature = Signature::parse(line).map_err(|_| wrong("no signature"))?;
            signed.add(signature.clone());
            signatures.push(signature);
        }
        if let Some(key) = &self.key {
            signed.verify(key).map_err(|error| wrong(&error.to_string()))?;
        }
        Ok(signatures)
    }
}
