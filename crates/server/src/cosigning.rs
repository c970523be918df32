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
    /// Witnesses, each with its URL, and how many of them are enough; all, where it does not say.
    pub witnesses: Option<Policy>,
    /// The authority of their certificates, PEM, instead of those of the system.
    pub authority: Option<PathBuf>,
}

impl CosigningSettings {
    /// The witnesses, each with where it is asked.
    fn asked(&self) -> impl Iterator<Item = (&Verifier, Option<&str>)> {
        self.witnesses.iter().flat_map(Policy::witnesses)
    }

    /// Everything that makes no sense, a line each.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.witnesses.is_some() && self.asked().next().is_none() {
            faults.push("the policy of the witnesses names no witness".to_owned());
        }
        for (witness, _) in self.asked().filter(|(_, url)| url.is_none()) {
            faults.push(format!("the witness {} has no URL to be asked at", witness.name()));
        }
        let urls = self.asked().filter_map(|(_, url)| url).chain(self.signer.as_deref());
        let is_open = |url: &&str| {
            let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
            host.is_some_and(|host| {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
                name != "localhost" && !address.is_ok_and(|address| address.is_loopback())
            })
        };
        let fault = |url| format!("{url} is not on this machine; write https://");
        faults.extend(urls.filter(is_open).map(fault));
        faults
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.signer.is_none() && self.witnesses.is_none()
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
    /// How many of the witnesses are enough.
    policy: Option<Policy>,
    done: HashMap<String, u64>,
}

impl Cosigning {
    pub(crate) fn new(writer: Arc<Writer>, settings: &CosigningSettings) -> Result<Self> {
        let cosigner = |url: &str, key| -> Result<Cosigner> {
            let (authority, token) = (settings.authority.clone(), None);
            let client = Client::new(Endpoint::Url { url: url.to_owned(), token, authority })
                .map_err(|error| Error::Config(vec![error.to_string()]))?;
            Ok(Cosigner { client, url: url.to_owned(), key, seen: HashMap::new() })
        };
        let signer = match &settings.signer {
            Some(url) => Some((writer.store_signer()?, cosigner(url, None)?)),
            None => None,
        };
        let witnesses = settings.asked().filter_map(|(key, url)| Some((key.clone(), url?)));
        let witnesses = witnesses.map(|(key, url)| cosigner(url, Some(key)));
        let witnesses = witnesses.collect::<Result<_>>()?;
        let policy = settings.witnesses.clone();
        Ok(Cosigning { writer, signer, witnesses, policy, done: HashMap::new() })
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

    /// Has the newest checkpoint of a log signed by all, and keeps it when enough of them have.
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
        // With less, the one before is worth more to auditors, who ask for a quorum, too.
        let is_quorum = self.policy.as_ref().and_then(|policy| policy.is_quorum(&note));
        if faults.is_empty() || is_quorum == Some(true) {
            self.writer.keep_cosigned(name, &note).map_err(one)?;
        }
        if !faults.is_empty() {
            return Err(faults);
        }
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
