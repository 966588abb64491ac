//! Metrics: one registry a process, rendered as Prometheus reads it.

pub use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family};
pub use prometheus_client::{metrics::gauge::Gauge, metrics::histogram::Histogram, registry::Registry};
use std::sync::{Arc, Mutex, PoisonError};

/// The process's metrics. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Adds metrics to the registry.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(
            &mut text,
            &self.0.lock().unwrap_or_else(PoisonError::into_inner),
        );
        text
    }

    /// The content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

/// A counter under exactly its name: a [`Counter`] is rendered with `_total` added, which dashboards made for Istio
/// don't ask for.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<std::sync::atomic::AtomicU64>);

impl Count {
    /// Counts one more.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Counts so many more.
    pub fn inc_by(&self, more: u64) {
        self.0.fetch_add(more, std::sync::atomic::Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl prometheus_client::metrics::TypedMetric for Count {
    const TYPE: prometheus_client::metrics::MetricType = prometheus_client::metrics::MetricType::Unknown;
}

impl prometheus_client::encoding::EncodeMetric for Count {
    fn encode(&self, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> prometheus_client::metrics::MetricType {
        <Self as prometheus_client::metrics::TypedMetric>::TYPE
    }
}
