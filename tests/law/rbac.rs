//! A plain interpreter of Envoy's RBAC filter, from its protos' documentation. What it doesn't know is a failed test.

use crate::request::Request;
use prost::Message;
use proto::envoy::envoy::{
    config::{
        core::v3::{CidrRange, TypedExtensionConfig},
        rbac::v3::{Permission, Principal, Rbac as Rules, permission::Rule, principal::Identifier, rbac::Action},
        route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
    },
    extensions::{
        filters::http::rbac::v3::Rbac, rbac::principals::mtls_authenticated::v3::Config as MtlsAuthenticated,
        transport_sockets::tls::v3::subject_alt_name_matcher::SanType,
    },
    r#type::matcher::v3::{
        MetadataMatcher, PathMatcher, StringMatcher, ValueMatcher, list_matcher,
        metadata_matcher::path_segment::Segment, path_matcher, string_matcher::MatchPattern, value_matcher,
    },
};
use regex::Regex;
use serde_json::Value;
use std::{cell::RefCell, collections::HashMap, net::IpAddr};

/// The filter in an encoded extension.
pub fn decode(extension: &[u8]) -> Rbac {
    let extension = TypedExtensionConfig::decode(extension).expect("an extension");
    let config = extension.typed_config.expect("a configuration");
    assert!(config.type_url.ends_with("/envoy.extensions.filters.http.rbac.v3.RBAC"), "{}", config.type_url);
    Rbac::decode(&*config.value).expect("a filter")
}

/// Whether a filter lets a request pass.
pub fn allows(filter: &Rbac, request: &Request) -> bool {
    filter.rules.as_ref().is_none_or(|rules| decides(rules, request))
}

/// What the shadow rules would decide, by their prefix.
pub fn noted(filter: &Rbac, request: &Request) -> Option<(String, bool)> {
    let rules = filter.shadow_rules.as_ref()?;
    Some((filter.shadow_rules_stat_prefix.clone(), decides(rules, request)))
}

fn decides(rules: &Rules, request: &Request) -> bool {
    let hit = rules.policies.values().any(|policy| {
        assert!(policy.condition.is_none() && policy.checked_condition.is_none());
        policy.permissions.iter().any(|one| permission(one, request))
            && policy.principals.iter().any(|one| principal(one, request))
    });
    match rules.action() {
        Action::Allow => hit,
        Action::Deny => !hit,
        Action::Log => true,
    }
}

fn permission(permission: &Permission, request: &Request) -> bool {
    match permission.rule.as_ref().expect("a rule") {
        Rule::Any(any) => *any,
        Rule::AndRules(set) => non_empty(&set.rules).iter().all(|one| self::permission(one, request)),
        Rule::OrRules(set) => non_empty(&set.rules).iter().any(|one| self::permission(one, request)),
        Rule::NotRule(one) => !self::permission(one, request),
        Rule::Header(matcher) => header(matcher, request),
        Rule::UrlPath(matcher) => path(matcher, request),
        Rule::DestinationIp(range) => cidr(range, request.local),
        Rule::DestinationPort(port) => *port == u32::from(request.port),
        Rule::RequestedServerName(name) => string(name, request.sni.as_deref().unwrap_or_default()),
        other => panic!("not interpreted: {other:?}"),
    }
}

fn principal(principal: &Principal, request: &Request) -> bool {
    match principal.identifier.as_ref().expect("an identifier") {
        Identifier::Any(any) => *any,
        Identifier::AndIds(set) => non_empty(&set.ids).iter().all(|one| self::principal(one, request)),
        Identifier::OrIds(set) => non_empty(&set.ids).iter().any(|one| self::principal(one, request)),
        Identifier::NotId(one) => !self::principal(one, request),
        Identifier::Custom(custom) => {
            let any = custom.typed_config.as_ref().expect("a configuration");
            assert!(any.type_url.ends_with("/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config"));
            let wanted = MtlsAuthenticated::decode(&*any.value).expect("a principal").san_matcher.expect("a name");
            assert_eq!(wanted.san_type(), SanType::Uri);
            let name = wanted.matcher.as_ref().expect("a match");
            request.peer.as_ref().is_some_and(|uri| string(name, uri))
        }
        Identifier::DirectRemoteIp(range) => cidr(range, request.direct),
        Identifier::RemoteIp(range) => cidr(range, request.remote),
        Identifier::SourcedMetadata(sourced) => {
            assert_eq!(sourced.metadata_source, 0, "dynamic metadata");
            metadata(sourced.metadata_matcher.as_ref().expect("a matcher"), request)
        }
        other => panic!("not interpreted: {other:?}"),
    }
}

