//! What a client calls itself: the tool and its version, from the first product of a
//! `User-Agent` (RFC 9110 §10.1.5). It is the client's word and nothing more.

/// Splits off the tool and its version; `None` where the header says neither.
pub(crate) fn tool(user_agent: &str) -> (Option<&str>, Option<&str>) {
    let product = user_agent.split_ascii_whitespace().next().unwrap_or_default();
    let (name, version) = match product.split_once('/') {
        Some((name, version)) => (name, version.split('/').next().unwrap_or_default()),
        None => (product, ""),
    };
    let known = |text| Some(text).filter(|text: &&str| !text.is_empty());
    (known(name), known(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        for (agent, name, version) in [
            ("kubectl/v1.36.2 (linux/amd64) kubernetes/1a2b3c4", Some("kubectl"), Some("v1.36.2")),
            (
                "kubectl/v1.30.1+k3s1 (linux/arm64) kubernetes/1a2b3c4",
                Some("kubectl"),
                Some("v1.30.1+k3s1"),
            ),
            (
                "kube-apiserver/v0.0.0 (linux/amd64) kubernetes/$Format",
                Some("kube-apiserver"),
                Some("v0.0.0"),
            ),
            ("Mozilla/5.0 (X11; Linux x86_64)", Some("Mozilla"), Some("5.0")),
            ("argocd-controller", Some("argocd-controller"), None),
            ("a/b/c", Some("a"), Some("b")),
            ("/x", None, Some("x")),
            ("", None, None),
        ] {
            assert_eq!(tool(agent), (name, version), "{agent}");
        }
    }
}
