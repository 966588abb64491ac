//! The law: whatever happens in whatever order, a client ends with what is published, never gets one version twice on a
//! stream without asking for it, and is never sent a route before what it names.

use super::{Content, Flavor, Note, Response, Subscription};
use crate::publisher::{Feed, Publisher, View};
use crate::recorder::Recorder;
use bytes::Bytes;
use proptest::prelude::*;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Status};
use proto::{Resource, ResourceKey, Scope, TypeUrl};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

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
    Listener {
        bad: bool,
    },
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
        1 => bad().prop_map(|bad| Step::Listener { bad }),
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
            Step::Listener { bad } => self.listener = mark(*bad),
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

/// What a toy resource names: hosts (and routes made of them) clusters, clusters endpoints.
fn needs(type_url: TypeUrl, body: &[u8]) -> Vec<(TypeUrl, String)> {
    let text = String::from_utf8_lossy(body);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let number = |word: &str, letter: char| word.strip_prefix(letter)?.parse::<u8>().ok();
    match type_url {
        TypeUrl::Cluster => {
            words.filter_map(|word| Some((TypeUrl::Endpoints, format!("c{}", number(word, 'e')?)))).collect()
        }
        TypeUrl::Route | TypeUrl::VirtualHost => {
            words.filter_map(|word| Some((TypeUrl::Cluster, format!("c{}", number(word, 'c')?)))).collect()
        }
        _ => Vec::new(),
    }
}

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
struct Manner {
    flavor: Flavor,
    view: View,
    /// Endpoints and routes by name, as Envoy asks; else by wildcard, as our proxy does.
    named: bool,
    /// Of a refused response it keeps what is good.
    partial: bool,
    /// Its errors name the guilty.
    names_guilty: bool,
    /// It asks for endpoints before it acknowledges clusters.
    asks_early: bool,
}

fn manner() -> impl Strategy<Value = Manner> {
    let kinds = prop_oneof![
        Just((Flavor::Delta, View::VirtualHosts, false)),
        Just((Flavor::Delta, View::Assembled, true)),
        Just((Flavor::Sotw, View::Assembled, true)),
    ];
    (kinds, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |((flavor, view, named), partial, names_guilty, asks_early)| Manner {
            flavor,
            view,
            named,
            partial,
            names_guilty,
            asks_early,
        },
    )
}

enum Request {
    Delta(DeltaDiscoveryRequest),
    Sotw(DiscoveryRequest),
}

type Needs = fn(TypeUrl, &[u8]) -> Vec<(TypeUrl, String)>;

/// One client and the server's side of its stream, with what is on the wire between them.
struct Connection {
    manner: Manner,
    feed: Feed,
    server: Subscription,
    to_client: VecDeque<Response>,
    to_server: VecDeque<Request>,
    recorder: Recorder<Needs>,
    names: BTreeMap<TypeUrl, BTreeSet<String>>,
    versions: BTreeMap<(TypeUrl, Arc<str>), String>,
    nonces: BTreeMap<TypeUrl, String>,
    /// Versions that came on this stream and may not come again.
    seen: BTreeSet<(TypeUrl, Arc<str>, u64)>,
    /// What came with something bad: the server can't know whether the client holds it.
    doubtful: BTreeSet<(TypeUrl, Arc<str>)>,
    /// How often the client has asked for a name: so often it may come once more.
    again: BTreeMap<(TypeUrl, Arc<str>), u32>,
    reached: u64,
}

impl Connection {
    fn open(manner: Manner, publisher: &Publisher) -> Self {
        let feed = publisher.feed(&scope(), manner.view).expect("published");
        let mut connection = Self {
            server: Subscription::new(manner.flavor, manner.named, 1000, feed.newest()),
            manner,
            feed,
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            recorder: Recorder::new(needs),
            names: BTreeMap::new(),
            versions: BTreeMap::new(),
            nonces: BTreeMap::new(),
            seen: BTreeSet::new(),
            again: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            reached: 0,
        };
        connection.ask_all();
        connection
    }

    fn ask_all(&mut self) {
        let wildcards: &[_] = match self.manner.named {
            true => &[TypeUrl::Cluster, TypeUrl::Listener],
            false => &[TypeUrl::Cluster, TypeUrl::Endpoints, TypeUrl::Listener, TypeUrl::Route, TypeUrl::VirtualHost],
        };
        for type_url in wildcards {
            self.ask(*type_url, &["*".into()], &[]);
        }
        if self.manner.named {
            self.ask(TypeUrl::Route, &["r".into()], &[]);
            let endpoints: Vec<_> = self.names.remove(&TypeUrl::Endpoints).into_iter().flatten().collect();
            self.ask(TypeUrl::Endpoints, &endpoints, &[]);
        }
    }

