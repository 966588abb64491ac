//! The action `route`: clusters by weight, rewrites, timeouts, retries, mirrors.

use super::{
    at::{At, Fault, flag, number, take},
    filter,
    headers::{edits, literal},
    re2,
};
use crate::config::{
    Fallback, Forward, HeaderEdits, HostRewrite, Mirror, Name, PathRewrite, RegexRewrite, RetryOn, RetryPolicy,
    WeightedCluster,
};
use proto::envoy::envoy::{
    config::{
        core::v3::RuntimeFractionalPercent,
        route::v3::{
            self as pb, RouteAction,
            retry_policy::{RetryBackOff, RetryHostPredicate},
            route_action::{
                self, ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy,
            },
            weighted_cluster::{self, ClusterWeight},
        },
    },
    r#type::{
        matcher::v3::{RegexMatchAndSubstitute, RegexMatcher},
        v3::{FractionalPercent, fractional_percent::DenominatorType},
    },
};
use std::{sync::Arc, time::Duration};

/// A route's timeout if nothing is said, as in Envoy.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The first pause before a retry if nothing is said, as in Envoy.
const BASE_INTERVAL: Duration = Duration::from_millis(25);

/// `prefixed`: the route matches a prefix or an exact path, so that there is something for `prefix_rewrite` to replace.
pub(super) fn forward(at: &At<'_>, message: RouteAction, prefixed: bool) -> Result<Forward, Fault> {
    take!(at, message => RouteAction {
        cluster_not_found_response_code, prefix_rewrite, regex_rewrite, path_rewrite, append_x_forwarded_host,
        timeout, idle_timeout, retry_policy, request_mirror_policies, upgrade_configs, cluster_specifier,
        host_rewrite_specifier, max_stream_duration, hash_policy,
    }
    moot { priority, flush_timeout, max_grpc_timeout, grpc_timeout_offset }
    refuse {
        metadata_match, path_rewrite_policy, early_data_policy, retry_policy_typed_config, rate_limits,
        include_vh_rate_limits, cors, internal_redirect_policy, internal_redirect_action, max_internal_redirects,
        hedge_policy,
    });
    at.refuse("hash_policy", &hash_policy)?;
    at.refuse("max_stream_duration", &max_stream_duration)?;
    let path = match (&*prefix_rewrite, regex_rewrite, &*path_rewrite) {
        ("", None, "") => None,
        (text, None, "") => prefix(at, "prefix_rewrite", text, prefixed)?,
        ("", Some(rewrite), "") => Some(regex_rewriting(at, rewrite)?),
        ("", None, text) => Some(self::path_rewrite(at, text)?),
        _ => return at.field("prefix_rewrite").fail("wanted one kind of rewrite, saw several"),
    };
    let not_found = match ClusterNotFoundResponseCode::try_from(cluster_not_found_response_code) {
        Ok(ClusterNotFoundResponseCode::ServiceUnavailable) => Fallback(503),
        Ok(ClusterNotFoundResponseCode::NotFound) => Fallback(404),
        Ok(ClusterNotFoundResponseCode::InternalServerError) => Fallback(500),
        Err(_) => return at.field("cluster_not_found_response_code").fail("unknown value"),
    };
    let clusters = clusters(at, cluster_specifier)?;
    let at_mirrors = at.field("request_mirror_policies");
    let mirrors = request_mirror_policies.into_iter().enumerate();
    let mirrors = mirrors.map(|(index, policy)| mirror(&at_mirrors.index(index), policy));
    Ok(Forward {
        total_weight: clusters.iter().map(|cluster| u64::from(cluster.weight)).sum(),
        clusters,
        not_found,
        path,
        host: host(at, host_rewrite_specifier)?,
        timeout: at.limit("timeout", timeout, Some(TIMEOUT))?,
        idle_timeout: at.duration("idle_timeout", idle_timeout)?,
        retry: retry(&at.field("retry_policy"), retry_policy)?,
        mirrors: mirrors.collect::<Result<_, _>>()?,
        websocket: websocket(at, upgrade_configs)?,
        append_forwarded_host: append_x_forwarded_host,
    })
}

fn clusters(at: &At<'_>, specifier: Option<ClusterSpecifier>) -> Result<Box<[WeightedCluster]>, Fault> {
    match specifier {
        Some(ClusterSpecifier::Cluster(name)) => Ok(Box::new([WeightedCluster {
            cluster: cluster_name(at, "cluster", &name)?,
            weight: 1,
            host: None,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            chain: None,
        }])),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let at = at.field("weighted_clusters");
            take!(at, weighted => pb::WeightedCluster { clusters } moot { total_weight, runtime_key_prefix }
                refuse { random_value_specifier });
            let at = at.field("clusters");
            let clusters = clusters.into_iter().enumerate();
            let clusters = clusters.map(|(index, one)| one_of_several(&at.index(index), one));
            let mut clusters = clusters.collect::<Result<Vec<_>, _>>()?;
            clusters.retain(|cluster| cluster.weight > 0);
            if clusters.is_empty() {
                return at.fail("wanted a weight above zero");
            }
            Ok(clusters.into())
        }
        _ => at.field("cluster_specifier").fail("wanted cluster or weighted_clusters"),
    }
}

