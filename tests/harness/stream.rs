//! Backends and clients of connections and datagrams that nobody looks into.

use crate::{
    http::latin1,
    tls::{Certificate, certificate, connect},
};
use anyhow::{Context, Result, bail};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// What a backend does. Every answer starts with its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acts {
    /// Reads to the end, then answers `NAME <- WHAT WAS SENT`.
    #[default]
    Echo,
    /// The same after a greeting of its own: `220 NAME`.
    Banner,
    /// The same behind TLS that ends here: `NAME SNI <- WHAT WAS SENT`.
    Tls,
    /// Answers each datagram with `NAME <- WHAT WAS SENT`.
    Udp,
    /// Answers each line with `NAME <- LINE`, for as long as lines come.
    Lines,
    /// The same behind TLS that ends here.
    TlsLines,
    /// A mail server that greets and offers STARTTLS.
    Smtp,
    /// Wants a PROXY header of version 2, then answers each line: `NAME for ADDRESS at PORT <- LINE`.
    Announced,
    /// Wants the same header, then TLS, and reads to the end before it answers.
    AnnouncedTls,
}

/// A running backend; dropping it closes its listener and its connections.
pub struct StreamBackend {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for StreamBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StreamBackend {
    /// Listens on a free port of that address.
    pub async fn start(name: &str, address: IpAddr, acts: Acts) -> Result<Self> {
        let text = name.to_owned();
        if acts == Acts::Udp {
            let socket = UdpSocket::bind((address, 0)).await.context("bind a backend of datagrams")?;
            let address = socket.local_addr()?;
            let task = tokio::spawn(datagrams(text, socket));
            return Ok(Self { name: name.into(), address, task });
        }
        let acceptor = acceptor(&certificate(&["backend.example".to_owned()])?)?;
        let listener = TcpListener::bind((address, 0)).await.context("bind a backend of streams")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (name, acceptor) = (text.clone(), acceptor.clone());
                let _ = stream.set_nodelay(true);
                connections.spawn(async move {
                    // A connection that breaks is the proxy's to report.
                    let _ = serve(&name, acts, stream, &acceptor).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { name: name.into(), address, task })
    }

    /// Its Service in `default`, port 80, of the transport that it serves.
    pub fn service(&self, acts: Acts) -> String {
        let protocol = if acts == Acts::Udp { "UDP" } else { "TCP" };
        let annotations = match acts {
            Acts::Announced | Acts::AnnouncedTls => ", annotations: {windlass.io/send-proxy-protocol: \"80\"}",
            _ => "",
        };
        let (name, ip, port) = (&self.name, self.address.ip(), self.address.port());
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default{annotations}}}\nspec:\n  ports:\n  \
             - {{name: any, port: 80, protocol: {protocol}}}\n---\napiVersion: discovery.k8s.io/v1\n\
             kind: EndpointSlice\nmetadata:\n  name: {name}-1\n  namespace: default\n  labels: \
             {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports:\n- {{name: any, port: {port}, \
             protocol: {protocol}}}\nendpoints:\n- addresses: [\"{ip}\"]\n"
        )
    }
}

fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn datagrams(name: String, socket: UdpSocket) {
    let mut datagram = vec![0; 65_536];
    while let Ok((count, from)) = socket.recv_from(&mut datagram).await {
        let answer = [name.as_bytes(), b" <- ", &datagram[..count]].concat();
        let _ = socket.send_to(&answer, from).await;
    }
}

async fn serve(name: &str, acts: Acts, mut stream: TcpStream, acceptor: &TlsAcceptor) -> Result<()> {
    match acts {
        Acts::Echo | Acts::Udp => echo(&format!("{name} <- "), &mut stream).await,
        Acts::Banner => {
            stream.write_all(format!("220 {name}\r\n").as_bytes()).await?;
            echo(&format!("{name} <- "), &mut stream).await
        }
        Acts::Tls => {
            let mut stream = acceptor.accept(stream).await?;
            let sni = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
            echo(&format!("{name} {sni} <- "), &mut stream).await
        }
        Acts::Lines => lines(name, stream).await,
        Acts::TlsLines => lines(name, acceptor.accept(stream).await?).await,
        Acts::Smtp => smtp(name, stream, acceptor).await,
        Acts::Announced => {
            let whom = announced(&mut stream).await?;
            lines(&format!("{name} for {whom}"), stream).await
        }
        Acts::AnnouncedTls => {
            let whom = announced(&mut stream).await?;
            echo(&format!("{name} for {whom} <- "), &mut acceptor.accept(stream).await?).await
        }
    }
}

/// Whom a PROXY header of version 2 over IPv4 names, and at which port.
async fn announced(stream: &mut TcpStream) -> Result<String> {
    let mut header = [0; 28];
    stream.read_exact(&mut header).await?;
    let (signature, rest) = header.split_at(12);
    if signature != b"\r\n\r\n\0\r\nQUIT\n" || rest[..4] != [0x21, 0x11, 0, 12] {
        bail!("no PROXY header");
    }
    let (from, port) = (IpAddr::from([rest[4], rest[5], rest[6], rest[7]]), u16::from_be_bytes([rest[14], rest[15]]));
    Ok(format!("{from} at {port}"))
}

async fn echo(before: &str, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    let mut sent = Vec::new();
    stream.read_to_end(&mut sent).await?;
    stream.write_all(&[before.as_bytes(), &sent].concat()).await?;
    Ok(stream.shutdown().await?)
}

/// Until `QUIT`.
async fn lines(name: &str, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    loop {
        let line = line(&mut stream).await?;
        stream.write_all(format!("{name} <- {line}\n").as_bytes()).await?;
        stream.flush().await?;
        if line == "QUIT" {
            return Ok(stream.shutdown().await?);
        }
    }
}

/// As much of SMTP as a client needs to change over to TLS and say good-bye.
async fn smtp(name: &str, mut stream: TcpStream, acceptor: &TlsAcceptor) -> Result<()> {
    stream.write_all(format!("220 {name} ESMTP\r\n").as_bytes()).await?;
    loop {
        match &*line(&mut stream).await? {
            line if line.starts_with("EHLO") => stream.write_all(b"250-hello\r\n250 STARTTLS\r\n").await?,
            "STARTTLS" => break stream.write_all(b"220 go ahead\r\n").await?,
            _ => return Ok(stream.write_all(b"221 bye\r\n").await?),
        }
    }
    let mut stream = acceptor.accept(stream).await?;
    loop {
        match &*line(&mut stream).await? {
            "QUIT" => break stream.write_all(format!("221 bye from {name} over TLS\r\n").as_bytes()).await?,
            _ => stream.write_all(b"250 hello again\r\n").await?,
        }
    }
    Ok(stream.shutdown().await?)
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await?);
        if line.len() > 1000 {
            bail!("a line without end");
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// Bytes.
    #[default]
    Tcp,
    /// Bytes in TLS.
    Tls,
    /// One datagram.
    Udp,
}

/// What a client does.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What it speaks.
    pub over: Over,
    /// The server name, with TLS; empty sends none.
    pub sni: String,
    /// Bytes that come before all else, TLS too, such as a PROXY header; latin-1.
    pub preface: String,
    /// What it waits for before it sends anything.
    pub first: Option<String>,
    /// What it sends, and then that it has sent all.
    pub send: String,
    /// What comes back before it says that it has sent all.
    pub last: Option<String>,
    /// The address that it comes from.
    pub source: Option<IpAddr>,
    /// How long all of it may take.
    pub limit: Duration,
}

