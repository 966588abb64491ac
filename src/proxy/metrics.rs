//! What is counted of traffic, by Istio's names.
//!
//! Labels come from the configuration, never from a client, and there is a budget of series whatever the number of
//! routes: what is above it is counted as destination `other`. Each worker counts in cells of its own, so that counting
//! is a load and a store; a scrape adds the cells up.

mod stream;

pub use stream::Streams;

use crate::{
    authz::{Metadata, Note, PolicyName, Reason},
    log::{Flags, Record},
};
use base::metrics::Registry;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::MetricType,
};
use rustc_hash::FxHashMap;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Distinct label sets of the request counter.
const MOST_COUNTERS: usize = 300;
/// Destinations that have histograms of their own.
const MOST_HISTOGRAMS: usize = 12;
/// Clusters that one worker tells apart: they may come and go for months.
const MOST_CLUSTERS: usize = 16_384;
/// Upper bounds of duration buckets, milliseconds.
const MILLISECONDS: [u32; 12] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
/// Upper bounds of size buckets, bytes.
const BYTES: [u32; 6] = [100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];
/// What is above the budget, and requests that were for no cluster.
const OTHER: &str = "other";
const UNKNOWN: &str = "unknown";
/// What the notes of AUDIT policies start with: those say something only of what they match.
const AUDITED: &str = "windlass_audit_";

/// The traffic of one gateway. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<State>);

#[derive(Debug)]
struct State {
    /// Namespace and name of the Gateway, the source of all requests.
    gateway: (Arc<str>, Arc<str>),
    series: Mutex<Series>,
}

#[derive(Debug, Default)]
struct Series {
    requests: BTreeMap<RequestKey, Vec<Cell>>,
    sizes: BTreeMap<Arc<str>, Vec<Arc<Shapes>>>,
    denials: BTreeMap<DenialKey, Vec<Cell>>,
    notes: BTreeMap<NoteKey, Cell>,
    streams: BTreeMap<(Arc<str>, String), Vec<Arc<stream::Tally>>>,
}

/// One number that one worker alone writes.
type Cell = Arc<AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RequestKey {
    cluster: Arc<str>,
    status: u16,
    flags: String,
    grpc: bool,
    grpc_status: Option<u8>,
}

/// Policy, rule, and what decided.
type DenialKey = (String, String, Reason);
/// What was noted: what it starts with, whether the request would go on, policy and rule.
type NoteKey = (Arc<str>, bool, String, String);

/// The histograms of one destination on one worker.
#[derive(Debug)]
struct Shapes {
    duration: Shape<13>,
    request: Shape<7>,
    response: Shape<7>,
}

/// A histogram with `N - 1` bounds.
#[derive(Debug)]
struct Shape<const N: usize> {
    bounds: &'static [u32],
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

/// One worker's view.
pub struct Counters {
    traffic: Traffic,
    clusters: RefCell<FxHashMap<Arc<str>, Cluster>>,
}

struct Cluster {
    shapes: Arc<Shapes>,
    /// Few: codes that this cluster answers with.
    requests: Vec<(Code, Cell)>,
}

/// What tells requests to one cluster apart.
type Code = (u16, Flags, bool, Option<u8>);

impl Traffic {
    /// The traffic of a gateway, none yet; registered under Istio's names.
    pub fn new(namespace: &str, name: &str, registry: &mut Registry) -> Self {
        let gateway = (namespace.into(), name.into());
        let traffic = Self(Arc::new(State { gateway, series: Mutex::default() }));
        registry.register_collector(Box::new(traffic.clone()));
        traffic
    }

    /// A worker's view.
    pub fn counters(&self) -> Counters {
        Counters { traffic: self.clone(), clusters: RefCell::default() }
    }

    // A panic while the lock is held can't leave a series half made.
    fn series(&self) -> MutexGuard<'_, Series> {
        self.0.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shapes(&self, cluster: &str) -> Arc<Shapes> {
        let mut series = self.series();
        let full = series.sizes.len() >= MOST_HISTOGRAMS && !series.sizes.contains_key(cluster);
        let shapes = Arc::new(Shapes::default());
        series.sizes.entry(if full { OTHER } else { cluster }.into()).or_default().push(shapes.clone());
        shapes
    }

