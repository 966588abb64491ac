//! From a client's connection to its answers, phase by phase: see the flowchart in src/ARCHITECTURE.md.

mod call;
mod cors;
mod exchange;
mod ext_authz;
mod filters;
mod forward;
mod grpc;
mod h1;
mod h2;
mod h2_heads;
mod line;
mod local;
mod mirror;
mod prepare;
mod respond;
mod session;
mod talk;
mod trace;
mod tunnel;

use crate::{
    config::{Codec, FilterChain, HttpManager, Name},
    head::Conn,
    io::{Io, Prefixed},
    worker::Worker,
};
use std::{cell::Cell, rc::Rc, sync::Arc};

/// A client's connection and what serves it.
pub(crate) struct Link {
    /// What is known about the connection.
    pub(crate) conn: Conn,
    /// The peer's address as `x-forwarded-for` has it.
    pub(crate) peer: Box<str>,
    /// The name of the listener that accepted it.
    pub(crate) listener: Name,
    /// What serves it.
    pub(crate) chain: Arc<FilterChain>,
    /// How it reads and answers requests.
    pub(crate) http: Arc<HttpManager>,
    /// The configuration in which the chain was last seen.
    pub(crate) seen: Cell<u64>,
}

impl Link {
    /// Whether the connection is to end after the request under way: the worker drains, or the chain is gone.
    fn is_leaving(&self, worker: &Worker) -> bool {
        worker.is_draining() || !self.is_current(worker)
    }

    /// Whether the chain is still in force.
    fn is_current(&self, worker: &Worker) -> bool {
        let config = worker.config();
        if self.seen.get() == config.generation {
            return true;
        }
        let listener = config.listeners.get(&self.listener);
        let current = listener.is_some_and(|listener| {
            listener.chains.iter().chain(&listener.default_chain).any(|chain| Arc::ptr_eq(chain, &self.chain))
        });
        if current {
            self.seen.set(config.generation);
        }
        current
    }
}

/// Serves a connection to its end: HTTP/2 if TLS negotiated it or the client starts with its preface, else HTTP/1.
pub(crate) async fn serve(worker: Rc<Worker>, link: Link, io: Io) {
    let codec = link.http.codec;
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
