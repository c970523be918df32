//! Trust policies: whose signature makes a checkpoint of a log, and which witnesses have to have
//! seen it. A verifier gets one from somebody he trusts, never from the log's server.

use std::collections::BTreeMap;

use crate::checkpoint::{self, Checkpoint};
use crate::note::{Kind, Note, Verifier};

/// A policy file is at most so long.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// No cosignature is asked for.
const NONE: &str = "none";

/// Which checkpoints are believed (tlog-policy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Verifier>,
    members: BTreeMap<String, Member>,
    quorum: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    /// With its URL, if the policy says it.
    Witness(Box<Verifier>, Option<String>),
    /// So many of these.
    Group(usize, Vec<String>),
}

/// Why a policy is none, or a checkpoint does not satisfy it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line cannot be read, or there is none where one has to be.
    #[error("line {line} of the policy: {why}")]
    Malformed {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No log that is trusted has signed it.
    #[error("no log of the policy has signed it: {0}")]
    Log(checkpoint::Error),
    /// Too few witnesses have seen it.
    #[error("its cosignatures are no quorum of the policy: {0}")]
    Quorum(String),
}

impl Policy {
    /// A policy of one log, which asks for no witness.
    pub fn of_log(log: Verifier) -> Self {
        Policy { logs: vec![log], members: BTreeMap::new(), quorum: NONE.to_owned() }
    }

    /// The logs whose checkpoints are believed.
    pub fn logs(&self) -> &[Verifier] {
        &self.logs
    }

    /// The witnesses, each with the URL that checkpoints are sent to, if the policy says it.
    pub fn witnesses(&self) -> impl Iterator<Item = (&Verifier, Option<&str>)> {
        self.members.values().filter_map(|member| match member {
            Member::Witness(witness, url) => Some((&**witness, url.as_deref())),
            Member::Group(..) => None,
        })
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut policy =
            Policy { logs: Vec::new(), members: BTreeMap::new(), quorum: String::new() };
        let mut grouped = Vec::new();
        let lines = text.split('\n').enumerate();
        for (number, line) in lines {
            let malformed = |why: String| Error::Malformed { line: number + 1, why };
            let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
            if line.bytes().any(is_control) {
                return Err(malformed("it has control characters".to_owned()));
            }
            let words: Vec<&str> =
                line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            policy.add(&words, &mut grouped).map_err(malformed)?;
        }
        if policy.quorum.is_empty() {
            let line = text.split('\n').count();
            return Err(Error::Malformed { line, why: "there is no quorum".to_owned() });
        }
        Ok(policy)
    }

    fn add(&mut self, words: &[&str], grouped: &mut Vec<String>) -> Result<(), String> {
        match words {
            [] => {}
            [word, ..] if word.starts_with('#') => {}
            ["log", vkey] | ["log", vkey, _] => {
                let log = key(vkey, Kind::Ed25519)?;
                if self.logs.iter().any(|other| other.key() == log.key()) {
                    return Err("the log's key is there already".to_owned());
                }
                self.logs.push(log);
            }
            ["witness", name, vkey, url @ ..] if url.len() <= 1 => {
                let witness = key(vkey, Kind::Cosignature)?;
                let is_it = |member: &Member| match member {
                    Member::Witness(other, _) => other.key() == witness.key(),
                    Member::Group(..) => false,
                };
                if self.members.values().any(is_it) {
                    return Err("the witness's key is there already".to_owned());
                }
                let url = url.first().map(|url| (*url).to_owned());
                self.name(name, Member::Witness(Box::new(witness), url))?;
            }
            ["group", name, count, members @ ..] if !members.is_empty() => {
                for member in members {
                    if !self.members.contains_key(*member) {
                        return Err(format!("nothing above is called {member}"));
                    }
                    if grouped.iter().any(|other| other == member) {
                        return Err(format!("{member} is in a group already"));
                    }
                    grouped.push((*member).to_owned());
                }
                let count = match *count {
                    "all" => Some(members.len()),
                    "any" => Some(1),
                    count => crate::lines::decimal(count).and_then(|count| count.try_into().ok()),
                };
                let count = count.filter(|count| (1..=members.len()).contains(count));
                let count = count.ok_or("it asks for more members than it has, or for none")?;
                let members = members.iter().map(|member| (*member).to_owned()).collect();
                self.name(name, Member::Group(count, members))?;
            }
            ["quorum", name] => {
                if !self.quorum.is_empty() {
                    return Err("there is a quorum already".to_owned());
                }
                if *name != NONE && !self.members.contains_key(*name) {
                    return Err(format!("nothing above is called {name}"));
                }
                (*name).clone_into(&mut self.quorum);
            }
            [word, ..] => return Err(format!("`{word}` cannot be read here")),
        }
        Ok(())
    }

    fn name(&mut self, name: &str, member: Member) -> Result<(), String> {
        if name == NONE || self.members.contains_key(name) {
            return Err(format!("the name {name} is taken"));
        }
        self.members.insert(name.to_owned(), member);
        Ok(())
    }

    /// Reads a checkpoint that satisfies the policy.
    ///
    /// # Errors
    /// It does not.
    pub fn open(&self, note: &Note) -> Result<Checkpoint, Error> {
        let found = Checkpoint::parse(note.text()).map_err(Error::Log)?.origin;
        let (own, other): (Vec<&Verifier>, Vec<_>) =
            self.logs.iter().partition(|log| log.name() == found);
        let wanted = other.iter().map(|log| log.name()).collect::<Vec<_>>().join(" or ");
        let mut opened = Err(checkpoint::Error::Origin { wanted, found });
        for log in own {
            opened = Checkpoint::open(note, log);
            if opened.is_ok() {
                break;
            }
        }
        let checkpoint = opened.map_err(Error::Log)?;
        if self.is_quorum(note) == Some(false) {
            return Err(Error::Quorum(self.quorum.clone()));
        }
        Ok(checkpoint)
    }

    /// Whether enough witnesses have signed a note; `None` where none has to.
    pub fn is_quorum(&self, note: &Note) -> Option<bool> {
        (self.quorum != NONE).then(|| self.has_seen(&self.quorum, note))
    }

    /// Groups name only what stands above them, so this ends.
    fn has_seen(&self, name: &str, note: &Note) -> bool {
        match self.members.get(name) {
            None => false,
            Some(Member::Witness(witness, _)) => note.verify(witness).is_ok(),
            Some(Member::Group(count, members)) => {
                members.iter().filter(|member| self.has_seen(member, note)).count() >= *count
            }
        }
    }
}

fn key(vkey: &str, kind: Kind) -> Result<Verifier, String> {
    let verifier = Verifier::parse(vkey).map_err(|error| error.to_string())?;
    if verifier.kind() == kind { Ok(verifier) } else { Err("it is a key of another type".into()) }
}

#[cfg(test)]
mod tests;
