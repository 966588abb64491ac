//! RDS and VHDS: tables, virtual hosts, routes.

use super::{
    at::{At, Fault, flag, take},
    filter, forward,
    headers::edits,
    listener::ads,
    matcher,
};
use crate::{
    config::{Action, DirectResponse, Name, PathMatch, Redirect, Route, RouteMatch, RouteTable, VirtualHost},
    route::RouteIndex,
};
use proto::envoy::envoy::config::route::v3::{self as pb, redirect_action, route, route_match};
use std::sync::Arc;

/// A route table, and whether its virtual hosts come by VHDS.
pub(super) fn table(at: &At<'_>, name: &Name, message: pb::RouteConfiguration) -> Result<(RouteTable, bool), Fault> {
    at.same_name(name, &message.name)?;
    take!(at, message => pb::RouteConfiguration {
        virtual_hosts, vhds, internal_only_headers, response_headers_to_add, response_headers_to_remove,
        request_headers_to_add, request_headers_to_remove, most_specific_header_mutations_wins,
        validate_clusters, ignore_port_in_host_matching,
    }
    moot { name, max_direct_response_body_size_bytes, metadata }
    refuse {
        cluster_specifier_plugins, request_mirror_policies, vhost_header, ignore_path_parameters_in_path_matching,
        typed_per_filter_config, route_specifiers,
    });
    // A cluster that doesn't exist is answered when it is asked for: it may come at any moment.
    if flag(validate_clusters) == Some(true) {
        return at.field("validate_clusters").fail("this proxy doesn't validate clusters ahead of requests");
    }
    let mut table = RouteTable {
        name: Some(name.clone()),
        request_headers: edits(at, "request", request_headers_to_add, request_headers_to_remove)?,
        response_headers: edits(at, "response", response_headers_to_add, response_headers_to_remove)?,
        most_specific_wins: most_specific_header_mutations_wins,
        internal_only_headers: internal_only_headers.iter().map(|name| at.name(&name.to_ascii_lowercase())).collect(),
        ignore_port: ignore_port_in_host_matching,
        ..RouteTable::default()
    };
    let at_hosts = at.field("virtual_hosts");
    for (index, host) in virtual_hosts.into_iter().enumerate() {
        let at = at_hosts.index(index);
        let host = virtual_host(&at, host, None)?;
        table.insert(&host).map_err(|conflict| at.field("domains").fault(conflict.to_string()))?;
    }
    let by_vhds = match vhds {
        None => false,
        Some(vhds) => {
            let at = at.field("vhds");
            take!(at, vhds => pb::Vhds { config_source } moot {} refuse {});
            ads(&at.field("config_source"), config_source)?;
            true
        }
    };
    Ok((table, by_vhds))
}

/// A virtual host. As a resource of its own it is known by the resource's name, `<table>/<host>`.
pub(super) fn virtual_host(
    at: &At<'_>,
    message: pb::VirtualHost,
    resource: Option<&Name>,
) -> Result<Arc<VirtualHost>, Fault> {
    take!(at, message => pb::VirtualHost {
        name, domains, routes, request_headers_to_add, request_headers_to_remove, response_headers_to_add,
        response_headers_to_remove, retry_policy, include_request_attempt_count,
    }
    moot { metadata, virtual_clusters }
    refuse {
        matcher, require_tls, rate_limits, cors, typed_per_filter_config, include_attempt_count_in_response,
        retry_policy_typed_config, hedge_policy, include_is_timeout_retry_header, per_request_buffer_limit_bytes,
        request_body_buffer_limit, request_mirror_policies, route_specifiers,
    });
    let at_domains = at.field("domains");
    if domains.is_empty() {
        return at_domains.fail("wanted a domain, saw none");
    }
    let domains = domains.iter().enumerate().map(|(index, domain)| {
        let stars = domain.matches('*').count();
        let at_the_end = domain.starts_with('*') || domain.ends_with('*');
        if domain.is_empty() || stars > 1 || (stars == 1 && !at_the_end) {
            return at_domains.index(index).fail(format!("wanted a host, *suffix, prefix* or *, saw {domain:?}"));
        }
        Ok(at.name(&domain.to_ascii_lowercase()))
    });
    let domains = domains.collect::<Result<_, _>>()?;
    let at_routes = at.field("routes");
    let routes = routes.into_iter().enumerate().map(|(index, one)| self::route(&at_routes.index(index), one));
    let routes = routes.collect::<Result<Box<[Route]>, _>>()?;
    Ok(Arc::new(VirtualHost {
        name: resource.cloned().unwrap_or_else(|| at.name(&name)),
        domains,
        index: RouteIndex::new(&routes),
        routes,
        request_headers: edits(at, "request", request_headers_to_add, request_headers_to_remove)?,
        response_headers: edits(at, "response", response_headers_to_add, response_headers_to_remove)?,
        retry: forward::retry(&at.field("retry_policy"), retry_policy)?,
        attempt_count: include_request_attempt_count,
    }))
}

