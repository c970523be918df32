//! Reading a policy as kube-apiserver does: strictly first, so that unknown and repeated fields are
//! warned of, and then leniently, without them. What else a policy must be is `validate`'s.

use std::collections::BTreeSet;

use crate::finding::{Finding, Severity};
use whodid_event::Stage;

use crate::model::{At, GroupResources, Level, Placed, Policy, Rule};
use crate::tree::{self, Node, Value};
use crate::validate::validate;
use crate::version::Version;

/// A policy is no longer than this.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

const POLICY: [&str; 6] =
    ["apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"];
const RULE: [&str; 9] = [
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
];
const RESOURCES: [&str; 3] = ["group", "resources", "resourceNames"];

/// What came of reading a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The policy, if kube-apiserver starts with it.
    pub policy: Option<Policy>,
    /// Its errors, which keep it from starting, and the warnings that it logs.
    pub findings: Vec<Finding>,
}

/// Reads a policy, YAML or JSON, as a release of kube-apiserver does.
pub fn load(text: &str, version: Version) -> Loaded {
    let mut reader = Reader { findings: Vec::new(), rule: None, version };
    let policy = reader.text(text);
    let mut findings = reader.findings;
    let is_error = |finding: &Finding| finding.severity == Severity::Error;
    findings.sort_by_key(|finding| finding.at);
    let policy = policy.filter(|_| !findings.iter().any(is_error));
    Loaded { policy, findings }
}

struct Reader {
    findings: Vec<Finding>,
    rule: Option<usize>,
    version: Version,
}

impl Reader {
    fn error(&mut self, code: &'static str, at: At, what: impl Into<String>, fix: &str) {
        let place = (at, self.rule);
        self.findings.push(Finding::new((code, Severity::Error), place, what, fix));
    }

    fn text(&mut self, text: &str) -> Option<Policy> {
        let begin = At { line: 1, column: 1 };
        if text.len() > TEXT_BYTES_MAX {
            let what = format!("it has more than {TEXT_BYTES_MAX} bytes");
            self.error("no-policy", begin, what, "give an audit policy");
            return None;
        }
        let tree = match tree::parse(text) {
            Ok(tree) => tree,
            Err(fault) => {
                self.error("no-policy", fault.at, fault.what, "mend the YAML");
                return None;
            }
        };
        let Value::Map(members) = &tree.value else {
            let what = format!("a policy is an object, and this is {}", tree.value.kind());
            self.error("no-policy", tree.at, what, "begin with `apiVersion: audit.k8s.io/v1`");
            return None;
        };
        self.type_meta(members, tree.at)?;
        let policy = self.policy(members, tree.at);
        self.rule = None;
        validate(&policy, tree.at, self.version, &mut self.findings);
        Some(policy)
    }

    /// `apiVersion` and `kind`: kube-apiserver decides by them how to read the rest.
    fn type_meta(&mut self, members: &[(String, At, Node)], begin: At) -> Option<()> {
        let text = |name: &str| {
            let (_, at, node) = members.iter().rfind(|(key, ..)| key == name)?;
            match &node.value {
                Value::Text(text) => Some((text.as_str(), *at)),
                _ => None,
            }
        };
        let (version, kind) = (text("apiVersion"), text("kind"));
        let is_known = |version: &str| {
            version == "audit.k8s.io/v1"
                || self.version.has_beta()
                    && ["audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1"].contains(&version)
        };
        let wanted = "write `apiVersion: audit.k8s.io/v1` and `kind: Policy`";
        match (version, kind) {
            (Some((version, _)), Some(("Policy", _))) if is_known(version) => Some(()),
            (None, _) | (_, None) => {
                let what = "apiVersion or kind is missing: kube-apiserver says \"unknown group \
                            version field\"";
                self.error("unsupported-version", begin, what, wanted);
                None
            }
            (Some((found, at)), Some((kind, _))) => {
                let what = format!(
                    "kube-apiserver {} knows no {kind} of {found}{}",
                    self.version,
                    if found.starts_with("audit.k8s.io/v1") && kind == "Policy" {
                        "; these went with 1.24"
                    } else {
                        ""
                    }
                );
                self.error("unsupported-version", at, what, wanted);
                None
            }
        }
    }

