//! An HTTP client that says exactly what it is told: raw HTTP/1.1 bytes, HTTP/2, WebSocket, over TCP or TLS.

use crate::tls;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
};

/// How a request is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2; in clear text with prior knowledge.
    Http2,
    /// HTTP/1.1 with an upgrade; the body is sent after it, and what comes back is the answer's body.
    Websocket,
}

/// One request. Strings are latin-1: a character from U+0080 to U+00FF is one byte on the wire.
#[derive(Clone, Debug)]
pub struct Call {
    /// How it is spoken.
    pub protocol: Protocol,
    /// Method.
    pub method: String,
    /// Request target.
    pub path: String,
    /// Host or :authority.
    pub host: String,
    /// More header lines, in order.
    pub headers: Vec<(String, String)>,
    /// The body, sent with its length.
    pub body: String,
    /// Instead of all this: these bytes.
    pub raw: Option<String>,
    /// TLS with that server name; empty is TLS without a server name.
    pub sni: Option<String>,
    /// The certificate that a client shows over TLS.
    pub certificate: Option<tls::Certificate>,
    /// Bytes that come before all else, TLS too, such as a PROXY header.
    pub preface: String,
    /// The client's address.
    pub source: Option<IpAddr>,
    /// For the whole exchange.
    pub limit: Duration,
}

impl Call {
    /// A GET over HTTP/1.1.
    pub fn get(host: &str, path: &str) -> Self {
        Self {
            protocol: Protocol::Http1,
            method: "GET".into(),
            path: path.into(),
            host: host.into(),
            headers: Vec::new(),
            body: String::new(),
            raw: None,
            sni: None,
            certificate: None,
            preface: String::new(),
            source: None,
            limit: Duration::from_secs(20),
        }
    }

    /// The same over TLS, with that server name.
    pub fn over_tls(mut self, sni: &str) -> Self {
        self.sni = Some(sni.into());
        self
    }

    fn http1(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return latin1(raw);
        }
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        if self.protocol == Protocol::Websocket {
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
            head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        } else if !self.body.is_empty() {
            head += &format!("Content-Length: {}\r\n", latin1(&self.body).len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        if self.protocol != Protocol::Websocket {
            head += &self.body;
        }
        latin1(&head)
    }
}

/// A line among the headers of an answer to a call of gRPC that ends with its head: it has neither messages nor trailers.
pub const END: &str = ":end";

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The values of a header, in order.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The backend that answered, if one did.
    pub fn backend(&self) -> Option<&str> {
        self.header(crate::backend::NAME)
    }
}

/// One request on a connection of its own. An error says that no whole answer came.
pub async fn call(to: SocketAddr, call: &Call) -> Result<Answer> {
    let exchange = async {
        match call.protocol {
            Protocol::Http2 => http2(connect(to, call).await?, call).await,
            _ => Connection { stream: connect(to, call).await?, read: Vec::new() }.exchange(call).await,
        }
    };
    tokio::time::timeout(call.limit, exchange).await.with_context(|| format!("no answer within {:?}", call.limit))?
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(to: SocketAddr, call: &Call) -> Result<Box<dyn Stream>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = call.source {
        socket.bind((source, 0).into())?;
    }
    let mut tcp = socket.connect(to).await.with_context(|| format!("connect to {to}"))?;
    tcp.set_nodelay(true)?;
    tcp.write_all(&latin1(&call.preface)).await?;
    Ok(match &call.sni {
        None => Box::new(tcp),
        Some(sni) => {
            Box::new(tls::connect(tcp, sni, call.protocol == Protocol::Http2, call.certificate.as_ref()).await?)
        }
    })
}

/// A kept-alive HTTP/1.1 connection: it never repeats a request.
pub struct Connection {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

impl Connection {
    /// Connects as that request wants it.
    pub async fn open(to: SocketAddr, call: &Call) -> Result<Self> {
        Ok(Self { stream: connect(to, call).await?, read: Vec::new() })
    }

    /// Sends the request and reads the whole answer; the flag says whether the connection may be used again.
    pub async fn send(&mut self, call: &Call) -> Result<(Answer, bool)> {
        let answer = tokio::time::timeout(call.limit, self.exchange(call)).await.context("no answer in time")??;
        let close = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok((answer, !close))
    }

