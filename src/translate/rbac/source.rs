//! Who sends a request: `from`.

use super::{range, text, tree::Tree};
use crate::{
    jwt::PAYLOAD,
    wire::{self, escape},
};
use ipnet::IpNet;
use model::{Source, StringMatch};
use proto::envoy::envoy::{
    config::core::v3::TypedExtensionConfig,
    config::rbac::v3::{Principal, SourcedMetadata, principal::Identifier},
    extensions::{
        rbac::principals::mtls_authenticated::v3::Config as MtlsAuthenticated,
        transport_sockets::tls::v3::{SubjectAltNameMatcher, subject_alt_name_matcher::SanType},
    },
    r#type::matcher::v3::{
        ListMatcher, MetadataMatcher, StringMatcher, ValueMatcher, list_matcher,
        metadata_matcher::{PathSegment, path_segment::Segment},
        string_matcher::MatchPattern,
        value_matcher,
    },
};
use std::sync::Arc;

/// Where the filter that verifies JWTs puts their claims.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";

/// All fields of a source must match.
pub(super) fn source(from: &Source) -> Principal {
    let mut all = Vec::new();
    Tree::set(&mut all, &from.principals, principal);
    Tree::set(&mut all, &from.request_principals, request_principal);
    Tree::set(&mut all, &from.namespaces, namespace);
    Tree::set(&mut all, &from.service_accounts, service_account);
    Tree::set(&mut all, &from.trust_domains, trust_domain);
    Tree::set(&mut all, &from.ip_blocks, direct_ip);
    Tree::set(&mut all, &from.remote_ip_blocks, remote_ip);
    Principal::and(all)
}

/// `<trust domain>/ns/<ns>/sa/<sa>`
pub(super) fn principal(wanted: &StringMatch) -> Principal {
    peer(match wanted {
        StringMatch::Exact(text) | StringMatch::Template(text) => {
            wire::string(MatchPattern::Exact(format!("spiffe://{text}")))
        }
        StringMatch::Prefix(text) => wire::string(MatchPattern::Prefix(format!("spiffe://{text}"))),
        StringMatch::Suffix(text) => pattern(format!("spiffe://.*{}", escape(text))),
        StringMatch::Present => pattern("spiffe://.+".to_owned()),
    })
}

pub(super) fn namespace(wanted: &StringMatch) -> Principal {
    peer(pattern(format!("spiffe://[^/]+/ns/{}/sa/[^/]+", text::segment(wanted))))
}

pub(super) fn service_account((namespace, account): &(Arc<str>, Arc<str>)) -> Principal {
    peer(pattern(format!("spiffe://[^/]+/ns/{}/sa/{}", escape(namespace), escape(account))))
}

pub(super) fn trust_domain(wanted: &StringMatch) -> Principal {
    peer(pattern(format!("spiffe://{}/ns/[^/]+/sa/[^/]+", text::segment(wanted))))
}

pub(super) fn direct_ip(net: &IpNet) -> Principal {
    Principal { identifier: Some(Identifier::DirectRemoteIp(range(net))) }
}

pub(super) fn remote_ip(net: &IpNet) -> Principal {
    Principal { identifier: Some(Identifier::RemoteIp(range(net))) }
}

/// A URI in the verified certificate of the peer. Without such a certificate this doesn't match. Envoy's older
/// `authenticated` takes a name from a certificate that nobody vouches for, where clients are let in with one.
fn peer(name: StringMatcher) -> Principal {
    let san_matcher =
        SubjectAltNameMatcher { san_type: SanType::Uri.into(), matcher: Some(name), ..Default::default() };
    let config = MtlsAuthenticated { san_matcher: Some(san_matcher), ..Default::default() };
    Principal {
        identifier: Some(Identifier::Custom(TypedExtensionConfig {
            name: "envoy.rbac.principals.mtls_authenticated".to_owned(),
            typed_config: Some(wire::any(&config)),
        })),
    }
}

fn pattern(regex: String) -> StringMatcher {
    wire::string(MatchPattern::SafeRegex(wire::regex(regex)))
}

/// `<issuer>/<subject>` of a verified token, both of which may have slashes: every way to cut the text is tried.
pub(super) fn request_principal(wanted: &StringMatch) -> Principal {
    let issuer = |wanted: StringMatch| claim(&["iss".into()], &wanted);
    let subject = |wanted: StringMatch| claim(&["sub".into()], &wanted);
    let there = || StringMatch::Prefix("".into());
    let cuts = |text: &Arc<str>| -> Vec<(Arc<str>, Arc<str>)> {
        text.match_indices('/').map(|(at, _)| (text[..at].into(), text[at + 1..].into())).collect()
    };
    let both = |(a, b): (StringMatch, StringMatch)| Principal::and(vec![issuer(a), subject(b)]);
    use StringMatch::{Exact, Prefix, Suffix};
    let ways: Vec<(StringMatch, StringMatch)> = match wanted {
        Exact(text) | StringMatch::Template(text) => {
            cuts(text).into_iter().map(|(a, b)| (Exact(a), Exact(b))).collect()
        }
        Prefix(text) => {
            let cut = cuts(text).into_iter().map(|(a, b)| (Exact(a), Prefix(b)));
            cut.chain([(Prefix(text.clone()), there())]).collect()
        }
        Suffix(text) => {
            let cut = cuts(text).into_iter().map(|(a, b)| (Suffix(a), Exact(b)));
            cut.chain([(there(), Suffix(text.clone()))]).collect()
        }
        StringMatch::Present => vec![(there(), there())],
    };
    Principal::or(ways.into_iter().map(both).collect())
}

/// A claim of a verified token: a text, or a list in which one matches.
pub(super) fn claim(path: &[Arc<str>], wanted: &StringMatch) -> Principal {
    let text = || ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::StringMatch(text::string(wanted))) };
    let one_of = ListMatcher { match_pattern: Some(list_matcher::MatchPattern::OneOf(Box::new(text()))) };
    let list = ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::ListMatch(Box::new(one_of))) };
    Principal::or(vec![metadata(path, text()), metadata(path, list)])
}

fn metadata(path: &[Arc<str>], value: ValueMatcher) -> Principal {
    let segments = std::iter::once(PAYLOAD).chain(path.iter().map(|segment| &**segment));
    let matcher = MetadataMatcher {
        filter: JWT_FILTER.to_owned(),
        path: segments.map(|key| PathSegment { segment: Some(Segment::Key(key.to_owned())) }).collect(),
        value: Some(value),
        ..Default::default()
    };
    Principal {
        identifier: Some(Identifier::SourcedMetadata(SourcedMetadata {
            metadata_matcher: Some(matcher),
            ..Default::default()
        })),
    }
}
