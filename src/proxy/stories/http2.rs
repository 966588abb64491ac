//! HTTP/2 on either side.

use super::{
    backend::Backend,
    config::{Setup, any, cluster, host, listener, manager, to},
};
use bytes::Bytes;
use http::{Request, Response};
use proto::{
    TypeUrl,
    envoy::envoy::{
        config::core::v3::Http2ProtocolOptions,
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{
                ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
            },
        },
    },
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// One GET on a connection of its own.
pub(super) async fn get(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, uri: &str) -> (u16, String) {
    let request = Request::get(uri).body(()).unwrap();
    ask(io, request, &[]).await
}

async fn ask(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<()>,
    body: &[&'static [u8]],
) -> (u16, String) {
    let (sender, connection) = h2::client::handshake(io).await.unwrap();
    let tasks = base::tasks::Tasks::default();
    tasks.spawn("client", |_| async move { drop(connection.await) });
    let mut sender = sender.ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request, body.is_empty()).unwrap();
    for (index, piece) in body.iter().enumerate() {
        stream.send_data(Bytes::from_static(piece), index + 1 == body.len()).unwrap();
    }
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    if let Some(trailers) = body.trailers().await.unwrap() {
        text.extend_from_slice(format!("{trailers:?}").as_bytes());
    }
    (status, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_client_with_prior_knowledge_is_served_by_a_backend_without() {
    let backend = Backend::saying("hello");
    let (setup, address) = Setup::forward(&[backend.address], |_| {});
    let connect = || async { TcpStream::connect(address).await.unwrap() };
    assert_eq!(get(connect().await, "http://a.test/x?y").await, (200, "hello".into()));
    let request = Request::post("http://a.test/p").header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
    assert_eq!(ask(connect().await, request, &[b"some ", b"body"]).await, (200, "hello".into()));
    let requests = backend.requests();
    assert!(requests[0].starts_with("GET /x?y HTTP/1.1\r\nhost: a.test\r\n"), "{}", requests[0]);
    let post = &requests[1];
    assert!(post.contains("cookie: a=1; b=2\r\n") && post.contains("transfer-encoding: chunked\r\n"), "{post}");
    let data: String = post.split("\r\n\r\n").nth(1).unwrap().split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(data, "some body");
    assert_eq!(setup.log.lock().unwrap()[..], ["200 - via_upstream", "200 - via_upstream"]);
}

#[tokio::test]
async fn a_backend_that_speaks_http2_gets_streams_of_one_connection() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = socket.local_addr().unwrap();
    let tasks = base::tasks::Tasks::default();
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = connections.clone();
    tasks.spawn("backend", |_| async move {
        while let Ok((stream, _)) = socket.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            base::tasks::Tasks::default().spawn("connection", |_| echo(stream));
        }
    });
    let (_setup, address) = to_http2(backend);
    let client = TcpStream::connect(address).await.unwrap();
    let request = Request::post("http://a.test/").header("te", "trailers").body(()).unwrap();
    let (status, text) = ask(client, request, &[b"ping"]).await;
    assert_eq!((status, text.as_str()), (200, "ping{\"grpc-status\": \"0\"}"));
    let (tell, told) = tokio::sync::oneshot::channel();
    base::tasks::thread("client", move || {
        let mut client = super::client::Client::new(address);
        let texts = ["one", "two"].map(|text| {
            client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n{text}")).answer()
        });
        tell.send(texts.map(|text| text.contains(" 200 OK\r\n")))
    })
    .unwrap();
    assert_eq!(told.await.unwrap(), [true, true]);
    // One for each worker that was asked, at most.
    assert!(connections.load(std::sync::atomic::Ordering::SeqCst) <= 2);
}

/// Messages go both ways while neither side has ended, as calls of gRPC have it; the status comes last.
#[tokio::test]
async fn a_stream_flows_both_ways_at_once() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = socket.local_addr().unwrap();
    let tasks = base::tasks::Tasks::default();
    tasks.spawn("backend", |_| async move { echo(socket.accept().await.unwrap().0).await });
    let (_setup, address) = to_http2(backend);
    let (sender, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    tasks.spawn("client", |_| async move { drop(connection.await) });
    let request = Request::post("http://a.test/a.B/C").header("content-type", "application/grpc").body(()).unwrap();
    let (response, mut stream) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    let mut body = response.await.unwrap().into_body();
    for text in ["one", "two", "three"] {
        stream.send_data(Bytes::from_static(text.as_bytes()), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), text);
        body.flow_control().release_capacity(text.len()).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

/// A proxy whose backend is spoken to in HTTP/2.
fn to_http2(backend: SocketAddr) -> (Setup, SocketAddr) {
    let mut setup = Setup::new();
    let mut speaks = cluster("backend", &[backend]);
    let options = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())),
        })),
        ..Default::default()
    };
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    speaks.typed_extension_protocol_options.insert(name.into(), any(&options));
    setup.set(TypeUrl::Cluster, "backend", &speaks);
    let routes = vec![host("*", vec![to("/", "backend", |_| {})])];
    setup.set(TypeUrl::Listener, "http", &listener("http", manager(routes)));
    assert!(setup.apply().is_empty());
    let address = setup.plane.address("http").unwrap();
    (setup, address)
}

/// Answers each request with its own body and a trailer.
async fn echo(stream: TcpStream) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let tasks = base::tasks::Tasks::default();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tasks.spawn("stream", |_| async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).unwrap();
            }
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            stream.send_trailers(trailers).unwrap();
        });
    }
}
