//! A client that says what no decent client says: raw bytes, and HTTP/2 frame by frame.

use anyhow::{Context, Result, ensure};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer or a close may take on a slow and busy machine; only failures wait so long.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The preface of HTTP/2 and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Frame types (RFC 9113 6).
pub mod kind {
    #![allow(missing_docs, reason = "the names of RFC 9113")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;

/// The head `GET / good.example`, in HPACK without a dynamic table.
pub const GET: &[u8] = b"\x82\x86\x84\x01\x0cgood.example";
/// The same with POST.
pub const POST: &[u8] = b"\x83\x86\x84\x01\x0cgood.example";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// What a flood came to.
pub struct Flood {
    /// Pieces that were written.
    pub sent: u64,
    /// Whether the proxy closed the connection.
    pub closed: bool,
    /// The first bytes that came back.
    pub answer: Vec<u8>,
}

impl Flood {
    /// The proxy ended it before everything was sent, or after.
    pub fn was_closed(self) -> Result<u64> {
        ensure!(self.closed, "the connection stays open after {} pieces", self.sent);
        Ok(self.sent)
    }

    /// The proxy answered with that status and closed.
    pub fn was_refused(self, status: &str) -> Result<u64> {
        let start = String::from_utf8_lossy(&self.answer[..self.answer.len().min(12)]).into_owned();
        ensure!(start.ends_with(status), "wanted {status}, saw {start:?}");
        self.was_closed()
    }

    /// How the proxy said goodbye over HTTP/2: the error code of its GOAWAY.
    pub fn goaway(&self) -> Option<u32> {
        let mut rest = &self.answer[..];
        while rest.len() >= 9 {
            let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
            let payload = rest.get(9..9 + length)?;
            if rest[3] == kind::GOAWAY {
                return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?));
            }
            rest = &rest[9 + length..];
        }
        None
    }
}

/// Writes `start` and then `count` pieces over one connection, and reads what comes back meanwhile; stops when the proxy
/// closes. After the last piece it waits `patience` for that.
pub async fn flood(
    to: SocketAddr,
    start: &[u8],
    count: u64,
    patience: Duration,
    mut piece: impl FnMut(u64) -> Vec<u8>,
) -> Result<Flood> {
    let (mut from, mut into) = TcpStream::connect(to).await.context("connect")?.into_split();
    let reader = tokio::spawn(async move {
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let room = (1 << 20) - answer.len();
            answer.extend_from_slice(&buffer[..count.min(room)]);
        }
        answer
    });
    let mut sent = 0;
    if into.write_all(start).await.is_ok() {
        while sent < count && !reader.is_finished() {
            // A proxy that stops reading and doesn't close would hold us for ever.
            match timeout(LIMIT, into.write_all(&piece(sent))).await.context("the proxy neither reads nor closes")? {
                Ok(()) => sent += 1,
                Err(_) => break,
            }
        }
    }
    let mut reader = reader;
    let closed = timeout(patience, &mut reader).await;
    reader.abort();
    let answer = match closed {
        Ok(answer) => answer?,
        Err(_) => return Ok(Flood { sent, closed: false, answer: Vec::new() }),
    };
    drop(into);
    Ok(Flood { sent, closed: true, answer })
}

/// Sends these bytes and reads until the proxy closes.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> Result<Flood> {
    flood(to, bytes, 0, LIMIT, |_| Vec::new()).await
}