    fn cell(&self, cluster: &str, (status, flags, grpc, grpc_status): Code) -> Cell {
        let mut text = String::new();
        flags.write(&mut text);
        let mut key = RequestKey { cluster: cluster.into(), status, flags: text, grpc, grpc_status };
        let mut series = self.series();
        if series.requests.len() >= MOST_COUNTERS && !series.requests.contains_key(&key) {
            // One series for each class of codes.
            let status = status / 100 * 100;
            key = RequestKey { cluster: OTHER.into(), status, flags: "-".into(), grpc, grpc_status: None };
        }
        let cell = Cell::default();
        series.requests.entry(key).or_default().push(cell.clone());
        cell
    }

    fn denied(&self, record: &Record<'_>) {
        let Some(why) = record.denied else { return };
        let (policy, rule) = match &why.policy {
            Some(name) => (name.policy.clone(), name.rule.map(|rule| rule.to_string()).unwrap_or_default()),
            None => Default::default(),
        };
        let mut series = self.series();
        let mut key = (policy, rule, why.reason);
        if series.denials.len() >= MOST_COUNTERS && !series.denials.contains_key(&key) {
            key = (OTHER.into(), String::new(), why.reason);
        }
        // Denials are rare enough to share a cell.
        let cells = series.denials.entry(key).or_default();
        if cells.is_empty() {
            cells.push(Cell::default());
        }
        cells[0].fetch_add(1, Relaxed);
    }

    /// Counts what AUDIT policies and dry runs matched, and what the latter would deny.
    fn noted(&self, notes: &[Note]) {
        let interesting = |note: &&Note| note.policy.is_some() || (!note.allowed && *note.prefix != *AUDITED);
        for note in notes.iter().filter(interesting) {
            let name = note.policy.as_deref().map(PolicyName::parse);
            let rule = name.as_ref().and_then(|name| name.rule).map(|rule| rule.to_string()).unwrap_or_default();
            let mut key = (note.prefix.clone(), note.allowed, name.map(|name| name.policy).unwrap_or_default(), rule);
            let mut series = self.series();
            if series.notes.len() >= MOST_COUNTERS && !series.notes.contains_key(&key) {
                key = (key.0, key.1, OTHER.into(), String::new());
            }
            series.notes.entry(key).or_default().fetch_add(1, Relaxed);
        }
    }
}

impl Counters {
    /// Counts what policies said of a request, or a connection, that has ended.
    pub fn denied(&self, record: &Record<'_>) {
        if let Some(notes) = record.metadata.map(Metadata::notes).filter(|notes| !notes.is_empty()) {
            self.traffic.noted(notes);
        }
        if record.denied.is_some() {
            self.traffic.denied(record);
        }
    }

