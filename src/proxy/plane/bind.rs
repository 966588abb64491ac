//! Listening sockets: one for each worker on the same address.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {error}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub error: io::Error,
}

/// Connections that may wait to be accepted; the system may have a lower limit.
const BACKLOG: i32 = 4096;

/// Sockets of one address that don't listen yet.
pub(super) struct Bound {
    /// With its real port.
    pub(super) address: SocketAddr,
    sockets: Vec<Socket>,
}

/// So many sockets on that address.
pub(super) fn all(address: SocketAddr, count: usize) -> Result<Bound, BindError> {
    let sockets = || {
        // With SO_REUSEPORT we would share the port with another process of the same user without a word.
        drop(open(address, false)?);
        let first = open(address, true)?;
        let unreadable = || io::Error::other("the system gave a socket without an address");
        let address = first.local_addr()?.as_socket().ok_or_else(unreadable)?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(open(address, true)?);
        }
        Ok(Bound { address, sockets })
    };
    sockets().map_err(|error| BindError { address, error })
}

impl Bound {
    /// Lets connections come.
    pub(super) fn listen(self) -> Result<Vec<TcpListener>, BindError> {
        let Self { address, sockets } = self;
        let listen = |socket: Socket| socket.listen(BACKLOG).map(|()| socket.into());
        sockets.into_iter().map(listen).collect::<io::Result<_>>().map_err(|error| BindError { address, error })
    }
}

/// So many sockets for datagrams on that address, and the address with its real port. The system gives all datagrams of
/// one client to the same socket.
pub(super) fn datagrams(address: SocketAddr, count: usize) -> Result<(SocketAddr, Vec<UdpSocket>), BindError> {
    let sockets = || {
        drop(open_datagrams(address, false)?);
        let first = open_datagrams(address, true)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(open_datagrams(address, true)?);
        }
        Ok((address, sockets))
    };
    sockets().map_err(|error| BindError { address, error })
}

fn open_datagrams(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Connections have it from their listener.
    socket.set_tcp_nodelay(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
