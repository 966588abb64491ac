//! Metrics under the names that istiod has.

use super::short_name;
use base::metrics::{Count, EncodeLabelSet, Family, Gauge, Histogram};
use proto::TypeUrl;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: &'static str,
}

pub(super) struct Metrics {
    pub(super) clients: Gauge,
    pushes: Family<Type, Count>,
    rejects: Family<Type, Count>,
    stale: Family<Type, Count>,
    sizes: Family<Type, Histogram>,
    pub(super) convergence: Histogram,
}

/// Istio's buckets, seconds; below its first one because we are.
const SECONDS: [f64; 13] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];
const BYTES: [f64; 6] = [1e3, 1e4, 1e5, 1e6, 4e6, 1e7];

impl Metrics {
    pub(super) fn new(registry: &base::metrics::Metrics) -> Self {
        let metrics = Self {
            clients: Gauge::default(),
            pushes: Family::default(),
            rejects: Family::default(),
            stale: Family::default(),
            sizes: Family::new_with_constructor(|| Histogram::new(BYTES)),
            convergence: Histogram::new(SECONDS),
        };
        registry.register(|registry| {
            registry.register("pilot_xds", "Clients connected over xDS", metrics.clients.clone());
            registry.register("pilot_xds_pushes", "Responses sent", metrics.pushes.clone());
            registry.register("pilot_total_xds_rejects", "Responses that clients refused", metrics.rejects.clone());
            registry.register("pilot_xds_expired_nonce", "Requests with an outdated nonce", metrics.stale.clone());
            registry.register("pilot_xds_config_size_bytes", "Size of responses", metrics.sizes.clone());
            let help = "Seconds from a change to its acknowledgement by a client";
            registry.register("pilot_proxy_convergence_time", help, metrics.convergence.clone());
        });
        metrics
    }

    pub(super) fn pushed(&self, type_url: TypeUrl, bytes: usize) {
        self.pushes.get_or_create(&label(type_url)).inc();
        self.sizes.get_or_create(&label(type_url)).observe(bytes as f64);
    }

    pub(super) fn rejected(&self, type_url: TypeUrl) {
        self.rejects.get_or_create(&label(type_url)).inc();
    }

    pub(super) fn stale(&self, type_url: TypeUrl) {
        self.stale.get_or_create(&label(type_url)).inc();
    }
}

fn label(type_url: TypeUrl) -> Type {
    Type { r#type: short_name(type_url) }
}
