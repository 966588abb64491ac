//! Which revision of Windlass a control plane is: several in one namespace share a cluster without getting in each
//! other's way.
//!
//! A Gateway is minded by the revision that its label names, as with Istio; so is what hangs on it. A GatewayClass is
//! used by all of them, and its status is written by the one that its label names.

use kube::api::ObjectMeta;
use std::{fmt, str::FromStr, sync::Arc};

/// The label of Gateways and classes.
const LABEL: &str = "istio.io/rev";
/// Who minds what has no label.
const DEFAULT: &str = "default";

/// A revision's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(Arc<str>);

impl Revision {
    /// Whether an object is minded by this revision, as far as its own label says.
    pub fn minds(&self, metadata: &ObjectMeta) -> bool {
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL));
        *self.0 == *label.map_or(DEFAULT, String::as_str)
    }

    /// A name of something of which each revision has one of its own.
    pub fn own(&self, name: &str) -> String {
        match &*self.0 {
            DEFAULT => name.to_owned(),
            revision => format!("{name}-{revision}"),
        }
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self(DEFAULT.into())
    }
}

impl FromStr for Revision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let is_name = text.starts_with(is_letter)
            && text.ends_with(is_letter)
            && text.len() <= 40
            && text.chars().all(|letter| is_letter(letter) || letter == '-');
        match is_name {
            true => Ok(Self(text.into())),
            false => Err(format!("wanted up to 40 of a-z, 0-9 and - within, saw {text:?}")),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_label_is_the_default_revision_s() {
        let labelled = |revision: &str| ObjectMeta {
            labels: Some([(LABEL.to_owned(), revision.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let (default, canary) = (Revision::default(), "canary".parse::<Revision>().unwrap());
        assert!(default.minds(&ObjectMeta::default()) && default.minds(&labelled("default")));
        assert!(!canary.minds(&ObjectMeta::default()) && canary.minds(&labelled("canary")));
        assert!(!default.minds(&labelled("canary")) && !canary.minds(&labelled("default")));
        assert_eq!((default.own("x"), canary.own("x")), ("x".into(), "x-canary".into()));
        for bad in ["", "-a", "a-", "A", "a.b", &"a".repeat(41)] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
    }
}
