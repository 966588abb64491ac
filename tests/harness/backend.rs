//! An echo backend: it answers with what it received, as JSON, over HTTP/1.1, clear-text HTTP/2 or WebSocket.
//!
//! A request may ask for more with headers: `x-echo-status: 503`, `x-echo-delay-ms: 500`, `x-echo-size: 1000` (the
//! body is that many bytes instead of JSON), `x-echo-header: name=value` (once or more), `x-echo-fails: 2` (only the first
//! two tries get that status), `x-echo-grpc-status: 5` (of a backend that speaks gRPC). Behind TLS it sees as headers,
//! too, what the handshake said: `tls-sni`, `tls-alpn` and `tls-client`, the length of the client's certificate.

use crate::http::Stream;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The answer's header that names the backend.
pub const NAME: &str = "x-backend";

/// What a backend received. Header names are in lower case, lines in order, bytes as latin-1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which backend.
    pub backend: String,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: String,
    /// Method.
    pub method: String,
    /// Request target.
    pub path: String,
    /// Host or :authority is the first, as `host`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Seen {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn extras(&self) -> Extras {
        let number = |name: &str| self.header(name).and_then(|value| value.parse::<u64>().ok());
        let pairs = self.headers.iter().filter(|(name, _)| name == "x-echo-header");
        let headers = pairs.filter_map(|(_, value)| value.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        Extras {
            status: number("x-echo-status").map_or(200, |status| status as u16),
            delay: Duration::from_millis(number("x-echo-delay-ms").unwrap_or(0)),
            fails: number("x-echo-fails"),
            grpc: number("x-echo-grpc-status").unwrap_or(0),
            size: number("x-echo-size").map(|size| size.min(10_000_000) as usize),
            headers,
        }
    }
}

struct Extras {
    status: u16,
    fails: Option<u64>,
    grpc: u64,
    delay: Duration,
    size: Option<usize>,
    headers: Vec<(String, String)>,
}

/// What a backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaks {
    /// HTTP/1.1, with upgrades.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// gRPC: the JSON comes as a message, and a status after it. It is an authorization service too: see [`authorize`].
    Grpc,
}

