//! Rules: which bodies and URLs hold secrets. Built-in ones for secrets and tokens, and those of a
//! file.

use crate::envelope::ObjectRef;
use crate::json::{self, Pairs, Str};

use super::is_about;
use super::shape::{self, Shape};
use super::uri::{self, UriRule};

/// Limits of a rule file.
const RULES_MAX: usize = 256;
const PATHS_MAX: usize = 256;
const PATH_SEGMENTS_MAX: usize = 32;

/// The rules in force, in the order they are tried; the first that matches a body decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    uris: Vec<UriRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    /// `PLURAL[.GROUP][/SUBRESOURCE]` of requests whose bodies it is for.
    resources: Vec<String>,
    /// `kind`s it is for wherever they stand, alone or in a list.
    kinds: Vec<&'static str>,
    pub(super) shape: Shape,
}

/// A rule file as its author writes it, in YAML or JSON.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Whether the built-in rules for secrets and tokens apply as well, before the file's.
    #[serde(default = "yes")]
    pub default: bool,
    /// The file's own rules.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

/// One rule of a file.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Shown in place of every value taken out: lower-case letters, digits and `-`, at most 63.
    pub name: String,
    /// `PLURAL[.GROUP][/SUBRESOURCE]`, for example `vaultauths.secrets.hashicorp.com`; none, for a
    /// rule about URLs: every request.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Dotted paths of what goes of a body, for example `spec.token` or `data.*`; none, and no
    /// `uri` either: the whole body.
    #[serde(default)]
    pub redact: Vec<String>,
    /// Regular expressions over the URL without its escapes; what their groups match goes, else
    /// what they match.
    #[serde(default)]
    pub uri: Vec<String>,
}

/// What is wrong with a rule file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A rule's name cannot stand in a placeholder.
    #[error("rule {0:?}: a name is 1 to 63 lower-case letters, digits and `-`")]
    Name(String),
    /// A rule is for nothing.
    #[error("rule {0:?} names no resources; write for example `resources: [configmaps]`")]
    NoResources(String),
    /// A resource, path or pattern cannot be read.
    #[error("rule {rule:?}: cannot read {text:?}; {expected}")]
    Text {
        /// The rule's name.
        rule: String,
        /// What stands there.
        text: String,
        /// What should stand there.
        expected: String,
    },
    /// The file is too large to apply to every event.
    #[error("at most {RULES_MAX} rules with {PATHS_MAX} paths or patterns each")]
    TooMany,
}

fn yes() -> bool {
    true
}

pub(super) fn is_rule_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl RuleSet {
    /// No rule: every event is kept as it came.
    pub fn off() -> Self {
        Self::default()
    }

    /// The built-in rules: values of Secrets, and tokens in TokenReviews and TokenRequests.
    pub fn built_in() -> Self {
        const REVIEWS: &str = "tokenreviews.authentication.k8s.io";
        let rule = |name: &str, resource: &str, kinds: &[&'static str], shape| Rule {
            name: name.to_owned(),
            resources: vec![resource.to_owned()],
            kinds: kinds.to_vec(),
            shape,
        };
        RuleSet {
            uris: Vec::new(),
            rules: vec![
                rule("secrets", "secrets", &["Secret", "SecretList"], shape::secret()),
                rule("token-reviews", REVIEWS, &["TokenReview"], shape::token_review()),
                rule(
                    "token-requests",
                    "serviceaccounts/token",
                    &["TokenRequest"],
                    shape::token_request(),
                ),
            ],
        }
    }

    /// The rules of a file.
    ///
    /// # Errors
    /// The first thing in it that makes no sense.
    pub fn from_file(file: &RuleFile) -> Result<Self, RuleError> {
        let mut set = if file.default { RuleSet::built_in() } else { RuleSet::off() };
        let is_long = |spec: &RuleSpec| spec.redact.len().max(spec.uri.len()) > PATHS_MAX;
        if file.rules.len() > RULES_MAX || file.rules.iter().any(is_long) {
            return Err(RuleError::TooMany);
        }
        for spec in &file.rules {
            spec.check()?;
            if !spec.uri.is_empty() {
                set.uris.push(UriRule::from_spec(spec)?);
            }
            if spec.uri.is_empty() || !spec.redact.is_empty() {
                set.rules.push(Rule::from_spec(spec)?);
            }
        }
        Ok(set)
    }

    /// The rule for a body: by what the request is about, else by the kind of the body itself.
    pub(super) fn for_body(&self, object: Option<&ObjectRef<'_>>, body: &str) -> Option<&Rule> {
        self.for_object(object).or_else(|| {
            let may_match = |kind: &&str| body.contains(*kind);
            if !self.rules.iter().any(|rule| rule.kinds.iter().any(may_match)) {
                return None;
            }
            let kinds = kinds_of(body);
            self.rules
                .iter()
                .find(|rule| rule.kinds.iter().any(|kind| kinds.iter().any(|k| k == kind)))
        })
    }

    pub(super) fn uris(&self) -> &[UriRule] {
        &self.uris
    }

    pub(super) fn for_object(&self, object: Option<&ObjectRef<'_>>) -> Option<&Rule> {
        let object = object?;
        self.rules
            .iter()
            .find(|rule| rule.resources.iter().any(|pattern| is_about(pattern, object)))
    }
}

