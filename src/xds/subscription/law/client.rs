//! A model client, with the server's side of its stream and the wire between them.

use super::super::{Content, Flavor, Note, Response, Subscription, is_whole};
use super::scope;
use crate::publisher::{Feed, Publisher, View};
use crate::recorder::Recorder;
use bytes::Bytes;
use proptest::prelude::*;
use proto::TypeUrl;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Status};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

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
pub(super) struct Manner {
    pub(super) flavor: Flavor,
    view: View,
    /// Endpoints and routes by name, as Envoy asks; else by wildcard, as our proxy does.
    pub(super) named: bool,
    /// Of a refused response it keeps what is good.
    partial: bool,
    /// Its errors name the guilty.
    names_guilty: bool,
    /// It asks for endpoints before it acknowledges clusters.
    asks_early: bool,
}

/// Any of them.
pub(super) fn manner() -> impl Strategy<Value = Manner> {
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
pub(super) struct Connection {
    pub(super) manner: Manner,
    pub(super) feed: Feed,
    server: Subscription,
    to_client: VecDeque<Response>,
    to_server: VecDeque<Request>,
    pub(super) recorder: Recorder<Needs>,
    names: BTreeMap<TypeUrl, BTreeSet<String>>,
    versions: BTreeMap<(TypeUrl, Arc<str>), String>,
    nonces: BTreeMap<TypeUrl, String>,
    /// Versions that came on this stream and may not come again.
    seen: BTreeSet<(TypeUrl, Arc<str>, u64)>,
    /// What came with something bad: the server can't know whether the client holds it.
    pub(super) doubtful: BTreeSet<(TypeUrl, Arc<str>)>,
    /// How often the client has asked for a name: so often it may come once more.
    again: BTreeMap<(TypeUrl, Arc<str>), u32>,
    pub(super) reached: u64,
    /// What the server takes for refused.
    pub(super) refused: BTreeSet<(TypeUrl, Arc<str>)>,
    /// The port of listeners that have one is in use by somebody else.
    pub(super) port_taken: bool,
}

impl Connection {
    /// A new stream, and its first requests.
    pub(super) fn open(manner: Manner, publisher: &Publisher) -> Self {
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
            refused: BTreeSet::new(),
            port_taken: false,
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

    /// The client loses its stream and comes back.
    pub(super) fn reconnect(&mut self, publisher: &Publisher) {
        self.feed = publisher.feed(&scope(), self.manner.view).expect("published");
        self.server = Subscription::new(self.manner.flavor, self.manner.named, 1000, self.feed.newest());
        self.to_client.clear();
        self.to_server.clear();
        self.nonces.clear();
        self.seen.clear();
        self.again.clear();
        self.doubtful.clear();
        self.reached = 0;
        self.refused.clear();
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

    /// The server looks at what it can send.
    pub(super) fn serve(&mut self) {
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
            match note {
                Note::Reached(generation) => {
                    assert!(generation > self.reached);
                    self.reached = generation;
                }
                Note::Nacked(type_url, parked, _) => {
                    self.refused.extend(parked.into_iter().map(|refusal| (type_url, refusal.name)));
                }
                Note::Recovered(type_url, name) => {
                    assert!(self.refused.remove(&(type_url, name)), "it was not refused");
                }
                Note::Acked(_) | Note::Stale(_) => {}
            }
        }
    }

    /// The server takes a request.
    pub(super) fn server(&mut self) {
        match self.to_server.pop_front() {
            Some(Request::Delta(request)) => self.server.delta(request).expect("within limits"),
            Some(Request::Sotw(request)) => self.server.sotw(request).expect("within limits"),
            None => {}
        }
        self.serve();
    }

    /// The client takes a response.
    pub(super) fn client(&mut self) {
        let Some(response) = self.to_client.pop_front() else { return };
        let type_url = response.type_url;
        let entries = match response.content {
            Content::Some(entries) => entries,
            Content::Whole(published) => published.entries().cloned().collect(),
        };
        let whole = self.manner.flavor == Flavor::Sotw && is_whole(type_url);
        let bad: Vec<_> = entries.iter().filter(|entry| self.refuses(&entry.resource.body)).collect();
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
        // What is parked is left out of the state of the world. A client that has taken an earlier version of it from a
        // response that it refused loses that, which breaks no rule: it is a resource that can't be had.
        removed.retain(|name| !whole || !self.refused.contains(&(type_url, name.clone())));
        self.recorder.record(type_url, accepted, guilty.iter().cloned(), removed);
        self.answer(type_url, response.nonce.to_string(), &guilty);
    }

    /// Whether the client refuses such a resource now.
    pub(super) fn refuses(&self, body: &[u8]) -> bool {
        let has = |word: &[u8]| body.windows(word.len()).any(|window| window == word);
        has(b"BAD") || (self.port_taken && has(b"PORT"))
    }

    /// The server offers again what may be taken by now.
    pub(super) fn offer_again(&mut self) {
        if self.server.has_passing() {
            self.server.offer_again();
        }
    }

    fn asked(&self, type_url: TypeUrl, name: &str) -> bool {
        self.names.get(&type_url).is_some_and(|names| names.contains(name))
    }

    fn answer(&mut self, type_url: TypeUrl, nonce: String, guilty: &BTreeSet<Arc<str>>) {
        self.nonces.insert(type_url, nonce.clone());
        let why = match type_url {
            TypeUrl::Listener => "Address already in use",
            _ => "something is bad",
        };
        let error_detail = (!guilty.is_empty()).then(|| Status {
            code: 3,
            message: match self.manner.names_guilty {
                true => guilty.iter().map(|name| format!("{name}: {why}")).collect::<Vec<_>>().join("\n"),
                false => why.into(),
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

    /// The client asks once more for what it has asked for.
    pub(super) fn resubscribe(&mut self, number: u8) {
        let name = format!("c{number}");
        if self.manner.flavor == Flavor::Delta && self.manner.named && self.asked(TypeUrl::Endpoints, &name) {
            self.ask(TypeUrl::Endpoints, &[name], &[]);
        }
    }

    /// Lets everything that is on its way arrive.
    pub(super) fn settle(&mut self) {
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
