//! First messages of strangers: refused with a code, never a panic, never more than is allowed.

#![allow(clippy::unwrap_used)] // helpers of tests

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use prost::Message;
use proto::ads::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use proto::{Resource, ResourceKey, Scope, TypeUrl};
use tonic::codegen::Service;
use tonic::{Code, Status, body::Body};
use xds::Publisher;
use xds::server::{Ads, Limits};

const LIMITS: Limits = Limits { message: 4096, names: 10, node_id: 64, streams: 4 };

fn ads(published: bool) -> Ads {
    let publisher = Publisher::default();
    if published {
        let key = ResourceKey { scope: Scope::gateway("a", "b"), type_url: TypeUrl::Cluster, name: "c".into() };
        publisher.publish(vec![(key, Some(Resource::from_bytes(Bytes::from_static(b"body"))))]);
    }
    let authorize = |_: Option<&str>, node: &Node| match node.id.as_str() {
        "stranger" => Err(Status::permission_denied("not you")),
        _ => Ok(Scope::gateway("a", "b")),
    };
    Ads::new(publisher, authorize, (), LIMITS, &base::metrics::Metrics::default())
}

/// Sends a body that ends; returns the status that the stream ends with, and the bytes before it.
async fn call(ads: &mut Ads, method: &str, body: Bytes) -> (Code, Bytes) {
    let path = format!("/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}");
    let request = http::Request::builder().uri(path).body(Body::new(Full::new(body))).unwrap();
    let response = ads.call(request).await.unwrap();
    let header = response.headers().get("grpc-status").cloned();
    let answer = response.into_body().collect().await.unwrap();
    let status = header.or_else(|| answer.trailers()?.get("grpc-status").cloned()).expect("a status");
    (Code::from_bytes(status.as_bytes()), answer.to_bytes())
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

fn first(node: Option<&str>, names: usize) -> Bytes {
    let node = node.map(|id| Node { id: id.into(), ..Node::default() });
    let resource_names_subscribe = (0..names).map(|name| name.to_string()).collect();
    let type_url = TypeUrl::Endpoints.to_string();
    let request = DeltaDiscoveryRequest { node, type_url, resource_names_subscribe, ..Default::default() };
    framed(&request.encode_to_vec())
}

#[tokio::test]
async fn first_messages_are_checked() {
    let health = DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/istio.v1.HealthInformation".into(),
        ..Default::default()
    };
    let health = framed(&health.encode_to_vec());
    let cases: [(&str, Bytes, Code); 10] = [
        ("a good one", first(Some("id"), 10), Code::Ok),
        ("no node", first(None, 1), Code::InvalidArgument),
        ("no node id", first(Some(""), 1), Code::InvalidArgument),
        ("a long node id", first(Some(&"x".repeat(65)), 1), Code::InvalidArgument),
        ("a line break in the node id", first(Some("a\nb"), 1), Code::InvalidArgument),
        ("somebody else's node id", first(Some("stranger"), 1), Code::PermissionDenied),
        ("too many names", first(Some("id"), 11), Code::ResourceExhausted),
        ("a large message", first(Some("id"), 4096), Code::OutOfRange),
        ("nothing", Bytes::new(), Code::InvalidArgument),
        ("health before a node", [health, first(Some("id"), 1)].concat().into(), Code::Ok),
    ];
    let mut ads = ads(true);
    for (what, body, expected) in cases {
        assert_eq!(call(&mut ads, "DeltaAggregatedResources", body).await.0, expected, "{what}");
        assert!(ads.clients().is_empty(), "{what}: its stream has ended");
    }
    assert_eq!(call(&mut ads, "FetchSomething", Bytes::new()).await.0, Code::Unimplemented);
}

#[tokio::test]
async fn before_the_first_publication_clients_are_told_to_come_back() {
    let status = call(&mut ads(false), "DeltaAggregatedResources", first(Some("id"), 1)).await;
    assert_eq!(status, (Code::Unavailable, Bytes::new()));
}

/// Bytes of any kind, and messages that are nearly right.
fn garbage() -> impl Strategy<Value = Bytes> {
    let name = || prop_oneof![Just("*".to_owned()), Just("c".to_owned()), ".{0,8}"];
    let names = || prop::collection::vec(name(), 0..12);
    let type_url =
        prop_oneof![prop::sample::select(&TypeUrl::ALL[..]).prop_map(|type_url| type_url.to_string()), ".{0,40}",];
    let versions = prop::collection::hash_map(name(), ".{0,20}", 0..4);
    let node = prop::option::of(".{0,70}");
    let delta = (node, type_url, names(), names(), versions, "[0-9]{0,2}").prop_map(
        |(id, type_url, more, less, versions, nonce)| DeltaDiscoveryRequest {
            node: id.map(|id| Node { id, ..Node::default() }),
            type_url,
            resource_names_subscribe: more,
            resource_names_unsubscribe: less,
            initial_resource_versions: versions,
            response_nonce: nonce,
            error_detail: None,
        },
    );
    let sotw = delta.clone_as_sotw();
    let one = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| framed(&bytes)),
        delta.prop_map(|request| framed(&request.encode_to_vec())),
        sotw,
    ];
    prop::collection::vec(one, 1..6).prop_map(|messages| messages.concat().into())
}

trait Sotw {
    fn clone_as_sotw(&self) -> BoxedStrategy<Bytes>;
}

impl<S: Strategy<Value = DeltaDiscoveryRequest> + Clone + 'static> Sotw for S {
    fn clone_as_sotw(&self) -> BoxedStrategy<Bytes> {
        let sotw = self.clone().prop_map(|request| DiscoveryRequest {
            node: request.node,
            type_url: request.type_url,
            resource_names: request.resource_names_subscribe,
            response_nonce: request.response_nonce,
            ..Default::default()
        });
        sotw.prop_map(|request| framed(&request.encode_to_vec())).boxed()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_ends_with_a_status(body in garbage(), delta in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let method = if delta { "DeltaAggregatedResources" } else { "StreamAggregatedResources" };
        let mut ads = ads(true);
        runtime.block_on(call(&mut ads, method, body));
        assert!(ads.clients().is_empty());
    }
}
