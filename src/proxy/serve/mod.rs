//! From a client's connection to its answers, phase by phase: see the flowchart in src/ARCHITECTURE.md.

mod exchange;
mod forward;
mod h1;
mod h2;
mod h2_heads;
mod line;
mod local;
mod mirror;
mod prepare;
mod respond;
mod talk;
mod trace;
mod tunnel;

use crate::{
    config::{Codec, FilterChain},
    head::Conn,
    io::{Io, Prefixed},
    worker::Worker,
};
use std::{rc::Rc, sync::Arc};

/// A client's connection and what serves it.
pub(crate) struct Link {
    /// What is known about the connection.
    pub(crate) conn: Conn,
    /// What serves it.
    pub(crate) chain: Arc<FilterChain>,
}

/// Serves a connection to its end: HTTP/2 if TLS negotiated it or the client starts with its preface, else HTTP/1.
pub(crate) async fn serve(worker: Rc<Worker>, link: Link, io: Io) {
    let codec = link.chain.http.codec;
    let io = if codec == Codec::Http2 || (codec == Codec::Auto && io.is_alpn(b"h2")) {
        Some((io, None))
    } else {
        h1::serve(&worker, &link, io, codec == Codec::Auto).await.map(|(io, scratch)| (io, Some(scratch)))
    };
    if let Some((io, scratch)) = io {
        let first = scratch.as_ref().map_or(&b""[..], |scratch| scratch.input.data());
        let io = Prefixed::new(first, io);
        scratch.into_iter().for_each(|scratch| worker.give_back(scratch));
        // Boxed: connections that speak HTTP/1 don't pay for it.
        Box::pin(h2::serve(worker, link, io)).await;
    }
}
