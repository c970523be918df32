//! Flips without effect: the few that have to be accepted, each by a rule, and by whom. All others
//! are refused, which is left to `judge`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use whodid_tlog::note::Signature;
use whodid_tlog::{Hash, Note, ProofFile};

use super::judge::Oracle;
use super::log::Keys;
use super::request::Request;

/// Base64 as Go's decoder reads it: whatever the bits are that no byte needs.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Why a flip has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It is in the bits of base64 that no byte needs, in a hash of the proof.
    SpareInHash,
    /// Likewise, in a signature: its text is signed, but not how the signature is written.
    SpareInSignature,
    /// It is in what only stands beside the proof: the `extra` line, or the signature of somebody
    /// whom nobody has asked for.
    Beside,
}

impl Rule {
    /// The rule that a flip falls under, if any.
    pub(super) fn of(before: &Request, after: &Request, keys: &Keys) -> Option<Rule> {
        let (old, new) = (text(before)?, text(after)?);
        if old == new {
            return None;
        }
        let is_proof = matches!(before, Request::Proof { .. });
        let (plain, rule) =
            respelt(old, new, is_proof).unwrap_or_else(|| (new.to_owned(), Rule::Beside));
        (Vouched::read(old, keys)? == Vouched::read(&plain, keys)?).then_some(rule)
    }

    /// Whether an oracle accepts what falls under the rule.
    pub(super) fn is_accepted_by(self, oracle: Oracle) -> bool {
        match (self, oracle) {
            // Whatever it reads, it reads in one spelling only.
            (Rule::SpareInHash | Rule::SpareInSignature, Oracle::Whodid) => false,
            // Go's decoder is lax; proofbundle's is where it reads notes, as the reference does.
            (Rule::SpareInHash, oracle) => {
                matches!(oracle, Oracle::XMod | Oracle::TransparencyDev)
            }
            (Rule::SpareInSignature | Rule::Beside, _) => true,
        }
    }
}

/// What has lines, and can be spelt otherwise.
fn text(request: &Request) -> Option<&str> {
    match request {
        Request::Proof { file: bytes, .. } | Request::Checkpoint { note: bytes } => {
            std::str::from_utf8(bytes).ok()
        }
        _ => None,
    }
}

/// The first two rules: if the one line that differs ends in base64 with spare bits, the text with
/// these taken back.
fn respelt(old: &str, new: &str, is_proof: bool) -> Option<(String, Rule)> {
    let differs = |(old, new)| old != new;
    let at = old.lines().zip(new.lines()).position(differs)?;
    let line = new.lines().nth(at)?;
    // What is behind it is the checkpoint, whose text is signed as it is spelt.
    let is_in_proof = is_proof && old.lines().take(at).all(|line| !line.is_empty());
    let rule = if line.starts_with('\u{2014}') {
        Rule::SpareInSignature
    } else {
        is_in_proof.then_some(Rule::SpareInHash)?
    };
    let word = line.rsplit(' ').next()?;
    let plain = LAX.encode(LAX.decode(word).ok()?);
    // No other line has this word: it is of a hash or a signature.
    (plain != word).then(|| (new.replace(word, &plain), rule))
}

/// What signatures and hashes vouch for in a file, as we read it: all but what stands beside.
#[derive(PartialEq)]
struct Vouched {
    /// Of a proof file.
    place: Option<(u64, Vec<Hash>)>,
    text: String,
    signatures: Vec<Signature>,
}

impl Vouched {
    fn read(text: &str, keys: &Keys) -> Option<Vouched> {
        let proof = ProofFile::parse(text).ok();
        let note = match &proof {
            Some(proof) => proof.checkpoint.clone(),
            None => Note::parse(text).ok()?,
        };
        let is_asked_for = |signature: &&Signature| {
            let mut asked = keys.witnesses().chain([keys.log()]);
            asked.any(|key| key.name() == signature.name && key.id() == signature.id)
        };
        Some(Vouched {
            place: proof.map(|proof| (proof.index, proof.path)),
            text: note.text().to_owned(),
            signatures: note.signatures().iter().filter(is_asked_for).cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spare_bits_are_taken_back() {
        let file = "x\nindex 7\nAAA=\n\nlog\n9\nAAA=\n\n\u{2014} log AAAAAA==\n";
        let flips = [
            (3, "x\nindex 7\nAAB=", Some(Rule::SpareInHash)),
            (3, "x\nindex 7\nABA=", None),
            (3, "x\nindex 6\nAAA=", None),
            (7, "log\n9\nAAB=", None),
            (9, "\u{2014} log AAAAAP==", Some(Rule::SpareInSignature)),
            (9, "\u{2014} log AAAAAB=A", None),
        ];
        for (lines, end, rule) in flips {
            let old: Vec<&str> = file.lines().collect();
            let begin = lines - end.lines().count();
            let new = [&old[..begin], &end.lines().collect::<Vec<_>>(), &old[lines..]].concat();
            let new = new.join("\n") + "\n";
            let found = respelt(file, &new, true);
            assert_eq!(found, rule.map(|rule| (file.to_owned(), rule)), "{new}");
        }
    }
}
