//! Signed notes: text with signatures below it, and the keys that make and check these. What the
//! text says is left to others.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::lines::line;

/// A note is at most so long, and has at most so many signatures; a verifier has to take 16
/// (signed-note, Format), and one after quantum computers takes 5 kB.
pub const NOTE_BYTES_MAX: usize = 1 << 20;
/// See [`NOTE_BYTES_MAX`].
pub const SIGNATURES_MAX: usize = 100;

/// What begins the line of a signature.
const DASH: &str = "\u{2014} ";

/// What begins a signing key as `golang.org/x/mod/sumdb/note` writes it.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Why text is no note, or no key, or not signed by a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no note: why, and where it helps in which line of the signatures.
    #[error("no signed note: {0}")]
    Malformed(&'static str),
    /// It is no key.
    #[error("no key: {0}")]
    Key(&'static str),
    /// The key has not signed it.
    #[error("not signed by {0}")]
    Unsigned(String),
    /// A signature says that the key made it, which is not so.
    #[error("the signature of {0} is not valid")]
    Forged(String),
}

/// Text, and the signatures below it. It is shown exactly as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// A signature, of whatever kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// The key's ID, which tells keys of one name apart.
    pub id: [u8; 4],
    /// What the key made of the text.
    pub bytes: Vec<u8>,
}

impl Note {
    /// Text that nobody has signed yet.
    ///
    /// # Errors
    /// It does not end in a newline, or has control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        if !text.ends_with('\n') {
            return Err(Error::Malformed("its text does not end in a newline"));
        }
        if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(Error::Malformed("its text has control characters"));
        }
        Ok(Note { text, signatures: Vec::new() })
    }

    /// Reads a note with its signatures. Nobody has looked whether they are right.
    ///
    /// # Errors
    /// It is none, or too long.
    pub fn parse(note: &str) -> Result<Self, Error> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(Error::Malformed("it is longer than 1 MiB"));
        }
        // The last empty line stands between them.
        let (text, mut rest) =
            note.rsplit_once("\n\n").ok_or(Error::Malformed("it has no empty line"))?;
        let mut parsed = Note::new(format!("{text}\n"))?;
        while !rest.is_empty() {
            let line = line(&mut rest).ok_or(Error::Malformed("it does not end in a newline"))?;
            parsed.signatures.push(Signature::parse(line)?);
        }
        match parsed.signatures.len() {
            0 => Err(Error::Malformed("it has no signature")),
            count if count > SIGNATURES_MAX => Err(Error::Malformed("it has too many signatures")),
            _ => Ok(parsed),
        }
    }

    /// What is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures below it.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature behind the others, unless it is there already.
    pub fn add(&mut self, signature: Signature) {
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// Checks that a key has signed it, and returns when that was, if its signatures say so, in
    /// seconds since 1970. Signatures of other keys are ignored; with one of this key that is not
    /// right, the note is refused, whatever others of it there are.
    ///
    /// # Errors
    /// It has not.
    pub fn verify(&self, verifier: &Verifier) -> Result<Option<u64>, Error> {
        let is_its = |signature: &&Signature| {
            signature.name == verifier.name && signature.id == verifier.id()
        };
        let mut found = Err(Error::Unsigned(verifier.name.clone()));
        for signature in self.signatures.iter().filter(is_its) {
            found = Ok(verifier.check(&self.text, &signature.bytes)?);
        }
        found
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl Signature {
    /// Reads the line of a signature, without its end.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let rest = line.strip_prefix(DASH);
        let rest = rest.ok_or(Error::Malformed("a signature does not begin with a dash"))?;
        let (name, base64) =
            rest.split_once(' ').ok_or(Error::Malformed("a signature has no key name"))?;
        if !is_name(name) {
            return Err(Error::Malformed("the name of a key has spaces, or is empty"));
        }
        let bytes = BASE64.decode(base64).ok();
        let bytes = bytes.ok_or(Error::Malformed("a signature is no base64"))?;
        let (id, bytes) =
            bytes.split_first_chunk().ok_or(Error::Malformed("a signature is too short"))?;
        Ok(Signature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id, &*self.bytes].concat();
        write!(f, "{DASH}{} {}", self.name, BASE64.encode(bytes))
    }
}

/// Whether it may be the name of a key (signed-note, Format).
fn is_name(name: &str) -> bool {
    let is_other = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(is_other)
}

/// What a key's signatures say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text as it stands: type 0x01 of signed-note, which logs use.
    Ed25519,
    /// That a log was seen growing up to a checkpoint, and when: type 0x04 of signed-note, as
    /// tlog-cosignature describes it, which witnesses use.
    Cosignature,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Ed25519 => 0x01,
            Kind::Cosignature => 0x04,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Kind::Ed25519, Kind::Cosignature].into_iter().find(|kind| kind.byte() == byte)
    }

    /// What is signed of a text, at a time.
    fn message(self, text: &str, time: u64) -> Vec<u8> {
        match self {
            Kind::Ed25519 => text.as_bytes().to_vec(),
            Kind::Cosignature => format!("cosignature/v1\ntime {time}\n{text}").into_bytes(),
        }
    }
}

/// A key that checks signatures. It is shown as a `vkey`, for others to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    kind: Kind,
    key: VerifyingKey,
}

