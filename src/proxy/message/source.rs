//! Where a body comes from.

use super::kept::Kept;
use crate::{
    h1::{BodyError, Decoder, Length, Step},
    io::{Buffer, Io},
};
use bytes::Bytes;
use http::HeaderMap;
use std::ops::Deref;

/// A body that is read piece by piece.
pub(crate) enum Source<'a> {
    /// From a connection that speaks HTTP/1.
    H1 {
        /// The connection.
        io: &'a Io,
        /// What was read from it.
        buffer: &'a mut Buffer,
        /// Where the body ends.
        decoder: Decoder,
        /// How it is delimited.
        length: Length,
        /// Bytes at the start of the buffer that the last piece still uses.
        used: usize,
        /// Some of it has been read.
        touched: bool,
    },
    /// From a stream of HTTP/2.
    H2 {
        /// The stream.
        stream: h2::RecvStream,
        /// What the head said.
        length: Option<u64>,
        /// What was read and not been used.
        next: Option<Bytes>,
        /// The stream has no more data.
        ended: bool,
        /// Some of it has been read.
        touched: bool,
    },
    /// Of which a copy is kept, to be read again.
    Kept(Box<Kept<'a>>),
    /// No body, or one that is over.
    Empty,
}

/// Why a body can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    H2(#[from] h2::Error),
}

/// Some bytes of a body.
pub(crate) enum Piece<'a> {
    /// In a buffer that will be used again.
    Lent(&'a [u8]),
    /// Shared.
    Owned(Bytes),
}

impl Deref for Piece<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Piece::Lent(bytes) => bytes,
            Piece::Owned(bytes) => bytes,
        }
    }
}

impl<'a> Source<'a> {
    /// A body on an HTTP/1 connection; the buffer starts with it.
    pub(crate) fn h1(io: &'a Io, buffer: &'a mut Buffer, length: Length) -> Self {
        Source::H1 { io, buffer, decoder: Decoder::new(length), length, used: 0, touched: false }
    }

    /// A body on an HTTP/2 stream.
    pub(crate) fn h2(stream: h2::RecvStream, length: Option<u64>) -> Self {
        if stream.is_end_stream() {
            Source::Empty
        } else {
            Source::H2 { stream, length, next: None, ended: false, touched: false }
        }
    }

    /// How the body would be delimited in HTTP/1.
    pub(crate) fn length(&self) -> Length {
        match self {
            Source::H1 { length: Length::Close, .. } => Length::Chunked,
            Source::H1 { length, .. } => *length,
            Source::H2 { length: Some(length), .. } => Length::Exact(*length),
            Source::H2 { .. } => Length::Chunked,
            Source::Kept(kept) => kept.length(),
            Source::Empty => Length::Exact(0),
        }
    }

    /// Whether trailers may follow it: those of HTTP/1 are dropped.
    pub(crate) fn may_have_trailers(&self) -> bool {
        matches!(self, Source::H2 { .. })
    }

    /// Whether all of it has been read.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Source::H1 { decoder, .. } => decoder.is_done(),
            Source::H2 { ended, .. } => *ended,
            Source::Kept(kept) => kept.is_done(),
            Source::Empty => true,
        }
    }

    /// Whether it can be sent once more: nothing of it has been read yet, or all that was read has been kept.
    pub(crate) fn is_untouched(&self) -> bool {
        match self {
            Source::H1 { touched, .. } | Source::H2 { touched, .. } => !touched,
            Source::Kept(kept) => kept.is_whole(),
            Source::Empty => true,
        }
    }

    /// How many bytes of it can be read once more; none unless a copy is kept.
    pub(crate) fn kept(&self) -> usize {
        match self {
            Source::Kept(kept) => kept.most(),
            _ => 0,
        }
    }

    /// Starts again from the first byte, if a copy is kept. To be called only while it [`Source::is_untouched`].
    pub(crate) fn rewind(&mut self) {
        if let Source::Kept(kept) = self {
            kept.rewind();
        }
    }

    /// The protocol has changed: from now on everything is data until the end.
    pub(crate) fn open_end(&mut self) {
        if let Source::H1 { decoder, length, .. } = self {
            (*decoder, *length) = (Decoder::new(Length::Close), Length::Close);
        }
    }

    /// What can be had without waiting. None: wait with [`Source::fill`], or it is done.
    pub(crate) fn piece(&mut self) -> Result<Option<Piece<'_>>, SourceError> {
        match self {
            Source::Empty => Ok(None),
            Source::Kept(kept) => kept.piece(),
            Source::H2 { next, .. } => Ok(next.take().map(Piece::Owned)),
            Source::H1 { buffer, decoder, used, touched, .. } => {
                buffer.consume(std::mem::take(used));
                match decoder.step(buffer.data())? {
                    Step::Data(range) => {
                        *used = range.end;
                        *touched = true;
                        Ok(Some(Piece::Lent(&buffer.data()[range])))
                    }
                    Step::More(count) | Step::End(count) => {
                        buffer.consume(count);
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Waits for more.
    pub(crate) async fn fill(&mut self) -> Result<(), SourceError> {
        match self {
            Source::Empty => Ok(()),
            Source::Kept(kept) => Box::pin(kept.fill()).await,
            Source::H1 { io, buffer, decoder, .. } => {
                if io.read(buffer).await? == 0 {
                    decoder.close()?;
                }
                Ok(())
            }
            Source::H2 { stream, next, ended, touched, .. } => {
                *touched = true;
                match stream.data().await {
                    Some(data) => {
                        let data = data?;
                        stream.flow_control().release_capacity(data.len())?;
                        *next = Some(data);
                    }
                    None => *ended = true,
                }
                Ok(())
            }
        }
    }

    /// Trailers, once the body is done. HTTP/1 trailers are dropped.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, SourceError> {
        match self {
            Source::H2 { stream, .. } => Ok(stream.trailers().await?),
            Source::Kept(kept) => Box::pin(kept.trailers()).await,
            _ => Ok(None),
        }
    }

    /// Drops what the last piece used. To be called when the body is no longer read.
    pub(crate) fn release(&mut self) {
        match self {
            Source::H1 { buffer, used, .. } => buffer.consume(std::mem::take(used)),
            Source::Kept(kept) => kept.release(),
            Source::H2 { .. } | Source::Empty => {}
        }
    }
}
