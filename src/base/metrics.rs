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
