//! Having checkpoints time-stamped (RFC 3161) while the server runs: an authority says that it has
//! seen one, and when. Its signature is for auditors to check, with its certificate and `openssl ts
//! -verify`; here only that the answer is about what was asked.

use std::sync::Arc;
use std::time::Duration;

use cms::signed_data::SignedData;
use der::asn1::{AnyRef, Int, OctetString};
use der::oid::ObjectIdentifier;
use der::{Any, Decode, Encode, Reader, Tag, Tagged};
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use whodid_api::{Client, Endpoint};
use whodid_store::Writer;
use x509_tsp::{MessageImprint, TimeStampReq, TimeStampResp, TspVersion};

use crate::error::{Error, Result};

/// A log that grew is stamped so often.
const STAMP_EVERY: Duration = Duration::from_hours(1);

/// The round at the end takes no longer.
const LAST_ROUND_MAX: Duration = Duration::from_secs(5);

/// SHA-256 (RFC 5754 §2.2).
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// A request is told from others by this.
type Nonce = [u8; 8];

/// What makes no sense about an authority's address. Tokens are signed, so that it needs no TLS.
pub(crate) fn fault(url: &str) -> Option<String> {
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    (!is_http).then(|| format!("--timestamp-authority {url}: write http:// or https://"))
}

/// Has logs stamped.
pub(crate) struct Stamping {
    writer: Arc<Writer>,
    client: Client,
}

impl Stamping {
    pub(crate) fn new(writer: Arc<Writer>, url: &str) -> Result<Self> {
        let endpoint = Endpoint::Url { url: url.to_owned(), token: None, authority: None };
        let client =
            Client::new(endpoint).map_err(|error| Error::Config(vec![error.to_string()]))?;
        Ok(Stamping { writer, client })
    }

    /// Has all logs stamped until the server ends, and once more then.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        loop {
            self.round().await;
            let is_over = tokio::select! {
                () = tokio::time::sleep(STAMP_EVERY) => false,
                _ = shutdown.wait_for(|is_over| *is_over) => true,
            };
            if is_over {
                // An authority that says nothing must not hold up the end.
                let _late = tokio::time::timeout(LAST_ROUND_MAX, self.round()).await;
                return;
            }
        }
    }

    async fn round(&self) {
        let names = self.writer.logs().map_err(|error| error.to_string());
        let names = names.unwrap_or_else(|error| {
            tracing::warn!(error, "no checkpoint is time-stamped");
            Vec::new()
        });
        for name in names {
            if let Err(error) = self.log(&name).await {
                tracing::warn!(log = name, error, "a checkpoint is not time-stamped");
            }
        }
    }

    /// Has the newest checkpoint of a log stamped, if it grew.
    async fn log(&self, name: &str) -> std::result::Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let newest = self.writer.checkpoint(name).map_err(|error| text(&error))?;
        let Some(newest) = newest else { return Ok(()) };
        let size = newest.checkpoint().head.size;
        if size <= self.writer.stamped(name).map_err(|error| text(&error))? {
            return Ok(());
        }
        let note = newest.note();
        let digest: [u8; 32] = Sha256::digest(note.to_string()).into();
        let mut nonce = Nonce::default();
        rand::rngs::OsRng.try_fill_bytes(&mut nonce).map_err(|error| text(&error))?;
        // A positive number of fixed length.
        nonce[0] = nonce[0] & 0x7f | 0x40;
        let query = request(&digest, nonce).map_err(|error| text(&error))?;
        let answer = self.client.timestamp(query).await.map_err(|error| text(&error))?;
        check(&answer, &digest, nonce)?;
        self.writer.keep_stamp(name, size, note, answer).map_err(|error| text(&error))
    }
}

/// A query (RFC 3161 §2.4.1), DER.
fn request(digest: &[u8; 32], nonce: Nonce) -> der::Result<Vec<u8>> {
    let query = TimeStampReq {
        version: TspVersion::V1,
        message_imprint: MessageImprint {
            hash_algorithm: cms::cert::x509::spki::AlgorithmIdentifier {
                oid: SHA_256,
                parameters: Some(Any::null()),
            },
            hashed_message: OctetString::new(digest.as_slice())?,
        },
        req_policy: None,
        nonce: Some(Int::new(&nonce)?),
        // An auditor needs the certificate that signed.
        cert_req: true,
        extensions: None,
    };
    query.to_der()
}

/// Checks that an answer (RFC 3161 §2.4.2) is a token about this digest and this query.
fn check(answer: &[u8], digest: &[u8; 32], nonce: Nonce) -> std::result::Result<(), String> {
    let unreadable = |error: der::Error| format!("the authority's answer cannot be read: {error}");
    let answer = TimeStampResp::from_der(answer).map_err(unreadable)?;
    let Some(token) = answer.time_stamp_token else {
        return Err(format!("the authority refuses: {:?}", answer.status));
    };
    let signed = token.content.to_der().and_then(|bytes| SignedData::from_der(&bytes));
    let content = signed.map_err(unreadable)?.encap_content_info.econtent;
    let content = content.ok_or("the authority's token has no content")?;
    let info = stamped(content.value()).map_err(unreadable)?;
    if info == (digest.to_vec(), Some(nonce.to_vec())) {
        return Ok(());
    }
    Err("the authority's token is about something else".into())
}

/// The digest and the nonce of a TSTInfo (RFC 3161 §2.4.2): its time may have fractions, which the
/// type of the library does not read.
fn stamped(info: &[u8]) -> der::Result<(Vec<u8>, Option<Vec<u8>>)> {
    AnyRef::from_der(info)?.sequence(|fields| {
        let _version: u8 = fields.decode()?;
        let _policy: ObjectIdentifier = fields.decode()?;
        let imprint: MessageImprint = fields.decode()?;
        let _serial: Int = fields.decode()?;
        let mut nonce = None;
        while !fields.is_finished() {
            let field: AnyRef<'_> = fields.decode()?;
            if field.tag() == Tag::Integer {
                nonce = Some(field.value().to_vec());
            }
        }
        let is_known = imprint.hash_algorithm.oid == SHA_256;
        let digest = imprint.hashed_message.as_bytes().to_vec();
        Ok((if is_known { digest } else { Vec::new() }, nonce))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_refused() {
        let (digest, nonce) = ([7; 32], [0x41; 8]);
        let query = request(&digest, nonce).unwrap();
        let stamp = TimeStampReq::from_der(&query).unwrap();
        assert_eq!(stamp.message_imprint.hashed_message.as_bytes(), digest);
        for end in 0..=query.len() {
            assert!(check(&query[..end], &digest, nonce).is_err());
            assert!(stamped(&query[..end]).is_err());
        }
        let mut flipped = query;
        for at in 0..flipped.len() {
            flipped[at] ^= 0x55;
            assert!(check(&flipped, &digest, nonce).is_err());
            let _unreadable = stamped(&flipped);
            flipped[at] ^= 0x55;
        }
    }
}
