//! Server and client over loopback, as processes use them.

#![allow(clippy::unwrap_used)] // helpers of tests

use base::tasks::Tasks;
use bytes::Bytes;
use proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use proto::ads::{DeltaDiscoveryRequest, Node, Struct, Value, value::Kind};
use proto::{Resource, ResourceKey, Scope, TypeUrl};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Endpoint;
use xds::client::{Connect, Handler, Interests, Options, Refusal, Update};
use xds::recorder::{Recorder, Recording};
use xds::server::{Ads, Limits, transport};
use xds::{Feedback, Outcome, Publisher};

type Held = BTreeMap<(TypeUrl, String), Bytes>;

/// Keeps what it gets, refuses what says so, and counts.
struct Keep {
    held: watch::Sender<Held>,
    arrived: Arc<Mutex<Vec<String>>>,
}

impl Handler for Keep {
    fn apply(&mut self, of: TypeUrl, updates: Vec<Update>, removed: Vec<Arc<str>>, _: &mut Interests) -> Vec<Refusal> {
        let (bad, good): (Vec<_>, Vec<_>) = updates.into_iter().partition(|update| update.body.starts_with(b"bad"));
        self.arrived.lock().unwrap().extend(good.iter().map(|update| update.name.to_string()));
        self.held.send_modify(|held| {
            held.extend(good.into_iter().map(|update| ((of, update.name.to_string()), update.body)));
            removed.iter().for_each(|name| drop(held.remove(&(of, name.to_string()))));
        });
        bad.into_iter().map(|update| Refusal { name: update.name, error: "body: is bad".into() }).collect()
    }
}

struct Tcp(watch::Receiver<SocketAddr>);

impl Connect for Tcp {
    type Io = TcpStream;
    async fn connect(&self) -> std::io::Result<TcpStream> {
        let address = *self.0.borrow();
        TcpStream::connect(address).await
    }
}

async fn serve(publisher: &Publisher, feedback: &mpsc::UnboundedSender<Feedback>) -> (SocketAddr, Ads, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let feedback = feedback.clone();
    let observe = move |one: Feedback| drop(feedback.send(one));
    let authorize = |_: Option<&str>, _: &Node| Ok(scope());
    let metrics = base::metrics::Metrics::default();
    let ads = Ads::new(publisher.clone(), authorize, observe, Limits::default(), &metrics);
    let (tasks, service) = (Tasks::default(), ads.clone());
    tasks.spawn("xds", |mut drain| async move {
        tokio::select! {
            ended = transport().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)) => ended.unwrap(),
            () = drain.drained() => {}
        }
    });
    (address, ads, tasks)
}

fn scope() -> Scope {
    Scope::gateway("a", "b")
}

fn node() -> Node {
    let value = Value { kind: Some(Kind::StringValue("true".into())) };
    let metadata = Some(Struct { fields: [("VHDS".to_owned(), value)].into() });
    Node { id: "router~127.0.0.1~p.a~a.svc".into(), metadata, ..Node::default() }
}

fn change(type_url: TypeUrl, name: &str, body: Option<&str>) -> (ResourceKey, Option<Resource>) {
    let key = ResourceKey { scope: scope(), type_url, name: name.into() };
    (key, body.map(|body| Resource::from_bytes(Bytes::copy_from_slice(body.as_bytes()))))
}

fn everything() -> Interests {
    let mut interests = Interests::default();
    for type_url in TypeUrl::ALL {
        interests.wildcard(type_url);
    }
    interests
}

/// Within a minute, which only a broken build needs.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("within a minute")
}

async fn acked(feedback: &mut mpsc::UnboundedReceiver<Feedback>, generation: u64) -> Vec<Outcome> {
    let mut seen = Vec::new();
    loop {
        let outcome = soon(feedback.recv()).await.expect("the server lives").outcome;
        seen.push(outcome.clone());
        if outcome == (Outcome::Acked { generation }) {
            return seen;
        }
    }
}