    /// Counts a request that has ended.
    pub fn count(&self, record: &Record<'_>) {
        self.denied(record);
        let mut clusters = self.clusters.borrow_mut();
        let mut name = record.cluster.unwrap_or(UNKNOWN);
        if clusters.len() >= MOST_CLUSTERS && !clusters.contains_key(name) {
            name = OTHER;
        }
        let cluster = match clusters.get_mut(name) {
            Some(cluster) => cluster,
            None => {
                let shapes = self.traffic.shapes(name);
                clusters.entry(name.into()).or_insert(Cluster { shapes, requests: Vec::new() })
            }
        };
        let grpc = is_grpc(record);
        let code = (record.status, record.flags, grpc, grpc.then(|| grpc_status(record)).flatten());
        match cluster.requests.iter().find(|(known, _)| *known == code) {
            Some((_, cell)) => add(cell, 1),
            None => {
                let cell = self.traffic.cell(name, code);
                add(&cell, 1);
                cluster.requests.push((code, cell));
            }
        }
        let shapes = &cluster.shapes;
        // Fractions of a millisecond count up, so that a fast request isn't a request in no time.
        let microseconds = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
        shapes.duration.record(microseconds.div_ceil(1000));
        shapes.request.record(record.bytes_received);
        shapes.response.record(record.bytes_sent);
    }
}

fn is_grpc(record: &Record<'_>) -> bool {
    let kind = record.request.and_then(|headers| headers.first("content-type"));
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// A status that gRPC knows; a backend may send any text.
fn grpc_status(record: &Record<'_>) -> Option<u8> {
    let status = std::str::from_utf8(record.response?.first("grpc-status")?).ok()?;
    status.parse().ok().filter(|status| *status <= 16)
}

/// One writer: no need for an atomic addition.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Default for Shapes {
    fn default() -> Self {
        Self { duration: Shape::new(&MILLISECONDS), request: Shape::new(&BYTES), response: Shape::new(&BYTES) }
    }
}

impl<const N: usize> Shape<N> {
    fn new(bounds: &'static [u32]) -> Self {
        Self { bounds, counts: std::array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }

    fn record(&self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| u64::from(bound) < value);
        add(&self.counts[bucket.min(N - 1)], 1);
        add(&self.sum, value);
    }
}

/// Sums over workers, as Prometheus reads a histogram.
struct Summed {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl Summed {
    fn of<'a, const N: usize>(shapes: impl Iterator<Item = &'a Shape<N>>) -> Self {
        let mut summed = Self { sum: 0.0, count: 0, buckets: Vec::new() };
        for shape in shapes {
            if summed.buckets.is_empty() {
                let bounds = shape.bounds.iter().map(|&bound| f64::from(bound)).chain([f64::MAX]);
                summed.buckets = bounds.map(|bound| (bound, 0)).collect();
            }
            summed.sum += shape.sum.load(Relaxed) as f64;
            for (bucket, count) in summed.buckets.iter_mut().zip(&shape.counts) {
                let count = count.load(Relaxed);
                bucket.1 += count;
                summed.count += count;
            }
        }
        summed
    }
}

impl EncodeMetric for Summed {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_histogram::<prometheus_client::encoding::NoLabelSet>(self.sum, self.count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A counter's value.
struct Count(u64);

impl EncodeMetric for Count {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<prometheus_client::encoding::NoLabelSet, _, u64>(&self.0, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl Collector for Traffic {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let series = self.series();
        let sum = |cells: &[Cell]| Count(cells.iter().map(|cell| cell.load(Relaxed)).sum());
        let mut family = encoder.encode_descriptor("istio_requests", "requests", None, MetricType::Counter)?;
        for (key, cells) in &series.requests {
            let mut labels = self.labels(&key.cluster, if key.grpc { "grpc" } else { "http" });
            labels.push(("response_code", key.status.to_string()));
            labels.push(("response_flags", key.flags.clone()));
            labels.push(("grpc_response_status", key.grpc_status.map(|code| code.to_string()).unwrap_or_default()));
            sum(cells).encode(family.encode_family(&labels)?)?;
        }
        let mut histograms = |name: &str, help: &str, of: fn(&[Arc<Shapes>]) -> Summed| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (cluster, shapes) in &series.sizes {
                of(shapes).encode(family.encode_family(&self.labels(cluster, "http"))?)?;
            }
            Ok::<_, fmt::Error>(())
        };
        histograms("istio_request_duration_milliseconds", "time of a request", |shapes| {
            Summed::of(shapes.iter().map(|shapes| &shapes.duration))
        })?;
        histograms("istio_request_bytes", "size of a request's body", |shapes| {
            Summed::of(shapes.iter().map(|shapes| &shapes.request))
        })?;
        histograms("istio_response_bytes", "size of a response's body", |shapes| {
            Summed::of(shapes.iter().map(|shapes| &shapes.response))
        })?;
        stream::encode(self, &series.streams, &mut encoder)?;
        let help = "requests denied by a DENY policy that matched, or by ALLOW policies of which this came nearest";
        let mut family = encoder.encode_descriptor("windlass_authz_denied", help, None, MetricType::Counter)?;
        for ((policy, rule, reason), cells) in &series.denials {
            let action = match reason {
                Reason::Matched => "DENY",
                Reason::NoneMatched => "ALLOW",
                Reason::Missing => "missing",
                Reason::Token => "JWT",
            };
            let labels = [("policy", policy.as_str()), ("rule", rule), ("action", action)];
            sum(cells).encode(family.encode_family(&labels)?)?;
        }
        let help = "requests that AUDIT policies and dry runs noted, with what would have become of them";
        let mut family = encoder.encode_descriptor("windlass_authz_noted", help, None, MetricType::Counter)?;
        for ((prefix, allowed, policy, rule), cell) in &series.notes {
            let by = prefix.trim_end_matches('_');
            let result = if *allowed { "allowed" } else { "denied" };
            let labels = [("by", by), ("policy", policy.as_str()), ("rule", rule), ("result", result)];
            sum(std::slice::from_ref(cell)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Traffic {
    /// Istio's labels. What a gateway can't know of the other side is `unknown`, as there.
    fn labels(&self, cluster: &str, protocol: &str) -> Vec<(&'static str, String)> {
        let (namespace, name) = &self.0.gateway;
        let (service, service_name, service_namespace) = service(cluster);
        [
            ("reporter", "source"),
            ("source_workload", name),
            ("source_canonical_service", name),
            ("source_canonical_revision", "latest"),
            ("source_workload_namespace", namespace),
            ("source_app", name),
            ("source_principal", UNKNOWN),
            ("destination_service", service),
            ("destination_service_name", service_name),
            ("destination_service_namespace", service_namespace),
            ("destination_workload", UNKNOWN),
            ("destination_workload_namespace", service_namespace),
            ("destination_principal", UNKNOWN),
            ("destination_canonical_service", service_name),
            ("request_protocol", protocol),
            ("connection_security_policy", UNKNOWN),
        ]
        .map(|(label, value)| (label, value.to_owned()))
        .into()
    }
}

/// Host, name and namespace of the service behind `outbound|<port>||<name>.<namespace>.svc.<domain>`.
fn service(cluster: &str) -> (&str, &str, &str) {
    let host = cluster.rsplit_once('|').map_or(cluster, |(_, host)| host);
    let mut parts = host.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(namespace), Some("svc")) => (host, name, namespace),
        _ => (host, host, UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::metrics::Metrics;
    use std::time::Duration;

    fn record(cluster: Option<&str>, status: u16) -> Record<'_> {
        Record { cluster, status, duration: Duration::from_micros(2500), bytes_sent: 5000, ..Record::default() }
    }

    #[test]
    fn requests_are_counted_over_workers() {
        let metrics = Metrics::default();
        let traffic = metrics.register(|registry| Traffic::new("shop", "gw", registry));
        for counters in [traffic.counters(), traffic.counters()] {
            counters.count(&record(Some("outbound|80||web.shop.svc.cluster.local"), 200));
            counters.count(&record(None, 404));
        }
        let text = metrics.render();
        let line = |start: &str, has: &str| {
            let found = text.lines().find(|line| line.starts_with(start) && line.contains(has));
            found.unwrap_or_else(|| panic!("{start} {has} in {text}")).rsplit_once(' ').unwrap().1
        };
        let web = "destination_service=\"web.shop.svc.cluster.local\",destination_service_name=\"web\"";
        assert_eq!(line("istio_requests_total", web), "2");
        assert_eq!(line("istio_requests_total", "response_code=\"404\""), "2");
        let labels = format!("{web},destination_service_namespace=\"shop\"");
        assert_eq!(line("istio_request_duration_milliseconds_sum", &labels), "6.0");
        assert_eq!(line("istio_response_bytes_bucket{le=\"10000.0\"", &labels), "2");
        assert_eq!(line("istio_response_bytes_bucket{le=\"1000.0\"", &labels), "0");
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = Metrics::default();
        let traffic = metrics.register(|registry| Traffic::new("shop", "gw", registry));
        let counters = traffic.counters();
        for number in 0..2000 {
            counters.count(&record(Some(&format!("outbound|80||s{number}.shop.svc.cluster.local")), 200));
        }
        let text = metrics.render();
        assert!(text.lines().filter(|line| !line.starts_with('#')).count() <= 1000);
        assert!(text.contains("destination_service=\"other\""));
    }
}
