//! SPIFFE identities of workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::{fmt, str::FromStr, sync::Arc};

/// A trust domain, such as `cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// A trust domain by name; a character that SPIFFE doesn't allow (`@`) becomes `.`, as Istio does.
    pub fn new(name: &str) -> Self {
        Self(name.replace('@', ".").into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("cluster.local".into())
    }
}

/// Who a workload is, proven by a certificate or a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The trust domain that vouches for it.
    pub trust_domain: TrustDomain,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its service account.
    pub service_account: Arc<str>,
}

/// Why a text is no workload identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wanted spiffe://<trust domain>/ns/<namespace>/sa/<service account>, saw {:?}", self.0)
    }
}

impl std::error::Error for IdentityError {}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{}/ns/{namespace}/sa/{service_account}", trust_domain.as_str())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Option<Vec<&str>> = text.strip_prefix("spiffe://").map(|rest| rest.split('/').collect());
        match parts.as_deref() {
            Some([domain, "ns", namespace, "sa", account])
                if [domain, namespace, account].iter().all(|part| !part.is_empty()) =>
            {
                Ok(Self {
                    trust_domain: TrustDomain((*domain).into()),
                    namespace: (*namespace).into(),
                    service_account: (*account).into(),
                })
            }
            _ => Err(IdentityError(text.chars().take(200).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_text() {
        let text = "spiffe://cluster.local/ns/shop/sa/web";
        assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        for bad in ["", "spiffe://", "spiffe://a/ns/b/sa/", "spiffe://a/ns/b/sa/c/d", "https://a/ns/b/sa/c"] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
