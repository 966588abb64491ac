//! The filter that verifies JSON Web Tokens.

use super::at::{At, Fault, take};
use crate::{
    config::Name,
    jwt::{JwtFilter, Keys, Known, Place, Provider, Requirement, audience},
};
use proto::envoy::{
    envoy::{
        config::{
            core::v3::{DataSource, data_source::Specifier},
            route::v3::{RouteMatch, route_match::PathSpecifier},
        },
        extensions::filters::http::jwt_authn::v3::{
            JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement, RequirementRule,
            jwt_provider::{JwksSourceSpecifier, NormalizePayload},
            jwt_requirement::RequiresType,
            requirement_rule::RequirementType,
        },
    },
    google::protobuf::Any,
};

/// Envoy's default.
const CLOCK_SKEW: u64 = 60;
/// Depth of nested requirements.
const DEEPEST: u32 = 8;

pub(super) fn filter(at: &At<'_>, any: &Any) -> Result<JwtFilter, Fault> {
    let message: JwtAuthentication = at.unpack(any)?;
    take!(at, message => JwtAuthentication { providers, rules } moot { stat_prefix }
        refuse { filter_state_rules, bypass_cors_preflight, requirement_map, strip_failure_response });
    let mut providers: Vec<_> = providers.into_iter().collect();
    providers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let at_providers = at.field("providers");
    let providers = providers.into_iter().map(|(name, message)| provider(&at_providers.key(&name), &name, message));
    let providers: Box<[Provider]> = providers.collect::<Result<_, _>>()?;
    let at_rules = at.field("rules");
    let mut rules = rules.into_iter();
    let requires = rules.next().map(|message| rule(&at_rules.index(0), message, &providers)).transpose()?.flatten();
    match rules.next() {
        Some(_) => at_rules.index(1).fail("this proxy takes one rule"),
        None => Ok(JwtFilter { providers, requires }),
    }
}

fn rule(at: &At<'_>, message: RequirementRule, providers: &[Provider]) -> Result<Option<Requirement>, Fault> {
    take!(at, message => RequirementRule { r#match, requirement_type } moot {} refuse {});
    let everything = RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() };
    if r#match.as_ref() != Some(&everything) {
        return at.field("match").fail("wanted the prefix / and nothing else");
    }
    match requirement_type {
        None => Ok(None),
        Some(RequirementType::Requires(message)) => {
            requirement(&at.field("requires"), message, providers, &[], DEEPEST).map(Some)
        }
        Some(RequirementType::RequirementName(_)) => {
            at.field("requirement_name").fail("this proxy doesn't support this field")
        }
    }
}

/// `beside` are the providers named beside it, where one of several is required.
fn requirement(
    at: &At<'_>,
    message: JwtRequirement,
    providers: &[Provider],
    beside: &[usize],
    depth: u32,
) -> Result<Requirement, Fault> {
    let Some(depth) = depth.checked_sub(1) else { return at.fail("nested too deeply") };
    let index = |name: &str| providers.iter().position(|one| *one.name == *name);
    let each = |at: &At<'_>, all: Vec<JwtRequirement>, beside: &[usize]| {
        let at_all = at.field("requirements");
        let all = all.into_iter().enumerate();
        all.map(|(i, one)| requirement(&at_all.index(i), one, providers, beside, depth)).collect::<Result<Vec<_>, _>>()
    };
    match at.want("requires_type", message.requires_type)? {
        RequiresType::ProviderName(name) => match index(&name) {
            Some(index) => Ok(Requirement::Provider(index)),
            None => at.field("provider_name").fail(format!("there is no provider {name:?}")),
        },
        RequiresType::RequiresAll(all) => Ok(Requirement::All(each(&at.field("requires_all"), all.requirements, &[])?)),
        RequiresType::RequiresAny(any) => {
            let named = any.requirements.iter().filter_map(|one| match &one.requires_type {
                Some(RequiresType::ProviderName(name)) => index(name),
                _ => None,
            });
            let beside: Vec<usize> = named.collect();
            Ok(Requirement::Any(each(&at.field("requires_any"), any.requirements, &beside)?))
        }
        RequiresType::AllowMissing(_) => Ok(Requirement::Missing(beside.to_vec())),
        _ => at.fail("wanted provider_name, requires_any, requires_all or allow_missing"),
    }
}

