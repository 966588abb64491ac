//! The access log: Envoy's format operators and response flags, one line per request, written off the data path.

mod flags;
mod format;
mod operator;
mod record;
mod writer;

pub use flags::{Flag, Flags};
pub use format::{Format, FormatError, JsonFields, JsonValue};
pub use record::{Lookup, Record};
pub use writer::{Lines, Sinks, Writer};
