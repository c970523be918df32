//! The checks of the CIS Kubernetes Benchmark that are about auditing, by name: 3.2.1 and 3.2.2
//! about the policy, 1.2.16 to 1.2.19 about kube-apiserver's flags.

use std::collections::BTreeMap;

use crate::model::{Level, Policy};
use crate::ordinary;
use crate::version::Version;

/// kube-apiserver's flags about auditing, without the dashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Finds the flags in a text: a command line, the manifest of a static pod, a configuration of
    /// kubeadm (in its forms with `=`, `name:` and `value:`, and `key: value`), k3s or RKE2.
    pub fn find(text: &str) -> Flags {
        let mut flags = BTreeMap::new();
        let mut rest = text;
        while let Some(at) = rest.find("audit-") {
            let before = rest.get(..at).unwrap_or_default().trim_end_matches('-');
            let is_inner = before.ends_with(is_of_name);
            let begin = rest.get(at..).unwrap_or_default();
            let end = begin.find(|c| !is_of_name(c)).unwrap_or(begin.len());
            let (name, after) = begin.split_at_checked(end).unwrap_or((begin, ""));
            rest = after;
            let known = ["audit-policy-", "audit-log-", "audit-webhook-"];
            if is_inner || !known.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            if let Some(value) = value(after) {
                flags.insert(name.to_owned(), value);
            }
        }
        Flags(flags)
    }

    /// The value of a flag, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a flag as a number, or the default of the release.
    pub fn number(&self, name: &str, version: Version) -> Option<u64> {
        match self.get(name) {
            Some(text) => text.parse().ok(),
            None => default(name, version),
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// What stands behind the name of a flag: `=V`, `: V` or `, value: V`.
fn value(after: &str) -> Option<String> {
    let after = after.trim_start_matches(['"', '\'']);
    let text = match after.chars().next()? {
        '=' => after.get(1..)?,
        ':' => after.get(1..)?.trim_start_matches(' '),
        ',' | '\n' => {
            after.trim_start_matches([',', '\n', ' ']).strip_prefix("value:")?.trim_start()
        }
        _ => return None,
    };
    let text = text.trim_start_matches(['"', '\'']);
    let end = text.find(|c: char| c.is_whitespace() || "\"',]}".contains(c)).unwrap_or(text.len());
    Some(text.get(..end)?.to_owned()).filter(|value| !value.is_empty())
}

/// Defaults of kube-apiserver: rotated files are kept for ever before 1.36.
fn default(name: &str, version: Version) -> Option<u64> {
    let is_new = version >= Version(36);
    Some(match name {
        "audit-log-maxage" => {
            if is_new {
                366
            } else {
                0
            }
        }
        "audit-log-maxbackup" => {
            if is_new {
                100
            } else {
                0
            }
        }
        "audit-log-maxsize" => 100,
        "audit-webhook-batch-buffer-size" | "audit-log-batch-buffer-size" => 10_000,
        "audit-webhook-batch-max-size" => 400,
        _ => return None,
    })
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the benchmark asks.
    Pass,
    /// Not so.
    Fail,
    /// What it is about was not given.
    NotKnown,
}

impl Outcome {
    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::NotKnown => "not known",
        }
    }
}

/// A check of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its number.
    pub id: &'static str,
    /// What it asks for.
    pub title: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub why: String,
}

/// What 3.2.2 wants recorded: a verb and a resource.
const CONCERNS: [(&str, &str); 12] = [
    ("get", "secrets"),
    ("create", "secrets"),
    ("get", "configmaps"),
    ("update", "configmaps"),
    ("create", "tokenreviews"),
    ("create", "pods"),
    ("delete", "pods"),
    ("patch", "deployments"),
    ("get", "pods/exec"),
    ("get", "pods/portforward"),
    ("get", "pods/proxy"),
    ("get", "services/proxy"),
];

/// The checks about auditing, of a policy (`None` if it could not be loaded) and of flags, if there
/// are any.
pub fn benchmark(policy: Option<&Policy>, flags: Option<&Flags>, version: Version) -> Vec<Check> {
    let mut checks: Vec<Check> = [
        ("1.2.16", "--audit-log-path is set", "audit-log-path", 0),
        ("1.2.17", "--audit-log-maxage is at least 30", "audit-log-maxage", 30),
        ("1.2.18", "--audit-log-maxbackup is at least 10", "audit-log-maxbackup", 10),
        ("1.2.19", "--audit-log-maxsize is at least 100", "audit-log-maxsize", 100),
    ]
    .into_iter()
    .map(|(id, title, name, least)| {
        let (outcome, why) = match flags {
            None => (Outcome::NotKnown, "no flags were given".to_owned()),
            Some(flags) => flag(flags, name, least, version),
        };
        Check { id, title, outcome, why }
    })
    .collect();
    let (outcome, why) = match policy {
        Some(_) => (Outcome::Pass, "kube-apiserver takes it".to_owned()),
        None => (Outcome::Fail, "kube-apiserver does not take it".to_owned()),
    };
    checks.push(Check { id: "3.2.1", title: "there is an audit policy", outcome, why });
    let missing: Vec<String> = policy.map(missing).unwrap_or_default();
    let (outcome, why) = match policy {
        None => (Outcome::Fail, "there is no policy".to_owned()),
        Some(_) if missing.is_empty() => {
            (Outcome::Pass, format!("{} kinds of requests are recorded", CONCERNS.len()))
        }
        Some(_) => (Outcome::Fail, format!("not recorded: {}", missing.join(", "))),
    };
    let title = "the policy covers key security concerns";
    checks.push(Check { id: "3.2.2", title, outcome, why });
    checks
}

fn flag(flags: &Flags, name: &str, least: u64, version: Version) -> (Outcome, String) {
    let is_enough = match (flags.get(name), least) {
        (found, 0) => found.is_some(),
        _ => flags.number(name, version).is_some_and(|number| number >= least),
    };
    let why = match flags.get(name) {
        Some(value) => format!("--{name}={value}"),
        None => match default(name, version) {
            Some(default) => format!("--{name} is not set, and {default} in {version}"),
            None => format!("--{name} is not set"),
        },
    };
    (if is_enough { Outcome::Pass } else { Outcome::Fail }, why)
}

fn missing(policy: &Policy) -> Vec<String> {
    let is_missing =
        |(verb, kind): &(&str, &str)| ordinary::decide(policy, verb, kind).level == Level::None;
    let missing = CONCERNS.iter().filter(|concern| is_missing(concern));
    missing.map(|(verb, kind)| format!("{verb} {kind}")).collect()
}