fn clusters_of(type_url: TypeUrl, body: &[u8]) -> Vec<(TypeUrl, String)> {
    let text = String::from_utf8_lossy(body).into_owned();
    match type_url {
        TypeUrl::VirtualHost => text.split_whitespace().map(|name| (TypeUrl::Cluster, name.to_owned())).collect(),
        TypeUrl::Cluster if text != "bad" => vec![(TypeUrl::Endpoints, text)],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_client_follows_and_nothing_comes_twice() {
    use TypeUrl::{Cluster, Endpoints, Listener, Route, VirtualHost};
    let publisher = Publisher::default();
    let (tell, mut feedback) = mpsc::unbounded_channel();
    let first = publisher.publish(vec![
        change(Listener, "l", Some("l")),
        change(Route, "r", Some("")),
        change(VirtualHost, "r/h", Some("c1")),
        change(Cluster, "c1", Some("c1")),
        change(Endpoints, "c1", Some("e1")),
    ]);
    let (address, ads, tasks) = serve(&publisher, &tell).await;
    let (moved, at) = watch::channel(address);
    let (held, mut holds) = watch::channel(Held::new());
    let arrived = Arc::default();
    let recorder = Arc::new(Mutex::new(Recorder::new(clusters_of)));
    let handler = Recording::new(Keep { held, arrived: Arc::clone(&arrived) }, recorder.clone());
    let client = Tasks::default();
    client.spawn("client", |mut drain| async move {
        tokio::select! {
            () = xds::client::run(Options::new(node(), "xds"), Tcp(at), everything(), handler) => {}
            () = drain.drained() => {}
        }
    });
    acked(&mut feedback, first).await;
    assert_eq!(holds.borrow_and_update().len(), 5);

    // A bad resource is parked and hurts nothing else; then it is mended.
    let second = publisher.publish(vec![
        change(Cluster, "c2", Some("bad")),
        change(VirtualHost, "r/h", Some("c1 c2")),
        change(Endpoints, "c1", Some("e2")),
    ]);
    let seen = acked(&mut feedback, second).await;
    assert!(
        matches!(&seen[..], [Outcome::Nacked { name, error, .. }, ..] if &**name == "c2" && error == "c2: body: is bad")
    );
    let third = publisher.publish(vec![change(Cluster, "c2", Some("c1"))]);
    let seen = acked(&mut feedback, third).await;
    assert_eq!(seen[0], Outcome::Recovered { type_url: Cluster, name: "c2".into() });

    // Another server with the same contents sends nothing, and then what changes.
    let count = arrived.lock().unwrap().len();
    let (address, _, other) = serve(&publisher, &tell).await;
    moved.send(address).unwrap();
    ads.end();
    assert!(soon(tasks.end(Duration::from_secs(30))).await);
    acked(&mut feedback, third).await;
    let fourth = publisher.publish(vec![change(VirtualHost, "r/h", Some("c2")), change(Cluster, "c1", None)]);
    acked(&mut feedback, fourth).await;
    assert_eq!(arrived.lock().unwrap()[count..], ["r/h".to_owned()]);
    assert!(!holds.borrow_and_update().contains_key(&(Cluster, "c1".into())));
    assert_eq!(recorder.lock().unwrap().violations(), [] as [&str; 0]);
    soon(client.end(Duration::from_secs(30))).await;
    soon(other.end(Duration::from_secs(30))).await;
}

/// One that doesn't read costs nobody anything, and catches up in one step.
#[tokio::test]
async fn a_slow_reader_delays_nobody() {
    let publisher = Publisher::default();
    let (tell, mut feedback) = mpsc::unbounded_channel();
    let large = |edit: usize| format!("{edit:06}").repeat(20_000);
    let listener = vec![change(TypeUrl::Listener, "l", Some("l")), change(TypeUrl::Cluster, "c", Some(&large(0)))];
    publisher.publish(listener);
    let (address, _, tasks) = serve(&publisher, &tell).await;

    // The slow one opens its stream, asks for everything, and reads nothing for now.
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let (ask, requests) = mpsc::channel(16);
    let wildcard = DeltaDiscoveryRequest {
        node: Some(node()),
        type_url: TypeUrl::Cluster.to_string(),
        resource_names_subscribe: vec!["*".into()],
        ..Default::default()
    };
    ask.send(wildcard).await.unwrap();
    let mut slow = AggregatedDiscoveryServiceClient::new(channel);
    let mut responses = slow.delta_aggregated_resources(ReceiverStream::new(requests)).await.unwrap().into_inner();

    let (held, _holds) = watch::channel(Held::new());
    let (_moved, at) = watch::channel(address);
    let client = Tasks::default();
    let handler = Keep { held, arrived: Arc::default() };
    client.spawn("fast client", |mut drain| async move {
        tokio::select! {
            () = xds::client::run(Options::new(node(), "xds"), Tcp(at), everything(), handler) => {}
            () = drain.drained() => {}
        }
    });
    for edit in 1..100 {
        let generation = publisher.publish(vec![change(TypeUrl::Cluster, "c", Some(&large(edit)))]);
        acked(&mut feedback, generation).await;
    }

    // What it gets now: the first response, and after its acknowledgement the newest version, nothing between.
    let mut versions = Vec::new();
    while versions.len() < 2 {
        let response = soon(responses.message()).await.unwrap().expect("the stream goes on");
        versions.extend(response.resources.iter().map(|resource| resource.version.clone()));
        let (type_url, response_nonce) = (response.type_url, response.nonce);
        ask.send(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }).await.unwrap();
    }
    let expected = [0, 99].map(|edit| Resource::from_bytes(large(edit).into()).version_text());
    assert_eq!(versions, expected);
    soon(client.end(Duration::from_secs(30))).await;
    soon(tasks.end(Duration::from_secs(30))).await;
}