impl Verifier {
    /// Reads a `vkey`: name, ID in hexadecimal, and base64 of type and key, with `+` between them.
    ///
    /// # Errors
    /// It is none, or a key under which anybody can sign.
    pub fn parse(vkey: &str) -> Result<Self, Error> {
        let (name, kind, key) = parse_key(vkey)?;
        let key = VerifyingKey::from_bytes(&key).ok().filter(|key| !key.is_weak());
        let key = key.ok_or(Error::Key("it is no public key of Ed25519"))?;
        let verifier = Verifier { name: name.to_owned(), kind, key };
        if verifier.to_string() != vkey {
            return Err(Error::Key("its ID is another key's"));
        }
        Ok(verifier)
    }

    /// The key's name; of a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures say.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The key itself (RFC 8032 §5.1.5).
    pub fn key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The key's ID: the first bytes of SHA-256(name ‖ newline ‖ type ‖ key).
    pub fn id(&self) -> [u8; 4] {
        let digest = Sha256::new().chain_update(&self.name).chain_update([b'\n', self.kind.byte()]);
        let digest: [u8; 32] = digest.chain_update(self.key.as_bytes()).finalize().into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// Checks a signature, and returns the time that it says.
    fn check(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
        let forged = || Error::Forged(self.name.clone());
        let (time, bytes) = match self.kind {
            Kind::Ed25519 => (None, signature),
            Kind::Cosignature => {
                let (time, bytes) = signature.split_first_chunk().ok_or_else(forged)?;
                (Some(u64::from_be_bytes(*time)), bytes)
            }
        };
        // It must not exceed 2^63 - 1 (tlog-cosignature, Format).
        let is_time = time.is_none_or(|time| time >> 63 == 0);
        let signature = Ed25519::from_slice(bytes).ok().filter(|_| is_time).ok_or_else(forged)?;
        let message = self.kind.message(text, time.unwrap_or_default());
        self.key.verify_strict(&message, &signature).map_err(|_| forged())?;
        Ok(time)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_key(&self.name, self.id(), self.kind, self.key.as_bytes()))
    }
}

/// A key that signs. Only [`to_secret`](Self::to_secret) shows it.
#[derive(Clone)]
pub struct Signer {
    verifier: Verifier,
    key: SigningKey,
}

impl Signer {
    /// The key that is made of 32 secret random bytes (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// The name is empty, or has spaces or `+` in it.
    pub fn new(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::Key("its name is empty, or has spaces or `+` in it"));
        }
        let key = SigningKey::from_bytes(seed);
        let verifier = Verifier { name: name.to_owned(), kind, key: key.verifying_key() };
        Ok(Signer { verifier, key })
    }

    /// Reads what [`to_secret`](Self::to_secret) gave.
    ///
    /// # Errors
    /// It is no such key.
    pub fn parse(secret: &str) -> Result<Self, Error> {
        let rest = secret.strip_prefix(PRIVATE);
        let (name, kind, seed) = parse_key(rest.ok_or(Error::Key("it is no signing key"))?)?;
        let signer = Signer::new(name, kind, &seed)?;
        if signer.to_secret() != secret {
            return Err(Error::Key("its ID is another key's"));
        }
        Ok(signer)
    }

    /// The key, to be kept in a safe place: `PRIVATE+KEY+` and what a `vkey` has, with the seed in
    /// place of the public key. `golang.org/x/mod/sumdb/note` reads it, too.
    pub fn to_secret(&self) -> String {
        let (name, id) = (&self.verifier.name, self.verifier.id());
        format!("{PRIVATE}{}", show_key(name, id, self.verifier.kind, self.key.as_bytes()))
    }

    /// The key that checks what this one signs.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Signs a note's text, at a time in seconds since 1970, which only cosignatures say.
    pub fn sign(&self, text: &str, time: u64) -> Signature {
        let kind = self.verifier.kind;
        let signed = self.key.sign(&kind.message(text, time)).to_bytes();
        let bytes = match kind {
            Kind::Ed25519 => signed.to_vec(),
            Kind::Cosignature => [&time.to_be_bytes()[..], &signed].concat(),
        };
        Signature { name: self.verifier.name.clone(), id: self.verifier.id(), bytes }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// A key's name, ID in hexadecimal, and base64 of type and key.
fn show_key(name: &str, id: [u8; 4], kind: Kind, key: &[u8; 32]) -> String {
    let bytes = [&[kind.byte()], &key[..]].concat();
    format!("{name}+{:08x}+{}", u32::from_be_bytes(id), BASE64.encode(bytes))
}

/// Takes [`show_key`]'s text apart; whether the ID is right is left to others.
fn parse_key(text: &str) -> Result<(&str, Kind, [u8; 32]), Error> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(_), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Key("it is not name+ID+base64"));
    };
    if !is_name(name) {
        return Err(Error::Key("its name is empty, or has spaces"));
    }
    let bytes = BASE64.decode(base64).map_err(|_| Error::Key("its third part is no base64"))?;
    let (kind, key) = bytes.split_first().ok_or(Error::Key("it is empty"))?;
    let kind = Kind::of(*kind).ok_or(Error::Key("it is neither Ed25519 nor a cosigner's"))?;
    let key = key.try_into().map_err(|_| Error::Key("it is not 32 bytes long"))?;
    Ok((name, kind, key))
}

#[cfg(test)]
mod tests;
