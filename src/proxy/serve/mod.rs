//! From a client's connection to its answers, phase by phase: see the flowchart in src/ARCHITECTURE.md.

mod exchange;
mod forward;
mod h1;
mod h2_heads;
mod line;
mod local;
mod prepare;
mod respond;
mod talk;
mod trace;
mod tunnel;

use crate::{config::FilterChain, head::Conn, io::Io, worker::Worker};
use std::{rc::Rc, sync::Arc};

/// A client's connection and what serves it.
pub(crate) struct Link {
    /// What is known about the connection.
    pub(crate) conn: Conn,
    /// What serves it.
    pub(crate) chain: Arc<FilterChain>,
}

/// Serves a connection to its end. `first` was read from it already.
pub(crate) async fn serve(worker: Rc<Worker>, link: Link, io: Io, first: &[u8]) {
    h1::serve(&worker, &link, &io, first).await;
}
