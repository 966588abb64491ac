//! A body that can be read more than once, as long as it isn't larger than what may be kept of it.

use super::{Piece, Source, SourceError};
use crate::h1::Length;
use http::HeaderMap;

/// A body of which a copy is kept.
pub(crate) struct Kept<'a> {
    inner: Source<'a>,
    /// What was read of it, unless that is more than may be kept.
    copy: Vec<u8>,
    /// How much of the copy has been given out since it is read anew.
    position: usize,
    most: usize,
    /// More was read than may be kept.
    overflowed: bool,
    trailers: Option<HeaderMap>,
}

impl<'a> Kept<'a> {
    /// Keeps up to `most` bytes of a body. If it is kept already, what may be kept only grows.
    pub(crate) fn wrap<'s>(source: &'s mut Source<'a>, most: usize) -> &'s mut Self {
        if !matches!(source, Source::Kept(_)) {
            let inner = std::mem::replace(source, Source::Empty);
            let kept = Kept { inner, copy: Vec::new(), position: 0, most: 0, overflowed: false, trailers: None };
            *source = Source::Kept(Box::new(kept));
        }
        match source {
            Source::Kept(kept) => {
                kept.most = kept.most.max(most);
                kept
            }
            // Just put there.
            _ => unreachable!("a kept body"),
        }
    }

    /// How much of it may be kept.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn rewind(&mut self) {
        self.position = 0;
    }

    /// Whether all that was read has been kept.
    pub(super) fn is_whole(&self) -> bool {
        !self.overflowed
    }

    /// What has been kept.
    pub(crate) fn copy(&self) -> &[u8] {
        &self.copy
    }

    /// Whether nothing more will come.
    pub(crate) fn is_complete(&self) -> bool {
        self.inner.is_done()
    }

    /// Reads on until `most` bytes are kept or the body is complete. What is read beyond them is kept too.
    pub(crate) async fn read(&mut self, most: usize) -> Result<(), SourceError> {
        while self.copy.len() <= most && !self.inner.is_done() {
            let read = match self.inner.piece()? {
                Some(piece) => {
                    self.copy.extend_from_slice(&piece);
                    true
                }
                None => false,
            };
            if !read && !self.inner.is_done() {
                self.inner.fill().await?;
            }
        }
        self.most = self.most.max(self.copy.len());
        Ok(())
    }

    pub(super) fn length(&self) -> Length {
        self.inner.length()
    }

    pub(super) fn is_done(&self) -> bool {
        self.position == self.copy.len() && self.inner.is_done()
    }

    pub(super) fn piece(&mut self) -> Result<Option<Piece<'_>>, SourceError> {
        let at = self.position;
        if at < self.copy.len() {
            self.position = self.copy.len();
            return Ok(Some(Piece::Lent(&self.copy[at..])));
        }
        let Some(piece) = self.inner.piece()? else { return Ok(None) };
        if self.overflowed || self.copy.len() + piece.len() > self.most {
            (self.overflowed, self.position) = (true, 0);
            self.copy = Vec::new();
        } else {
            self.copy.extend_from_slice(&piece);
            self.position = self.copy.len();
        }
        Ok(Some(piece))
    }

    pub(super) async fn fill(&mut self) -> Result<(), SourceError> {
        if self.position < self.copy.len() { Ok(()) } else { self.inner.fill().await }
    }

    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, SourceError> {
        if self.trailers.is_none() {
            self.trailers = self.inner.trailers().await?;
        }
        Ok(self.trailers.clone())
    }

    pub(super) fn release(&mut self) {
        self.inner.release();
    }
}