fn one_of_several(at: &At<'_>, message: ClusterWeight) -> Result<WeightedCluster, Fault> {
    take!(at, message => ClusterWeight {
            name, weight, request_headers_to_add, request_headers_to_remove, response_headers_to_add,
            response_headers_to_remove, host_rewrite_specifier, typed_per_filter_config,
        }
        moot {} refuse { cluster_header, metadata_match });
    let chain = filter::of_cluster(at, typed_per_filter_config)?;
    let host = host_rewrite_specifier.map(|rewrite| match rewrite {
        weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host) => {
            HostRewrite::Literal(at.name(&host))
        }
    });
    Ok(WeightedCluster {
        cluster: cluster_name(at, "name", &name)?,
        weight: number(weight).unwrap_or(0),
        host,
        request_headers: edits(at, "request", request_headers_to_add, request_headers_to_remove)?,
        response_headers: edits(at, "response", response_headers_to_add, response_headers_to_remove)?,
        chain,
    })
}

fn cluster_name(at: &At<'_>, field: &str, name: &str) -> Result<Name, Fault> {
    if name.is_empty() { at.field(field).fail("wanted a cluster, saw none") } else { Ok(at.name(name)) }
}

fn host(at: &At<'_>, specifier: Option<HostRewriteSpecifier>) -> Result<Option<HostRewrite>, Fault> {
    match specifier {
        None => Ok(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            let host = literal(&at.field("host_rewrite_literal"), &host)?;
            Ok(Some(HostRewrite::Literal(at.name(&host))))
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) => {
            Ok(flag(Some(auto)).filter(|auto| *auto).map(|_| HostRewrite::Endpoint))
        }
        Some(_) => at.field("host_rewrite_specifier").fail("wanted host_rewrite_literal or auto_host_rewrite"),
    }
}

/// `prefix_rewrite`
pub(super) fn prefix(at: &At<'_>, field: &str, text: &str, prefixed: bool) -> Result<Option<PathRewrite>, Fault> {
    match text {
        "" => Ok(None),
        _ if !prefixed => at.field(field).fail("the route matches no prefix that could be replaced"),
        text => Ok(Some(PathRewrite::Prefix(at.name(text)))),
    }
}

/// `path_redirect`
pub(super) fn full(at: &At<'_>, field: &str, path: &str) -> Result<PathRewrite, Fault> {
    match path.starts_with('/') {
        true => Ok(PathRewrite::Full(at.name(path))),
        false => at.field(field).fail(format!("wanted a path that starts with /, saw {path:?}")),
    }
}

/// `path_rewrite`: a format; literals only.
pub(super) fn path_rewrite(at: &At<'_>, text: &str) -> Result<PathRewrite, Fault> {
    let path = literal(&at.field("path_rewrite"), text)?;
    full(at, "path_rewrite", &path)
}

fn regex_rewriting(at: &At<'_>, rewrite: RegexMatchAndSubstitute) -> Result<PathRewrite, Fault> {
    regex_rewrite(&at.field("regex_rewrite"), rewrite)
}

/// `regex_rewrite`
pub(super) fn regex_rewrite(at: &At<'_>, message: RegexMatchAndSubstitute) -> Result<PathRewrite, Fault> {
    take!(at, message => RegexMatchAndSubstitute { pattern, substitution } moot {} refuse {});
    let pattern = at.want("pattern", pattern)?;
    let at_pattern = at.field("pattern");
    take!(at_pattern, pattern => RegexMatcher { regex } moot { engine_type } refuse {});
    let pattern = re2::anywhere(&regex).map_err(|reason| at_pattern.field("regex").fault(reason))?;
    let substitution = re2::substitution(&substitution, pattern.captures_len() - 1);
    let substitution = substitution.map_err(|reason| at.field("substitution").fault(reason))?;
    Ok(PathRewrite::Regex(Box::new(RegexRewrite { pattern: Arc::new(pattern), substitution: at.name(&substitution) })))
}

fn websocket(at: &At<'_>, upgrades: Vec<route_action::UpgradeConfig>) -> Result<Option<bool>, Fault> {
    let at = at.field("upgrade_configs");
    let mut allowed = None;
    for (index, upgrade) in upgrades.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, upgrade => route_action::UpgradeConfig { upgrade_type, enabled } moot {} refuse { connect_config });
        if !upgrade_type.eq_ignore_ascii_case("websocket") {
            return at.field("upgrade_type").fail(format!("wanted websocket, saw {upgrade_type:?}"));
        }
        allowed = Some(flag(enabled).unwrap_or(true));
    }
    Ok(allowed)
}

