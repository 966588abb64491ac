//! Sockets, buffers and time, as one worker lends them.

mod buffer;
mod stream;
mod timer;

pub(crate) use buffer::Buffer;
pub(crate) use stream::Io;
pub(crate) use timer::{Alarm, Expired, Timer};