    async fn exchange(&mut self, call: &Call) -> Result<Answer> {
        self.stream.write_all(&call.http1()).await.context("write the request")?;
        loop {
            let mut answer = self.head().await?;
            let head = call.method == "HEAD";
            match answer.status {
                101 => {
                    self.stream.write_all(&latin1(&call.body)).await?;
                    answer.body = self.exactly(latin1(&call.body).len()).await.context("read the echo")?;
                    return Ok(answer);
                }
                100..=199 => continue,
                204 | 304 => return Ok(answer),
                _ if head => return Ok(answer),
                _ => {}
            }
            let length = answer.header("content-length").map(str::parse::<usize>).transpose()?;
            answer.body = match (answer.header("transfer-encoding"), length) {
                (Some(_), _) => self.chunks().await?,
                (None, Some(length)) => self.exactly(length).await?,
                (None, None) => self.rest().await?,
            };
            return Ok(answer);
        }
    }

    async fn head(&mut self) -> Result<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            ensure!(self.more().await? > 0, "closed before an answer ({} bytes of it came)", self.read.len());
        };
        let head: String = self.read.drain(..end + 4).map(char::from).collect();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in {first:?}"))?;
        let pair = |line: &str| line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()));
        let headers = lines.map(|line| pair(line).with_context(|| format!("no header: {line:?}")));
        Ok(Answer { status, headers: headers.collect::<Result<_>>()?, body: Vec::new() })
    }

    async fn more(&mut self) -> Result<usize> {
        let mut buffer = [0; 16_384];
        let count = self.stream.read(&mut buffer).await.context("read the answer")?;
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    async fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.read.len() < count {
            ensure!(self.more().await? > 0, "closed within a body: {} of {count} bytes", self.read.len());
        }
        Ok(self.read.drain(..count).collect())
    }

    async fn rest(&mut self) -> Result<Vec<u8>> {
        while self.more().await? > 0 {}
        Ok(std::mem::take(&mut self.read))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = self.read.windows(2).position(|window| window == b"\r\n") {
                    break self.read.drain(..at + 2).collect::<Vec<u8>>();
                }
                ensure!(self.more().await? > 0, "closed within a chunked body");
            };
            let size = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16).context("a chunk's size")?;
            if size == 0 {
                // No trailers are used in these tests: an empty line ends the body.
                self.exactly(2).await?;
                return Ok(body);
            }
            body.extend(self.exactly(size).await?);
            ensure!(self.exactly(2).await? == b"\r\n", "a chunk does not end with its line break");
        }
    }
}

async fn http2(stream: Box<dyn Stream>, call: &Call) -> Result<Answer> {
    if call.raw.is_some() {
        bail!("raw bytes are HTTP/1.1");
    }
    let (mut send, connection) = h2::client::handshake(stream).await.context("HTTP/2 handshake")?;
    let driver = tokio::spawn(connection);
    let scheme = if call.sni.is_some() { "https" } else { "http" };
    let mut request = http::Request::builder()
        .method(call.method.as_str())
        .uri(format!("{scheme}://{}{}", call.host, call.path))
        .version(http::Version::HTTP_2);
    for (name, value) in &call.headers {
        request = request.header(name, http::HeaderValue::from_bytes(&latin1(value))?);
    }
    std::future::poll_fn(|context| send.poll_ready(context)).await?;
    let (response, mut body) = send.send_request(request.body(())?, call.body.is_empty())?;
    if !call.body.is_empty() {
        body.send_data(Bytes::from(latin1(&call.body)), true)?;
    }
    let (head, mut body) = response.await.context("HTTP/2 answer")?.into_parts();
    let is_call = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    // What is no header has a colon before it.
    let end = (is_call && body.is_end_stream()).then(|| (END.to_owned(), "head".to_owned()));
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.context("HTTP/2 body")?;
        body.flow_control().release_capacity(data.len())?;
        whole.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.context("HTTP/2 trailers")?.unwrap_or_default();
    driver.abort();
    // A gRPC message without its frame.
    if is_call && whole.len() >= 5 {
        whole.drain(..5);
    }
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.as_bytes().iter().copied().map(char::from).collect())
    };
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers.iter().chain(&trailers).map(pair).chain(end).collect(),
        body: whole,
    })
}

/// One byte a character.
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}