/// How long nothing may come back on a datagram before it counts as lost.
const LOST: Duration = Duration::from_millis(1500);

impl Exchange {
    /// Everything that came back. An error: the connection was refused, broken or closed without a word.
    pub async fn run(&self, to: SocketAddr) -> Result<String> {
        tokio::time::timeout(self.limit, self.talk(to)).await.context("it took too long")?
    }

    async fn talk(&self, to: SocketAddr) -> Result<String> {
        if self.over == Over::Udp {
            let socket = UdpSocket::bind((self.source.unwrap_or(IpAddr::from([127, 0, 0, 1])), 0)).await?;
            socket.connect(to).await?;
            socket.send(self.send.as_bytes()).await?;
            let mut answer = vec![0; 65_536];
            let count = tokio::time::timeout(LOST, socket.recv(&mut answer)).await.context("lost")??;
            return Ok(String::from_utf8_lossy(&answer[..count]).into_owned());
        }
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = self.source {
            socket.bind((source, 0).into())?;
        }
        let mut stream = socket.connect(to).await.context("connect")?;
        stream.write_all(&latin1(&self.preface)).await?;
        match self.over {
            Over::Tls => self.say(connect(stream, &self.sni, false, None).await?).await,
            _ => self.say(stream).await,
        }
    }

    async fn say(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<String> {
        let mut received = Vec::new();
        if let Some(first) = &self.first {
            hear(&mut stream, first, &mut received).await.context("the first words")?;
        }
        stream.write_all(self.send.as_bytes()).await?;
        stream.flush().await?;
        if let Some(last) = &self.last {
            hear(&mut stream, last, &mut received).await.context("the last words")?;
        }
        stream.shutdown().await?;
        stream.read_to_end(&mut received).await?;
        if received.is_empty() {
            bail!("closed without a word");
        }
        Ok(String::from_utf8_lossy(&received).into_owned())
    }
}

/// Reads as many bytes as are wanted, which must be these.
async fn hear(stream: &mut (impl AsyncRead + Unpin), wanted: &str, received: &mut Vec<u8>) -> Result<()> {
    let before = received.len();
    received.resize(before + wanted.len(), 0);
    stream.read_exact(&mut received[before..]).await?;
    let seen = String::from_utf8_lossy(&received[before..]);
    if seen != wanted {
        bail!("wanted {wanted:?}, saw {seen:?}");
    }
    Ok(())
}
