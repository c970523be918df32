//! What a policy decides about: the attributes of a request as kube-apiserver has them before it
//! handles it.

use std::borrow::Cow;
use std::fmt;

use whodid_event::resource;

/// A request, as rules see it: impersonation and bodies are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who authenticated, not who is impersonated; `None` if authentication failed.
    pub user: Option<&'a str>,
    /// The groups of that user.
    pub groups: Vec<&'a str>,
    /// The verb, in lower case.
    pub verb: &'a str,
    /// What is asked for.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target<'a> {
    /// A resource of the API, or all of a kind.
    Resource {
        /// The API group; empty for the core group.
        group: &'a str,
        /// The plural.
        resource: &'a str,
        /// Empty if there is none.
        subresource: &'a str,
        /// The namespace, of a Namespace its own; empty if there is none.
        namespace: &'a str,
        /// The name in the URL or in a field selector; empty if there is none, as for `create`.
        name: &'a str,
    },
    /// A path that is no resource, without its query.
    Path(Cow<'a, str>),
}

/// Why a text names no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError(String);

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequestError {}

impl<'a> Target<'a> {
    /// Reads `pods`, `deploy`, `pods/exec`, `deployments.apps/scale` or `/healthz`; names that are
    /// built into Kubernetes are understood as kubectl does.
    ///
    /// # Errors
    /// It names neither.
    pub fn parse(text: &'a str) -> Result<Self, RequestError> {
        if text.starts_with('/') {
            return Ok(Target::Path(text.split('?').next().unwrap_or(text).into()));
        }
        let (kind, subresource) = text.split_once('/').unwrap_or((text, ""));
        let (called, group) = kind.split_once('.').unwrap_or((kind, ""));
        if called.is_empty() || text.contains(char::is_whitespace) {
            return Err(RequestError(format!(
                "{text:?} is neither a resource nor a path; write pods, pods/exec, \
                 deployments.apps/scale or /healthz"
            )));
        }
        let known = if group.is_empty() {
            resource::canonical(called)
        } else {
            resource::canonical_in(called, |of| of == group)
        };
        let (group, resource) = known.map_or((group, called), |known| (known.group, known.plural));
        Ok(Target::Resource { group, resource, subresource, namespace: "", name: "" })
    }

    /// The same in this namespace, and of this name.
    #[must_use]
    pub fn at(self, in_namespace: &'a str, called: &'a str) -> Self {
        match self {
            Target::Resource { group, resource, subresource, .. } => {
                // Of a Namespace, the API server takes its name for its namespace.
                let is_namespace = (group, resource) == ("", "namespaces");
                let namespace = if is_namespace { called } else { in_namespace };
                Target::Resource { group, resource, subresource, namespace, name: called }
            }
            Target::Path(path) => Target::Path(path),
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target::Resource { group, resource, subresource, namespace, name } = self else {
            let Target::Path(path) = self else { return Ok(()) };
            return f.write_str(path);
        };
        f.write_str(resource)?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        if !namespace.is_empty() {
            write!(f, " -n {namespace}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.target)?;
        match self.user {
            Some(user) => write!(f, " by {user}")?,
            None => write!(f, " by somebody who could not authenticate")?,
        }
        if !self.groups.is_empty() {
            write!(f, " ({})", self.groups.join(", "))?;
        }
        Ok(())
    }
}
