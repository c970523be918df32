//! What is wrong with a policy, or unwise in it: the one shape of everything this crate reports.

use std::fmt;

use crate::model::At;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Legal and most likely not what is meant.
    Warning,
    /// kube-apiserver does not start with it.
    Error,
}

impl Severity {
    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something that is wrong or unwise, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A name for this kind of finding that stays: lower-case words with `-`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub at: At,
    /// The rule that it is about, from 0.
    pub rule: Option<usize>,
    /// What is wrong, and what it means.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    pub(crate) fn new(
        (code, severity): (&'static str, Severity),
        (at, rule): (At, Option<usize>),
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        Finding { code, severity, at, rule, what: what.into(), fix: fix.into() }
    }
}
