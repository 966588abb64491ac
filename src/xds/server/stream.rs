//! One stream: the state machine with its connection on one side and the publisher on the other.

use super::clients::{Client, lock};
use super::{
    PeerIdentity, Shared,
    limits::{is_on, software},
    requests::Requests,
};
use crate::publisher::{Feed, View};
use crate::subscription::{Flavor, Note, Refusal, Refused, Response, Subscription};
use crate::{Feedback, Outcome, wire};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use proto::{Scope, TypeUrl};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use std::{convert::Infallible, future::Future, pin::Pin};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status, body::Body};

/// How long a stream waits for what may never come: see [`Subscription::expecting`].
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after a refusal that may pass the same is offered again: soon enough to heal within a second.
const AGAIN: Duration = Duration::from_millis(750);

/// Requests of one stream that are taken before others get their turn.
const TURN: usize = 32;

/// First messages of this type may come without a node, and are ignored (CONTRACTS 1.2).
const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";

/// A request of one of the two protocols.
pub(super) trait Ask: prost::Message + Default + Send + Unpin + 'static {
    const FLAVOR: Flavor;
    fn take_node(&mut self) -> Option<Node>;
    fn type_url(&self) -> &str;
    fn apply(self, subscription: &mut Subscription) -> Result<(), Refused>;
}

impl Ask for DeltaDiscoveryRequest {
    const FLAVOR: Flavor = Flavor::Delta;
    fn take_node(&mut self) -> Option<Node> {
        self.node.take()
    }
    fn type_url(&self) -> &str {
        &self.type_url
    }
    fn apply(self, subscription: &mut Subscription) -> Result<(), Refused> {
        subscription.delta(self)
    }
}

impl Ask for DiscoveryRequest {
    const FLAVOR: Flavor = Flavor::Sotw;
    fn take_node(&mut self) -> Option<Node> {
        self.node.take()
    }
    fn type_url(&self) -> &str {
        &self.type_url
    }
    fn apply(self, subscription: &mut Subscription) -> Result<(), Refused> {
        subscription.sotw(self)
    }
}

/// Opens a stream. Its headers are sent when its first request has been accepted, so that a client that is refused
/// hears nothing else; its further requests are read as its responses are taken.
pub(super) async fn open<R: Ask>(shared: Arc<Shared>, request: http::Request<Body>) -> http::Response<Body> {
    match try_open::<R>(shared, request).await {
        Ok(stream) => {
            let mut response = http::Response::new(Body::new(stream));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => {
            tracing::info!(code = ?status.code(), message = status.message(), "xds stream refused");
            status.into_http()
        }
    }
}

async fn try_open<R: Ask>(shared: Arc<Shared>, request: http::Request<Body>) -> Result<Stream<R>, Status> {
    if shared.clients.count() >= shared.limits.streams {
        return Err(Status::resource_exhausted(format!("{} streams are open already", shared.limits.streams)));
    }
    let peer = request.extensions().get::<PeerIdentity>().map(|peer| peer.0.clone());
    let mut requests = Requests::<R>::new(request.into_body(), shared.limits.message);
    loop {
        let Some(mut request) = requests.next().await.transpose()? else {
            return Err(Status::invalid_argument("the stream ended before its first request"));
        };
        let node = request.take_node();
        if node.is_none() && request.type_url() == HEALTH {
            continue;
        }
        let mut stream =
            Stream { live: Live::start(shared, R::FLAVOR, peer, node)?, requests, out: VecDeque::new(), ended: None };
        stream.take(request)?;
        stream.send();
        return Ok(stream);
    }
}

struct Stream<R> {
    requests: Requests<R>,
    live: Live,
    /// Encoded responses, taken before anything else happens.
    out: VecDeque<Bytes>,
    /// The status to end with; then the stream is over.
    ended: Option<Option<Status>>,
}

/// A stream that may see a scope.
struct Live {
    shared: Arc<Shared>,
    feed: Feed,
    subscription: Subscription,
    scope: Scope,
    name: Arc<str>,
    number: u64,
    client: Arc<Mutex<Client>>,
    /// The server's end.
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When patience with the client ends.
    patience: Option<(u64, Pin<Box<Sleep>>)>,
    /// When what was refused is offered again.
    again: Option<Pin<Box<Sleep>>>,
}

impl<R: Ask> http_body::Body for Stream<R> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(status) = &mut this.ended {
                return Poll::Ready(status.take().map(|status| Ok(Frame::trailers(trailers(status)))));
            }
            ready!(this.poll_work(context));
        }
    }
}

