//! Sockets, buffers and time, as one worker lends them.

mod buffer;
mod prefixed;
mod stream;
mod timer;

pub(crate) use buffer::Buffer;
pub(crate) use prefixed::Prefixed;
pub(crate) use stream::Io;
pub(crate) use timer::{Alarm, Timer};
