//! Host names and wildcards, with Gateway API's rules for which covers which.

use std::{cmp::Ordering, fmt, sync::Arc};

/// A host name pattern in canonical form: lower case, no port, no trailing dot.
///
/// `*` matches every host; `*.example.com` matches any host with one or more labels before `.example.com` (Gateway
/// API `Hostname`: the suffix itself is not matched); anything else matches itself.
/// The order is by specificity: exact names first, then wildcards from the longest to the shortest, then by text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// The pattern in its canonical form. `None` and the empty string mean every host.
    pub fn new(pattern: Option<&str>) -> Self {
        match pattern {
            None | Some("" | "*") => Self("*".into()),
            Some(pattern) => Self(pattern.strip_suffix('.').unwrap_or(pattern).to_ascii_lowercase().into()),
        }
    }

    /// The pattern as text: `*`, `*.example.com` or `www.example.com`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this pattern matches every host.
    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// Whether this pattern starts with a wildcard label.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// Whether every host that `other` matches is matched by `self` too.
    pub fn covers(&self, other: &Hostname) -> bool {
        if self.is_any() || self == other {
            return true;
        }
        match self.0.strip_prefix('*') {
            None => false,
            // `.example.com` must be a proper suffix: `*.example.com` doesn't cover `example.com`.
            Some(suffix) => !other.is_any() && other.0.len() > suffix.len() && other.0.ends_with(suffix),
        }
    }

    /// The narrower of the two if one covers the other, else none.
    pub fn intersect(&self, other: &Hostname) -> Option<Hostname> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }
}

impl Ord for Hostname {
    fn cmp(&self, other: &Self) -> Ordering {
        self.is_wildcard()
            .cmp(&other.is_wildcard())
            .then_with(|| if self.is_wildcard() { other.0.len().cmp(&self.0.len()) } else { Ordering::Equal })
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(pattern: &str) -> Hostname {
        Hostname::new(Some(pattern))
    }

    #[test]
    fn a_wildcard_covers_longer_names_only() {
        assert!(host("*.a.test").covers(&host("x.a.test")));
        assert!(host("*.a.test").covers(&host("x.y.a.test")));
        assert!(host("*.a.test").covers(&host("*.y.a.test")));
        assert!(!host("*.a.test").covers(&host("a.test")));
        assert!(!host("*.a.test").covers(&host("xa.test")));
        assert!(!host("*.a.test").covers(&Hostname::new(None)));
        assert_eq!(host("*.a.test").intersect(&host("b.test")), None);
        assert_eq!(Hostname::new(None).intersect(&host("B.test.")), Some(host("b.test")));
    }

    #[test]
    fn the_most_specific_comes_first() {
        let mut hosts = [host("*"), host("*.test"), host("*.a.test"), host("z.test"), host("a.test")];
        hosts.sort();
        let text: Vec<_> = hosts.iter().map(Hostname::as_str).collect();
        assert_eq!(text, ["a.test", "z.test", "*.a.test", "*.test", "*"]);
    }
}
