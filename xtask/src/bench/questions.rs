//! What the questions of the bench are about: drawn by a seed from the corpus, and planted in it
//! where it has nothing so rare. How they are asked is in `bench/questions.py`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use whodid_testkit::generate::Random;

/// How many questions there are.
pub(super) const COUNT: usize = 12;

/// What they are called, in their order.
pub(super) const TITLES: [&str; COUNT] = [
    "1 who deleted a namespace",
    "2 execs into some pods of a namespace",
    "3 the last 100 acts of an actor",
    "4 top 10 actors by denials",
    "5 per hour and verb in a namespace",
    "6 a word that occurs 10 times in bodies",
    "7 every change of a deployment, with bodies",
    "8 resources touched by a service account",
    "9 requests of people from outside a network",
    "10 bindings to cluster-admin, by the body",
    "11 a word that occurs nowhere",
    "12 an audit ID",
];

/// A rare word occurs in so many bodies.
const RARE: u64 = 10;

/// One line in this many is looked at, to draw from.
const DRAWN_ONE_IN: usize = 29;

/// Adds to a corpus what is asked for and too rare to be generated; returns how many lines.
pub(super) fn plant(corpus: &Path, seed: u64) -> anyhow::Result<u64> {
    let mut out = OpenOptions::new().append(true).open(corpus)?;
    let lines = planted(seed);
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    out.sync_all()?;
    Ok(lines.len() as u64)
}

/// A deleted namespace, and bodies with a rare word.
fn planted(seed: u64) -> Vec<String> {
    let mut lines = vec![line(seed, 0, "delete", "namespaces", &deleted(seed), "")];
    let word = word(seed);
    let body = format!(
        r#""requestObject":{{"kind":"Pod","spec":{{"containers":[{{"image":"{word}:1"}}]}}}},"#
    );
    lines.extend((1..=RARE).map(|number| line(seed, number, "create", "pods", "", &body)));
    lines
}

fn deleted(seed: u64) -> String {
    format!("planted-{seed}")
}

fn word(seed: u64) -> String {
    format!("xq{seed}zw")
}

fn line(seed: u64, number: u64, verb: &str, resource: &str, name: &str, body: &str) -> String {
    let id = format!("{:08x}-0000-4000-8000-{number:012x}", seed & 0xffff_ffff);
    let uri = format!("/api/v1/{resource}/{name}");
    let at = format!("2026-11-01T00:00:{number:02}.000000Z");
    format!(
        concat!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"{id}","#,
            r#""stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","#,
            r#""user":{{"username":"planted","groups":["system:authenticated"]}},"#,
            r#""sourceIPs":["10.9.8.7"],"userAgent":"kubectl/v1.36.2","#,
            r#""objectRef":{{"resource":"{resource}","name":"{name}","apiVersion":"v1"}},"#,
            r#""responseStatus":{{"metadata":{{}},"code":200}},{body}"#,
            r#""requestReceivedTimestamp":"{at}","stageTimestamp":"{at}"}}"#
        ),
        id = id,
        uri = uri,
        verb = verb,
        resource = resource,
        name = name,
        body = body,
        at = at,
    )
}

/// What each question is about, as `bench/questions.py` takes it.
pub(super) fn draw(corpus: &Path, seed: u64) -> anyhow::Result<Value> {
    let file = File::open(corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    draw_from(BufReader::with_capacity(1 << 20, file), seed)
}

fn draw_from(corpus: impl BufRead, seed: u64) -> anyhow::Result<Value> {
    let [mut execs, mut deployments, mut people] = [const { Vec::new() }; 3];
    let [mut accounts, mut ids] = [const { Vec::new() }; 2];
    for line in corpus.lines().step_by(DRAWN_ONE_IN) {
        // What is no event is not asked for.
        let Ok(event) = serde_json::from_str::<Value>(&line?) else { continue };
        let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (resource, sub) = (text("/objectRef/resource"), text("/objectRef/subresource"));
        let object = (text("/objectRef/namespace").to_owned(), text("/objectRef/name").to_owned());
        let (user, verb) = (text("/user/username").to_owned(), text("/verb"));
        match (resource, sub) {
            ("pods", "exec") => execs.push(object.clone()),
            ("deployments", "") if ["patch", "update"].contains(&verb) => {
                deployments.push(object.clone());
            }
            _ => {}
        }
        if user.contains('@') {
            people.push((user, text("/sourceIPs/0").to_owned()));
        } else if user.starts_with("system:serviceaccount:") {
            accounts.push(user);
        }
        ids.push(text("/auditID").to_owned());
    }
    let mut random = Random::new(seed);
    let (exec_ns, pod) = one_of(&mut random, &execs, "exec")?;
    let (deployment_ns, deployment) = one_of(&mut random, &deployments, "change of a deployment")?;
    let (actor, address) = one_of(&mut random, &people, "person")?;
    let network = address.rsplitn(3, '.').last().unwrap_or_default();
    Ok(json!({
        "deleted": deleted(seed),
        "exec_ns": exec_ns,
        "pods": pod.split('-').next().unwrap_or_default(),
        "actor": actor,
        "ns": deployment_ns,
        "word": word(seed),
        "deployment_ns": deployment_ns,
        "deployment": deployment,
        "service_account": one_of(&mut random, &accounts, "service account")?,
        "network": format!("{network}.0.0/16"),
        "absent": format!("{}absent", word(seed)),
        "audit_id": one_of(&mut random, &ids, "event")?,
    }))
}

fn one_of<T: Clone>(random: &mut Random, all: &[T], what: &str) -> anyhow::Result<T> {
    let drawn = all.get(random.below(all.len().max(1)));
    drawn.cloned().with_context(|| format!("the corpus has no {what}; take more events"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planted_is_json() {
        let lines: Vec<Value> =
            planted(7).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len() as u64, 1 + RARE);
        assert!(lines.iter().all(|line| line["stage"] == "ResponseComplete"));
        let nothing = draw_from(planted(7).join("\n").as_bytes(), 7).unwrap_err();
        assert!(nothing.to_string().contains("take more events"), "{nothing}");
    }
}
