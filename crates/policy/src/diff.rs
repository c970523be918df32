//! How two policies differ, by what they decide: for each pair of rules that decide one request
//! differently, such a request.

use crate::evaluate::Decision;
use crate::model::{Level, Policy, Rule};
use crate::request::Request;
use crate::witness::{Search, search};

/// Requests that two policies decide differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'p> {
    /// One of them.
    pub example: Request<'p>,
    /// What the first policy decides.
    pub before: Decision,
    /// What the second does.
    pub after: Decision,
}

/// The differences between two policies, in the order of the first one's rules, and whether these
/// are all: of some pairs of rules there may be too many requests to try.
pub fn diff<'p>(before: &'p Policy, after: &'p Policy) -> (Vec<Difference<'p>>, bool) {
    let mut differences = Vec::new();
    let mut is_complete = true;
    for i in numbers(before) {
        for j in numbers(after) {
            let is_same = outcome(before, i) == outcome(after, j);
            // Who decides in one of them would decide in the other before this pair could.
            if is_same
                || is_before(after, j, rule(before, i))
                || is_before(before, i, rule(after, j))
            {
                continue;
            }
            match both(before, i, after, j) {
                Search::Found(example) => {
                    let (before, after) = (before.decide(&example), after.decide(&example));
                    differences.push(Difference { example, before, after });
                }
                Search::Impossible => {}
                Search::GaveUp => is_complete = false,
            }
        }
    }
    (differences, is_complete)
}

/// The rules of a policy, and the case that none matches.
fn numbers(policy: &Policy) -> impl Iterator<Item = Option<usize>> {
    (0..policy.rules.len()).map(Some).chain([None])
}

/// What a rule decides: the same for every request that it decides, and nothing for a level of None
/// but that.
fn outcome(policy: &Policy, rule: Option<usize>) -> Decision {
    let mut decision = policy.by(rule);
    decision.rule = None;
    if decision.level == Level::None {
        decision.omit_stages.clear();
    }
    // There are no bodies that they could be in.
    decision.omit_managed_fields &= decision.level > Level::Metadata;
    decision
}

fn rule(policy: &Policy, number: Option<usize>) -> Option<&Rule> {
    policy.rules.get(number?)
}

/// Whether a rule before `end` matches all that another one matches.
fn is_before(policy: &Policy, end: Option<usize>, other: Option<&Rule>) -> bool {
    let earlier = policy.rules.iter().take(end.unwrap_or(policy.rules.len()));
    other.is_some_and(|other| earlier.into_iter().any(|rule| rule.matches_as(other)))
}

/// A request that rule `i` of one policy and rule `j` of the other decide.
fn both<'p>(
    before: &'p Policy,
    i: Option<usize>,
    after: &'p Policy,
    j: Option<usize>,
) -> Search<'p> {
    let matching: Vec<&Rule> = rule(before, i).into_iter().chain(rule(after, j)).collect();
    let earlier = |policy: &'p Policy, number: Option<usize>| {
        let end = number.unwrap_or(policy.rules.len());
        policy.rules.get(..end).unwrap_or_default()
    };
    let others: Vec<&Rule> = earlier(before, i).iter().chain(earlier(after, j)).collect();
    search(&matching, &others, |request| {
        before.decide(request).rule == i && after.decide(request).rule == j
    })
}
