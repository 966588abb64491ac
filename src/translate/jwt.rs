//! RequestAuthentications as Envoy's filter for JSON Web Tokens.
//!
//! Every rule is a provider, named `<namespace>/<name>/<index>`. A valid token of any of them is enough; else none of
//! them may have an invalid one, and those without any pass, unless a rule requires one.

use model::{Authentication, JwtRule};
use prost::Message;
use proto::{
    Resource,
    assemble::field,
    envoy::{
        envoy::{
            config::{
                core::v3::{DataSource, TypedExtensionConfig, data_source::Specifier},
                route::v3::{RouteMatch, route_match::PathSpecifier},
            },
            extensions::filters::http::jwt_authn::v3::{
                JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement, JwtRequirementAndList,
                JwtRequirementOrList, RequirementRule,
                jwt_provider::{JwksSourceSpecifier, NormalizePayload},
                jwt_requirement::RequiresType,
                requirement_rule::RequirementType,
            },
        },
        google::protobuf::Any,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// The name of the filter, and of the resource.
pub(crate) const TOKENS: &str = "authn.jwt";
/// The key under which policies find claims.
pub(crate) const PAYLOAD: &str = "payload";

/// The filter of a gateway. Without rules it does nothing.
pub(crate) fn filter(authentications: &[Arc<Authentication>]) -> Resource {
    let rules = authentications.iter().flat_map(|one| one.rules.iter().map(|rule| (provider_name(one, rule), rule)));
    let rules: BTreeMap<String, &JwtRule> = rules.collect();
    // Put together by hand: prost writes the entries of a map in any order.
    let mut filter = Vec::new();
    for (name, rule) in &rules {
        let one = JwtAuthentication { providers: [(name.clone(), provider(rule))].into(), ..Default::default() };
        filter.extend(one.encode_to_vec());
    }
    if !rules.is_empty() {
        let everything =
            RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() };
        let rule = RequirementRule {
            r#match: Some(everything),
            requirement_type: Some(RequirementType::Requires(requirement(&rules))),
        };
        field(&mut filter, 2, &rule.encode_to_vec());
    }
    let config = Any { type_url: <JwtAuthentication as prost::Name>::type_url(), value: filter };
    Resource::encode(&TypedExtensionConfig { name: TOKENS.to_owned(), typed_config: Some(config) })
}

fn provider_name(authentication: &Authentication, rule: &JwtRule) -> String {
    format!("{}/{}/{}", authentication.key.namespace, authentication.key.name, rule.index)
}

fn require(kind: RequiresType) -> JwtRequirement {
    JwtRequirement { requires_type: Some(kind) }
}

fn any(requirements: Vec<JwtRequirement>) -> JwtRequirement {
    require(RequiresType::RequiresAny(JwtRequirementOrList { requirements }))
}

/// Rules may share a place, where a token of one issuer is not one of the other: so a valid one of any is tried first.
fn requirement(rules: &BTreeMap<String, &JwtRule>) -> JwtRequirement {
    let named = |name: &String| require(RequiresType::ProviderName(name.clone()));
    let each = |(name, rule): (&String, &&JwtRule)| match rule.required {
        true => named(name),
        false => any(vec![named(name), require(RequiresType::AllowMissing(Default::default()))]),
    };
    let mut alone: Vec<JwtRequirement> = rules.iter().map(each).collect();
    match (alone.len(), alone.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            alone.extend(last);
            // Where a rule requires a token, a valid one of another rule doesn't do.
            let all = require(RequiresType::RequiresAll(JwtRequirementAndList { requirements: alone }));
            match rules.values().any(|rule| rule.required) {
                true => all,
                false => any(rules.keys().map(named).chain([all]).collect()),
            }
        }
    }
}

fn provider(rule: &JwtRule) -> JwtProvider {
    let texts = |all: &[Arc<str>]| all.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    let header =
        |(name, prefix): &(Arc<str>, Arc<str>)| JwtHeader { name: name.to_string(), value_prefix: prefix.to_string() };
    let claim = |(header, claim): &(Arc<str>, Arc<str>)| JwtClaimToHeader {
        header_name: header.to_string(),
        claim_name: claim.to_string(),
        ..Default::default()
    };
    JwtProvider {
        issuer: rule.issuer.to_string(),
        audiences: texts(&rule.audiences),
        forward: rule.forward,
        from_headers: rule.headers.iter().map(header).collect(),
        from_params: texts(&rule.parameters),
        from_cookies: texts(&rule.cookies),
        forward_payload_header: rule.payload_header.as_deref().unwrap_or_default().to_owned(),
        payload_in_metadata: PAYLOAD.to_owned(),
        normalize_payload_in_metadata: Some(NormalizePayload { space_delimited_claims: texts(&rule.space_delimited) }),
        claim_to_headers: rule.claim_headers.iter().map(claim).collect(),
        jwks_source_specifier: Some(JwksSourceSpecifier::LocalJwks(DataSource {
            specifier: Some(Specifier::InlineString(rule.keys.to_string())),
            ..Default::default()
        })),
        ..Default::default()
    }
}