    fn policy(&mut self, members: &[(String, At, Node)], begin: At) -> Policy {
        let mut policy = Policy { omit_stages_at: begin, ..Policy::default() };
        for (key, at, node) in self.known(members, &POLICY) {
            match key {
                "rules" => policy.rules = self.rules(node),
                "omitStages" => {
                    policy.omit_stages = self.stages(node, "omitStages");
                    policy.omit_stages_at = at;
                }
                "omitManagedFields" => {
                    policy.omit_managed_fields = self.bool(node, key).unwrap_or(false);
                }
                _ => {}
            }
        }
        policy
    }

    fn rules(&mut self, node: &Node) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (number, node) in (0..).zip(self.list(node, "rules")) {
            self.rule = Some(number);
            let Some(members) = self.map(node, "a rule") else { continue };
            rules.push(self.rule(members, node.at));
        }
        rules
    }

    fn rule(&mut self, members: &[(String, At, Node)], at: At) -> Rule {
        let mut rule = Rule { at, ..Rule::default() };
        let mut has_level = false;
        for (key, _, node) in self.known(members, &RULE) {
            match key {
                "level" => {
                    has_level = true;
                    rule.level = self.level(node);
                }
                "users" => rule.users = self.texts(node, key),
                "userGroups" => rule.user_groups = self.texts(node, key),
                "verbs" => rule.verbs = self.texts(node, key),
                "namespaces" => rule.namespaces = self.texts(node, key),
                "nonResourceURLs" => rule.non_resource_urls = self.texts(node, key),
                "resources" => rule.resources = self.resources(node),
                "omitStages" => rule.omit_stages = self.stages(node, key),
                _ => rule.omit_managed_fields = self.bool(node, key),
            }
        }
        if !has_level {
            let what = "a rule needs a level: kube-apiserver says \"Required value\"";
            let fix = "write `level: None`, `Metadata`, `Request` or `RequestResponse`";
            self.error("level-missing", at, what, fix);
        }
        rule
    }

    fn resources(&mut self, node: &Node) -> Vec<GroupResources> {
        let mut all = Vec::new();
        for node in self.list(node, "resources") {
            let Some(members) = self.map(node, "an entry of resources") else { continue };
            let mut resources = GroupResources { at: node.at, ..GroupResources::default() };
            for (key, _, node) in self.known(members, &RESOURCES) {
                match key {
                    "group" => {
                        let group = self.text_of(node, key);
                        resources.group = group.map(|group| group.value).unwrap_or_default();
                    }
                    "resources" => resources.resources = self.texts(node, key),
                    _ => resources.names = self.texts(node, key),
                }
            }
            all.push(resources);
        }
        all
    }

    fn level(&mut self, node: &Node) -> Level {
        let Some(text) = self.text_of(node, "level") else { return Level::None };
        Level::of(&text).unwrap_or_else(|| {
            let what = format!("{:?} is no level; they are case-sensitive", text.value);
            self.error(
                "level-unsupported",
                text.at,
                what,
                "write `None`, `Metadata`, `Request` or `RequestResponse`",
            );
            Level::None
        })
    }

    fn stages(&mut self, node: &Node, name: &str) -> BTreeSet<Stage> {
        let mut stages = BTreeSet::new();
        for text in self.texts(node, name) {
            let stage = Stage::from_name(&text);
            stages.extend(stage);
            if stage.is_none() {
                let what = format!("{:?} is no stage; they are case-sensitive", text.value);
                let fix =
                    "write `RequestReceived`, `ResponseStarted`, `ResponseComplete` or `Panic`";
                self.error("stage-unsupported", text.at, what, fix);
            }
        }
        stages
    }

    /// The members that are known here; of one that stands there twice the last.
    fn known<'n>(
        &mut self,
        members: &'n [(String, At, Node)],
        names: &[&'static str],
    ) -> Vec<(&'static str, At, &'n Node)> {
        let mut known: Vec<(&'static str, At, &Node)> = Vec::new();
        for (key, at, node) in members {
            let name = names.iter().find(|name| *name == key);
            let is_new = *key != "omitManagedFields" || self.version.has_managed_fields();
            let Some(name) = name.filter(|_| is_new) else {
                self.unknown(key, *at, names);
                continue;
            };
            if let Some(before) = known.iter_mut().find(|(known, ..)| known == name) {
                let place = (*at, self.rule);
                let what = format!("`{key}` stands here twice, and the last one counts");
                let fix = "leave one of them";
                self.findings.push(Finding::new(DUPLICATE, place, what, fix));
                *before = (name, *at, node);
            } else {
                known.push((name, *at, node));
            }
        }
        known
    }

    fn unknown(&mut self, key: &str, at: At, names: &[&'static str]) {
        let is_rule = names == RULE;
        let what = if names == RESOURCES && RULE.contains(&key) {
            format!(
                "`{key}` belongs to the rule and stands within an entry of `resources`: \
                 kube-apiserver only logs a warning and ignores it, so that the rule matches more \
                 than it says"
            )
        } else if is_rule && RESOURCES.contains(&key) || names == POLICY && RULE.contains(&key) {
            format!(
                "`{key}` stands too far to the left: kube-apiserver only logs a warning and \
                 ignores it, so that what it should restrict is not restricted"
            )
        } else {
            format!(
                "there is no field `{key}` here: kube-apiserver only logs a warning and ignores it"
            )
        };
        let near = names.iter().find(|name| name.eq_ignore_ascii_case(key));
        let near = near.or_else(|| names.iter().find(|name| is_near(name, key)));
        let fix = match near {
            Some(name) => format!("write `{name}`"),
            None if RULE.contains(&key) || RESOURCES.contains(&key) => {
                "mend the indentation".to_owned()
            }
            None => format!("known here are {}", names.join(", ")),
        };
        self.findings.push(Finding::new(UNKNOWN, (at, self.rule), what, fix));
    }

    fn wrong_type(&mut self, node: &Node, name: &str, wanted: &str) {
        let fix = match &node.value {
            Value::Bool(_) | Value::Number => "put it in quotes",
            _ => "mend it",
        };
        let found = node.value.kind();
        let what = format!("{name} has to be {wanted}, and this is {found}: it cannot be decoded");
        self.error("wrong-type", node.at, what, fix);
    }

    fn list<'n>(&mut self, node: &'n Node, name: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                self.wrong_type(node, name, "a list");
                &[]
            }
        }
    }

    fn map<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n [(String, At, Node)]> {
        match &node.value {
            Value::Map(members) => Some(members),
            Value::Null => Some(&[]),
            _ => {
                self.wrong_type(node, name, "an object");
                None
            }
        }
    }

    fn texts(&mut self, node: &Node, name: &str) -> Vec<Placed<String>> {
        let list = self.list(node, name);
        list.iter().filter_map(|node| self.text_of(node, name)).collect()
    }

    fn text_of(&mut self, node: &Node, name: &str) -> Option<Placed<String>> {
        match &node.value {
            Value::Text(text) => Some(Placed { value: text.clone(), at: node.at }),
            // JSON's null leaves a field of Go's as it is.
            Value::Null => Some(Placed { value: String::new(), at: node.at }),
            _ => {
                self.wrong_type(node, name, "text");
                None
            }
        }
    }

    fn bool(&mut self, node: &Node, name: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Null => None,
            _ => {
                self.wrong_type(node, name, "true or false");
                None
            }
        }
    }
}

const UNKNOWN: (&str, Severity) = ("unknown-field", Severity::Warning);
const DUPLICATE: (&str, Severity) = ("duplicate-field", Severity::Warning);

/// Whether one was most likely meant for the other: singular, or a letter too many or too few.
fn is_near(name: &str, key: &str) -> bool {
    let (name, key) = (name.to_ascii_lowercase(), key.to_ascii_lowercase());
    let (long, short) = if name.len() > key.len() { (&name, &key) } else { (&key, &name) };
    long.len() - short.len() <= 2 && short.len() > 3 && long.starts_with(short.as_str())
}
