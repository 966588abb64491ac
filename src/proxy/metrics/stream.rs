//! What is counted of connections that nobody looks into, by Istio's names.

use super::{Cell, Count, MOST_CLUSTERS, MOST_HISTOGRAMS, OTHER, Traffic, UNKNOWN, add};
use crate::log::Record;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::MetricType,
};
use rustc_hash::FxHashMap;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Label sets: a destination with the flags of its connections.
const MOST_SERIES: usize = 4 * MOST_HISTOGRAMS;

/// The counts of one destination and set of flags on one worker.
#[derive(Debug, Default)]
pub(super) struct Tally {
    opened: Cell,
    closed: Cell,
    received: Cell,
    sent: Cell,
}

/// What tells connections apart: cluster and flags.
type Key = (Arc<str>, crate::log::Flags);

/// One counter: name, help, and its cell.
type Counter = (&'static str, &'static str, fn(&Tally) -> &Cell);

/// One worker's view.
pub struct Streams {
    traffic: Traffic,
    tallies: RefCell<FxHashMap<Key, Arc<Tally>>>,
}

impl Traffic {
    /// A worker's view of streams.
    pub fn streams(&self) -> Streams {
        Streams { traffic: self.clone(), tallies: RefCell::default() }
    }

    fn tally(&self, cluster: &str, flags: crate::log::Flags) -> Arc<Tally> {
        let mut text = String::new();
        flags.write(&mut text);
        let mut key: (Arc<str>, String) = (cluster.into(), text);
        let mut series = self.series();
        if series.streams.len() >= MOST_SERIES && !series.streams.contains_key(&key) {
            key = (OTHER.into(), "-".into());
        }
        let tally = Arc::<Tally>::default();
        series.streams.entry(key).or_default().push(tally.clone());
        tally
    }
}

impl Streams {
    /// A connection has reached a backend.
    pub fn opened(&self, cluster: Option<&str>) {
        add(&self.tally(cluster, crate::log::Flags::NONE).opened, 1);
    }

    /// A connection has ended.
    pub fn ended(&self, record: &Record<'_>) {
        let tally = self.tally(record.cluster, record.flags);
        add(&tally.closed, 1);
        add(&tally.received, record.bytes_received);
        add(&tally.sent, record.bytes_sent);
    }

    fn tally(&self, cluster: Option<&str>, flags: crate::log::Flags) -> Arc<Tally> {
        let mut tallies = self.tallies.borrow_mut();
        let mut name: Arc<str> = cluster.unwrap_or(UNKNOWN).into();
        if tallies.len() >= MOST_CLUSTERS && !tallies.contains_key(&(name.clone(), flags)) {
            name = OTHER.into();
        }
        let tally = tallies.entry((name.clone(), flags)).or_insert_with(|| self.traffic.tally(&name, flags));
        tally.clone()
    }
}

pub(super) fn encode(
    traffic: &Traffic,
    series: &BTreeMap<(Arc<str>, String), Vec<Arc<Tally>>>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let counters: [Counter; 4] = [
        ("istio_tcp_connections_opened", "connections opened", |tally| &tally.opened),
        ("istio_tcp_connections_closed", "connections closed", |tally| &tally.closed),
        ("istio_tcp_received_bytes", "bytes from clients, of connections closed", |tally| &tally.received),
        ("istio_tcp_sent_bytes", "bytes to clients, of connections closed", |tally| &tally.sent),
    ];
    for (name, help, of) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((cluster, flags), tallies) in series {
            let mut labels = traffic.labels(cluster, "tcp");
            labels.push(("response_flags", flags.clone()));
            let sum = tallies.iter().map(|tally| of(tally).load(Relaxed)).sum();
            Count(sum).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
