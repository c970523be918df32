//! What must hold of any text taken for a file of a transparency log: what is read is shown as it
//! was, so that nothing has two spellings, and judging it ends.

use whodid_tlog::proof::Head;
use whodid_tlog::witness::AddCheckpoint;
use whodid_tlog::{Checkpoint, Hash, Note, Policy, ProofFile, Signer, Tile, Verifier, tile};

/// The example of golang.org/x/mod/sumdb/note.
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

/// Checks one input, and returns whether it is any of them.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let bundle = tile::entries(bytes);
    if let Some(entries) = &bundle {
        assert_eq!(tile::bundle(entries.iter().copied()).as_deref(), Some(bytes));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return bundle.is_some() };
    let is_shown = |shown: Option<String>| {
        shown.is_some_and(|shown| {
            assert_eq!(shown, text);
            true
        })
    };
    let log = Verifier::parse(VKEY).expect("a key");
    let note = Note::parse(text).ok();
    let file = ProofFile::parse(text).ok();
    let request = AddCheckpoint::parse(text).ok();
    // Nobody has the key, so nothing is signed by it, or nothing of it can have been changed.
    if let Some(file) = &file {
        assert!(file.verify(b"entry", &log).is_err());
    }
    if let Some(request) = &request {
        assert!(request.check(None, &log).is_err());
        let last = Head { size: request.old, root: Hash::EMPTY };
        assert!(request.check(Some(last), &log).is_err());
    }
    let policy = Policy::parse(text).ok();
    if let (Some(policy), Some(note)) = (&policy, &note) {
        assert!(policy.open(note).is_err());
    }
    let read = [
        is_shown(note.map(|note| note.to_string())),
        is_shown(file.map(|file| file.to_string())),
        is_shown(request.map(|request| request.to_string())),
        is_shown(Checkpoint::parse(text).ok().map(|checkpoint| checkpoint.to_string())),
        is_shown(Verifier::parse(text).ok().map(|verifier| verifier.to_string())),
        is_shown(Signer::parse(text).ok().map(|signer| signer.to_secret())),
        is_shown(Tile::parse(text).map(|tile| tile.to_string())),
        is_shown(tile::parse_bundle_path(text).map(|(i, width)| tile::bundle_path(i, width))),
    ];
    policy.is_some() || bundle.is_some() || read.contains(&true)
}
