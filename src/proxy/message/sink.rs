//! Where a body goes.

use super::{Piece, Source};
use crate::{
    h1::{self, Length},
    io::Io,
};
use bytes::Bytes;
use http::HeaderMap;
use std::{future::poll_fn, io};

/// A body that is written piece by piece.
pub(crate) enum Sink<'a> {
    /// To a connection that speaks HTTP/1.
    H1 {
        /// The connection.
        io: &'a Io,
        /// What waits to be written, perhaps a head.
        out: &'a mut Vec<u8>,
        /// Whether in chunks.
        chunked: bool,
    },
    /// To a stream of HTTP/2.
    H2 {
        /// The stream.
        stream: h2::SendStream<Bytes>,
        /// How much is left until the last byte, which ends the stream; none where trailers may follow it.
        left: Option<u64>,
    },
    /// A body that may not be: of an answer to HEAD, say. The head has been sent.
    None,
}

/// Up to this size a piece is put behind what waits; a larger one goes beside it in a vectored write.
const COPIED: usize = 4 << 10;

impl<'a> Sink<'a> {
    /// A body behind the head that waits in `out`.
    pub(crate) fn h1(io: &'a Io, out: &'a mut Vec<u8>, length: Length) -> Self {
        Sink::H1 { io, out, chunked: length == Length::Chunked }
    }

    /// A body on a stream.
    pub(crate) fn h2(stream: h2::SendStream<Bytes>) -> Self {
        Sink::H2 { stream, left: None }
    }

    /// No trailers will follow the body: where its length is known, it ends with its last byte and not behind it.
    pub(crate) fn without_trailers(&mut self, length: Length) {
        if let (Sink::H2 { left, .. }, Length::Exact(length)) = (self, length) {
            *left = Some(length);
        }
    }

    /// The body comes from there: see [`Sink::without_trailers`].
    pub(crate) fn expect(&mut self, source: &Source<'_>) {
        if !source.may_have_trailers() {
            self.without_trailers(source.length());
        }
    }

    /// Writes a piece, or keeps it for the next write.
    pub(crate) async fn write(&mut self, piece: Piece<'_>) -> io::Result<()> {
        match self {
            Sink::None => Ok(()),
            Sink::H1 { io, out, chunked } => {
                if *chunked {
                    h1::chunk_start(piece.len(), out);
                }
                let end: &[u8] = if *chunked { b"\r\n" } else { b"" };
                if out.len() + piece.len() <= COPIED {
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(end);
                    return Ok(());
                }
                io.write_all(out, &piece, end).await?;
                out.clear();
                Ok(())
            }
            Sink::H2 { stream, left } => {
                let mut data = match piece {
                    Piece::Owned(data) => data,
                    Piece::Lent(data) => Bytes::copy_from_slice(data),
                };
                while !data.is_empty() {
                    stream.reserve_capacity(data.len());
                    let capacity = match poll_fn(|cx| stream.poll_capacity(cx)).await {
                        Some(capacity) => capacity.map_err(io::Error::other)?,
                        None => return Err(io::ErrorKind::BrokenPipe.into()),
                    };
                    let part = data.split_to(capacity.min(data.len()));
                    if let Some(left) = left {
                        *left = left.saturating_sub(part.len() as u64);
                    }
                    stream.send_data(part, *left == Some(0)).map_err(io::Error::other)?;
                }
                Ok(())
            }
        }
    }

    /// Writes what waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if let Sink::H1 { io, out, .. } = self
            && !out.is_empty()
        {
            io.write_all(out, b"", b"").await?;
            out.clear();
        }
        Ok(())
    }

    /// Ends the body. HTTP/1 gets no trailers.
    pub(crate) async fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        match self {
            Sink::None => Ok(()),
            Sink::H1 { out, chunked, .. } => {
                if *chunked {
                    h1::chunk_end(out);
                }
                self.flush().await
            }
            Sink::H2 { left: Some(0), .. } => Ok(()),
            Sink::H2 { stream, .. } => match trailers {
                Some(trailers) => stream.send_trailers(trailers).map_err(io::Error::other),
                None => stream.send_data(Bytes::new(), true).map_err(io::Error::other),
            },
        }
    }
}