    fn reconnect(&mut self, publisher: &Publisher) {
        self.feed = publisher.feed(&scope(), self.manner.view).expect("published");
        self.server = Subscription::new(self.manner.flavor, self.manner.named, 1000, self.feed.newest());
        self.to_client.clear();
        self.to_server.clear();
        self.nonces.clear();
        self.seen.clear();
        self.again.clear();
        self.doubtful.clear();
        self.reached = 0;
        if self.manner.flavor == Flavor::Sotw {
            // This protocol can't tell a new stream what the client holds: as good as a new client.
            self.recorder = Recorder::new(needs);
            self.versions.clear();
            self.names.clear();
        } else {
            self.seen.extend(self.versions.iter().map(|((type_url, name), version)| {
                (*type_url, name.clone(), u64::from_str_radix(version, 16).expect("a version"))
            }));
        }
        self.ask_all();
    }

    /// Asks for names, or turns away from them.
    fn ask(&mut self, type_url: TypeUrl, subscribe: &[String], unsubscribe: &[String]) {
        let first = !self.nonces.contains_key(&type_url);
        let nonce = self.nonces.entry(type_url).or_default().clone();
        let names = self.names.entry(type_url).or_default();
        names.extend(subscribe.iter().cloned());
        names.retain(|name| !unsubscribe.contains(name));
        let request = match self.manner.flavor {
            Flavor::Delta => {
                let held = self.versions.iter().filter(|((of, _), _)| first && *of == type_url);
                Request::Delta(DeltaDiscoveryRequest {
                    type_url: type_url.to_string(),
                    resource_names_subscribe: subscribe.to_vec(),
                    resource_names_unsubscribe: unsubscribe.to_vec(),
                    initial_resource_versions: held
                        .map(|((_, name), version)| (name.to_string(), version.clone()))
                        .collect(),
                    ..Default::default()
                })
            }
            Flavor::Sotw => Request::Sotw(DiscoveryRequest {
                type_url: type_url.to_string(),
                resource_names: names.iter().cloned().collect(),
                response_nonce: nonce,
                ..Default::default()
            }),
        };
        for name in subscribe {
            *self.again.entry((type_url, name.as_str().into())).or_default() += 1;
        }
        self.to_server.push_back(request);
    }

    fn serve(&mut self) {
        self.server.publish(self.feed.newest());
        for response in self.server.responses() {
            assert!(
                self.manner.flavor == Flavor::Sotw
                    || self.to_client.iter().all(|sent| sent.type_url != response.type_url),
                "two of a type on the way"
            );
            self.to_client.push_back(response);
        }
        for note in self.server.notes() {
            if let Note::Reached(generation) = note {
                assert!(generation > self.reached);
                self.reached = generation;
            }
        }
    }

    /// The server takes a request.
    fn server(&mut self) {
        match self.to_server.pop_front() {
            Some(Request::Delta(request)) => self.server.delta(request).expect("within limits"),
            Some(Request::Sotw(request)) => self.server.sotw(request).expect("within limits"),
            None => {}
        }
        self.serve();
    }

    /// The client takes a response.
    fn client(&mut self) {
        let Some(response) = self.to_client.pop_front() else { return };
        let type_url = response.type_url;
        let entries = match response.content {
            Content::Some(entries) => entries,
            Content::Whole(published) => published.entries().cloned().collect(),
        };
        let whole = self.manner.flavor == Flavor::Sotw && super::is_whole(type_url);
        let bad: Vec<_> = entries.iter().filter(|entry| entry.resource.body.windows(3).any(|w| w == b"BAD")).collect();
        let names: BTreeSet<_> = entries.iter().map(|entry| entry.name.clone()).collect();
        let mut removed = response.removed.clone();
        if whole && bad.is_empty() {
            let held = self.recorder.held().keys().filter(|(of, name)| *of == type_url && !names.contains(name));
            removed.extend(held.map(|(_, name)| name.clone()).collect::<Vec<_>>());
        }
        for entry in &entries {
            let fresh = self.seen.insert((type_url, entry.name.clone(), entry.resource.version));
            if !fresh && !whole {
                let again = self.again.get_mut(&(type_url, entry.name.clone())).filter(|again| **again > 0);
                *again.unwrap_or_else(|| panic!("{type_url} {} twice", entry.name)) -= 1;
            }
        }
        if type_url == TypeUrl::Cluster && self.manner.named {
            // A changed cluster warms until its endpoints come again.
            for name in names.iter().filter(|name| self.recorder.held().contains_key(&(type_url, (*name).clone()))) {
                *self.again.entry((TypeUrl::Endpoints, name.clone())).or_default() += 1;
            }
        }
        let guilty: BTreeSet<_> = bad.iter().map(|entry| entry.name.clone()).collect();
        let accepted: Vec<_> = entries
            .iter()
            .filter(|entry| guilty.is_empty() || (self.manner.partial && !guilty.contains(&entry.name)))
            .map(|entry| (entry.name.clone(), entry.resource.body.clone(), entry.resource.version_text()))
            .collect();
        if !guilty.is_empty() {
            let known = self.manner.names_guilty || names.len() == 1;
            let doubtful = names.iter().filter(|name| !known || !guilty.contains(*name));
            self.doubtful.extend(doubtful.map(|name| (type_url, name.clone())));
            for entry in &entries {
                self.seen.remove(&(type_url, entry.name.clone(), entry.resource.version));
            }
        }
        // What it has turned away from meanwhile it ignores.
        let turned =
            |name: &Arc<str>| self.manner.named && type_url == TypeUrl::Endpoints && !self.asked(type_url, name);
        let accepted: Vec<_> = accepted.into_iter().filter(|(name, ..)| !turned(name)).collect();
        for (name, _, version) in &accepted {
            self.versions.insert((type_url, name.clone()), version.clone());
        }
        for name in &removed {
            self.seen.retain(|(of, seen, _)| *of != type_url || seen != name);
            self.versions.remove(&(type_url, name.clone()));
        }
        let accepted: Vec<(Arc<str>, Bytes)> = accepted.into_iter().map(|(name, body, _)| (name, body)).collect();
        self.recorder.record(type_url, accepted, guilty.iter().cloned(), removed);
        self.answer(type_url, response.nonce.to_string(), &guilty);
    }

