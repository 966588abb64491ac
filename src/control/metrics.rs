//! The control plane's metrics, under the names that istiod gives them. What is counted at the streams is `xds`' own.
//!
//! Most of istiod's counters have no `_total` at their end, which OpenMetrics wants of a counter: they are gauges here,
//! as they are to whoever reads them by name.

use base::metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram};
use proto::TypeUrl;
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    component: &'static str,
    tag: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    r#type: String,
    event: &'static str,
}

/// What Windlass says it is.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Seconds, from a millisecond to ten seconds and more.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// All of them. Cloning shares them.
#[derive(Clone)]
pub struct Metrics(Arc<All>);

struct All {
    started: Instant,
    cds_reject: Gauge,
    eds_reject: Gauge,
    lds_reject: Gauge,
    rds_reject: Gauge,
    queue: Histogram,
    commit: Histogram,
    triggers: Family<Type, Gauge>,
    events: Family<Event, Gauge>,
    services: Gauge,
    passed: Gauge,
    failed: Gauge,
    uptime: Gauge<f64, AtomicU64>,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    followed: Gauge,
    forbidden: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        Self(Arc::new(All {
            started: Instant::now(),
            cds_reject: Gauge::default(),
            eds_reject: Gauge::default(),
            lds_reject: Gauge::default(),
            rds_reject: Gauge::default(),
            queue: histogram(),
            commit: histogram(),
            triggers: Family::default(),
            events: Family::default(),
            services: Gauge::default(),
            passed: Gauge::default(),
            failed: Gauge::default(),
            uptime: Gauge::default(),
            cpu: Counter::default(),
            memory: Gauge::default(),
            followed: Gauge::default(),
            forbidden: Gauge::default(),
        }))
    }
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, metrics: &base::metrics::Metrics) {
        let all = &self.0;
        metrics.register(|registry| {
            registry.register("pilot_xds_cds_reject", "Clusters that proxies refused", all.cds_reject.clone());
            registry.register("pilot_xds_eds_reject", "Endpoints that proxies refused", all.eds_reject.clone());
            registry.register("pilot_xds_lds_reject", "Listeners that proxies refused", all.lds_reject.clone());
            registry.register("pilot_xds_rds_reject", "Routes that proxies refused", all.rds_reject.clone());
            registry.register("pilot_proxy_queue_time", "Seconds that a change waited for its turn", all.queue.clone());
            let help = "Seconds from a change's turn to the publication of what follows from it";
            registry.register("pilot_xds_push_time", help, all.commit.clone());
            registry.register("pilot_push_triggers", "Commits, by what led to them", all.triggers.clone());
            registry.register("pilot_k8s_cfg_events", "Changes of objects, by kind", all.events.clone());
            registry.register("pilot_services", "Services that are known", all.services.clone());
            registry.register("galley_validation_passed", "Objects that were read", all.passed.clone());
            registry.register("galley_validation_failed", "Problems in what was read", all.failed.clone());
            registry.register("istiod_uptime_seconds", "Seconds since the start", all.uptime.clone());
            registry.register("process_cpu_seconds", "Seconds of CPU, user and system", all.cpu.clone());
            registry.register("process_resident_memory_bytes", "Resident memory", all.memory.clone());
            let help = "1 while the API server's changes are followed, 0 while it is away, or without one";
            registry.register("windlass_api_server_followed", help, all.followed.clone());
            let help = "Kinds that the API server doesn't let be read: what was known of them stays in use";
            registry.register("windlass_kinds_forbidden", help, all.forbidden.clone());
            let build = Family::<Build, Gauge>::default();
            build.get_or_create(&Build { component: "pilot", tag: VERSION }).set(1);
            registry.register("istio_build", "What this is", build);
            let info = Family::<Version, Gauge>::default();
            info.get_or_create(&Version { version: VERSION }).set(1);
            registry.register("pilot_info", "What this is", info);
        });
    }

    /// Brings up to date what is only known when asked.
    pub fn look(&self) {
        self.0.uptime.set(self.0.started.elapsed().as_secs_f64());
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The fields after the command, which may hold spaces: user and system time in 100ths are the 12th and 13th,
        // resident pages the 22nd.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or_default();
        let cpu = f64::from(number(11) + number(12)) / 100.0;
        // Two who look at once may add twice: by what one tick of the clock is.
        self.0.cpu.inc_by((cpu - self.0.cpu.get()).max(0.0));
        self.0.memory.set(i64::from(number(21)) * 4096);
    }

    pub(crate) fn follows(&self, followed: bool) {
        self.0.followed.set(i64::from(followed));
    }

    pub(crate) fn forbidden(&self, kinds: usize) {
        self.0.forbidden.set(i64::try_from(kinds).unwrap_or(i64::MAX));
    }

    pub(crate) fn rejected(&self, type_url: TypeUrl) {
        match type_url {
            TypeUrl::Cluster => self.0.cds_reject.inc(),
            TypeUrl::Endpoints => self.0.eds_reject.inc(),
            TypeUrl::Listener => self.0.lds_reject.inc(),
            TypeUrl::Route | TypeUrl::VirtualHost => self.0.rds_reject.inc(),
            TypeUrl::Secret | TypeUrl::Extension => 0,
        };
    }

    pub(crate) fn committing(&self, waited: Duration, endpoints: bool) {
        self.0.queue.observe(waited.as_secs_f64());
        let reason = if endpoints { "endpoint" } else { "config" };
        self.0.triggers.get_or_create(&Type { r#type: reason.to_owned() }).inc();
    }

    pub(crate) fn committed(&self, after: Duration) {
        self.0.commit.observe(after.as_secs_f64());
    }

    pub(crate) fn event(&self, kind: &str, event: &'static str) {
        self.0.events.get_or_create(&Event { r#type: kind.to_owned(), event }).inc();
    }

    pub(crate) fn services(&self, more: i64) {
        self.0.services.inc_by(more);
    }

    pub(crate) fn validated(&self, passed: usize) {
        self.0.passed.inc_by(i64::try_from(passed).unwrap_or(i64::MAX));
    }

    pub(crate) fn problems(&self, count: usize) {
        self.0.failed.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
