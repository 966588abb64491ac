//! Envoy's admin page for people, on a port: connections are passed on to its socket, all but Envoy's own.
//!
//! Names of backends outside of the cluster are resolved by Envoy, and DNS may say 127.0.0.1. Envoy connects to backends
//! from the addresses of its pod, and whoever is beside it in the pod, `kubectl port-forward` too, from the loopback.

use base::tasks::Tasks;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
};

/// The most connections that are passed on at a time.
const MOST: usize = 32;
/// How long to wait after the system refused one.
const PAUSE: Duration = Duration::from_millis(100);

/// Passes connections on to `admin` until the tasks drain. Those from one of `sources` are closed.
///
/// # Errors
/// If the address can't be listened on.
pub async fn serve(address: SocketAddr, admin: Arc<Path>, sources: Vec<IpAddr>, tasks: &Tasks) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tasks.spawn("admin page", |mut end| async move {
        tokio::select! { () = accept(listener, admin, sources) => {}, () = end.drained() => {} }
    });
    Ok(())
}

async fn accept(listener: TcpListener, admin: Arc<Path>, sources: Vec<IpAddr>) {
    // They end with this.
    let mut passed = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if passed.len() < MOST => match accepted {
                Ok((_, peer)) if sources.contains(&peer.ip().to_canonical()) => {
                    tracing::warn!(%peer, "a backend leads to the admin page; it is not let in");
                }
                Ok((client, _)) => passed.push(pass(client, &admin)),
                Err(error) => {
                    tracing::warn!(%error, "the admin page can't be connected to");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            // Whichever end fails, the client sees a connection that ends.
            Some(_) = passed.next(), if !passed.is_empty() => {}
        }
    }
}

async fn pass(mut client: TcpStream, admin: &Path) -> io::Result<()> {
    let mut envoy = UnixStream::connect(admin).await?;
    copy_bidirectional(&mut client, &mut envoy).await.map(drop)
}
