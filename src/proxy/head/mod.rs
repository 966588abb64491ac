//! The head of a request and of a response: one form for HTTP/1.1 and HTTP/2, for router, authorization, filters
//! and logs alike.
//!
//! A head is text in one buffer and an index of offsets into it. The buffer is lent by the worker and used again, so
//! a head costs no allocation once it is warm. Names are stored in lower case. An edit appends text and changes the
//! index; nothing is ever moved.

mod canonical;
mod conn;
mod fields;
mod known;
mod reply;
mod request;

pub use canonical::{EscapedSlashes, Normalize};
pub use conn::Conn;
pub use fields::Fields;
pub use known::Known;
pub use reply::Reply;
pub use request::{Head, HeadError, Version};