/// A running echo backend; dropping it closes its listener and its connections.
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    failed: Arc<Mutex<u64>>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Listens on a free port of that address.
    pub async fn start(name: &str, address: IpAddr, speaks: Speaks) -> Result<Self> {
        Self::start_with(name, address, speaks, Tls::default()).await
    }

    /// The same behind TLS, if there are settings.
    pub async fn start_with(name: &str, address: IpAddr, speaks: Speaks, tls: Tls) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).await.context("bind a backend")?;
        let address = listener.local_addr()?;
        let echo = Echo { name: name.into(), handshake: Vec::new(), seen: Arc::default(), failed: Arc::default() };
        let (seen, failed) = (echo.seen.clone(), echo.failed.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let mut echo = echo.clone();
                let _ = stream.set_nodelay(true);
                let settings = tls.lock().map(|settings| settings.clone()).unwrap_or_default();
                connections.spawn(async move {
                    let stream: Box<dyn Stream> = match settings {
                        None => Box::new(stream),
                        Some(settings) => match TlsAcceptor::from(settings).accept(stream).await {
                            Ok(stream) => {
                                echo.handshake = handshake(&stream);
                                Box::new(stream)
                            }
                            Err(_) => return,
                        },
                    };
                    // A connection that breaks is the proxy's to report.
                    let _ = match speaks {
                        Speaks::Http1 => echo.http1(stream).await,
                        Speaks::H2c => echo.http2(stream, false).await,
                        Speaks::Grpc => echo.http2(stream, true).await,
                    };
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { name: name.into(), address, seen, failed, task })
    }

    /// Takes what it has received since the last time; at most the newest 10,000. What fails at first fails anew.
    pub fn take_seen(&self) -> Vec<Seen> {
        if let Ok(mut failed) = self.failed.lock() {
            *failed = 0;
        }
        self.seen.lock().map(|mut seen| std::mem::take(&mut *seen)).unwrap_or_default()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings of a backend's TLS, which may change while it runs; none is clear text.
pub type Tls = Arc<Mutex<Option<Arc<ServerConfig>>>>;

/// What a handshake said, as header lines.
fn handshake(stream: &TlsStream<TcpStream>) -> Vec<(String, String)> {
    let session = stream.get_ref().1;
    let client = session.peer_certificates().and_then(|chain| chain.first());
    let known = [
        ("tls-sni", session.server_name().map(str::to_owned)),
        ("tls-alpn", session.alpn_protocol().map(text)),
        ("tls-client", client.map(|leaf| leaf.len().to_string())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[derive(Clone)]
struct Echo {
    name: String,
    handshake: Vec<(String, String)>,
    seen: Arc<Mutex<Vec<Seen>>>,
    failed: Arc<Mutex<u64>>,
}

impl Echo {
    async fn answer(&self, mut seen: Seen) -> (Extras, Vec<u8>) {
        seen.backend = self.name.clone();
        seen.headers.extend(self.handshake.iter().cloned());
        let mut extras = seen.extras();
        if let (Some(fails), Ok(mut failed)) = (extras.fails, self.failed.lock()) {
            if *failed < fails {
                *failed += 1;
            } else {
                extras.status = 200;
            }
        }
        let body = match extras.size {
            Some(size) => vec![b'x'; size],
            None => serde_json::to_vec(&seen).unwrap_or_default(),
        };
        if let Ok(mut all) = self.seen.lock()
            && all.len() < 10_000
        {
            all.push(seen);
        }
        tokio::time::sleep(extras.delay).await;
        (extras, body)
    }

    async fn http1(&self, mut stream: Box<dyn Stream>) -> Result<()> {
        let mut read = Vec::new();
        while let Some((seen, length)) = read_head(&mut stream, &mut read).await? {
            let mut seen = seen;
            seen.body = text(&read_body(&mut stream, &mut read, length).await?);
            let head = seen.method == "HEAD";
            if seen.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
                return self.upgraded(stream, seen).await;
            }
            let (extras, body) = self.answer(seen).await;
            let mut out = format!("HTTP/1.1 {} Echo\r\n{NAME}: {}\r\n", extras.status, self.name);
            out += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in &extras.headers {
                out += &format!("{name}: {value}\r\n");
            }
            out += "\r\n";
            let mut out = crate::http::latin1(&out);
            if !head {
                out.extend(body);
            }
            stream.write_all(&out).await?;
            stream.flush().await?;
        }
        Ok(())
    }

    async fn upgraded(&self, mut stream: Box<dyn Stream>, seen: Seen) -> Result<()> {
        let (_, _) = self.answer(seen).await;
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{NAME}: {}\r\n\r\n",
            self.name
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let (mut from, mut to) = tokio::io::split(stream);
        tokio::io::copy(&mut from, &mut to).await?;
        Ok(())
    }

    async fn http2(&self, stream: Box<dyn Stream>, grpc: bool) -> Result<()> {
        let mut connection = h2::server::handshake(stream).await?;
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request?;
            let echo = self.clone();
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                let mut whole = Vec::new();
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                    whole.extend_from_slice(&data);
                }
                let mut headers = vec![("host".into(), head.uri.authority().map_or("", |a| a.as_str()).to_owned())];
                headers.extend(head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))));
                let path = head.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
                if grpc && path == CHECK {
                    return send_message(&mut respond, http::Response::builder(), &authorize(&whole), 0);
                }
                let (method, protocol) = (head.method.to_string(), "HTTP/2".to_owned());
                // A call's message is seen without its frame.
                let message = whole.get(if grpc { 5 } else { 0 }..).unwrap_or_default();
                let seen = Seen { backend: String::new(), protocol, method, path, headers, body: text(message) };
                let (extras, body) = echo.answer(seen).await;
                let mut response = http::Response::builder().status(extras.status).header(NAME, &echo.name);
                if grpc {
                    for (name, value) in &extras.headers {
                        response = response.header(name, value);
                    }
                    return send_message(&mut respond, response, &body, extras.grpc);
                }
                response = response.header("content-type", "application/json").header("content-length", body.len());
                for (name, value) in &extras.headers {
                    response = response.header(name, value);
                }
                if let Ok(response) = response.body(())
                    && let Ok(mut stream) = respond.send_response(response, false)
                {
                    let _ = stream.send_data(Bytes::from(body), true);
                }
            });
        }
        Ok(())
    }
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Answers with one gRPC message and a status.
fn send_message(
    respond: &mut h2::server::SendResponse<Bytes>,
    response: http::response::Builder,
    message: &[u8],
    status: u64,
) {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", status.into());
    if let Ok(response) = response.header("content-type", "application/grpc").body(())
        && let Ok(mut stream) = respond.send_response(response, false)
    {
        let length = (message.len() as u32).to_be_bytes();
        let _ = stream.send_data([&[0], &length[..], message].concat().into(), false);
        let _ = stream.send_trailers(trailers);
    }
}

