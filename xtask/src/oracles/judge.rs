//! Compares what oracles say with what they have to say, and counts it: whatever is good is
//! accepted by every oracle that can read it, and whatever had a byte flipped is refused, but for
//! the flips that `rule` lists.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::ensure;

use super::Break;
use super::cases::Case;
use super::request::Check;
use super::rule::Rule;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oracle {
    /// `whodid_tlog` itself, which has to be at least as strict as the others.
    Whodid,
    /// The crate `ct-merkle`.
    CtMerkle,
    /// `golang.org/x/mod/sumdb`.
    XMod,
    /// `github.com/transparency-dev`, `merkle` and `formats`.
    TransparencyDev,
    /// From PyPI.
    Proofbundle,
    /// From PyPI.
    Pymerkle,
}

use Oracle::{CtMerkle, Proofbundle, Pymerkle, TransparencyDev, Whodid, XMod};

/// All of them, with the verdicts below which something was not asked: accepted, and refused.
const ORACLES: [(Oracle, u64, u64); 6] = [
    (Whodid, 400, 45_000),
    (CtMerkle, 280, 21_000),
    (XMod, 2_200, 48_000),
    (TransparencyDev, 430, 46_000),
    (Proofbundle, 430, 46_000),
    (Pymerkle, 280, 30_000),
];

/// With every so manyth verdict or flip a negative control does its harm.
pub(super) const BREAK_EVERY: usize = 10_000;

/// More faults than this are only counted.
const FAULTS_SHOWN: usize = 20;

impl Oracle {
    pub(super) fn name(self) -> &'static str {
        match self {
            Whodid => "whodid",
            CtMerkle => "ct-merkle",
            XMod => "x/mod",
            TransparencyDev => "transparency-dev",
            Proofbundle => "proofbundle",
            Pymerkle => "pymerkle",
        }
    }

    /// What it can read.
    fn answers(self, check: Check) -> bool {
        match self {
            Whodid => !matches!(check, Check::Tiles | Check::Root),
            CtMerkle => matches!(check, Check::Inclusion | Check::Consistency | Check::Root),
            XMod => true,
            TransparencyDev | Proofbundle => check != Check::Tiles,
            Pymerkle => matches!(check, Check::Proof | Check::Inclusion | Check::Root),
        }
    }
}

/// What an oracle said.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) oracle: String,
    pub(super) accepted: bool,
    pub(super) why: String,
}

/// What was said, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<Oracle, Count>,
    faults: Vec<String>,
    faults_more: u64,
    verdicts: usize,
    broken: Option<Break>,
}

#[derive(Debug, Default)]
struct Count {
    /// Good, and accepted.
    accepted: u64,
    /// Flipped, and refused.
    refused: u64,
    /// Flipped, and accepted, by rule.
    spare: u64,
    beside: u64,
}

impl Tally {
    pub(super) fn new(broken: Option<Break>) -> Tally {
        Tally { broken, ..Tally::default() }
    }

    /// Takes the verdicts on a case from those who were asked together.
    pub(super) fn add(&mut self, case: &Case, asked: &[Oracle], mut verdicts: Vec<Verdict>) {
        for oracle in asked.iter().filter(|oracle| oracle.answers(case.request.check())) {
            let found = verdicts.iter().position(|verdict| verdict.oracle == oracle.name());
            let verdict = found.map(|at| verdicts.swap_remove(at));
            match self.sabotage(verdict) {
                None => self.fault(format!("{} says nothing about {case}", oracle.name())),
                Some(verdict) => self.judge(case, *oracle, &verdict),
            }
        }
        for Verdict { oracle, .. } in verdicts {
            self.fault(format!("{oracle} was not asked about {case}"));
        }
    }

    fn judge(&mut self, case: &Case, oracle: Oracle, verdict: &Verdict) {
        let is_good = case.flip.is_none();
        let is_by_rule = case.rule.is_some_and(|rule| rule.is_accepted_by(oracle));
        if verdict.accepted != (is_good || is_by_rule) {
            let said = if verdict.accepted { "accepts" } else { "refuses" };
            let why = if verdict.accepted { String::new() } else { format!(": {}", verdict.why) };
            return self.fault(format!("{} {said} {case}{why}", oracle.name()));
        }
        let count = self.counts.entry(oracle).or_default();
        *match (verdict.accepted, case.rule) {
            (false, _) => &mut count.refused,
            (true, None) => &mut count.accepted,
            (true, Some(Rule::Beside)) => &mut count.beside,
            (true, Some(Rule::SpareInHash | Rule::SpareInSignature)) => &mut count.spare,
        } += 1;
    }