    fn asked(&self, type_url: TypeUrl, name: &str) -> bool {
        self.names.get(&type_url).is_some_and(|names| names.contains(name))
    }

    fn answer(&mut self, type_url: TypeUrl, nonce: String, guilty: &BTreeSet<Arc<str>>) {
        self.nonces.insert(type_url, nonce.clone());
        let error_detail = (!guilty.is_empty()).then(|| Status {
            code: 3,
            message: match self.manner.names_guilty {
                true => guilty.iter().map(|name| format!("{name}: bad")).collect::<Vec<_>>().join("\n"),
                false => "something is bad".into(),
            },
        });
        if self.manner.asks_early {
            self.follow(type_url);
        }
        self.to_server.push_back(match self.manner.flavor {
            Flavor::Delta => Request::Delta(DeltaDiscoveryRequest {
                type_url: type_url.to_string(),
                response_nonce: nonce,
                error_detail,
                ..Default::default()
            }),
            Flavor::Sotw => Request::Sotw(DiscoveryRequest {
                type_url: type_url.to_string(),
                resource_names: self.names.get(&type_url).into_iter().flatten().cloned().collect(),
                response_nonce: nonce,
                error_detail,
                ..Default::default()
            }),
        });
        self.follow(type_url);
    }

    /// Asks for the endpoints of the clusters that it holds.
    fn follow(&mut self, type_url: TypeUrl) {
        if type_url != TypeUrl::Cluster || !self.manner.named {
            return;
        }
        let clusters = self.recorder.held().keys().filter(|(of, _)| *of == TypeUrl::Cluster);
        let clusters: BTreeSet<_> = clusters.map(|(_, name)| name.to_string()).collect();
        let asked = self.names.get(&TypeUrl::Endpoints).cloned().unwrap_or_default();
        let (more, less): (Vec<_>, Vec<_>) =
            (clusters.difference(&asked).cloned().collect(), asked.difference(&clusters).cloned().collect());
        if !more.is_empty() || !less.is_empty() {
            for name in &less {
                self.seen.retain(|(of, seen, _)| *of != TypeUrl::Endpoints || **seen != **name);
                self.versions.remove(&(TypeUrl::Endpoints, name.as_str().into()));
            }
            let gone: Vec<Arc<str>> = less.iter().map(|name| name.as_str().into()).collect();
            self.recorder.record(TypeUrl::Endpoints, [], [], gone);
            self.ask(TypeUrl::Endpoints, &more, &less);
        }
    }

    fn resubscribe(&mut self, number: u8) {
        let name = format!("c{number}");
        if self.manner.flavor == Flavor::Delta && self.manner.named && self.asked(TypeUrl::Endpoints, &name) {
            self.ask(TypeUrl::Endpoints, &[name], &[]);
        }
    }

    /// Lets everything that is on its way arrive.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.serve();
            if self.to_client.is_empty() && self.to_server.is_empty() {
                return;
            }
            self.client();
            self.server();
        }
        panic!("never settles");
    }
}

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
            change => world.change(change),
        }
        assert_eq!(connection.recorder.violations(), [] as [&str; 0]);
    }
    connection.settle();
    assert_eq!(connection.recorder.violations(), [] as [&str; 0]);
    converged(&connection, &world);
}

/// The client holds everything that is published and good, and nothing that is gone.
fn converged(connection: &Connection, world: &World) {
    let target = connection.feed.newest();
    let is_bad = |body: &Bytes| body.windows(3).any(|window| window == b"BAD");
    let mut outdated = false;
    for type_url in TypeUrl::ALL.into_iter().rev() {
        for entry in target.resources(type_url) {
            let held = connection.recorder.held().get(&(type_url, entry.name.clone()));
            if is_bad(&entry.resource.body) {
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