/// Decides by the request's `x-ask`: `yes` may pass and becomes `x-user: ann`; anything else may not.
fn authorize(question: &[u8]) -> Vec<u8> {
    use proto::envoy::{
        envoy::{
            config::core::v3::{HeaderValue, HeaderValueOption},
            service::auth::v3::{
                CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
            },
            r#type::v3::HttpStatus,
        },
        google::rpc::Status,
    };
    let header = |key: &str, value: String| HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value, ..Default::default() }),
        ..Default::default()
    };
    let question = CheckRequest::decode(question.get(5..).unwrap_or_default()).unwrap_or_default();
    let http = question.attributes.and_then(|all| all.request).and_then(|request| request.http).unwrap_or_default();
    let (code, answer) = match http.headers.get("x-ask").map(String::as_str) {
        Some("yes") => {
            let headers = vec![
                header("x-user", "ann".into()),
                header("x-asked", format!("{} {} {}", http.method, http.host, http.path)),
                header("x-asked-body", text(&http.raw_body)),
                header("x-asked-headers", (http.headers.contains_key("x-other")).to_string()),
            ];
            (0, HttpResponse::OkResponse(OkHttpResponse { headers, ..Default::default() }))
        }
        _ => {
            let denied = DeniedHttpResponse {
                status: Some(HttpStatus { code: 401 }),
                headers: vec![header("x-why", "no".into())],
                body: "go away".into(),
            };
            (7, HttpResponse::DeniedResponse(denied))
        }
    };
    let status = Some(Status { code, ..Default::default() });
    CheckResponse { status, http_response: Some(answer), ..Default::default() }.encode_to_vec()
}

enum Length {
    Bytes(usize),
    Chunked,
}

async fn fill(stream: &mut Box<dyn Stream>, read: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0; 16_384];
    let count = stream.read(&mut buffer).await?;
    read.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}

async fn read_head(stream: &mut Box<dyn Stream>, read: &mut Vec<u8>) -> Result<Option<(Seen, Length)>> {
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        if !fill(stream, read).await? {
            return Ok(None);
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 200];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(read).context("the proxy sent a bad head")?;
    ensure!(status.is_complete(), "the proxy sent a bad head");
    let lines: Vec<(String, String)> =
        request.headers.iter().map(|line| (line.name.to_ascii_lowercase(), text(line.value))).collect();
    let value = |name: &str| lines.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let length = match (value("transfer-encoding"), value("content-length")) {
        (Some(_), _) => Length::Chunked,
        (None, length) => Length::Bytes(length.unwrap_or("0").parse().context("a content-length")?),
    };
    let seen = Seen {
        backend: String::new(),
        protocol: format!("HTTP/1.{}", request.version.unwrap_or(0)),
        method: request.method.unwrap_or_default().into(),
        path: request.path.unwrap_or_default().into(),
        headers: lines,
        body: String::new(),
    };
    let end = status.unwrap();
    read.drain(..end);
    Ok(Some((seen, length)))
}

async fn read_body(stream: &mut Box<dyn Stream>, read: &mut Vec<u8>, length: Length) -> Result<Vec<u8>> {
    match length {
        Length::Bytes(count) => {
            while read.len() < count {
                ensure!(fill(stream, read).await?, "closed within a body");
            }
            Ok(read.drain(..count).collect())
        }
        Length::Chunked => {
            let mut body = Vec::new();
            loop {
                match httparse::parse_chunk_size(read).ok().context("a chunk's size")? {
                    httparse::Status::Partial => ensure!(fill(stream, read).await?, "closed within a chunked body"),
                    httparse::Status::Complete((start, size)) => {
                        let end = start + size as usize + 2;
                        while read.len() < end {
                            ensure!(fill(stream, read).await?, "closed within a chunk");
                        }
                        body.extend_from_slice(&read[start..end - 2]);
                        read.drain(..end);
                        if size == 0 {
                            return Ok(body);
                        }
                    }
                }
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