    /// What negative controls do to a verdict.
    fn sabotage(&mut self, verdict: Option<Verdict>) -> Option<Verdict> {
        self.verdicts += 1;
        let is_hit = self.verdicts.is_multiple_of(BREAK_EVERY);
        match self.broken {
            Some(Break::Lose) if is_hit => None,
            Some(Break::Accept) if is_hit => {
                verdict.map(|verdict| Verdict { accepted: true, ..verdict })
            }
            _ => verdict,
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_SHOWN {
            self.faults.push(fault);
        } else {
            self.faults_more += 1;
        }
    }

    /// Adds what others counted.
    pub(super) fn merge(&mut self, other: Tally) {
        for (oracle, more) in other.counts {
            let count = self.counts.entry(oracle).or_default();
            count.accepted += more.accepted;
            count.refused += more.refused;
            count.spare += more.spare;
            count.beside += more.beside;
        }
        self.faults_more += other.faults_more;
        other.faults.into_iter().for_each(|fault| self.fault(fault));
    }

    /// The counts as a table.
    pub(super) fn table(&self) -> String {
        let mut table = format!(
            "{:18}{:>9}{:>9}{:>14}{:>12}\n",
            "verdicts", "accepted", "refused", "rule: spare", "beside"
        );
        for (oracle, Count { accepted, refused, spare, beside }) in &self.counts {
            let name = oracle.name();
            // Writing into memory does not fail.
            let _written =
                writeln!(table, "{name:18}{accepted:>9}{refused:>9}{spare:>14}{beside:>12}");
        }
        table
    }

    /// Fails unless everybody said what had to be said, often enough.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        for (oracle, accepted_min, refused_min) in ORACLES {
            let (accepted, refused) =
                self.counts.get(&oracle).map_or((0, 0), |count| (count.accepted, count.refused));
            if accepted < accepted_min || refused < refused_min {
                self.fault(format!(
                    "{} has accepted only {accepted} and refused {refused}; at least \
                     {accepted_min} and {refused_min} are expected",
                    oracle.name()
                ));
            }
        }
        let more = match self.faults_more {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        ensure!(self.faults.is_empty(), "wrong verdicts:\n{}{more}", self.faults.join("\n"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracles::request::Request;

    const ASKED: [Oracle; 2] = [XMod, TransparencyDev];

    fn case(flip: Option<(usize, usize)>, rule: Option<Rule>) -> Case {
        let request = Request::Checkpoint { note: Vec::new() };
        Case { request, flip, rule, about: "a checkpoint".into() }
    }

    fn said(accepted: [bool; 2]) -> Vec<Verdict> {
        let verdict = |(oracle, accepted): (&Oracle, bool)| Verdict {
            oracle: oracle.name().into(),
            accepted,
            why: "why".into(),
        };
        ASKED.iter().zip(accepted).map(verdict).collect()
    }

    /// What is wrong with verdicts on a case.
    fn faults(case: &Case, verdicts: Vec<Verdict>) -> Vec<String> {
        let mut tally = Tally::new(None);
        tally.add(case, &ASKED, verdicts);
        tally.faults
    }

    #[test]
    fn every_wrong_verdict_is_a_fault() {
        let (good, flip) = (case(None, None), case(Some((7, 1)), None));
        let (spare, beside) =
            (case(Some((7, 1)), Some(Rule::SpareInHash)), case(Some((7, 1)), Some(Rule::Beside)));
        let none: [&str; 0] = [];
        assert_eq!(faults(&good, said([true, true])), none);
        assert_eq!(faults(&flip, said([false, false])), none);
        assert_eq!(faults(&spare, said([true, true])), none);
        assert_eq!(faults(&beside, said([true, true])), none);
        assert_eq!(
            faults(&good, said([true, false])),
            ["transparency-dev refuses a checkpoint: why"]
        );
        let accepts = "x/mod accepts a checkpoint with bit 1 of byte 7 flipped";
        assert_eq!(faults(&flip, said([true, false])), [accepts]);
        // A rule says what happens, not what may happen.
        assert_eq!(faults(&spare, said([false, true])).len(), 1);
        assert_eq!(faults(&good, Vec::new()).len(), 2);
        assert_eq!(faults(&good, [said([true, true]), said([true, true])].concat()).len(), 2);
    }

    #[test]
    fn too_few_verdicts_are_a_fault() {
        let mut tally = Tally::new(None);
        tally.add(&case(None, None), &ASKED, said([true, true]));
        let error = tally.finish().unwrap_err().to_string();
        assert!(error.contains("x/mod has accepted only 1 and refused 0"), "{error}");
        assert_eq!(error.lines().count(), 1 + ORACLES.len());
    }
}