/// Envoy refuses empty sets.
fn non_empty<T>(list: &[T]) -> &[T] {
    assert!(!list.is_empty());
    list
}

fn header(matcher: &HeaderMatcher, request: &Request) -> bool {
    assert!(!matcher.invert_match && !matcher.treat_missing_header_as_empty);
    let lines = request.lines(&matcher.name);
    match matcher.header_match_specifier.as_ref().expect("a match") {
        HeaderMatchSpecifier::StringMatch(wanted) => lines.iter().any(|line| string(wanted, line)),
        HeaderMatchSpecifier::PresentMatch(present) => lines.is_empty() != *present,
        other => panic!("not interpreted: {other:?}"),
    }
}

fn path(matcher: &PathMatcher, request: &Request) -> bool {
    let Some(path_matcher::Rule::Path(wanted)) = &matcher.rule else { panic!("a path match") };
    string(wanted, &request.path)
}

fn cidr(range: &CidrRange, address: IpAddr) -> bool {
    let length = range.prefix_len.as_ref().map_or(0, |length| length.value);
    match (range.address_prefix.parse().expect("an address"), address) {
        (IpAddr::V4(net), IpAddr::V4(address)) => {
            (u32::from(net) ^ u32::from(address)).checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(net), IpAddr::V6(address)) => {
            (u128::from(net) ^ u128::from(address)).checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn string(matcher: &StringMatcher, value: &str) -> bool {
    let fold = |text: &str| if matcher.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let seen = fold(value);
    match matcher.match_pattern.as_ref().expect("a pattern") {
        MatchPattern::Exact(text) => seen == fold(text),
        MatchPattern::Prefix(text) => !text.is_empty() && seen.starts_with(&fold(text)),
        MatchPattern::Suffix(text) => !text.is_empty() && seen.ends_with(&fold(text)),
        MatchPattern::Contains(text) => !text.is_empty() && seen.contains(&fold(text)),
        MatchPattern::SafeRegex(regex) => {
            assert!(!matcher.ignore_case, "ignore_case does nothing to a regular expression");
            whole(&regex.regex, value)
        }
        other => panic!("not interpreted: {other:?}"),
    }
}

/// RE2 `FullMatch`. Expressions are kept: there are few different ones.
fn whole(pattern: &str, value: &str) -> bool {
    thread_local!(static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        if !known.contains_key(pattern) {
            let regex = Regex::new(&format!("^(?:{pattern})$")).expect("a regular expression");
            known.insert(pattern.to_owned(), regex);
        }
        known[pattern].is_match(value)
    })
}

fn metadata(matcher: &MetadataMatcher, request: &Request) -> bool {
    assert_eq!(matcher.filter, "envoy.filters.http.jwt_authn");
    assert!(!matcher.invert);
    let keys: Vec<&str> = matcher
        .path
        .iter()
        .map(|segment| match &segment.segment {
            Some(Segment::Key(key)) => key.as_str(),
            None => panic!("a key"),
        })
        .collect();
    let Some((&"payload", keys)) = keys.split_first() else { panic!("claims stand under payload: {keys:?}") };
    let mut seen = request.claims.as_ref();
    for key in keys {
        seen = seen.and_then(|value| value.get(key));
    }
    value(matcher.value.as_ref().expect("a value"), seen)
}

fn value(matcher: &ValueMatcher, seen: Option<&Value>) -> bool {
    match (matcher.match_pattern.as_ref().expect("a pattern"), seen) {
        (value_matcher::MatchPattern::StringMatch(wanted), Some(Value::String(text))) => string(wanted, text),
        (value_matcher::MatchPattern::ListMatch(list), Some(Value::Array(seen))) => {
            let Some(list_matcher::MatchPattern::OneOf(wanted)) = &list.match_pattern else { panic!("one of") };
            seen.iter().any(|one| value(wanted, Some(one)))
        }
        (value_matcher::MatchPattern::StringMatch(_) | value_matcher::MatchPattern::ListMatch(_), _) => false,
        (other, _) => panic!("not interpreted: {other:?}"),
    }
}
