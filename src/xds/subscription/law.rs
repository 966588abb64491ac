//! The law: whatever happens in whatever order, a client ends with what is published, never gets one version twice on a
//! stream without asking for it, and is never sent a route before what it names.

mod client;

use super::Flavor;
use crate::publisher::Publisher;
use client::{Connection, Manner, manner};
use proptest::prelude::*;
use proto::{Resource, ResourceKey, Scope, TypeUrl};
use std::collections::{BTreeMap, BTreeSet};

const NAMES: u8 = 5;

/// What may happen next.
#[derive(Clone, Debug)]
enum Step {
    /// A host comes to name these clusters, which appear if they don't exist; a bad one is refused.
    Host {
        host: u8,
        clusters: Vec<u8>,
        bad: bool,
    },
    RemoveHost(u8),
    /// A cluster changes.
    Cluster {
        cluster: u8,
        bad: bool,
    },
    Endpoints(u8),
    /// The listener changes: it is good, or bad, or good but its port may be in use.
    Listener {
        kind: u8,
    },
    /// The port comes to be in use, or free.
    Port {
        taken: bool,
    },
    /// The server offers again what may be taken by now.
    Again,
    /// The server looks at what it can send.
    Serve,
    /// The client takes one response; the server takes one request.
    Client,
    Server,
    /// The client asks once more for what it has asked for, or turns away and comes back.
    Resubscribe(u8),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let bad = || prop::bool::weighted(0.1);
    let clusters = || prop::collection::vec(0..NAMES, 0..3);
    prop_oneof![
        4 => (0..NAMES, clusters(), bad()).prop_map(|(host, clusters, bad)| Step::Host { host, clusters, bad }),
        2 => (0..NAMES).prop_map(Step::RemoveHost),
        1 => (0..NAMES, bad()).prop_map(|(cluster, bad)| Step::Cluster { cluster, bad }),
        1 => (0..NAMES).prop_map(Step::Endpoints),
        1 => (0..4u8).prop_map(|kind| Step::Listener { kind }),
        1 => any::<bool>().prop_map(|taken| Step::Port { taken }),
        2 => Just(Step::Again),
        6 => Just(Step::Serve),
        8 => Just(Step::Client),
        8 => Just(Step::Server),
        1 => (0..NAMES).prop_map(Step::Resubscribe),
        1 => Just(Step::Reconnect),
    ]
}

/// What the control plane wants: hosts name clusters; a cluster exists as long as a host names it.
#[derive(Default)]
struct World {
    publisher: Publisher,
    clock: u64,
    hosts: BTreeMap<u8, (BTreeSet<u8>, String)>,
    clusters: BTreeMap<u8, String>,
    endpoints: BTreeMap<u8, String>,
    listener: String,
    published: BTreeMap<(TypeUrl, String), Resource>,
}

impl World {
    fn change(&mut self, step: &Step) {
        self.clock += 1;
        let mark = |bad: bool| format!("#{}{}", self.clock, if bad { " BAD" } else { "" });
        match step {
            Step::Host { host, clusters, bad } => {
                self.hosts.insert(*host, (clusters.iter().copied().collect(), mark(*bad)));
            }
            Step::RemoveHost(host) => drop(self.hosts.remove(host)),
            Step::Cluster { cluster, bad } => drop(self.clusters.insert(*cluster, mark(*bad))),
            Step::Endpoints(cluster) => drop(self.endpoints.insert(*cluster, mark(false))),
            Step::Listener { kind: 0 } => self.listener = mark(true),
            Step::Listener { kind: 1 } => self.listener = mark(false),
            Step::Listener { .. } => self.listener = format!("{} PORT", mark(false)),
            _ => {}
        }
        self.publish();
    }

