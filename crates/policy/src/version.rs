//! Releases of Kubernetes, as far as they read policies differently.

use std::fmt;
use std::str::FromStr;

/// A minor release of Kubernetes 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl Version {
    /// The newest that is known here.
    pub const NEWEST: Version = Version(36);

    /// `group: "*"` in rules (kubernetes/kubernetes, 1.36).
    pub(crate) fn has_any_group(self) -> bool {
        self >= Version(36)
    }

    /// `audit.k8s.io/v1alpha1` and `v1beta1` went with 1.24.
    pub(crate) fn has_beta(self) -> bool {
        self < Version(24)
    }

    /// `omitManagedFields` came with 1.23.
    pub(crate) fn has_managed_fields(self) -> bool {
        self >= Version(23)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads `1.36`, `v1.36` or `v1.36.2+k3s1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.");
        let minor = rest.and_then(|rest| rest.split(['.', '+', '-']).next());
        let minor = minor.and_then(|minor| minor.parse().ok());
        minor.map(Version).ok_or_else(|| format!("{text:?} is no release; write 1.36 or v1.36.2"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_in_every_spelling() {
        for text in ["1.36", "v1.36", "v1.36.2", "1.36.0-rc.1", "v1.36.2+k3s1"] {
            assert_eq!(text.parse(), Ok(Version(36)), "{text}");
        }
        for text in ["", "36", "2.1", "v1", "1.x", "latest"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
