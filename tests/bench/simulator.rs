//! Many delta-ADS clients in one process: each subscribes as our proxy does, acknowledges at once, and tells when what
//! somebody waits for has come.

use anyhow::{Context, Result, bail};
use proto::{
    TypeUrl,
    ads::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Struct, Value,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient, value::Kind,
    },
};
use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;

/// How many resources of each type a client must have before it counts as complete.
#[derive(Clone, Copy, Debug)]
pub struct Complete {
    /// Clusters, and endpoints of each.
    pub clusters: usize,
    /// Virtual hosts.
    pub hosts: usize,
}

/// What a client tells.
enum Told {
    /// It has everything, at that time.
    Complete(Instant),
    /// What was waited for has come.
    Arrived(Instant),
}

/// Running clients; dropping them closes their streams.
pub struct Clients {
    tasks: Vec<JoinHandle<()>>,
    told: mpsc::UnboundedReceiver<Told>,
    waited: Arc<RwLock<String>>,
}

impl Clients {
    /// Connects so many clients of the Gateway `default/gw` at once; gives the seconds until each was complete.
    pub async fn connect(to: SocketAddr, count: usize, complete: Complete) -> Result<(Self, Vec<f64>)> {
        let (tell, told) = mpsc::unbounded_channel();
        let waited: Arc<RwLock<String>> = Arc::default();
        let started = Instant::now();
        let mut clients = Self { tasks: Vec::new(), told, waited: waited.clone() };
        for number in 0..count {
            let (tell, waited) = (tell.clone(), waited.clone());
            clients.tasks.push(tokio::spawn(async move {
                if let Err(error) = client(to, number, complete, &tell, &waited).await {
                    eprintln!("client {number}: {error:#}");
                }
            }));
        }
        drop(tell);
        let mut seconds = Vec::new();
        while seconds.len() < count {
            match clients.next(Duration::from_secs(300)).await.context("clients become complete")? {
                Told::Complete(at) => seconds.push(at.duration_since(started).as_secs_f64()),
                Told::Arrived(_) => {}
            }
        }
        Ok((clients, seconds))
    }

    /// From now on a resource of that name is waited for.
    pub fn wait_for(&mut self, name: &str) {
        if let Ok(mut waited) = self.waited.write() {
            *waited = name.to_owned();
        }
        while self.told.try_recv().is_ok() {}
    }

    /// The milliseconds from `since` until each client had it and had acknowledged it.
    pub async fn arrivals(&mut self, since: Instant) -> Result<Vec<f64>> {
        let mut milliseconds = Vec::new();
        while milliseconds.len() < self.tasks.len() {
            match self.next(Duration::from_secs(60)).await? {
                Told::Arrived(at) => milliseconds.push(at.duration_since(since).as_secs_f64() * 1000.0),
                Told::Complete(_) => {}
            }
        }
        Ok(milliseconds)
    }

    async fn next(&mut self, limit: Duration) -> Result<Told> {
        match tokio::time::timeout(limit, self.told.recv()).await {
            Ok(Some(told)) => Ok(told),
            Ok(None) => bail!("all clients have ended"),
            Err(_) => bail!("nothing came within {limit:?}"),
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn node(number: usize) -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let fields = [("VHDS", "true"), ("NAMESPACE", "default"), ("GATEWAY", "default/gw")];
    let metadata = Struct { fields: fields.map(|(name, value)| (name.to_owned(), text(value))).into() };
    Node {
        id: format!("router~127.0.0.1~gw-{number}.default~default.svc.cluster.local"),
        cluster: "gw.default".into(),
        metadata: Some(metadata),
        ..Node::default()
    }
}

async fn client(
    to: SocketAddr,
    number: usize,
    complete: Complete,
    tell: &mpsc::UnboundedSender<Told>,
    waited: &RwLock<String>,
) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{to}"))?.tcp_nodelay(true).connect().await?;
    let mut service = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(1 << 30);
    let (send, requests) = mpsc::unbounded_channel();
    for (index, type_url) in [TypeUrl::Cluster, TypeUrl::Listener, TypeUrl::VirtualHost].into_iter().enumerate() {
        let node = (index == 0).then(|| node(number));
        send.send(subscribe(node, type_url, vec!["*".into()]))?;
    }
    send.send(subscribe(None, TypeUrl::Route, vec!["http.80".into()]))?;
    send.send(subscribe(None, TypeUrl::Extension, vec!["authz.allow".into(), "authz.deny".into()]))?;
    let mut responses = service.delta_aggregated_resources(UnboundedReceiverStream::new(requests)).await?.into_inner();
    let (mut clusters, mut endpoints, mut hosts, mut told) = (0, 0, 0, false);
    while let Some(response) = responses.message().await? {
        send.send(acknowledge(&response))?;
        let count = response.resources.len();
        match TypeUrl::parse(&response.type_url) {
            Some(TypeUrl::Cluster) => {
                clusters += count;
                let names = response.resources.iter().map(|resource| resource.name.clone()).collect();
                send.send(subscribe(None, TypeUrl::Endpoints, names))?;
            }
            Some(TypeUrl::Endpoints) => endpoints += count,
            Some(TypeUrl::VirtualHost) => hosts += count,
            _ => {}
        }
        let now = Instant::now();
        if !told && clusters >= complete.clusters && endpoints >= complete.clusters && hosts >= complete.hosts {
            told = true;
            tell.send(Told::Complete(now))?;
        }
        let arrived = waited.read().is_ok_and(|name| response.resources.iter().any(|one| one.name == *name));
        if arrived {
            tell.send(Told::Arrived(now))?;
        }
    }
    Ok(())
}

fn subscribe(node: Option<Node>, type_url: TypeUrl, names: Vec<String>) -> DeltaDiscoveryRequest {
    let type_url = type_url.as_str().into();
    DeltaDiscoveryRequest { node, type_url, resource_names_subscribe: names, ..DeltaDiscoveryRequest::default() }
}

fn acknowledge(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
    DeltaDiscoveryRequest { type_url, response_nonce, ..DeltaDiscoveryRequest::default() }
}
