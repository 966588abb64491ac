//! Accept and identify: from a socket to a connection with its filter chain.

use crate::{
    config::{FilterChain, Listener, Name, Transport},
    head::Conn,
    io::Io,
    serve::{Link, serve},
    worker::Worker,
};
use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// A pause after the system refuses another connection (out of file descriptors, say).
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections for a listener until the task is aborted.
pub(super) async fn accept(worker: Rc<Worker>, name: Name, socket: TcpListener) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                let (worker, name) = (worker.clone(), name.clone());
                let tasks = worker.tasks.clone();
                tasks.spawn_local("connection", |_| connection(worker, name, stream, peer));
            }
            Err(error) => {
                tracing::warn!(listener = %name, %error, "can't accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(worker: Rc<Worker>, name: Name, stream: TcpStream, peer: SocketAddr) {
    let config = worker.config();
    let Some(listener) = config.listeners.get(&name).cloned() else { return };
    drop(config);
    // Both fail only on a socket that is gone already.
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    if let Some((link, io)) = identify(&listener, stream, peer, local).await {
        drop(listener);
        serve(worker, link, io, b"").await;
    }
}

/// Finds the filter chain. None: no chain serves such a connection, or it broke.
async fn identify(listener: &Listener, stream: TcpStream, peer: SocketAddr, local: SocketAddr) -> Option<(Link, Io)> {
    let chain: &Arc<FilterChain> = listener.chain(None, Transport::Plain)?;
    let conn = Conn { peer, local, tls: false, sni: None, certificate: None };
    Some((Link { conn, chain: chain.clone() }, Io::from(stream)))
}