/// The kind of a body and, for a list, of its items.
fn kinds_of(body: &str) -> Vec<String> {
    let kind = |object: &Pairs<'_, &serde_json::value::RawValue>| {
        let kind = serde_json::from_str::<Str<'_>>(object.get("kind")?.get()).ok()?;
        Some(kind.to_string())
    };
    let Ok(object) = json::members(body) else { return Vec::new() };
    let items: Vec<Pairs<'_, &serde_json::value::RawValue>> = object
        .get("items")
        .and_then(|items| serde_json::from_str(items.get()).ok())
        .unwrap_or_default();
    kind(&object).into_iter().chain(items.iter().filter_map(kind)).collect()
}

impl RuleSpec {
    fn wrong(&self, text: &str, expected: impl Into<String>) -> RuleError {
        let (rule, text) = (self.name.clone(), text.to_owned());
        RuleError::Text { rule, text, expected: expected.into() }
    }

    /// Checks its name, and what it is for.
    fn check(&self) -> Result<(), RuleError> {
        if !is_rule_name(&self.name) {
            return Err(RuleError::Name(self.name.clone()));
        }
        if self.resources.is_empty() && (self.uri.is_empty() || !self.redact.is_empty()) {
            return Err(RuleError::NoResources(self.name.clone()));
        }
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-./".contains(c);
        let is_wrong = |resource: &&String| resource.is_empty() || !resource.chars().all(is_plain);
        match self.resources.iter().find(is_wrong) {
            Some(resource) => {
                Err(self.wrong(resource, "write PLURAL[.GROUP][/SUBRESOURCE] in lower case"))
            }
            None => Ok(()),
        }
    }
}

impl UriRule {
    fn from_spec(spec: &RuleSpec) -> Result<Self, RuleError> {
        let pattern = |text: &String| uri::pattern(text).map_err(|why| spec.wrong(text, why));
        Ok(UriRule {
            name: spec.name.clone(),
            resources: spec.resources.clone(),
            patterns: spec.uri.iter().map(pattern).collect::<Result<_, _>>()?,
        })
    }
}

impl Rule {
    fn from_spec(spec: &RuleSpec) -> Result<Self, RuleError> {
        let mut shape = if spec.redact.is_empty() { Shape::Redact } else { Shape::Keep };
        for path in &spec.redact {
            let segments: Vec<&str> = path.split('.').collect();
            if segments.len() > PATH_SEGMENTS_MAX || segments.iter().any(|s| s.is_empty()) {
                return Err(spec.wrong(path, "write a dotted path such as spec.token or data.*"));
            }
            shape.redact_path(&segments);
        }
        // kubectl keeps the whole object once more in an annotation.
        shape.redact_path(&["metadata", "annotations", shape::LAST_APPLIED]);
        Ok(Rule {
            name: spec.name.clone(),
            resources: spec.resources.clone(),
            kinds: Vec::new(),
            shape,
        })
    }
}
