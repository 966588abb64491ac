//! What has been read and not been used.

/// A linear buffer: bytes are added at its end and dropped from its start.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// What a buffer starts with, and what it grows to if reads fill it.
const SMALL: usize = 16 << 10;
const LARGE: usize = 64 << 10;

impl Buffer {
    /// What is there.
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops from the start.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count.min(self.end - self.start);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for a read; never empty unless the buffer holds [`LARGE`] unused bytes.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() - self.end < SMALL / 4 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let wanted = if self.bytes.len() < SMALL { SMALL } else { LARGE };
            if self.bytes.len() - self.end < SMALL / 4 && self.bytes.len() < wanted {
                self.bytes.resize(wanted, 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were read into [`Buffer::room`]. A read that fills an empty buffer makes it grow, as more will
    /// follow.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
        if self.start == 0 && self.end == self.bytes.len() && self.end < LARGE {
            self.bytes.resize(LARGE, 0);
        }
    }

    /// Whether it has grown.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes.len() > SMALL
    }

    /// Forgets what is there.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}
