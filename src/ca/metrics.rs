//! Istio's metrics of its certificate authority, by their names.

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, gauge::Gauge},
    registry::Registry,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The authority's metrics. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub requests: Count,
    pub unauthenticated: Count,
    pub unreadable: Count,
    pub without_identity: Count,
    pub sign_errors: Count,
    pub issued: Count,
    root_expiry: Gauge,
    root_expiry_in: Gauge,
    chain_expiry: Gauge,
    chain_expiry_in: Gauge,
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for (name, help, count) in [
            ("csr_count", "certificate signing requests received", &metrics.requests),
            ("authentication_failure_count", "callers that could not prove who they are", &metrics.unauthenticated),
            ("csr_parsing_err_count", "requests that could not be read", &metrics.unreadable),
            ("id_extraction_err_count", "client certificates without an identity", &metrics.without_identity),
            ("csr_sign_err_count", "requests that could be read but not signed", &metrics.sign_errors),
            ("success_cert_issuance_count", "certificates issued", &metrics.issued),
        ] {
            registry.register(format!("citadel_server_{name}"), help, count.clone());
        }
        for (name, help, gauge) in [
            ("root_cert_expiry_timestamp", "when the first root ends, in seconds since 1970", &metrics.root_expiry),
            ("root_cert_expiry_seconds", "time until the first root ends", &metrics.root_expiry_in),
            (
                "cert_chain_expiry_timestamp",
                "when the signing chain ends, in seconds since 1970",
                &metrics.chain_expiry,
            ),
            ("cert_chain_expiry_seconds", "time until the signing chain ends", &metrics.chain_expiry_in),
        ] {
            registry.register(format!("citadel_server_{name}"), help, gauge.clone());
        }
        metrics
    }

    pub fn set_expiry(&self, root: SystemTime, chain: SystemTime, now: SystemTime) {
        let now = seconds(now);
        self.root_expiry.set(seconds(root));
        self.root_expiry_in.set(seconds(root) - now);
        self.chain_expiry.set(seconds(chain));
        self.chain_expiry_in.set(seconds(chain) - now);
    }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// A count under exactly its name. The registry's own counters end in `_total`, which Istio's dashboards don't ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicU64>);

impl Count {
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl EncodeMetric for Count {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}