fn mirror(at: &At<'_>, message: RequestMirrorPolicy) -> Result<Mirror, Fault> {
    take!(at, message => RequestMirrorPolicy { cluster, runtime_fraction, disable_shadow_host_suffix_append }
        moot { trace_sampled } refuse { cluster_header, request_headers_mutations, host_rewrite_literal });
    let per_million = match runtime_fraction {
        None => 1_000_000,
        Some(fraction) => {
            let at = at.field("runtime_fraction");
            take!(at, fraction => RuntimeFractionalPercent { default_value } moot { runtime_key } refuse {});
            let percent = default_value.unwrap_or_default();
            take!(at, percent => FractionalPercent { numerator, denominator } moot {} refuse {});
            let factor = match DenominatorType::try_from(denominator) {
                Ok(DenominatorType::Hundred) => 10_000,
                Ok(DenominatorType::TenThousand) => 100,
                Ok(DenominatorType::Million) => 1,
                Err(_) => return at.field("default_value").field("denominator").fail("unknown value"),
            };
            numerator.saturating_mul(factor).min(1_000_000)
        }
    };
    Ok(Mirror {
        cluster: cluster_name(at, "cluster", &cluster)?,
        per_million,
        keep_host: disable_shadow_host_suffix_append,
    })
}

/// Retries. What `retry_on` doesn't know is refused: a typo must not switch retries off in silence.
pub(super) fn retry(at: &At<'_>, policy: Option<pb::RetryPolicy>) -> Result<Option<Box<RetryPolicy>>, Fault> {
    let Some(policy) = policy else { return Ok(None) };
    take!(at, policy => pb::RetryPolicy {
        retry_on, num_retries, per_try_timeout, retry_host_predicate, retriable_status_codes, retry_back_off,
        host_selection_retry_max_attempts,
    }
    moot {}
    refuse {
        per_try_idle_timeout, retry_priority, retry_options_predicates, rate_limited_retry_back_off,
        retriable_headers, retriable_request_headers, refresh_cluster_on_retry,
    });
    // A retry goes to an endpoint that has not been tried, as long as there is one: what Istio asks for with the
    // predicate `previous_hosts`.
    let _ = host_selection_retry_max_attempts;
    for (index, predicate) in retry_host_predicate.into_iter().enumerate() {
        let at_all = at.field("retry_host_predicate");
        let at = at_all.index(index);
        take!(at, predicate => RetryHostPredicate { name } moot { config_type } refuse {});
        if name != "envoy.retry_host_predicates.previous_hosts" {
            return at.field("name").fail(format!("wanted envoy.retry_host_predicates.previous_hosts, saw {name:?}"));
        }
    }
    let (base_interval, max_interval) = match retry_back_off {
        None => (BASE_INTERVAL, BASE_INTERVAL * 10),
        Some(back_off) => {
            let at = at.field("retry_back_off");
            take!(at, back_off => RetryBackOff { base_interval, max_interval } moot {} refuse {});
            let base = at.duration("base_interval", base_interval)?.unwrap_or(BASE_INTERVAL);
            (base, at.duration("max_interval", max_interval)?.unwrap_or(base * 10))
        }
    };
    let at_codes = at.field("retriable_status_codes");
    let codes = retriable_status_codes.into_iter().enumerate().map(|(index, code)| {
        u16::try_from(code).map_err(|_| at_codes.index(index).fault(format!("wanted an HTTP status, saw {code}")))
    });
    Ok(Some(Box::new(RetryPolicy {
        on: retry_conditions(at, &retry_on)?,
        retries: number(num_retries).unwrap_or(1),
        per_try_timeout: at.limit("per_try_timeout", per_try_timeout, None)?,
        status_codes: codes.collect::<Result<_, _>>()?,
        base_interval,
        max_interval,
    })))
}

fn retry_conditions(at: &At<'_>, text: &str) -> Result<RetryOn, Fault> {
    let mut on = RetryOn::default();
    for condition in text.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        match condition {
            "5xx" => on.server_error = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            "retriable-status-codes" => on.status_codes = true,
            "cancelled" => on.grpc |= 1 << 1,
            "deadline-exceeded" => on.grpc |= 1 << 4,
            "resource-exhausted" => on.grpc |= 1 << 8,
            "internal" => on.grpc |= 1 << 13,
            "unavailable" => on.grpc |= 1 << 14,
            other => return at.field("retry_on").fail(format!("unknown condition {other:?}")),
        }
    }
    Ok(on)
}
