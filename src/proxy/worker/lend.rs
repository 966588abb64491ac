//! Buffers that a worker lends to requests and uses again.

use crate::{
    head::{Head, Reply},
    io::Buffer,
};
use std::cell::RefCell;

/// All that one request needs while it is under way.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The request's head.
    pub(crate) head: Head,
    /// The response's head.
    pub(crate) reply: Reply,
    /// Read from the client.
    pub(crate) input: Buffer,
    /// Read from the backend.
    pub(crate) back: Buffer,
    /// To be written to the client.
    pub(crate) out: Vec<u8>,
    /// To be written to the backend.
    pub(crate) forward: Vec<u8>,
}

impl Scratch {
    /// Makes it ready for the next request; what was read ahead from the client stays.
    pub(crate) fn reset(&mut self) {
        self.head.clear();
        self.reply.clear();
        self.back.clear();
        self.out.clear();
        self.forward.clear();
    }
}

/// Most buffers that are kept, and most of those that have grown.
const MOST: usize = 512;
const MOST_LARGE: usize = 32;

// Boxed: what is lent moves about as one pointer, and stays small in a connection's task.
#[allow(clippy::vec_box)]
#[derive(Default)]
pub(super) struct Pool(RefCell<(Vec<Box<Scratch>>, usize)>);

impl Pool {
    pub(super) fn take(&self) -> Box<Scratch> {
        let (free, large) = &mut *self.0.borrow_mut();
        let scratch = free.pop().unwrap_or_default();
        *large -= usize::from(scratch.input.is_large() || scratch.back.is_large());
        scratch
    }

    pub(super) fn give(&self, mut scratch: Box<Scratch>) {
        scratch.reset();
        scratch.input.clear();
        let (free, large) = &mut *self.0.borrow_mut();
        let grown = scratch.input.is_large() || scratch.back.is_large();
        if free.len() < MOST && !(grown && *large >= MOST_LARGE) {
            *large += usize::from(grown);
            free.push(scratch);
        }
    }
}
