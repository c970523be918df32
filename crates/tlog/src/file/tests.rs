//! Proof files: whatever is changed in one, in its entry or in its key, it proves nothing more.

use proptest::prelude::*;

use super::*;
use crate::testlog::{Log, entry, key, witness};

#[test]
fn every_bit_of_a_proof_file_matters() {
    let mut flips = 0;
    for (index, size) in [(0, 1), (254, 255), (255, 256), (256, 257), (300, 1_365)] {
        let file = Log::of(size).file(index, size).to_string();
        let (key, entry) = (key(), entry(index));
        let verify = |text: &str, entry: &str| {
            ProofFile::parse(text).and_then(|file| file.verify(entry.as_bytes(), key.verifier()))
        };
        assert_eq!(verify(&file, &entry).unwrap().head.size, size);
        assert!(verify(&file, &format!("{entry}0")).is_err());
        for at in 0..file.len() * 8 {
            let mut bytes = file.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            flips += 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(verify(&text, &entry).is_err(), "bit {at} of {size}: {text}");
        }
    }
    assert!(flips > 10_000, "{flips}");
}

#[test]
fn another_key_proves_nothing() {
    let file = Log::of(9).file(4, 9);
    let verify = |log: &Verifier| file.verify(entry(4).as_bytes(), log).map(drop);
    assert_eq!(verify(key().verifier()), Ok(()));
    let seeds = [("log.example/test", [2; 32]), ("log.example/other", [1; 32])];
    for (name, seed) in seeds {
        let other = crate::Signer::new(name, note::Kind::Ed25519, &seed).unwrap();
        assert!(verify(other.verifier()).is_err(), "{name}");
    }
    // A cosigner that goes by the log's name is not the log.
    let cosigner =
        crate::Signer::new("log.example/test", note::Kind::Cosignature, &[3; 32]).unwrap();
    let mut signed = file.clone();
    signed.checkpoint.add(cosigner.sign(signed.checkpoint.text(), 1));
    assert!(signed.verify(entry(4).as_bytes(), cosigner.verifier()).is_err());
    signed.checkpoint.add(witness(1).sign("forged\n", 1));
    assert!(signed.verify(entry(4).as_bytes(), key().verifier()).is_ok());
}

#[test]
fn what_is_no_proof_file() {
    let good = Log::of(9).file(4, 9).to_string();
    let with_extra = good.replace("index 4", "extra AAAA\nindex 4");
    assert_eq!(ProofFile::parse(&with_extra).unwrap().extra, Some(vec![0; 3]));
    assert_eq!(ProofFile::parse(&with_extra).unwrap().to_string(), with_extra);
    let many = format!("index 4\n{}", format!("{}\n", Hash::EMPTY).repeat(64));
    for (bad, why) in [
        (String::new(), "it ends too early"),
        (good.replace("@v1", "@v2"), "its first line is another"),
        (good.replace("index 4", "index 04"), "it has no index"),
        (good.replace("index 4", "index -4"), "it has no index"),
        (good.replace("index 4\n", ""), "it has no index"),
        (good.replace("index 4", "extra A\nindex 4"), "its extra data is no base64"),
        (good.replace("index 4", "index 4\nA"), "a line is no hash, or one too many"),
        (good.replace("index 4\n", &many), "a line is no hash, or one too many"),
        (good.split_once("\n\n").unwrap().0.to_owned(), "it ends too early"),
    ] {
        assert_eq!(ProofFile::parse(&bad), Err(Error::Malformed(why)), "{bad}");
    }
}

#[test]
fn what_is_no_checkpoint() {
    let good = Checkpoint::new("log.example/test", Log::of(9).head(9)).to_string();
    let with_lines = format!("{good}more\nlines\n");
    assert_eq!(Checkpoint::parse(&with_lines).unwrap().extension, "more\nlines\n");
    assert_eq!(Checkpoint::parse(&with_lines).unwrap().to_string(), with_lines);
    for bad in [
        String::new(),
        "log.example/test\n9\n".to_owned(),
        good.replace("log.example/test", ""),
        good.replace("\n9\n", "\n09\n"),
        good.replace("\n9\n", "\n\n"),
        good.replace('=', ""),
        format!("{good}\n"),
        format!("{good}more\n\nlines\n"),
        format!("{good}more"),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_file_reads_back(
        extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..99)),
        index: u64,
        path in prop::collection::vec(any::<[u8; 32]>(), 0..=63),
    ) {
        let path = path.into_iter().map(Hash).collect();
        let file = ProofFile { extra, index, path, checkpoint: Log::of(1).checkpoint(1) };
        prop_assert_eq!(ProofFile::parse(&file.to_string()), Ok(file));
    }
}
