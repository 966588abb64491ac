//! CUSTOM policies: a service is asked about what they match.
//!
//! The listener has one place for all of it, whose content is discovered like that of every policy: a chain of two
//! filters. RBAC's shadow rules note which CUSTOM rule matches; `ext_authz` asks only where one is noted. Without CUSTOM
//! policies the chain is empty.

use crate::{Settings, rbac, steps, wire};
use model::{Authorizer, AuthorizerHttp, AuthorizerProtocol, Policy, StringMatch};
use proto::{
    Resource,
    envoy::envoy::{
        config::core::v3::{ApiVersion, HeaderValue, TypedExtensionConfig},
        extensions::filters::http::{
            ext_authz::v3::{
                AuthorizationRequest, AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz::Services,
            },
            filter_chain::v3::{FilterChain, FilterChainConfig},
        },
        r#type::{
            matcher::v3::{
                ListStringMatcher, MetadataMatcher, StringMatcher, ValueMatcher,
                metadata_matcher::{PathSegment, path_segment::Segment},
                string_matcher::MatchPattern,
                value_matcher,
            },
            v3::HttpStatus,
        },
    },
};
use std::sync::Arc;

/// The name of the filter and of the resource.
pub(crate) const CUSTOM: &str = "authz.custom";
/// What the notes of CUSTOM rules start with, as Istio has it.
pub(crate) const ASKED: &str = "istio_ext_authz_";

/// The chain of a Gateway with these policies, and with whom they ask.
pub(crate) fn filter(settings: &Settings, policies: &[Arc<Policy>], authorizer: Option<&Authorizer>) -> Resource {
    // Policies come as CUSTOM only where somebody can be asked: `resolve` makes DENY of others.
    let filters = authorizer.map(|authorizer| {
        let asked = steps::extension("envoy.filters.http.rbac", rbac::noting_custom(settings, policies));
        vec![asked, steps::extension("envoy.filters.http.ext_authz", wire::any(&ext_authz(authorizer)))]
    });
    // A chain without filters is none: Envoy takes no empty one.
    let chain = FilterChainConfig { default_filter_chain: filters.map(|filters| FilterChain { filters }) };
    Resource::encode(&TypedExtensionConfig { name: CUSTOM.to_owned(), typed_config: Some(wire::any(&chain)) })
}

fn ext_authz(authorizer: &Authorizer) -> ExtAuthz {
    let (services, allowed_headers) = match &authorizer.protocol {
        AuthorizerProtocol::Grpc => {
            let (cluster, authority) = (&authorizer.cluster, &authorizer.authority);
            (steps::grpc_service(cluster, authority, wire::duration(authorizer.timeout)), None)
        }
        AuthorizerProtocol::Http(http) => {
            (Services::HttpService(service(authorizer, http)), names(&http.request_headers))
        }
    };
    ExtAuthz {
        services: Some(services),
        transport_api_version: ApiVersion::V3.into(),
        failure_mode_allow: authorizer.fail_open,
        status_on_error: Some(HttpStatus { code: i32::from(authorizer.status_on_error) }),
        with_request_body: authorizer.body.map(|body| BufferSettings {
            max_request_bytes: body.most,
            allow_partial_message: body.partial,
            pack_as_bytes: body.raw,
        }),
        allowed_headers,
        filter_enabled_metadata: Some(where_noted()),
        ..Default::default()
    }
}

fn service(authorizer: &Authorizer, http: &AuthorizerHttp) -> HttpService {
    let added = http.added.iter().map(|(name, value)| HeaderValue {
        key: name.to_string(),
        value: value.to_string(),
        ..Default::default()
    });
    HttpService {
        server_uri: Some(steps::http_uri(
            &authorizer.cluster,
            &authorizer.authority,
            wire::duration(authorizer.timeout),
        )),
        path_prefix: http.path.to_string(),
        authorization_request: (!http.added.is_empty())
            .then(|| AuthorizationRequest { headers_to_add: added.collect(), ..Default::default() }),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: names(&http.to_backend),
            allowed_client_headers: names(&http.on_deny),
            allowed_client_headers_on_success: names(&http.on_allow),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Only where a CUSTOM rule is noted: every rule's name starts like this.
fn where_noted() -> MetadataMatcher {
    let key = format!("{ASKED}shadow_effective_policy_id");
    MetadataMatcher {
        filter: "envoy.filters.http.rbac".to_owned(),
        path: vec![PathSegment { segment: Some(Segment::Key(key)) }],
        value: Some(ValueMatcher {
            match_pattern: Some(value_matcher::MatchPattern::StringMatch(StringMatcher {
                match_pattern: Some(MatchPattern::Prefix("ns[".to_owned())),
                ..Default::default()
            })),
        }),
        ..Default::default()
    }
}

fn names(names: &[StringMatch]) -> Option<ListStringMatcher> {
    let one = |name: &StringMatch| {
        let pattern = match name {
            StringMatch::Exact(name) => MatchPattern::Exact(name.to_string()),
            StringMatch::Prefix(start) => MatchPattern::Prefix(start.to_string()),
            StringMatch::Suffix(end) => MatchPattern::Suffix(end.to_string()),
            StringMatch::Present | StringMatch::Template(_) => MatchPattern::SafeRegex(wire::regex(".+".to_owned())),
        };
        // Envoy's regular expressions know no case of their own here; names of headers come in lower case.
        let ignore_case = !matches!(pattern, MatchPattern::SafeRegex(_));
        StringMatcher { ignore_case, match_pattern: Some(pattern) }
    };
    (!names.is_empty()).then(|| ListStringMatcher { patterns: names.iter().map(one).collect() })
}
