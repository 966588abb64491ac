//! Further conditions: `when`. All of them must match.

use super::{operation, range, source, text, tree::Tree};
use crate::Settings;
use model::{ConditionKey, StringMatch};
use proto::envoy::envoy::config::rbac::v3::{Permission, Principal, permission::Rule};
use std::sync::Arc;

/// Adds a condition to the side that can express it.
pub(super) fn condition(
    settings: &Settings,
    key: &ConditionKey,
    permissions: &mut Vec<Permission>,
    principals: &mut Vec<Principal>,
) {
    let claim = |name: &str| [Arc::from(name)];
    match key {
        ConditionKey::Header(name, values) => Tree::set(permissions, values, |value| header(name, value)),
        ConditionKey::DestinationIp(values) => {
            Tree::set(permissions, values, |net| Permission { rule: Some(Rule::DestinationIp(range(net))) })
        }
        ConditionKey::DestinationPort(values) => {
            Tree::set(permissions, values, |port| operation::port(settings, *port));
        }
        ConditionKey::Sni(values) => Tree::set(permissions, values, |name| Permission {
            rule: Some(Rule::RequestedServerName(text::string(name))),
        }),
        ConditionKey::SourceIp(values) => Tree::set(principals, values, source::direct_ip),
        ConditionKey::RemoteIp(values) => Tree::set(principals, values, source::remote_ip),
        ConditionKey::SourceNamespace(values) => Tree::set(principals, values, source::namespace),
        ConditionKey::SourceServiceAccount(values) => Tree::set(principals, values, source::service_account),
        ConditionKey::SourceTrustDomain(values) => Tree::set(principals, values, source::trust_domain),
        ConditionKey::SourcePrincipal(values) => Tree::set(principals, values, source::principal),
        ConditionKey::RequestPrincipal(values) => Tree::set(principals, values, source::request_principal),
        ConditionKey::RequestAudiences(values) => {
            Tree::set(principals, values, |value| source::claim(&claim("aud"), value));
        }
        ConditionKey::RequestPresenter(values) => {
            Tree::set(principals, values, |value| source::claim(&claim("azp"), value));
        }
        ConditionKey::RequestClaim(path, values) => Tree::set(principals, values, |value| source::claim(path, value)),
    }
}

/// A header matches if one of its lines does (Envoy since 1.39), and `*` if there is any line, empty or not, as in Istio:
/// a regular expression for what is not empty would not see bytes that are no UTF-8.
fn header(name: &str, wanted: &StringMatch) -> Permission {
    operation::header(match wanted {
        StringMatch::Present => text::header_present(name),
        wanted => text::header(name, text::string(wanted)),
    })
}
