//! A line to a backend, HTTP/1 or a stream of HTTP/2: the request's head out, the response's head in.

use super::{h2_heads, talk::Failed};
use crate::{
    config::{ClusterSpec, Upstream},
    h1::{self, Length, Scan},
    head::{Head, Reply, Version},
    io::{Buffer, Io},
    message::{Sink, Source},
    upstream::{ConnectError, Connection, Target},
    worker::Worker,
};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use std::{io::ErrorKind, net::SocketAddr};

/// A line to a backend.
pub(super) enum Line {
    /// A connection of our own.
    H1(Connection),
    /// A stream on a connection that others share.
    H2(SendRequest<Bytes>),
}

/// Where the head of the response comes from.
pub(super) enum Inbound<'l> {
    H1 { io: &'l Io, used: bool },
    H2(ResponseFuture),
}

/// What follows the head of a response.
pub(super) struct Answer {
    length: Length,
    keep_alive: bool,
    stream: Option<h2::RecvStream>,
}

impl Line {
    /// Opens a new line.
    pub(super) async fn open(
        target: &Target,
        spec: &ClusterSpec,
        worker: &Worker,
        version: Version,
    ) -> Result<Line, ConnectError> {
        let http2 = match spec.upstream {
            Upstream::Http1 => false,
            Upstream::Http2 => true,
            Upstream::SameAsDownstream => version == Version::Http2,
        };
        Ok(match http2 {
            false => Line::H1(target.connect(spec, worker, None).await?),
            true => Line::H2(target.share(spec, worker).await?),
        })
    }

    /// Our end of it.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match self {
            Line::H1(connection) => connection.local,
            Line::H2(_) => None,
        }
    }

    /// Whether it had carried a request before this one.
    pub(super) fn is_used(&self) -> bool {
        matches!(self, Line::H1(connection) if connection.served() > 1)
    }

    /// Starts a request: its head waits in `out`, or is sent.
    pub(super) fn start<'l>(
        &'l self,
        head: &Head,
        length: Length,
        upgrade: bool,
        out: &'l mut Vec<u8>,
    ) -> Result<(Sink<'l>, Inbound<'l>), Failed> {
        match self {
            Line::H1(connection) => {
                let used = connection.serve();
                out.clear();
                h1::request_head(head, length, upgrade, out);
                Ok((Sink::h1(&connection.io, out, length), Inbound::H1 { io: &connection.io, used }))
            }
            Line::H2(sender) => {
                let request = h2_heads::request(head).map_err(Failed::Protocol)?;
                let (response, stream) = sender.clone().send_request(request, length.is_empty()).map_err(Failed::h2)?;
                let sink = if length.is_empty() { Sink::None } else { Sink::h2(stream) };
                Ok((sink, Inbound::H2(response)))
            }
        }
    }
}

impl Inbound<'_> {
    /// Reads the head of the response; interim ones (1xx) are passed over, but for 101.
    pub(super) async fn head(self, back: &mut Buffer, reply: &mut Reply, to_head: bool) -> Result<Answer, Failed> {
        match self {
            Inbound::H1 { io, used } => read_h1(io, used, back, reply, to_head).await,
            Inbound::H2(response) => {
                let (parts, stream) = response.await.map_err(Failed::h2)?.into_parts();
                reply.clear();
                h2_heads::reply(&parts, reply);
                let length = reply.fields.get("content-length").and_then(|value| std::str::from_utf8(value).ok());
                let length = length.and_then(|length| length.parse().ok()).map_or(Length::Chunked, Length::Exact);
                Ok(Answer { length, keep_alive: true, stream: Some(stream) })
            }
        }
    }
}

async fn read_h1(io: &Io, used: bool, back: &mut Buffer, reply: &mut Reply, to_head: bool) -> Result<Answer, Failed> {
    let mut scan = Scan::default();
    back.clear();
    loop {
        let silent = back.is_empty();
        match io.read(back).await {
            Ok(0) => return Err(Failed::Reset { stale: used && silent }),
            Err(error) if error.kind() == ErrorKind::OutOfMemory => return Err(Failed::Protocol(error.to_string())),
            Err(_) => return Err(Failed::Reset { stale: used && silent }),
            Ok(_) => {}
        }
        loop {
            reply.clear();
            match h1::parse_response(back.data(), &mut scan, to_head, reply) {
                Ok(None) => break,
                Err(refusal) => return Err(Failed::Protocol(refusal.to_string())),
                Ok(Some(response)) => {
                    back.consume(response.consumed);
                    if matches!(reply.status, 100..=199) && reply.status != 101 {
                        scan = Scan::default();
                        continue;
                    }
                    let (length, keep_alive) = (response.length, response.keep_alive);
                    return Ok(Answer { length, keep_alive, stream: None });
                }
            }
        }
    }
}

impl Answer {
    /// The body of the response, and whether the line can be used again once it has been read.
    pub(super) fn body<'l>(self, line: &'l Line, back: &'l mut Buffer) -> (Source<'l>, bool) {
        let length = match self.length {
            Length::Exact(length) => Some(length),
            _ => None,
        };
        let source = match (self.stream, line) {
            (Some(stream), _) => Source::h2(stream, length),
            (None, Line::H1(connection)) => Source::h1(&connection.io, back, self.length),
            (None, Line::H2(_)) => Source::Empty,
        };
        (source, self.keep_alive)
    }
}
