//! What outlives a stream, and one stream.

use super::{Connect, Handler, Held, Interest, Interests, Options, Refusal, Update};
use proto::TypeUrl;
use proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use proto::ads::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Status};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Uri};

/// What outlives a stream.
pub(super) struct Session {
    interests: Interests,
    /// What the server has been asked for on this stream.
    asked: Interests,
    /// Versions that the handler has accepted.
    versions: Held,
}

/// How a stream ended.
pub(super) struct End {
    /// The server had accepted it.
    pub(super) opened: bool,
    pub(super) error: tonic::Status,
}

/// The requests of a stream. A server that doesn't read them is read no further itself.
type Requests = mpsc::Sender<DeltaDiscoveryRequest>;

/// Room for the first request of every type before anybody reads.
const ROOM: usize = 16;

impl Session {
    pub(super) fn new(interests: Interests, versions: Held) -> Self {
        Self { interests, asked: Interests::default(), versions }
    }

    /// Opens a stream and serves it to its end.
    pub(super) async fn stream<C: Connect, H: Handler>(
        &mut self,
        options: &Options,
        connector: &Arc<C>,
        handler: &mut H,
    ) -> End {
        let mut opened = false;
        let result = self.try_stream(options, connector, handler, &mut opened).await;
        if opened {
            handler.connected(false);
        }
        End { opened, error: result.err().unwrap_or_else(|| tonic::Status::ok("the server ended the stream")) }
    }

    async fn try_stream<C: Connect, H: Handler>(
        &mut self,
        options: &Options,
        connector: &Arc<C>,
        handler: &mut H,
        opened: &mut bool,
    ) -> Result<(), tonic::Status> {
        let channel = connect(options, connector).await?;
        let (requests, receiver) = mpsc::channel(ROOM);
        self.asked = Interests::default();
        self.ask(&requests, Some(&options.node)).await;
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        if let Some(token) = connector.authorization() {
            let value = token.parse().map_err(|_| tonic::Status::unauthenticated("the token is no header value"))?;
            request.metadata_mut().insert("authorization", value);
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(options.max_message);
        let mut responses = client.delta_aggregated_resources(request).await?.into_inner();
        // The server sends headers when it has accepted the first request.
        *opened = true;
        handler.connected(true);
        while let Some(response) = responses.message().await? {
            let answer = self.take(response, handler);
            // A receiver that is gone ends the stream, which the next read tells.
            let _ = requests.send(answer).await;
            self.ask(&requests, None).await;
        }
        Ok(())
    }

    /// Asks for what has not been asked for on this stream. The first request carries the node.
    async fn ask(&mut self, requests: &Requests, mut node: Option<&Node>) {
        for type_url in TypeUrl::ALL {
            let (wanted, first) = (self.interests.0.get(&type_url), !self.asked.0.contains_key(&type_url));
            let Some(wanted) = wanted else { continue };
            let nothing = Interest::default();
            let asked = self.asked.0.get(&type_url).unwrap_or(&nothing);
            if wanted == asked && !first {
                continue;
            }
            let mut request = difference(asked, wanted);
            request.type_url = type_url.to_string();
            let versions = self.versions.entry(type_url).or_default();
            versions.retain(|name, _| wanted.wildcard || wanted.names.contains(name));
            if first {
                request.node = node.take().cloned();
                let held = versions.iter().map(|(name, version)| (name.to_string(), version.to_string()));
                request.initial_resource_versions = held.collect();
            }
            let _ = requests.send(request).await;
            self.asked.0.insert(type_url, wanted.clone());
        }
    }

    /// Hands a response to the handler; returns the answer.
    fn take<H: Handler>(&mut self, response: DeltaDiscoveryResponse, handler: &mut H) -> DeltaDiscoveryRequest {
        let refused = |message: String| Some(Status { code: tonic::Code::InvalidArgument as i32, message });
        let error_detail = match TypeUrl::parse(&response.type_url) {
            None => refused(format!("{}: not a type that was asked for", response.type_url)),
            Some(type_url) => {
                let refusals = self.apply(type_url, response.resources, response.removed_resources, handler);
                let lines: Vec<_> =
                    refusals.iter().map(|refusal| format!("{}: {}", refusal.name, refusal.error)).collect();
                (!lines.is_empty()).then(|| refused(lines.join("\n"))).flatten()
            }
        };
        DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail,
            ..Default::default()
        }
    }

    fn apply<H: Handler>(
        &mut self,
        type_url: TypeUrl,
        resources: Vec<proto::ads::Resource>,
        removed: Vec<String>,
        handler: &mut H,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let updates: Vec<_> =
            resources.into_iter().filter_map(|resource| parse(type_url, resource, &mut refusals)).collect();
        let removed: Vec<Arc<str>> = removed.into_iter().map(Arc::from).collect();
        let mut accepted: BTreeMap<_, _> =
            updates.iter().map(|update| (update.name.clone(), update.version.clone())).collect();
        let versions = self.versions.entry(type_url).or_default();
        removed.iter().for_each(|name| drop(versions.remove(name)));
        refusals.extend(handler.apply(type_url, updates, removed, &mut self.interests));
        // What is refused leaves the version before it in place.
        for refusal in &refusals {
            accepted.remove(&refusal.name);
        }
        versions.extend(accepted);
        refusals
    }
}

fn parse(type_url: TypeUrl, resource: proto::ads::Resource, refusals: &mut Vec<Refusal>) -> Option<Update> {
    let name: Arc<str> = resource.name.into();
    let error = match resource.resource {
        Some(any) if any.type_url == type_url.as_str() => {
            return Some(Update { name, version: resource.version.into(), body: any.value });
        }
        Some(any) => format!("holds a {}, wanted a {type_url}", any.type_url),
        None => "holds nothing".into(),
    };
    refusals.push(Refusal { name, error });
    None
}

fn difference(asked: &Interest, wanted: &Interest) -> DeltaDiscoveryRequest {
    let names = |from: &Interest, to: &Interest| -> Vec<String> {
        let wildcard = (to.wildcard && !from.wildcard).then(|| "*".to_owned());
        wildcard.into_iter().chain(to.names.difference(&from.names).map(|name| name.to_string())).collect()
    };
    DeltaDiscoveryRequest {
        resource_names_subscribe: names(asked, wanted),
        resource_names_unsubscribe: names(wanted, asked),
        ..Default::default()
    }
}

async fn connect<C: Connect>(options: &Options, connector: &Arc<C>) -> Result<Channel, tonic::Status> {
    let unavailable = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        tonic::Status::unavailable(format!("{error}{cause}"))
    };
    let endpoint = Endpoint::try_from(format!("http://{}", options.authority)).map_err(|error| unavailable(&error))?;
    let endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(std::time::Duration::from_secs(30))
        .keep_alive_timeout(std::time::Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    endpoint.connect_with_connector(Connector(connector.clone())).await.map_err(|error| unavailable(&error))
}

/// The caller's connector as tonic wants it.
struct Connector<C>(Arc<C>);

impl<C: Connect> Service<Uri> for Connector<C> {
    type Response = hyper_util::rt::TokioIo<C::Io>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.0.clone();
        Box::pin(async move { Ok(hyper_util::rt::TokioIo::new(connector.connect().await?)) })
    }
}
