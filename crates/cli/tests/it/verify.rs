//! Proofs checked from files: what holds, and what does not, with the exit code that says so.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use whodid_tlog::note::Kind;
use whodid_tlog::proof::Head;
use whodid_tlog::{Checkpoint, Hash, ProofFile, Signer};

use crate::support::{Ran, whodid};

/// A log of two entries, its proof of the second, and a policy that asks for a witness.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        let log = Signer::new("log.example/a", Kind::Ed25519, &[1; 32]).unwrap();
        let witness = Signer::new("witness.example/b", Kind::Cosignature, &[2; 32]).unwrap();
        let (first, second) = (Hash::of_leaf(b"first"), Hash::of_leaf(b"second"));
        let head = Head { size: 2, root: Hash::of_node(&first, &second) };
        let mut checkpoint = Checkpoint::new("log.example/a", head).sign(&log, 0).unwrap();
        checkpoint.add(witness.sign(checkpoint.text(), 1_790_000_000));
        let proof = ProofFile { extra: None, index: 1, path: vec![first], checkpoint };
        files.write("proof", &proof.to_string());
        files.write("entry", "second");
        let (log, witness) = (log.verifier(), witness.verifier());
        files.write("policy", &format!("log {log}\nwitness w {witness}\nquorum w\n"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Puts a text in the place of another in a file.
    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{text}");
        self.write(name, &text.replacen(from, to, 1));
    }

    fn verify(&self) -> Ran {
        let mut command = whodid();
        command.arg("verify").arg(self.path("proof"));
        command.arg("--entry").arg(self.path("entry")).arg("--policy").arg(self.path("policy"));
        Ran::of(command.output().unwrap())
    }
}

#[test]
fn a_proof_that_holds() {
    let out = Files::new().verify().ok();
    assert_eq!(out, "verified: leaf 1 of log.example/a, in its tree of 2 leaves\n");
}

#[test]
fn what_does_not_hold() {
    for (name, from, to, code, says) in [
        ("entry", "second", "first", 1, "the entry is not in the log: it leads to another root"),
        ("proof", "index 1", "index 0", 1, "it leads to another root"),
        ("proof", "index 1", "index 2", 1, "there is no leaf"),
        ("proof", "\n2\n", "\n3\n", 1, "no log of the policy has signed it"),
        ("proof", "witness.example/b", "witness.example/c", 1, "no quorum of the policy: w"),
        ("proof", "@v1", "@v2", 1, "no proof file: its first line is another"),
        ("policy", "log.example/a", "log.example/b", 2, "line 1 of the policy: no key"),
        ("policy", "quorum w", "quorum v", 2, "line 3 of the policy: nothing above is called v"),
    ] {
        let files = Files::new();
        files.replace(name, from, to);
        let ran = files.verify();
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{name}: {}", ran.err);
        assert!(ran.err.contains(says), "{name} {to}: {}", ran.err);
    }
}

#[test]
fn files_that_cannot_be_read() {
    let files = Files::new();
    files.write("entry", &"x".repeat(65_536));
    let ran = files.verify();
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("entry is longer than 65535 bytes"), "{}", ran.err);
    fs::remove_file(files.path("entry")).unwrap();
    assert_eq!(files.verify().code, 2);
}
