//! Finds the end of a head, and refuses bare line feeds, without looking at a byte twice.

use super::{Refusal, lines::Stop};

/// How far a head has been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    at: usize,
    line: usize,
}

impl Scan {
    /// Reads a head by `read`, which gives its length too. Heads mostly come whole: they are read in one pass. One that
    /// comes in pieces is read once its end is there, and one that is refused is looked at again: lines that end
    /// wrongly are told before anything else.
    ///
    /// # Errors
    /// As [`Scan::end`], and what `read` refuses of a head whose lines are whole.
    pub(super) fn read<T>(
        &mut self,
        input: &[u8],
        limit: usize,
        read: impl FnOnce() -> Result<(usize, T), Stop>,
    ) -> Result<Option<T>, Refusal> {
        if self.at > 0 && self.end(input, limit)?.is_none() {
            return Ok(None);
        }
        match read() {
            Ok((length, head)) if length <= limit => Ok(Some(head)),
            read => match (self.end(input, limit)?, read) {
                (None, _) => Ok(None),
                (Some(_), Err(Stop::Refused(refusal))) => Err(refusal),
                // Lines that are whole, and yet no head.
                (Some(_), _) => Err(Refusal::FirstLine),
            },
        }
    }

    /// The length of the head including its empty line, once it is complete. `input` starts with the same bytes at
    /// every call.
    ///
    /// # Errors
    /// If a line ends without CR LF, or the head is longer than `limit`.
    pub fn end(&mut self, input: &[u8], limit: usize) -> Result<Option<usize>, Refusal> {
        for offset in memchr::memchr_iter(b'\n', &input[self.at..]) {
            let feed = self.at + offset;
            if feed == 0 || input[feed - 1] != b'\r' {
                return Err(Refusal::BareLineFeed);
            }
            if feed == self.line + 1 && self.line > 0 {
                return if feed < limit { Ok(Some(feed + 1)) } else { Err(Refusal::TooLarge) };
            }
            self.line = feed + 1;
        }
        self.at = input.len();
        if input.len() > limit { Err(Refusal::TooLarge) } else { Ok(None) }
    }
}
