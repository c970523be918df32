//! What a witness answers, case by case of tlog-witness.

use super::*;
use crate::testlog::{Log, ORIGIN, key};

fn request(log: &Log, old: u64, new: u64) -> AddCheckpoint {
    let path = if old < new { log.consistency(old, new) } else { Vec::new() };
    AddCheckpoint { old, path, checkpoint: log.checkpoint(new) }
}

#[test]
fn a_log_that_grows_is_cosigned() {
    let (log, key) = (Log::of(300), key());
    let mut last = None;
    for size in [0, 0, 1, 1, 5, 64, 257, 300] {
        let request = request(&log, last.map_or(0, |last: Head| last.size), size);
        let read = AddCheckpoint::parse(&request.to_string()).unwrap();
        assert_eq!((&read, read.origin().unwrap().as_str()), (&request, ORIGIN));
        last = Some(read.check(last, key.verifier()).unwrap());
        assert_eq!(last, Some(log.head(size)));
    }
}

#[test]
fn what_is_refused() {
    let (log, key) = (Log::of(300), key());
    let last = Some(log.head(100));
    let forked = Some(Head { root: Hash::EMPTY, ..log.head(100) });
    let good = request(&log, 100, 300);
    let mut harmed = good.clone();
    harmed.path[0].0[0] ^= 1;
    let mut short = good.clone();
    short.path.pop();
    let mut unsigned = good.clone();
    unsigned.checkpoint =
        Note::parse(&good.checkpoint.to_string().replacen("300", "301", 1)).unwrap();
    let mut needless = request(&log, 0, 300);
    needless.path = good.path.clone();
    for (what, request, last, status) in [
        ("nothing was seen yet", &good, None, 409),
        ("an older size", &request(&log, 50, 300), last, 409),
        ("a newer size", &request(&log, 200, 300), last, 409),
        ("rolled back", &request(&log, 0, 50), last, 409),
        (
            "rolled back, and said so",
            &AddCheckpoint { old: 100, ..request(&log, 0, 50) },
            last,
            400,
        ),
        ("another tree of this size", &request(&log, 100, 100), forked, 409),
        ("another tree below", &good, forked, 422),
        ("a hash is wrong", &harmed, last, 422),
        ("a hash is missing", &short, last, 422),
        ("a proof from nothing", &needless, None, 422),
        ("the signature is of another size", &unsigned, last, 403),
    ] {
        assert_eq!(request.check(last, key.verifier()).unwrap_err().status(), status, "{what}");
    }
    assert_eq!(good.check(None, key.verifier()), Err(Refusal::Size(0)));
    assert_eq!(good.check(last, key.verifier()), Ok(log.head(300)));
    let other = crate::Signer::new(ORIGIN, note::Kind::Ed25519, &[7; 32]).unwrap();
    assert_eq!(good.check(last, other.verifier()).unwrap_err().status(), 403);
}

#[test]
fn what_is_no_request() {
    let good = request(&Log::of(9), 4, 9).to_string();
    let many = format!("old 4\n{}", format!("{}\n", Hash::EMPTY).repeat(64));
    for bad in [
        String::new(),
        good.replace("old 4", "old 04"),
        good.replace("old 4", "new 4"),
        good.replace("old 4\n", "old 4\nA\n"),
        good.replace("old 4\n", &many),
        good.split_once("\n\n").unwrap().0.to_owned(),
        good.trim_end().to_owned(),
    ] {
        assert_eq!(AddCheckpoint::parse(&bad).unwrap_err().status(), 400, "{bad}");
    }
}