impl<R: Ask> Stream<R> {
    /// Ready when there is something to be sent or the stream has ended.
    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.live.drained.as_mut().poll(context).is_ready() {
            return self.end(Status::unavailable("the server is shutting down"));
        }
        self.poll_feed(context);
        for _ in 0..TURN {
            match self.requests.poll_next(context) {
                Poll::Ready(Some(Ok(request))) => {
                    if let Err(status) = self.take(request) {
                        return self.end(status);
                    }
                }
                Poll::Ready(Some(Err(status))) => return self.end(status),
                Poll::Ready(None) => return self.end(Status::ok("")),
                Poll::Pending => {
                    self.send();
                    return if self.out.is_empty() { self.poll_timers(context) } else { Poll::Ready(()) };
                }
            }
        }
        self.send();
        if self.out.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn poll_feed(&mut self, context: &mut Context<'_>) {
        let live = &mut self.live;
        while let Poll::Ready(snapshot) = live.feed.poll_changed(context) {
            live.subscription.publish(snapshot);
        }
    }

    fn take(&mut self, request: R) -> Result<(), Status> {
        request.apply(&mut self.live.subscription).map_err(|Refused::TooManyNames { type_url, limit }| {
            Status::resource_exhausted(format!("{type_url}: more names than {limit}, which is the limit"))
        })
    }

    fn send(&mut self) {
        let live = &mut self.live;
        for response in live.subscription.responses() {
            let (head, tail) = wire::frames(&response, R::FLAVOR);
            live.sent(&response, head.len() + tail.as_ref().map_or(0, Bytes::len));
            self.out.push_back(head);
            self.out.extend(tail);
        }
        live.notes();
    }

    fn poll_timers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.poll_again(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.poll_patience(context),
        }
    }

    /// Offers again what was refused for the client's machine's sake.
    fn poll_again(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let live = &mut self.live;
        if !live.subscription.has_passing() {
            live.again = None;
            return Poll::Pending;
        }
        ready!(live.again.get_or_insert_with(|| Box::pin(sleep(AGAIN))).as_mut().poll(context));
        live.again = None;
        live.subscription.offer_again();
        self.send();
        Poll::Ready(())
    }

    /// Gives a client time to ask for endpoints, then goes on without.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let live = &mut self.live;
        let Some(since) = live.subscription.expecting() else {
            live.patience = None;
            return Poll::Pending;
        };
        live.patience.take_if(|(started, _)| *started != since);
        let (_, patience) = live.patience.get_or_insert_with(|| (since, Box::pin(sleep(PATIENCE))));
        ready!(patience.as_mut().poll(context));
        tracing::debug!(client = %live.name, "client neither asks for what it needs nor warms its clusters; the rest goes on without");
        live.subscription.stop_expecting();
        live.patience = None;
        self.send();
        Poll::Ready(())
    }

    fn end(&mut self, status: Status) -> Poll<()> {
        if !matches!(status.code(), Code::Ok | Code::Cancelled) {
            tracing::info!(client = %self.live.name, code = ?status.code(), message = status.message(), "xds stream ends");
        }
        self.ended = Some(Some(status));
        Poll::Ready(())
    }
}

