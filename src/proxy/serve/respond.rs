//! The way back to the client.

use super::h2_heads;
use crate::{
    h1::{self, Connection, Length},
    head::{Reply, Version},
    io::Io,
    message::Sink,
};
use bytes::Bytes;
use h2::server::SendResponse;
use std::{future::poll_fn, io};

/// Where the response goes.
pub(super) enum Responder<'a> {
    /// A connection that speaks HTTP/1.
    H1 {
        /// The connection.
        io: &'a Io,
        /// What waits to be written.
        out: &'a mut Vec<u8>,
        /// What the client speaks.
        version: Version,
        /// Whether the connection is kept after this response.
        keep_alive: bool,
        /// The request was HEAD.
        to_head: bool,
        /// The head of the response has been handed over.
        started: bool,
    },
    /// A stream of HTTP/2.
    H2 {
        /// The stream, before the head.
        respond: SendResponse<Bytes>,
        /// The request was HEAD.
        to_head: bool,
        /// The head of the response has been handed over.
        started: bool,
    },
}

impl Responder<'_> {
    /// Whether the client speaks HTTP/1.
    pub(super) fn is_h1(&self) -> bool {
        matches!(self, Responder::H1 { .. })
    }

    /// Whether the head of the response has been handed over: nothing else can be answered then.
    pub(super) fn has_started(&self) -> bool {
        match self {
            Responder::H1 { started, .. } | Responder::H2 { started, .. } => *started,
        }
    }

    /// Tells a client that waits for it to send its body (`100 Continue`).
    pub(super) async fn proceed(&mut self) -> io::Result<()> {
        match self {
            Responder::H1 { io, .. } => io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n", b"", b"").await,
            // Streams send their bodies when they like.
            Responder::H2 { .. } => Ok(()),
        }
    }

    /// Whether the connection is kept after the response.
    pub(super) fn keeps(&self) -> bool {
        match self {
            Responder::H1 { keep_alive, .. } => *keep_alive,
            Responder::H2 { .. } => true,
        }
    }

    /// Closes the connection after this response.
    pub(super) fn close_after(&mut self) {
        if let Responder::H1 { keep_alive, .. } = self {
            *keep_alive = false;
        }
    }

    /// Hands over the head; the body follows by the sink, which must be ended.
    pub(super) fn head(&mut self, reply: &Reply, length: Length) -> io::Result<Sink<'_>> {
        match self {
            Responder::H1 { io, out, version, keep_alive, to_head, started } => {
                *started = true;
                let bodyless = *to_head || matches!(reply.status, 100..200 | 204 | 304);
                let (mut length, mut connection) = (length, Connection::Silent);
                if bodyless {
                    length = Length::Exact(0);
                } else if length == Length::Chunked && *version == Version::Http10 {
                    (length, *keep_alive) = (Length::Close, false);
                }
                if reply.status == 101 {
                    connection = Connection::Upgrade;
                } else if !*keep_alive {
                    connection = Connection::Close;
                } else if *version == Version::Http10 {
                    connection = Connection::KeepAlive;
                }
                h1::reply_head(reply, length, connection, out);
                Ok(Sink::h1(io, out, length))
            }
            Responder::H2 { respond, to_head, started } => {
                *started = true;
                let ends = *to_head || length.is_empty();
                let stream = respond.send_response(h2_heads::response(reply), ends).map_err(io::Error::other)?;
                Ok(if ends { Sink::None } else { Sink::h2(stream) })
            }
        }
    }

    /// Ends once the client has gone away. To be waited for only while nothing is read from it.
    pub(super) async fn gone(&mut self) {
        match self {
            Responder::H1 { io, .. } => io.closed().await,
            // An error says so too.
            Responder::H2 { respond, .. } => drop(poll_fn(|cx| respond.poll_reset(cx)).await),
        }
    }
}
