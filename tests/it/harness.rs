//! The harness against stock Envoy with a static configuration: what the comparisons rest on is itself proven.

use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tests::{
    backend::{Backend, Seen, Speaks},
    fixture::DataPlane,
    http::{Call, Protocol, call},
    load::Load,
    place::Place,
    tls,
};

#[tokio::test]
async fn one_request_of_each_kind_through_a_static_envoy() {
    let place = Place::take().expect("a place");
    let plain = Backend::start("plain", place.address(9), Speaks::Http1).await.expect("a backend");
    let h2c = Backend::start("h2c", place.address(9), Speaks::H2c).await.expect("a backend");
    let envoy = DataPlane::envoy_with(&place, &bootstrap(&place, plain.address, h2c.address)).await.expect("envoy");
    envoy.listening(80).await.expect("listener");
    envoy.listening(443).await.expect("TLS listener");

    let mut get = Call::get("a.example", "/x?y=1");
    get.headers.push(("x-odd".into(), "caf\u{e9}".into()));
    get.source = Some(place.address(77));
    let answer = call(envoy.at(80), &get).await.expect("an answer");
    assert_eq!((answer.status, answer.backend()), (200, Some("plain")));
    let seen: Seen = serde_json::from_slice(&answer.body).expect("the echo");
    assert_eq!((seen.path.as_str(), seen.header("host")), ("/x?y=1", Some("a.example")));
    assert_eq!(seen.header("x-odd"), Some("caf\u{e9}"));
    assert_eq!(plain.take_seen(), [seen]);

    let mut post = Call::get("a.example", "/");
    (post.method, post.body, post.protocol) = ("POST".into(), "a body".into(), Protocol::Http2);
    post.headers = vec![("x-echo-status".into(), "418".into()), ("x-echo-header".into(), "x-more=1".into())];
    let answer = call(envoy.at(80), &post).await.expect("an answer over HTTP/2");
    assert_eq!((answer.status, answer.header("x-more")), (418, Some("1")));
    assert_eq!(plain.take_seen()[0].body, "a body");

    let answer = call(envoy.at(80), &Call::get("a.example", "/h2c")).await.expect("an answer");
    let seen: Seen = serde_json::from_slice(&answer.body).expect("the echo");
    assert_eq!((answer.backend(), seen.protocol.as_str()), (Some("h2c"), "HTTP/2"));

    let mut socket = Call::get("a.example", "/socket");
    (socket.protocol, socket.body) = (Protocol::Websocket, "ping".into());
    let answer = call(envoy.at(80), &socket).await.expect("an upgrade");
    assert_eq!((answer.status, answer.body.as_slice()), (101, b"ping".as_slice()));

    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut secure = Call::get("a.example", "/tls").over_tls("a.example");
        secure.protocol = protocol;
        assert_eq!(call(envoy.at(443), &secure).await.expect("an answer over TLS").status, 200);
    }
    let mut raw = Call::get("", "");
    raw.raw = Some("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".into());
    assert_eq!(call(envoy.at(80), &raw).await.expect("a refusal").status, 400);
}

#[tokio::test]
async fn load_counts_what_fails() {
    let place = Place::take().expect("a place");
    let backend = Backend::start("a", place.address(9), Speaks::Http1).await.expect("a backend");
    let ok = |answer: &tests::http::Answer| answer.status == 200;
    let load = Load::start(backend.address, Call::get("a", "/"), 2, Duration::from_millis(5), ok);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = load.tally();
    assert!(before.sent > 20 && before.failed == 0, "{before:?}");
    drop(backend);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(load.tally().failed > 0, "a closed backend must show");
}

fn bootstrap(place: &Place, plain: SocketAddr, h2c: SocketAddr) -> String {
    let address = |a: SocketAddr| json!({"socket_address": {"address": a.ip().to_string(), "port_value": a.port()}});
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}});
    let cluster = |name: &str, at: SocketAddr, options: serde_json::Value| {
        json!({"name": name, "type": "STATIC", "typed_extension_protocol_options": options,
            "load_assignment": {"cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(at)}}]}]}})
    };
    let router = json!({"name": "router", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let routes = json!([
        {"match": {"prefix": "/h2c"}, "route": {"cluster": "h2c"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "plain"}}]);
    let manager = json!({"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http", "upgrade_configs": [{"upgrade_type": "websocket"}], "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}}});
    let certificate = tls::certificate(&["a.example".into()]).expect("a certificate");
    let secure = json!({"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [{
            "certificate_chain": {"inline_string": certificate.chain},
            "private_key": {"inline_string": certificate.key}}]}}});
    let listen = |port: u16| address((place.address(2), port).into());
    json!({"admin": {"address": address((place.address(2), 15_000).into())},
        "static_resources": {
            "listeners": [
                {"name": "plain", "address": listen(10_080), "filter_chains": [{"filters": [manager]}]},
                {"name": "tls", "address": listen(10_443),
                    "filter_chains": [{"filters": [manager], "transport_socket": secure}]}],
            "clusters": [cluster("plain", plain, json!({})), cluster("h2c", h2c, http2)]}})
    .to_string()
}