fn provider(at: &At<'_>, name: &str, message: JwtProvider) -> Result<Provider, Fault> {
    // Routes are chosen after all filters; verified tokens are always remembered, a bounded number.
    take!(at, message => JwtProvider {
        issuer, audiences, forward, from_headers, from_params, from_cookies, forward_payload_header,
        pad_forward_payload_header, payload_in_metadata, normalize_payload_in_metadata, clock_skew_seconds,
        claim_to_headers, jwks_source_specifier,
    }
    moot { jwt_cache_config, clear_route_cache }
    refuse { subjects, require_expiration, max_lifetime, header_in_metadata, failed_status_in_metadata });
    let NormalizePayload { space_delimited_claims } = normalize_payload_in_metadata.unwrap_or_default();
    let names = |all: Vec<String>| all.iter().map(|one| at.name(one)).collect::<Box<[Name]>>();
    let claims = claim_to_headers.into_iter().enumerate();
    let claims = claims.map(|(i, one)| claim_header(&at.field("claim_to_headers").index(i), one));
    let lower = |text: &str| at.name(&text.to_ascii_lowercase());
    Ok(Provider {
        name: at.name(name),
        issuer: at.name(&issuer),
        audiences: audiences.iter().map(|one| at.name(audience(one))).collect(),
        keys: keys(at, jwks_source_specifier)?,
        places: places(at, from_headers, from_params, from_cookies)?,
        forward,
        payload_header: (!forward_payload_header.is_empty()).then(|| lower(&forward_payload_header)),
        pad_payload: pad_forward_payload_header,
        claim_headers: claims.collect::<Result<_, _>>()?,
        payload_key: (!payload_in_metadata.is_empty()).then(|| at.name(&payload_in_metadata)),
        space_delimited: names(space_delimited_claims),
        clock_skew: if clock_skew_seconds == 0 { CLOCK_SKEW } else { clock_skew_seconds.into() },
        known: Known::default(),
    })
}

fn claim_header(at: &At<'_>, message: JwtClaimToHeader) -> Result<(Name, Box<[Name]>), Fault> {
    take!(at, message => JwtClaimToHeader { header_name, claim_name } moot {} refuse { claim_path });
    Ok((at.name(&header_name.to_ascii_lowercase()), claim_name.split('.').map(|part| at.name(part)).collect()))
}

fn keys(at: &At<'_>, source: Option<JwksSourceSpecifier>) -> Result<Keys, Fault> {
    match source {
        Some(JwksSourceSpecifier::LocalJwks(DataSource { specifier: Some(Specifier::InlineString(text)), .. })) => {
            Keys::parse(&text).map_err(|why| at.field("local_jwks").field("inline_string").fault(why))
        }
        Some(JwksSourceSpecifier::LocalJwks(_)) => at.field("local_jwks").fail("wanted inline_string"),
        _ => at.fail("wanted local_jwks"),
    }
}

/// In the order in which Envoy looks: headers, parameters, cookies, each sorted.
fn places(
    at: &At<'_>,
    headers: Vec<JwtHeader>,
    parameters: Vec<String>,
    cookies: Vec<String>,
) -> Result<Box<[Place]>, Fault> {
    let mut places = Vec::new();
    for (i, header) in headers.into_iter().enumerate() {
        let at = at.field("from_headers");
        let at = at.index(i);
        take!(at, header => JwtHeader { name, value_prefix } moot {} refuse {});
        if name.is_empty() {
            return at.field("name").fail("wanted a header name, saw none");
        }
        places.push(Place::Header(at.name(&name.to_ascii_lowercase()), at.name(&value_prefix)));
    }
    places.extend(parameters.iter().map(|name| Place::Parameter(at.name(name))));
    places.extend(cookies.iter().map(|name| Place::Cookie(at.name(name))));
    if places.is_empty() {
        places.push(Place::Header(at.name("authorization"), at.name("Bearer ")));
        places.push(Place::Parameter(at.name("access_token")));
    }
    places.sort();
    places.dedup();
    Ok(places.into())
}
