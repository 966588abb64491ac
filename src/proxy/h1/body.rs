//! Bodies in: where the data lies in what was read.

use super::Length;
use std::ops::Range;

/// What a [`Decoder`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Data at this range of the input; drop everything up to its end.
    Data(Range<usize>),
    /// The input is used up: read more. Drop so many bytes.
    More(usize),
    /// The body is complete. Drop so many bytes; what follows is the next message.
    End(usize),
}

/// Why a body can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A chunk or the trailers are malformed or too large.
    #[error("the chunked body is malformed")]
    Chunk,
    /// The connection ended before the body did.
    #[error("the body was cut off")]
    CutOff,
}

/// The most bytes of a chunk's line, and of all trailers.
const MOST_LINE: usize = 4096;
const MOST_TRAILERS: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Exact(u64),
    Close,
    /// Reading the line of a chunk: its size so far, digits seen, whether an extension has begun, bytes of the line.
    Size {
        size: u64,
        digits: u8,
        extension: bool,
        line: usize,
    },
    SizeFeed {
        size: u64,
    },
    Data(u64),
    DataReturn,
    DataFeed,
    /// Trailers: bytes in all, bytes of this line, whether CR was last.
    Trailers {
        total: usize,
        line: usize,
        returned: bool,
    },
    Done,
}

/// Reads one body. Trailers are checked for their form and dropped, as Envoy does by default.
#[derive(Clone, Debug)]
pub struct Decoder(State);

const SIZE: State = State::Size { size: 0, digits: 0, extension: false, line: 0 };

impl Decoder {
    /// A decoder for a body that is delimited like that.
    pub fn new(length: Length) -> Self {
        Self(match length {
            Length::Exact(0) => State::Done,
            Length::Exact(length) => State::Exact(length),
            Length::Chunked => SIZE,
            Length::Close => State::Close,
        })
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// The next step with what has been read and not been dropped.
    ///
    /// # Errors
    /// If the body is malformed.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut at = 0;
        loop {
            match self.0 {
                State::Done => return Ok(Step::End(at)),
                State::Exact(_) | State::Close | State::Data(_) if at == input.len() => return Ok(Step::More(at)),
                State::Exact(left) => return Ok(self.data(at, input.len(), left, State::Exact, State::Done)),
                State::Data(left) => return Ok(self.data(at, input.len(), left, State::Data, State::DataReturn)),
                State::Close => return Ok(Step::Data(at..input.len())),
                _ => {
                    let Some(&byte) = input.get(at) else { return Ok(Step::More(at)) };
                    self.0 = self.frame(byte).ok_or(BodyError::Chunk)?;
                    at += 1;
                }
            }
        }
    }

    /// The connection ended: is that the end of the body?
    ///
    /// # Errors
    /// If it is not.
    pub fn close(&mut self) -> Result<(), BodyError> {
        match self.0 {
            State::Close | State::Done => {
                self.0 = State::Done;
                Ok(())
            }
            _ => Err(BodyError::CutOff),
        }
    }

    fn data(&mut self, at: usize, end: usize, left: u64, next: fn(u64) -> State, after: State) -> Step {
        let take = left.min((end - at) as u64);
        self.0 = if take == left { after } else { next(left - take) };
        Step::Data(at..at + take as usize)
    }

    /// One byte of the framing of chunks.
    fn frame(&self, byte: u8) -> Option<State> {
        Some(match (self.0, byte) {
            (State::Size { size, digits, line, .. }, b'\r') if digits > 0 && line < MOST_LINE => {
                State::SizeFeed { size }
            }
            (State::Size { size, digits, extension: false, line }, b';') if digits > 0 => {
                State::Size { size, digits, extension: true, line: line + 1 }
            }
            (State::Size { size, digits, extension: true, line }, 0x20..=0x7e | b'\t' | 0x80..) if line < MOST_LINE => {
                State::Size { size, digits, extension: true, line: line + 1 }
            }
            (State::Size { size, digits, extension: false, line }, byte) if digits < 15 => {
                let digit = (byte as char).to_digit(16)?;
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1, extension: false, line: line + 1 }
            }
            (State::SizeFeed { size: 0 }, b'\n') => State::Trailers { total: 0, line: 0, returned: false },
            (State::SizeFeed { size }, b'\n') => State::Data(size),
            (State::DataReturn, b'\r') => State::DataFeed,
            (State::DataFeed, b'\n') => SIZE,
            (State::Trailers { total, line, returned: false }, b'\r') => {
                State::Trailers { total, line, returned: true }
            }
            (State::Trailers { line: 0, returned: true, .. }, b'\n') => State::Done,
            (State::Trailers { total, returned: true, .. }, b'\n') => {
                State::Trailers { total, line: 0, returned: false }
            }
            (State::Trailers { total, line, returned: false }, 0x20..=0x7e | b'\t' | 0x80..)
                if total < MOST_TRAILERS =>
            {
                State::Trailers { total: total + 1, line: line + 1, returned: false }
            }
            _ => return None,
        })
    }
}
