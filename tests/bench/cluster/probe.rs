//! A backend beside the cluster, and a client that asks for one host again and again.

use anyhow::{Context, Result, bail};
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// Between two asks: as exact as what is measured needs it.
const PAUSE: Duration = Duration::from_millis(1);

/// A server that answers every request on a connection with an empty 200, on the address that leads to `near`.
pub async fn backend(near: IpAddr) -> Result<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect((near, 9)).await?;
    let listener = TcpListener::bind((socket.local_addr()?.ip(), 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line == "\r\n" {
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        }
        line.clear();
    }
    Ok(())
}

/// One kept-alive connection to a Gateway.
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects.
    pub async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await.with_context(|| format!("connect to {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The status of a GET for a host.
    pub async fn status(&mut self, host: &str) -> Result<u16> {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await?;
        let (mut status, mut length, mut line) = (None, 0, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                bail!("the connection ended");
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if status.is_none() {
                status = Some(lower.split(' ').nth(1).and_then(|code| code.parse().ok()).context("a status")?);
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if lower.is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).await?;
        status.context("a status")
    }

    /// Asks until the answer is 200; how long that took since `started`. Anything but 404 before is an error.
    pub async fn until_ok(&mut self, host: &str, started: Instant) -> Result<f64> {
        loop {
            match self.status(host).await? {
                200 => return Ok(started.elapsed().as_secs_f64()),
                // The cores are for those who are measured.
                404 if started.elapsed() < tests::cluster::LIMIT => tokio::time::sleep(PAUSE).await,
                other => bail!("{host}: {other} before its first 200"),
            }
        }
    }
}
