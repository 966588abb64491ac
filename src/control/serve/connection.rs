//! Connections as they come in: bounded in number, their handshakes side by side and bounded in time.

use base::tasks::Tasks;
use ca::Peer;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{codegen::tokio_stream::Stream, transport::server::Connected};

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are ready to be served.
pub struct Connections(mpsc::Receiver<io::Result<Connection>>);

/// One connection.
pub struct Connection {
    stream: Transport,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

enum Transport {
    Tls(Box<TlsStream<TcpStream>>),
    Plaintext(TcpStream),
}

impl Connections {
    /// Accepts connections with TLS.
    pub fn over_tls(listener: TcpListener, config: Arc<rustls::ServerConfig>, tasks: &Tasks) -> Self {
        Self::accept(listener, Some(TlsAcceptor::from(config)), tasks)
    }

    /// Accepts connections without TLS.
    pub fn plaintext(listener: TcpListener, tasks: &Tasks) -> Self {
        Self::accept(listener, None, tasks)
    }

    fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(64);
        let group = tasks.clone();
        tasks.spawn("accept", |mut drain| async move {
            tokio::select! {
                () = accept(listener, tls, sender, group) => {}
                () = drain.drained() => {}
            }
        });
        Self(receiver)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    sender: mpsc::Sender<io::Result<Connection>>,
    tasks: Tasks,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(permit) = room.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Only a hint to the kernel: without it the connection is slower, not wrong.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &tls else {
            let connection =
                Connection { stream: Transport::Plaintext(stream), peer: Peer::default(), _permit: permit };
            if sender.send(Ok(connection)).await.is_err() {
                return;
            }
            continue;
        };
        let (handshake, sender) = (tls.accept(stream), sender.clone());
        tasks.spawn("handshake", |mut drain| async move {
            let handshake = tokio::select! {
                handshake = tokio::time::timeout(HANDSHAKE, handshake) => handshake,
                () = drain.drained() => return,
            };
            match handshake {
                Ok(Ok(stream)) => {
                    let peer = Peer::of(stream.get_ref().1);
                    let stream = Transport::Tls(Box::new(stream));
                    // The server is gone: so is the connection.
                    let _ = sender.send(Ok(Connection { stream, peer, _permit: permit })).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, to),
            Transport::Plaintext(stream) => Pin::new(stream).poll_read(context, to),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, from),
            Transport::Plaintext(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, from),
            Transport::Plaintext(stream) => Pin::new(stream).poll_write_vectored(context, from),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Transport::Tls(stream) => stream.is_write_vectored(),
            Transport::Plaintext(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
            Transport::Plaintext(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Plaintext(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
