//! Filters before the router: in the listener, as resources of their own, and at routes.

use super::{
    at::{At, Fault, flag, take},
    ext_authz, jwt,
    listener::ads,
    matcher, rbac,
};
use crate::config::{Cors, HttpFilter, RouteSteps, Session, Step, StringMatch};
use prost::Name as _;
use proto::envoy::{
    envoy::{
        config::core::v3::{ExtensionConfigSource, TypedExtensionConfig},
        extensions::{
            filters::{
                http::{
                    cors::v3::{Cors as CorsFilter, CorsPolicy},
                    ext_authz::v3::ExtAuthz,
                    filter_chain::v3::{FilterChain, FilterChainConfig, FilterChainConfigPerRoute},
                    jwt_authn::v3::JwtAuthentication,
                    rbac::v3::Rbac,
                    router::v3::Router,
                    stateful_session::v3::StatefulSession,
                },
                network::http_connection_manager::v3::{self as pb, http_filter::ConfigType},
            },
            http::stateful_session::{cookie::v3::CookieBasedSessionState, header::v3::HeaderBasedSessionState},
        },
        r#type::{
            http::v3::Cookie,
            matcher::v3::{ListStringMatcher, StringMatcher},
        },
    },
    google::protobuf::Any,
};
use std::{collections::HashMap, sync::Arc};

/// The names by which routes speak of filters: those that translation gives them.
const CORS: &str = "envoy.filters.http.cors";
const FILTER_CHAIN: &str = "envoy.filters.http.filter_chain";

/// All filters before the router, and whether the router adds no `x-envoy-` headers.
pub(super) fn filters(at: &At<'_>, filters: Vec<pb::HttpFilter>) -> Result<(Box<[HttpFilter]>, bool), Fault> {
    let at = at.field("http_filters");
    let mut out = Vec::new();
    let count = filters.len();
    for (index, filter) in filters.into_iter().enumerate() {
        let at = at.index(index);
        // An optional filter is one that may be skipped if it isn't known; skipping is never safe for a policy.
        take!(at, filter => pb::HttpFilter { name, config_type } moot { is_optional } refuse { disabled });
        let at_config = at.field("typed_config");
        match config_type {
            Some(ConfigType::TypedConfig(any)) if any.type_url == Router::type_url() => {
                let suppress = router(&at_config, at_config.unpack(&any)?)?;
                if index + 1 < count {
                    return at.fail("the router must be the last filter");
                }
                return Ok((out.into(), suppress));
            }
            Some(ConfigType::TypedConfig(any)) if any.type_url == CorsFilter::type_url() => {
                at.same_name(CORS, &name)?;
                let CorsFilter {} = at_config.unpack(&any)?;
                out.push(HttpFilter::Cors);
            }
            Some(ConfigType::TypedConfig(any)) if any.type_url == FilterChainConfig::type_url() => {
                at.same_name(FILTER_CHAIN, &name)?;
                take!(at_config, at_config.unpack(&any)? => FilterChainConfig {} moot {}
                    refuse { default_filter_chain });
                out.push(HttpFilter::OfRoute);
            }
            Some(ConfigType::TypedConfig(any)) => out.push(HttpFilter::Inline(step(&at_config, any)?)),
            Some(ConfigType::ConfigDiscovery(source)) => {
                discovery(&at.field("config_discovery"), source)?;
                out.push(HttpFilter::Named(at.name(&name)));
            }
            None => return at.fail(format!("filter {name:?} has no configuration")),
        }
    }
    at.fail("wanted the router as the last filter")
}

/// A filter that can stand anywhere.
pub(super) fn step(at: &At<'_>, any: Any) -> Result<Step, Fault> {
    match &*any.type_url {
        url if url == Rbac::type_url() => Ok(Step::Rbac(Arc::new(rbac::filter(at, &any)?))),
        url if url == JwtAuthentication::type_url() => Ok(Step::Jwt(Arc::new(jwt::filter(at, &any)?))),
        url if url == ExtAuthz::type_url() => Ok(Step::ExtAuthz(Arc::new(ext_authz::filter(at, at.unpack(&any)?)?))),
        url if url == FilterChainConfig::type_url() => Ok(Step::Chain(named_chain(at, at.unpack(&any)?)?)),
        url if url == StatefulSession::type_url() => Ok(Step::Session(Arc::new(session(at, at.unpack(&any)?)?))),
        url => at.fail(format!("a filter of type {url:?} is unknown")),
    }
}

fn session(at: &At<'_>, message: StatefulSession) -> Result<Session, Fault> {
    take!(at, message => StatefulSession { session_state } moot { stat_prefix }
        refuse { strict, status_on_strict_destination_not_found });
    let at_state = at.field("session_state");
    take!(at_state, at.want("session_state", session_state)? => TypedExtensionConfig { typed_config }
        moot { name } refuse {});
    let any = at_state.want("typed_config", typed_config)?;
    let at = at_state.field("typed_config");
    let name = |text: &str| match text {
        "" => at.field("name").fail("wanted a name, saw none"),
        text => Ok(at.name(text)),
    };
    if any.type_url == HeaderBasedSessionState::type_url() {
        let HeaderBasedSessionState { name: header } = at.unpack(&any)?;
        return Ok(Session::Header(name(&header.to_ascii_lowercase())?));
    }
    take!(at, at.unpack(&any)? => CookieBasedSessionState { cookie } moot {} refuse {});
    let at_cookie = at.field("cookie");
    let wanted = at.want("cookie", cookie)?;
    let cookie = name(&wanted.name)?;
    take!(at_cookie, wanted => Cookie { ttl, path } moot { name } refuse { attributes });
    let life = at_cookie.duration("ttl", ttl)?.filter(|life| !life.is_zero());
    Ok(Session::Cookie { name: cookie, life, path: at.name(&path) })
}

