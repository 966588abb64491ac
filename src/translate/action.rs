//! What a route does: forward, answer.

use crate::{headers, rewrite, route::retries, steps, wire};
use model::{Backend, Retry, Rewrite, Route, Timeouts};
use proto::envoy::envoy::{
    config::{
        core::v3::RuntimeFractionalPercent,
        route::v3::{
            DirectResponseAction, RetryPolicy, RouteAction, WeightedCluster,
            retry_policy::RetryBackOff,
            route::Action,
            route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy},
            weighted_cluster::{ClusterWeight, cluster_weight},
        },
    },
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};

/// A cluster that never exists: its share of the requests is answered with 500, that of calls with 503 (Gateway API
/// `backendRefs`).
const INVALID_BACKEND: &str = "invalid-backend";

/// Forwards by weight. Without a usable backend at all the answer is 500.
pub(crate) fn forward(
    route: &Route,
    backends: &[Backend],
    rewrite: &Rewrite,
    timeouts: &Timeouts,
    retry: Option<&Retry>,
) -> Action {
    // To a call of gRPC, 503 is UNAVAILABLE.
    let (not_found, status) = match route.order.grpc {
        true => (ClusterNotFoundResponseCode::ServiceUnavailable, 503),
        false => (ClusterNotFoundResponseCode::InternalServerError, 500),
    };
    let Some(cluster) = cluster(route, backends, rewrite) else { return respond(status) };
    // To Envoy the route's Host outranks a backend's: where there is one of those, each backend has its own.
    let host = rewrite.host.as_deref().filter(|_| backends.iter().all(|backend| backend.host.is_none()));
    let mut action = RouteAction {
        cluster_specifier: Some(cluster),
        cluster_not_found_response_code: not_found.into(),
        host_rewrite_specifier: host.map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_owned())),
        // Envoy's own default is 15 s; zero is none.
        timeout: Some(wire::duration(timeouts.request.unwrap_or_default())),
        retry_policy: retry_policy(timeouts, retry),
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

/// Retries of a rule of its own; without any, those of the virtual host hold.
fn retry_policy(timeouts: &Timeouts, retry: Option<&Retry>) -> Option<RetryPolicy> {
    // One try that takes too long is not repeated unless a rule asks for retries: its timeout answers 504.
    let mut policy = retries();
    if let Some(retry) = retry {
        // Whoever asks for retries means broken connections and tries that take too long, too (GEP-1731).
        policy.retry_on = "connect-failure,refused-stream,reset,retriable-status-codes".to_owned();
        policy.num_retries = wire::uint(retry.attempts);
        policy.retriable_status_codes = retry.codes.iter().copied().map(u32::from).collect();
        policy.retry_back_off = retry
            .backoff
            .map(|pause| RetryBackOff { base_interval: Some(wire::duration(pause)), ..Default::default() });
    }
    policy.per_try_timeout = timeouts.backend.map(wire::duration);
    (retry.is_some() || timeouts.backend.is_some()).then_some(policy)
}

fn cluster(route: &Route, backends: &[Backend], rewrite: &Rewrite) -> Option<ClusterSpecifier> {
    let own = backends.iter().any(|backend| backend.host.is_some());
    let host = |backend: &Backend| backend.host.clone().or_else(|| rewrite.host.clone().filter(|_| own));
    let name = |backend: &Backend| backend.cluster.as_deref().unwrap_or(INVALID_BACKEND).to_owned();
    match backends {
        [] => None,
        [only]
            if only.host.is_none()
                && only.session.is_none()
                && only.request_headers == Default::default()
                && only.response_headers == Default::default() =>
        {
            Some(ClusterSpecifier::Cluster(name(only)))
        }
        backends => {
            let clusters = backends.iter().map(|backend| ClusterWeight {
                name: name(backend),
                weight: wire::uint(backend.weight),
                host_rewrite_specifier: host(backend)
                    .map(|host| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host.to_string())),
                request_headers_to_add: headers::added(&backend.request_headers),
                request_headers_to_remove: headers::removed(&backend.request_headers),
                response_headers_to_add: headers::added(&backend.response_headers),
                response_headers_to_remove: headers::removed(&backend.response_headers),
                // One entry at most: the order of a map isn't defined.
                typed_per_filter_config: steps::of_backend(&route.steps, backend),
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
