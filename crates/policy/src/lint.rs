//! What is legal in a policy and most likely wrong: rules that match nothing, or more than they
//! seem to; secrets in the record, and what is not in it; noise. What kube-apiserver refuses is
//! `load`'s.

use crate::finding::{Finding, Severity};
use crate::model::{At, Policy};

mod coverage;
mod reach;
mod spelling;

/// Findings as they are gathered.
struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    fn warn(&mut self, code: &'static str, place: (At, Option<usize>), what: String, fix: &str) {
        self.all.push(Finding::new((code, Severity::Warning), place, what, fix));
    }

    fn note(&mut self, code: &'static str, place: (At, Option<usize>), what: String, fix: &str) {
        self.all.push(Finding::new((code, Severity::Note), place, what, fix));
    }
}

/// Warnings and notes about a policy that kube-apiserver takes, in the order of its text.
pub fn lint(policy: &Policy) -> Vec<Finding> {
    let mut findings = Findings { all: Vec::new() };
    for (number, rule) in policy.rules.iter().enumerate() {
        spelling::check(number, rule, &mut findings);
    }
    reach::check(policy, &mut findings);
    coverage::check(policy, &mut findings);
    findings.all.sort_by_key(|finding| (finding.at, finding.code));
    findings.all
}
