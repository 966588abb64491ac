//! Finds the end of a head, and refuses bare line feeds, without looking at a byte twice.

use super::Refusal;

/// How far a head has been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    at: usize,
    line: usize,
}

impl Scan {
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
