//! What a route does: forward, answer.

use crate::{headers, rewrite, route::retries, wire};
use model::{Backend, Rewrite, Route, Timeouts};
use proto::envoy::envoy::{
    config::{
        core::v3::RuntimeFractionalPercent,
        route::v3::{
            DirectResponseAction, RetryPolicy, RouteAction, WeightedCluster,
            route::Action,
            route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy},
            weighted_cluster::ClusterWeight,
        },
    },
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};

/// A cluster that never exists: its share of the requests is answered with 500 (Gateway API `backendRefs`).
const INVALID_BACKEND: &str = "invalid-backend";

/// Forwards by weight. Without a usable backend at all the answer is 500.
pub(crate) fn forward(route: &Route, backends: &[Backend], rewrite: &Rewrite, timeouts: &Timeouts) -> Action {
    let Some(cluster) = cluster(backends) else { return respond(500) };
    let host = rewrite.host.as_deref().or_else(|| headers::host(&route.request_headers));
    let mut action = RouteAction {
        cluster_specifier: Some(cluster),
        cluster_not_found_response_code: ClusterNotFoundResponseCode::InternalServerError.into(),
        host_rewrite_specifier: host.map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_owned())),
        // Envoy's own default is 15 s; zero is none.
        timeout: Some(wire::duration(timeouts.request.unwrap_or_default())),
        // One try that takes too long is not repeated (Gateway API asks for that by `retry`): its timeout answers 504.
        retry_policy: timeouts
            .backend
            .map(|backend| RetryPolicy { per_try_timeout: Some(wire::duration(backend)), ..retries() }),
        request_mirror_policies: route.mirrors.iter().map(mirror).collect(),
        ..Default::default()
    };
    match rewrite.path.as_ref().map(|to| rewrite::path(&route.matches.path, to)) {
        None | Some(rewrite::Path::Keep) => {}
        Some(rewrite::Path::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(rewrite::Path::Regex(regex)) => action.regex_rewrite = Some(regex),
    }
    Action::Route(action)
}

fn cluster(backends: &[Backend]) -> Option<ClusterSpecifier> {
    let name = |backend: &Backend| backend.cluster.as_deref().unwrap_or(INVALID_BACKEND).to_owned();
    match backends {
        [] => None,
        [only] if only.request_headers == Default::default() && only.response_headers == Default::default() => {
            Some(ClusterSpecifier::Cluster(name(only)))
        }
        backends => {
            let clusters = backends.iter().map(|backend| ClusterWeight {
                name: name(backend),
                weight: wire::uint(backend.weight),
                request_headers_to_add: headers::added(&backend.request_headers),
                request_headers_to_remove: headers::removed(&backend.request_headers),
                response_headers_to_add: headers::added(&backend.response_headers),
                response_headers_to_remove: headers::removed(&backend.response_headers),
                ..Default::default()
            });
            Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: clusters.collect(),
                ..Default::default()
            }))
        }
    }
}

fn mirror(mirror: &model::Mirror) -> RequestMirrorPolicy {
    let share = FractionalPercent { numerator: mirror.per_million, denominator: DenominatorType::Million.into() };
    RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        runtime_fraction: Some(RuntimeFractionalPercent { default_value: Some(share), ..Default::default() }),
        disable_shadow_host_suffix_append: true,
        ..Default::default()
    }
}

/// An answer without body.
pub(crate) fn respond(status: u16) -> Action {
    Action::DirectResponse(DirectResponseAction { status: status.into(), ..Default::default() })
}
