//! What a stranger sends to the xDS server as the first messages of a stream: answered or ended with a gRPC status.

use http_body_util::{BodyExt, Full};
use prost::{Message, bytes::Bytes};
use proto::{
    Resource, ResourceKey, Scope, TypeUrl,
    ads::{DeltaDiscoveryRequest, DiscoveryRequest, Node, Struct, Value, value::Kind},
};
use std::time::Duration;
use tonic::{body::Body, codegen::Service};
use xds::{
    Publisher,
    server::{Ads, Limits},
};

/// One or two requests each; the first byte chooses the method.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let metadata = Struct { fields: [("GATEWAY".to_owned(), text("default/gw"))].into() };
    let id = "router~127.0.0.1~gw.default~default.svc.cluster.local".into();
    let node = Node { id, metadata: Some(metadata), ..Node::default() };
    let mut seeds = Vec::new();
    for type_url in TypeUrl::ALL {
        let url = type_url.as_str().to_owned();
        let delta = DeltaDiscoveryRequest {
            node: Some(node.clone()),
            type_url: url.clone(),
            resource_names_subscribe: vec!["*".into(), "a".into()],
            initial_resource_versions: [("a".to_owned(), "1".to_owned())].into(),
            ..DeltaDiscoveryRequest::default()
        };
        let names = vec!["a".into(), "http.80".into()];
        let sotw = DiscoveryRequest {
            node: Some(node.clone()),
            type_url: url,
            resource_names: names,
            ..DiscoveryRequest::default()
        };
        seeds.push([&[0][..], &frame(&delta.encode_to_vec()), &frame(&delta.encode_to_vec())].concat());
        seeds.push([&[1][..], &frame(&sotw.encode_to_vec())].concat());
    }
    seeds
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// A server with one resource of each type, and a function that gives it one stream.
pub fn run() -> impl Fn(&[u8]) {
    let publisher = Publisher::default();
    let scope = Scope::gateway("default", "gw");
    let entry = |type_url: TypeUrl| {
        let key = ResourceKey { scope: scope.clone(), type_url, name: "a".into() };
        (key, Some(Resource::from_bytes(Bytes::from_static(b""))))
    };
    publisher.publish(TypeUrl::ALL.into_iter().map(entry).collect());
    let authorize = move |_: Option<&str>, _: &Node| Ok::<_, tonic::Status>(Scope::gateway("default", "gw"));
    let ads = Ads::new(publisher, authorize, (), Limits::default(), &base::metrics::Metrics::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    move |input| {
        let (method, body) = input.split_first().unwrap_or((&0, &[]));
        let method = if method % 2 == 0 { "DeltaAggregatedResources" } else { "StreamAggregatedResources" };
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("http://a/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}"))
            .header("content-type", "application/grpc")
            .body(Body::new(Full::new(Bytes::copy_from_slice(body))))
            .expect("a request");
        let mut ads = ads.clone();
        runtime.block_on(async move {
            let exchange = async {
                let response = ads.call(request).await.expect("the service answers");
                // The client's side has ended, so the server's must, with a status.
                let whole = response.into_body().collect().await;
                whole.map(|body| body.to_bytes().len()).unwrap_or_default()
            };
            let size = tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("the stream ends");
            assert!(size < 1 << 20, "{size} bytes for one request");
        });
    }
}