fn discovery(at: &At<'_>, source: ExtensionConfigSource) -> Result<(), Fault> {
    // Warming without the policy, or a default in its place, would let requests by: the listener waits instead.
    take!(at, source => ExtensionConfigSource { config_source, type_urls } moot {}
        refuse { default_config, apply_default_config_without_warming });
    ads(&at.field("config_source"), config_source)?;
    let known = [Rbac::type_url(), JwtAuthentication::type_url(), ExtAuthz::type_url(), FilterChainConfig::type_url()];
    match type_urls.iter().position(|url| !known.contains(url)) {
        None => Ok(()),
        Some(index) => {
            at.field("type_urls").index(index).fail(format!("filter type {:?} is unknown", type_urls[index]))
        }
    }
}

fn router(at: &At<'_>, message: Router) -> Result<bool, Fault> {
    take!(at, message => Router { suppress_envoy_headers }
        moot {
            dynamic_stats, upstream_log_options, suppress_grpc_request_failure_code_stats,
            reject_connect_request_early_data,
        }
        refuse { start_child_span, upstream_log, strict_check_headers, respect_expected_rq_timeout, upstream_http_filters });
    Ok(suppress_envoy_headers)
}

/// `typed_per_filter_config` of a route.
pub(super) fn of_route(at: &At<'_>, configs: HashMap<String, Any>) -> Result<Option<Box<RouteSteps>>, Fault> {
    if configs.is_empty() {
        return Ok(None);
    }
    let at = at.field("typed_per_filter_config");
    let mut steps = RouteSteps::default();
    for (name, any) in configs {
        let at = at.key(&name);
        match &*name {
            CORS => steps.cors = Some(cors(&at, at.unpack(&any)?)?),
            FILTER_CHAIN => steps.chain = chain(&at, at.unpack(&any)?)?,
            _ => return at.fail("this proxy has no such filter"),
        }
    }
    Ok(Some(Box::new(steps)))
}

/// `typed_per_filter_config` of one of several clusters: what stands in the filter chain only. Browsers' questions are
/// answered for the route as a whole.
pub(super) fn of_cluster(at: &At<'_>, configs: HashMap<String, Any>) -> Result<Option<Box<[Step]>>, Fault> {
    match of_route(at, configs)? {
        Some(steps) if steps.cors.is_some() => {
            at.field("typed_per_filter_config").key(CORS).fail("this proxy has it at routes only")
        }
        steps => Ok(steps.map(|steps| steps.chain)),
    }
}

fn chain(at: &At<'_>, message: FilterChainConfigPerRoute) -> Result<Box<[Step]>, Fault> {
    take!(at, message => FilterChainConfigPerRoute { filter_chain } moot {} refuse {});
    steps(&at.field("filter_chain"), at.want("filter_chain", filter_chain)?)
}

fn named_chain(at: &At<'_>, message: FilterChainConfig) -> Result<Arc<[Step]>, Fault> {
    take!(at, message => FilterChainConfig { default_filter_chain } moot {} refuse {});
    let at = at.field("default_filter_chain");
    Ok(default_filter_chain.map(|chain| steps(&at, chain)).transpose()?.unwrap_or_default().into())
}

fn steps(at: &At<'_>, FilterChain { filters }: FilterChain) -> Result<Box<[Step]>, Fault> {
    let at_filters = at.field("filters");
    let step = |(index, filter): (usize, TypedExtensionConfig)| {
        let at = at_filters.index(index);
        take!(at, filter => TypedExtensionConfig { typed_config } moot { name } refuse {});
        match self::step(&at.field("typed_config"), at.want("typed_config", typed_config)?)? {
            Step::Chain(_) => at.fail("a chain can't stand in a chain"),
            step => Ok(step),
        }
    };
    filters.into_iter().enumerate().map(step).collect()
}

fn cors(at: &At<'_>, message: CorsPolicy) -> Result<Cors, Fault> {
    take!(at, message => CorsPolicy {
            allow_origin_string_match, allow_methods, allow_headers, expose_headers, max_age, allow_credentials,
            forward_not_matching_preflights,
        }
        moot {} refuse { filter_enabled, shadow_enabled, allow_private_network_access });
    Ok(Cors {
        origins: strings(&at.field("allow_origin_string_match"), allow_origin_string_match)?,
        methods: at.name(&allow_methods),
        headers: at.name(&allow_headers),
        expose: at.name(&expose_headers),
        max_age: at.name(&max_age),
        credentials: flag(allow_credentials).unwrap_or(false),
        forward_foreign: flag(forward_not_matching_preflights).unwrap_or(true),
    })
}

/// A list of string matchers; one that is not there is none.
pub(super) fn list(at: &At<'_>, list: Option<ListStringMatcher>) -> Result<Option<Box<[StringMatch]>>, Fault> {
    let Some(ListStringMatcher { patterns }) = list else { return Ok(None) };
    strings(&at.field("patterns"), patterns).map(Some)
}

fn strings(at: &At<'_>, matchers: Vec<StringMatcher>) -> Result<Box<[StringMatch]>, Fault> {
    let matchers = matchers.into_iter().enumerate();
    matchers.map(|(index, one)| matcher::string(&at.index(index), one)).collect()
}