impl Live {
    fn start(shared: Arc<Shared>, flavor: Flavor, peer: Option<Arc<str>>, node: Option<Node>) -> Result<Self, Status> {
        let node = shared.limits.node(node)?;
        let scope = shared.authorize.scope(peer.as_deref(), &node)?;
        let delta = flavor == Flavor::Delta;
        let view = if delta && is_on(&node, "VHDS") { View::VirtualHosts } else { View::Assembled };
        let feed = shared.publisher.feed(&scope, view);
        let feed = feed.ok_or_else(|| Status::unavailable("the configuration has not been read yet"))?;
        let warms = node.user_agent_name == "envoy";
        let subscription = Subscription::new(flavor, warms, shared.limits.names, feed.newest());
        let (number, client) = shared.clients.add(Client {
            software: software(&node).into(),
            name: node.id.into(),
            scope: scope.clone(),
            delta,
            identity: peer,
            connected: SystemTime::now(),
            generation: 0,
            types: BTreeMap::new(),
        });
        let name = lock(&client).name.clone();
        shared.metrics.clients.inc();
        let mut drain = shared.drainer.subscribe();
        let drained = Box::pin(async move { drain.drained().await });
        let live =
            Self { drained, shared, feed, subscription, scope, name, number, client, patience: None, again: None };
        live.tell(Outcome::Connected);
        Ok(live)
    }

    fn tell(&self, outcome: Outcome) {
        self.shared.observe.observe(Feedback { scope: self.scope.clone(), client: self.name.clone(), outcome });
    }

    fn sent(&self, response: &Response, bytes: usize) {
        self.shared.metrics.pushed(response.type_url, bytes);
        let mut client = lock(&self.client);
        let state = client.types.entry(response.type_url).or_default();
        state.sent = Some(SystemTime::now());
        state.nonce_sent = response.nonce;
    }

    /// Passes on what the state machine has noted.
    fn notes(&mut self) {
        let notes: Vec<_> = self.subscription.notes().collect();
        for note in notes {
            match note {
                Note::Acked(type_url) => self.state(type_url, |state| {
                    state.acked = Some(SystemTime::now());
                    state.nonce_acked = state.nonce_sent;
                }),
                Note::Stale(type_url) => self.shared.metrics.stale(type_url),
                Note::Nacked(type_url, parked, error) => self.nacked(type_url, parked, error),
                Note::Recovered(type_url, name) => {
                    self.state(type_url, |state| drop(state.parked.remove(&name)));
                    self.tell(Outcome::Recovered { type_url, name });
                }
                Note::Reached(generation) => self.reached(generation),
            }
        }
    }

    fn nacked(&self, type_url: TypeUrl, parked: Vec<Refusal>, error: String) {
        self.shared.metrics.rejected(type_url);
        let names: Vec<_> = parked.iter().map(|refusal| &*refusal.name).collect();
        let mut told = false;
        self.state(type_url, |state| {
            let before = state.nacked.replace((SystemTime::now(), error.clone()));
            told = before.is_some_and(|(_, before)| before == error)
                && names.iter().all(|name| state.parked.contains_key(*name));
            state.parked.extend(parked.iter().map(|refusal| (refusal.name.clone(), refusal.version.clone())));
        });
        // What is offered again and again is told once.
        if !told {
            tracing::warn!(client = %self.name, type_url = super::short_name(type_url), ?names, error, "client refused resources");
        }
        for Refusal { name, version, may_pass } in parked {
            self.tell(Outcome::Nacked { type_url, name, version, error: error.clone(), may_pass });
        }
    }

    fn reached(&self, generation: u64) {
        let before = std::mem::replace(&mut lock(&self.client).generation, generation);
        let newest = self.feed.latest();
        if let Some(published) = newest.published.filter(|_| before > 0 && newest.generation == generation) {
            self.shared.metrics.convergence.observe(published.elapsed().as_secs_f64());
        }
        self.tell(Outcome::Acked { generation });
    }

    fn state(&self, type_url: TypeUrl, change: impl FnOnce(&mut super::TypeState)) {
        change(lock(&self.client).types.entry(type_url).or_default());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.clients.remove(self.number);
        self.shared.metrics.clients.dec();
        self.tell(Outcome::Disconnected);
    }
}

fn trailers(status: Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Only a message that no header can hold: its code says enough.
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    trailers
}
