//! Notes against one that Go signed, and everything that is not quite a note.

use proptest::prelude::*;

use super::*;
use crate::testlog::{key, witness};

// The example of golang.org/x/mod/sumdb/note: its keys, and the note that they made.
const GO_SECRET: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
     then you don't know what your problem is.\n\n\
     \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

#[test]
fn go_signs_the_same() {
    let signer = Signer::parse(GO_SECRET).unwrap();
    assert_eq!(signer.verifier().to_string(), GO_VKEY);
    let note = Note::parse(GO_NOTE).unwrap();
    assert_eq!(note.verify(&Verifier::parse(GO_VKEY).unwrap()), Ok(None));
    let mut own = Note::new(note.text()).unwrap();
    own.add(signer.sign(own.text(), 0));
    assert_eq!(own.to_string(), GO_NOTE);
}

#[test]
fn cosignatures_say_when() {
    let (log, witness) = (key(), witness(1));
    let mut note = Note::new("log.example/test\n1\nx\n").unwrap();
    note.add(log.sign(note.text(), 7));
    note.add(witness.sign(note.text(), 1_790_000_000));
    let note = Note::parse(&note.to_string()).unwrap();
    assert_eq!(note.verify(log.verifier()), Ok(None));
    assert_eq!(note.verify(witness.verifier()), Ok(Some(1_790_000_000)));
    // Another time, which the key has not signed; and one that no cosignature may have.
    for bytes in [1u64.to_be_bytes(), u64::MAX.to_be_bytes()] {
        let mut other = note.clone();
        other.signatures[1].bytes[..8].copy_from_slice(&bytes);
        let forged = Err(Error::Forged("witness.example/1".to_owned()));
        assert_eq!(other.verify(witness.verifier()), forged);
    }
}

#[test]
fn signatures_of_others_are_ignored_and_wrong_ones_are_not() {
    let (log, other) = (key(), witness(2));
    let mut note = Note::new("text\n").unwrap();
    assert_eq!(note.verify(log.verifier()), Err(Error::Unsigned("log.example/test".into())));
    // The same name with another key is another key.
    let same_name = Signer::new("log.example/test", Kind::Ed25519, &[9; 32]).unwrap();
    note.add(same_name.sign(note.text(), 0));
    note.add(other.sign("other text\n", 0));
    assert_eq!(note.verify(log.verifier()), Err(Error::Unsigned("log.example/test".into())));
    note.add(log.sign(note.text(), 0));
    note.add(log.sign(note.text(), 0));
    assert_eq!((note.signatures().len(), note.verify(log.verifier())), (3, Ok(None)));
    note.add(log.sign("other text\n", 0));
    assert_eq!(note.verify(log.verifier()), Err(Error::Forged("log.example/test".into())));
}

#[test]
fn what_is_no_note() {
    let signature = "\u{2014} a AAAAAAA=\n";
    for (note, why) in [
        (String::new(), "it has no empty line"),
        ("text\n".to_owned(), "it has no empty line"),
        ("text\n\n".to_owned(), "it has no signature"),
        (format!("text\n\n{}", signature.trim_end()), "it does not end in a newline"),
        (format!("te\txt\n\n{signature}"), "its text has control characters"),
        (format!("te\rxt\n\n{signature}"), "its text has control characters"),
        ("text\n\n- a AAAAAAA=\n".to_owned(), "a signature does not begin with a dash"),
        ("text\n\n\u{2014} a\n".to_owned(), "a signature has no key name"),
        ("text\n\n\u{2014}  AAAAAAA=\n".to_owned(), "the name of a key has spaces, or is empty"),
        ("text\n\n\u{2014} a+b AAAAAAA=\n".to_owned(), "the name of a key has spaces, or is empty"),
        (
            "text\n\n\u{2014} a\u{a0}b AAAAAAA=\n".to_owned(),
            "the name of a key has spaces, or is empty",
        ),
        ("text\n\n\u{2014} a AAAAAAB=\n".to_owned(), "a signature is no base64"),
        ("text\n\n\u{2014} a AAAAAAA\n".to_owned(), "a signature is no base64"),
        ("text\n\n\u{2014} a AAA=\n".to_owned(), "a signature is too short"),
        (format!("text\n\n{}", signature.repeat(101)), "it has too many signatures"),
        (format!("{}\n\n{signature}", "x".repeat(1 << 20)), "it is longer than 1 MiB"),
    ] {
        assert_eq!(Note::parse(&note), Err(Error::Malformed(why)), "{note:.40?}");
    }
    let note = format!("text\n\nmore\n\n{}", signature.repeat(16));
    assert_eq!(Note::parse(&note).unwrap().text(), "text\n\nmore\n");
    assert_eq!(Note::parse(&note).unwrap().to_string(), note);
    assert!(Note::new("text").is_err());
}

#[test]
fn what_is_no_key() {
    let weak = show_key("a", [0; 4], Kind::Ed25519, &[0; 32]);
    for vkey in [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=",
        "PeterNeumann+c74f20a3+",
        &weak,
        GO_SECRET,
    ] {
        assert!(Verifier::parse(vkey).is_err(), "{vkey}");
        assert!(Signer::parse(vkey).is_err() || vkey == GO_SECRET, "{vkey}");
    }
    assert!(Signer::new("", Kind::Ed25519, &[1; 32]).is_err());
    assert!(Signer::new("a b", Kind::Ed25519, &[1; 32]).is_err());
    assert!(!format!("{:?}", key()).contains(&key().to_secret()));
}

#[test]
fn every_bit_of_a_note_matters() {
    let verifier = Verifier::parse(GO_VKEY).unwrap();
    let mut flips = 0;
    for at in 0..GO_NOTE.len() * 8 {
        let mut bytes = GO_NOTE.as_bytes().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        flips += 1;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let opened = Note::parse(&text).and_then(|note| note.verify(&verifier).map(|_| note));
        assert!(opened.is_err(), "bit {at}: {text:?}");
    }
    assert!(flips > 1_600, "{flips}");
}

proptest! {
    #[test]
    fn any_note_reads_back(
        text in "([ -~é—]{0,9}\n){1,5}",
        signatures in prop::collection::vec(
            ("[a-z./—]{1,9}", any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..80)),
            1..9,
        ),
    ) {
        let mut note = Note::new(text).unwrap();
        for (name, id, bytes) in signatures {
            note.add(Signature { name, id, bytes });
        }
        prop_assert_eq!(Note::parse(&note.to_string()), Ok(note));
    }

    #[test]
    fn any_text_is_a_note_or_none(text in "([ -~—]{0,9}\n{1,2}){0,4}— [a-z]{0,3} [A-Za-z0-9+/]{0,9}={0,2}\n?") {
        if let Ok(note) = Note::parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn any_key_reads_back(seed: [u8; 32], name in "[a-z./]{1,20}", is_cosigner: bool) {
        let kind = if is_cosigner { Kind::Cosignature } else { Kind::Ed25519 };
        let signer = Signer::new(&name, kind, &seed).unwrap();
        prop_assert_eq!(&Verifier::parse(&signer.verifier().to_string()).unwrap(), signer.verifier());
        let again = Signer::parse(&signer.to_secret()).unwrap();
        prop_assert_eq!(again.verifier(), signer.verifier());
    }
}
