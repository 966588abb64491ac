//! Accept and identify: from a socket to a connection with its filter chain.

use crate::{
    config::{Config, FilterChain, HttpManager, Listener, Name, Serves, StreamChain, Transport},
    head::Conn,
    io::Io,
    proxy_protocol::{Ends, Header, Step},
    serve::{Link, serve},
    stream,
    tls::{LONGEST_HELLO, peer_certificate, server_name},
    worker::Worker,
};
use rustls::server::Acceptor;
use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

/// A pause after the system refuses another connection (out of file descriptors, say).
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client may take to show what it speaks and to finish its handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// The first byte of a TLS connection: a record with a handshake message.
const TLS_HANDSHAKE: u8 = 0x16;

/// How soon the rest of a ClientHello is looked for.
const REST_OF_HELLO: Duration = Duration::from_millis(5);

/// A connection with what serves it.
enum Identified {
    Http(Box<Link>, Io),
    Stream(Box<Conn>, Arc<StreamChain>, Io),
}

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
    // It fails only on a socket that is gone already.
    let Ok(local) = stream.local_addr() else { return };
    let identified = {
        let config = worker.config();
        let Some(listener) = config.listeners.get(&name) else { return };
        match listener.chain(None, Transport::Plain) {
            // The common case of cleartext HTTP: nothing is to be found out.
            Some(chain) if !listener.proxy_protocol && listener.is_plain(chain) => {
                let conn = Conn { peer, remote: peer, local, tls: None, sni: None, certificate: None };
                Some(identified(listener, conn, chain, &config, Io::from(stream)))
            }
            _ => {
                let limit = listener.inspect_timeout.unwrap_or(HANDSHAKE);
                // Boxed: a connection is small for the rest of its life.
                let identify = Box::pin(identify(&worker, &config, listener, stream, peer, local));
                tokio::time::timeout(limit, identify).await.ok().flatten()
            }
        }
    };
    match identified {
        None => {}
        Some(Identified::Http(link, io)) => serve(worker, *link, io).await,
        // Boxed: connections of HTTP don't pay for it.
        Some(Identified::Stream(conn, chain, io)) => Box::pin(stream::serve(worker, *conn, chain, io)).await,
    }
}

/// Finds the filter chain, and ends TLS. None: no chain serves such a connection, or it broke.
async fn identify(
    worker: &Worker,
    config: &Config,
    listener: &Listener,
    mut stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
) -> Option<Identified> {
    let mut conn = Conn { peer, remote: peer, local, tls: None, sni: None, certificate: None };
    if listener.proxy_protocol {
        if let Some(Ends { from, to }) = announced(&mut stream, listener).await? {
            (conn.remote, conn.local) = (from, to);
        }
        // Whose server speaks first is not waited for.
        if let Some(chain) = listener.chain(None, Transport::Plain).filter(|chain| listener.is_plain(chain)) {
            return Some(identified(listener, conn, chain, config, Io::from(stream)));
        }
    }
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0] != TLS_HANDSHAKE {
        let chain = listener.chain(None, Transport::Plain).filter(|chain| chain.tls.is_none())?.clone();
        return Some(identified(listener, conn, &chain, config, Io::from(stream)));
    }
    if listener.passes_tls() {
        let sni: Option<Arc<str>> = peek_name(&stream).await?.map(Arc::from);
        let chain = listener.chain(sni.as_deref(), Transport::Tls)?;
        if chain.tls.is_none() {
            conn.sni = sni;
            return Some(identified(listener, conn, chain, config, Io::from(stream)));
        }
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
    let hello = start.client_hello();
    let sni: Option<Arc<str>> = hello.server_name().map(|name| name.to_ascii_lowercase().into());
    let chain = listener.chain(sni.as_deref(), Transport::Tls)?.clone();
    let tls = chain.tls.as_ref()?;
    let offers = hello.alpn().is_none_or(|mut offered| offered.any(|one| tls.alpn.iter().any(|own| **own == *one)));
    let settings = worker.tls.of(config, tls, offers);
    let settings = settings.inspect_err(|error| tracing::warn!(listener = %listener.name, %error, "no TLS")).ok()?;
    let stream = start.into_stream(settings).await.ok()?;
    let session = stream.get_ref().1;
    let chain_shown = session.peer_certificates();
    // Somebody whom nobody vouches for is nobody.
    let chain_shown = chain_shown.filter(|shown| !tls.accept_untrusted || worker.tls.vouches(tls, offers, shown));
    let told = chain.http().and_then(|http| http.tell_client_cert.as_ref());
    let certificate = Some(Arc::new(peer_certificate(chain_shown, told)));
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let conn = Conn { tls: Some(version), sni, certificate, ..conn };
    Some(identified(listener, conn, &chain, config, Io::from(TlsStream::from(stream))))
}

/// Whom a PROXY header is for. No byte behind it is taken. None: there is no header, or none that can be understood.
async fn announced(stream: &mut TcpStream, listener: &Listener) -> Option<Option<Ends>> {
    let (mut header, mut bytes) = (Header::default(), [0; 512]);
    loop {
        let count = stream.peek(&mut bytes).await.ok().filter(|count| *count > 0)?;
        let step = header.take(&bytes[..count]);
        let step = step.inspect_err(|why| tracing::debug!(listener = %listener.name, %why, "refused")).ok()?;
        let (used, ends) = match step {
            Step::More => (count, None),
            Step::End { used, ends } => (used, Some(ends)),
        };
        stream.read_exact(&mut bytes[..used]).await.ok()?;
        if ends.is_some() {
            return ends;
        }
    }
}

/// The server name that the client asks for, left where it is for the backend to read.
async fn peek_name(stream: &TcpStream) -> Option<Option<String>> {
    let mut bytes = vec![0; 2048];
    loop {
        let count = stream.peek(&mut bytes).await.ok().filter(|count| *count > 0)?;
        match server_name(&bytes[..count]) {
            Ok(Some(name)) => return Some(name),
            Ok(None) if count == bytes.len() && count < LONGEST_HELLO => bytes.resize(LONGEST_HELLO, 0),
            // What was peeked at stays readable, so that there is nothing to wait for but time.
            Ok(None) => tokio::time::sleep(REST_OF_HELLO).await,
            Err(_) => return None,
        }
    }
}

fn identified(listener: &Listener, conn: Conn, chain: &Arc<FilterChain>, config: &Config, io: Io) -> Identified {
    match &chain.serves {
        Serves::Http(http) => Identified::Http(Box::new(link(listener, conn, chain, http, config)), io),
        Serves::Stream(stream) => Identified::Stream(Box::new(conn), stream.clone(), io),
    }
}

fn link(listener: &Listener, conn: Conn, chain: &Arc<FilterChain>, http: &Arc<HttpManager>, config: &Config) -> Link {
    let peer = conn.remote.ip().to_string().into();
    let (listener, seen) = (listener.name.clone(), Cell::new(config.generation));
    Link { conn, peer, listener, chain: chain.clone(), http: http.clone(), seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_is_small() {
        // Beside the socket, this is what an idle connection of HTTP/1 costs.
        let bytes = size(connection);
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}
