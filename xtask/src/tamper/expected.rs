//! What each judge has to find of each attack, and what he honestly does not.
//!
//! Without a key, `verify` has to find everything but two things. Events behind the last
//! checkpoint, in the write-ahead log, are what a crash leaves, too: it counts them as not signed.
//! And a record that was put back as a whole is a true record of yesterday; only who remembers more
//! than the folder does can tell: whoever holds a proof or a checkpoint, and a witness.
//!
//! With the key everything can be signed anew. `verify` still finds what contradicts itself: a
//! column that its event does not give, a mark that its two events do not, a body that no event
//! has, a statement of a table's log about a file, a log of the policy that is gone. Of the rest,
//! what changes a leaf is found by whoever holds an old proof or an old checkpoint.

use anyhow::ensure;

use super::judge::{Verdict, Verdicts};

/// What a forger can lay hands on, and does not leave as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hand {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
}

pub(super) const HANDS: [Hand; 5] = [
    Hand { name: "keyless", title: "no key; files, Delta log, seals, edges and tiles are forged" },
    Hand { name: "quiet", title: "no key; the same, and edges and tiles are left as they were" },
    Hand { name: "bare", title: "no key; checkpoints, edges and tiles are taken away" },
    Hand {
        name: "own",
        title: "no key; all is signed by keys that the forger puts in their place",
    },
    Hand { name: "key", title: "the key in the folder; all is signed by it" },
];

/// For each hand, by judge: verify, start, verify then, old proof, old checkpoint. `F`: he has to
/// find it, if he is asked; `-`: he does not; `?`: either.
const EXPECTED: [(&str, [&str; 5]); 17] = [
    ("username", ["FFFFF", "F?FFF", "FFFFF", "F-FFF", "---FF"]),
    ("derived", ["F?F--", "F?F--", "FFFF-", "F-F--", "F-F--"]),
    ("duplicate", ["F?F--", "F?F--", "FFFF-", "F-F--", "F-F--"]),
    // That an event is marked is in no leaf; that it is not contradicts nothing.
    ("conflict", ["F?F--", "F?F--", "FFFF-", "F-F--", "-----"]),
    ("bodies", ["FFFFF", "F?FFF", "FFFFF", "F-FFF", "---FF"]),
    ("stray", ["F?F--", "F?F--", "FFFF-", "F-F--", "F-F--"]),
    ("rows", ["FFFFF", "F?FFF", "FFFFF", "F-FFF", "---FF"]),
    ("row", ["FFFFF", "FFFFF", "FFFFF", "F-FFF", "---FF"]),
    ("file", ["FFFFF", "FFFFF", "FFFFF", "F-FFF", "---FF"]),
    ("segment", ["FFFFF", "FFFFF", "FFFFF", "F-FFF", "---FF"]),
    ("cluster", ["F?FFF", "F?FFF", "FFFFF", "F?FFF", "F?FFF"]),
    ("seal", ["FFF-F", "F?F-F", "FFFFF", "F-F-F", "----F"]),
    // A start that compacts writes the file anew, and what is said of it is true again.
    ("statistics", ["F??--", "F??--", "FFFF-", "F?F--", "F??--"]),
    // Made anew by a start that compacts, where the file is as it was sealed.
    ("index", ["F?F--", "F?F--", "FFFF-", "F-F--", "F-?--"]),
    ("tail", ["-----", "-----", "FFFF-", "F-F--", "-----"]),
    ("tables", ["FFFFF", "FFFFF", "FFFFF", "F-FFF", "---FF"]),
    ("yesterday", ["---FF", "---FF", "FFFFF", "F-FFF", "---FF"]),
];

const JUDGES: [&str; 5] =
    ["`verify`", "a start", "`verify` after a start", "an old proof", "an old checkpoint"];

/// Fails unless these are the attacks that the table is about.
pub(super) fn check(attacks: &[String]) -> anyhow::Result<()> {
    let is_same = attacks.iter().eq(EXPECTED.iter().map(|(name, _)| name));
    ensure!(is_same, "the forger knows other attacks than are expected: {}", attacks.join(", "));
    Ok(())
}

/// What is not as expected.
pub(super) fn compare(attack: &str, hand: Hand, verdicts: &Verdicts) -> Vec<String> {
    let row = EXPECTED.iter().find(|(name, _)| *name == attack);
    let at = HANDS.iter().position(|other| *other == hand);
    let expected = row.zip(at).and_then(|((_, hands), at)| hands.get(at)).copied();
    let judged = expected.unwrap_or_default().chars().zip(verdicts.all()).zip(JUDGES);
    let faults = judged.filter_map(|((expected, verdict), judge)| match (expected, verdict) {
        ('F', Verdict::Missed) => Some(format!("{judge} has to find it, and does not")),
        ('-', Verdict::Found(said)) => Some(format!("{judge} finds it, which is new: {said}")),
        _ => None,
    });
    faults.map(|fault| format!("{attack}, {}: {fault}", hand.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verify: Verdict, after: Verdict) -> Verdicts {
        let found = || Verdict::Found("it".into());
        Verdicts { verify, start: found(), after, proof: found(), checkpoint: found() }
    }

    #[test]
    fn what_is_not_found_and_what_is_found_anew_are_faults() {
        let [keyless, .., key] = HANDS;
        let good = found(Verdict::Found("it".into()), Verdict::NotAsked);
        assert_eq!(compare("username", keyless, &good), Vec::<String>::new());
        let missed = found(Verdict::Missed, Verdict::NotAsked);
        let fault = "username, keyless: `verify` has to find it, and does not";
        assert_eq!(compare("username", keyless, &missed), [fault]);
        let missed = found(Verdict::Missed, Verdict::Missed);
        let fault = "username, key: a start finds it, which is new: it";
        assert_eq!(compare("username", key, &missed), [fault]);
    }

    #[test]
    fn everything_is_expected_of_every_judge() {
        for (name, hands) in EXPECTED {
            let is_known = |c| ['F', '-', '?'].contains(&c);
            assert!(hands.iter().all(|row| row.len() == 5 && row.chars().all(is_known)), "{name}");
            // What a forger without a key does is found, by `verify` at the latest.
            let [keyless, quiet, bare, own, _] = hands;
            let is_honest = ["tail", "yesterday"].contains(&name);
            for row in [keyless, quiet, bare, own] {
                let is_left = [keyless, quiet].contains(&row) && is_honest;
                assert!(row.starts_with('F') != is_left, "{name}: {row}");
            }
        }
    }
}