    fn publish(&mut self) {
        let mut now = BTreeMap::new();
        let mut add = |type_url: TypeUrl, name: String, body: String| {
            now.insert((type_url, name), Resource::from_bytes(body.into_bytes().into()));
        };
        add(TypeUrl::Listener, "l".into(), format!("listener {}", self.listener));
        add(TypeUrl::Route, "r".into(), String::new());
        for (host, (clusters, mark)) in &self.hosts {
            let named: Vec<_> = clusters.iter().map(|cluster| format!("c{cluster};")).collect();
            add(TypeUrl::VirtualHost, format!("r/h{host}"), format!("host{host} {} {mark}", named.concat()));
        }
        for cluster in self.hosts.values().flat_map(|(clusters, _)| clusters) {
            let mark = |of: &BTreeMap<u8, String>| of.get(cluster).cloned().unwrap_or_default();
            add(TypeUrl::Cluster, format!("c{cluster}"), format!("cluster e{cluster}; {}", mark(&self.clusters)));
            add(TypeUrl::Endpoints, format!("c{cluster}"), format!("endpoints {}", mark(&self.endpoints)));
        }
        let key = |(type_url, name): &(TypeUrl, String)| ResourceKey {
            scope: scope(),
            type_url: *type_url,
            name: name.as_str().into(),
        };
        let mut changes: Vec<_> = now.iter().map(|(of, resource)| (key(of), Some(resource.clone()))).collect();
        changes.extend(self.published.keys().filter(|of| !now.contains_key(of)).map(|of| (key(of), None)));
        self.publisher.publish(changes);
        self.published = now;
    }
}

fn scope() -> Scope {
    Scope("gateway/a/b".into())
}

/// Lets it all happen, and then come to rest.
fn run(manner: Manner, steps: &[Step]) {
    let mut world = World::default();
    world.publish();
    let mut connection = Connection::open(manner, &world.publisher);
    for step in steps {
        match step {
            Step::Serve => connection.serve(),
            Step::Client => connection.client(),
            Step::Server => connection.server(),
            Step::Resubscribe(name) => connection.resubscribe(*name),
            Step::Reconnect => connection.reconnect(&world.publisher),
            Step::Port { taken } => connection.port_taken = *taken,
            Step::Again => connection.offer_again(),
            change => world.change(change),
        }
        assert_eq!(connection.recorder.violations(), [] as [&str; 0]);
    }
    connection.settle();
    // What was refused for the port's sake comes again as it is, as long as it takes.
    connection.offer_again();
    connection.settle();
    assert_eq!(connection.recorder.violations(), [] as [&str; 0]);
    converged(&connection, &world);
}

/// The client holds everything that is published and good, and nothing that is gone.
fn converged(connection: &Connection, world: &World) {
    let target = connection.feed.newest();
    let mut outdated = false;
    for type_url in TypeUrl::ALL.into_iter().rev() {
        for entry in target.resources(type_url) {
            let held = connection.recorder.held().get(&(type_url, entry.name.clone()));
            if connection.refuses(&entry.resource.body) {
                outdated |= held.is_some() || connection.doubtful.contains(&(type_url, entry.name.clone()));
                continue;
            }
            if type_url == TypeUrl::Endpoints
                && connection.manner.named
                && !connection.recorder.held().contains_key(&(TypeUrl::Cluster, entry.name.clone()))
            {
                continue;
            }
            assert_eq!(held, Some(&entry.resource.body), "{type_url} {}", entry.name);
        }
        let lingering = connection.recorder.held().keys().filter(|(of, _)| *of == type_url);
        let lingering: Vec<_> = lingering.filter(|(_, name)| target.get(type_url, name).is_none()).collect();
        let named = connection.manner.named && matches!(type_url, TypeUrl::Endpoints | TypeUrl::Route);
        assert!(
            lingering.is_empty() || outdated || (named && connection.manner.flavor == Flavor::Sotw),
            "{lingering:?}"
        );
    }
    for (type_url, name) in &connection.refused {
        match target.get(*type_url, name) {
            Some(entry) => assert!(connection.refuses(&entry.resource.body), "{type_url} {name} was taken"),
            None => assert!(outdated, "{type_url} {name} is gone"),
        }
    }
    if !outdated {
        assert_eq!(connection.reached, world.publisher.generation(&scope()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_500, max_shrink_iters: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_converges(manner in manner(), steps in prop::collection::vec(step(), 1..120)) {
        run(manner, &steps);
    }
}
