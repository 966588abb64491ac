//! Bodies on their way: read from one side, written to the other, whatever version each side speaks.

mod copy;
mod kept;
mod sink;
mod source;

pub(crate) use copy::{CopyError, copy};
pub(crate) use kept::Kept;
pub(crate) use sink::Sink;
pub(crate) use source::{Piece, Source, SourceError};