fn route(at: &At<'_>, message: pb::Route) -> Result<Route, Fault> {
    take!(at, message => pb::Route {
        name, r#match, request_headers_to_add, request_headers_to_remove, response_headers_to_add,
        response_headers_to_remove, typed_per_filter_config, action,
    }
    moot { metadata, decorator, stat_prefix }
    refuse {
        tracing, per_request_buffer_limit_bytes, request_body_buffer_limit,
        route_specifiers,
    });
    let matches = route_match(&at.field("match"), at.want("match", r#match)?)?;
    let prefixed = matches!(matches.path, PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Segments(_));
    let action = match at.want("action", action)? {
        route::Action::Route(action) => Action::Forward(forward::forward(&at.field("route"), action, prefixed)?),
        route::Action::Redirect(action) => {
            Action::Redirect(Box::new(redirect(&at.field("redirect"), action, prefixed)?))
        }
        route::Action::DirectResponse(action) => Action::Direct(direct(&at.field("direct_response"), action)?),
        _ => return at.field("action").fail("wanted route, redirect or direct_response"),
    };
    Ok(Route {
        name: name.as_str().into(),
        matches,
        action,
        request_headers: edits(at, "request", request_headers_to_add, request_headers_to_remove)?,
        response_headers: edits(at, "response", response_headers_to_add, response_headers_to_remove)?,
        steps: filter::of_route(at, typed_per_filter_config)?,
    })
}

fn route_match(at: &At<'_>, message: pb::RouteMatch) -> Result<RouteMatch, Fault> {
    take!(at, message => pb::RouteMatch { case_sensitive, headers, query_parameters, path_specifier, grpc } moot {}
        refuse { runtime_fraction, cookies, tls_context, dynamic_metadata, filter_state });
    let path = match at.want("path_specifier", path_specifier)? {
        route_match::PathSpecifier::Prefix(prefix) => PathMatch::Prefix(at.name(&prefix)),
        route_match::PathSpecifier::Path(path) => PathMatch::Exact(at.name(&path)),
        route_match::PathSpecifier::PathSeparatedPrefix(prefix) => {
            if !prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['?', '#']) {
                let reason = format!("wanted a prefix of whole segments without slash at the end, saw {prefix:?}");
                return at.field("path_separated_prefix").fail(reason);
            }
            PathMatch::Segments(at.name(&prefix))
        }
        route_match::PathSpecifier::SafeRegex(pattern) => {
            PathMatch::Regex(matcher::regex(&at.field("safe_regex"), pattern)?)
        }
        _ => return at.field("path_specifier").fail("wanted prefix, path, path_separated_prefix or safe_regex"),
    };
    let at_headers = at.field("headers");
    let headers = headers.into_iter().enumerate();
    let headers = headers.map(|(index, header)| matcher::header(&at_headers.index(index), header));
    let at_query = at.field("query_parameters");
    let query = query_parameters.into_iter().enumerate();
    let query = query.map(|(index, parameter)| matcher::query(&at_query.index(index), parameter));
    Ok(RouteMatch {
        path,
        case_sensitive: flag(case_sensitive).unwrap_or(true),
        headers: headers.collect::<Result<_, _>>()?,
        query: query.collect::<Result<_, _>>()?,
        grpc: grpc.is_some(),
    })
}

fn redirect(at: &At<'_>, message: pb::RedirectAction, prefixed: bool) -> Result<Redirect, Fault> {
    use redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    take!(at, message => pb::RedirectAction {
            host_redirect, port_redirect, response_code, strip_query, scheme_rewrite_specifier, path_rewrite_specifier,
        } moot {} refuse {});
    let status = match RedirectResponseCode::try_from(response_code) {
        Ok(RedirectResponseCode::MovedPermanently) => 301,
        Ok(RedirectResponseCode::Found) => 302,
        Ok(RedirectResponseCode::SeeOther) => 303,
        Ok(RedirectResponseCode::TemporaryRedirect) => 307,
        Ok(RedirectResponseCode::PermanentRedirect) => 308,
        Err(_) => return at.field("response_code").fail(format!("unknown value {response_code}")),
    };
    let Ok(port) = u16::try_from(port_redirect) else {
        return at.field("port_redirect").fail(format!("wanted a port, saw {port_redirect}"));
    };
    let scheme = match scheme_rewrite_specifier {
        None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(at.name("https")),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(at.name(&scheme)),
    };
    let path = match path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) if path.is_empty() => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => Some(forward::full(at, "path_redirect", &path)?),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => forward::prefix(at, "prefix_rewrite", &prefix, prefixed)?,
        Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => {
            Some(forward::regex_rewrite(&at.field("regex_rewrite"), rewrite)?)
        }
        Some(PathRewriteSpecifier::PathRewrite(path)) => Some(forward::path_rewrite(at, &path)?),
    };
    Ok(Redirect {
        scheme,
        host: (!host_redirect.is_empty()).then(|| at.name(&host_redirect)),
        port: (port != 0).then_some(port),
        path,
        strip_query,
        status,
    })
}

fn direct(at: &At<'_>, message: pb::DirectResponseAction) -> Result<DirectResponse, Fault> {
    take!(at, message => pb::DirectResponseAction { status, body } moot {} refuse { body_format });
    let body = match body {
        None => Vec::new(),
        Some(source) => super::secret::bytes(&at.field("body"), source)?,
    };
    match u16::try_from(status) {
        Ok(status @ 200..=599) => Ok(DirectResponse { status, body: body.into() }),
        _ => at.field("status").fail(format!("wanted 200 to 599, saw {status}")),
    }
}
