//! A connection, plain or with TLS. Both directions may be used at once from one task.

use super::Buffer;
use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// A connection. Its cell is borrowed only while a poll runs, never across an await.
pub(crate) struct Io(RefCell<Inner>);

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self(RefCell::new(Inner::Plain(stream)))
    }
}

impl From<TlsStream<TcpStream>> for Io {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self(RefCell::new(Inner::Tls(Box::new(stream))))
    }
}

impl Inner {
    fn socket(&self) -> &TcpStream {
        match self {
            Inner::Plain(stream) => stream,
            Inner::Tls(stream) => stream.get_ref().0,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, parts) {
            (Inner::Plain(stream), [one]) => Pin::new(stream).poll_write(cx, one),
            (Inner::Plain(stream), parts) => Pin::new(stream).poll_write_vectored(cx, parts),
            (Inner::Tls(stream), parts) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Inner::Plain(_) => Poll::Ready(Ok(())),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}

impl Io {
    /// Reads into the buffer; 0 is the end.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(buffer.room());
        if into.remaining() == 0 {
            return Poll::Ready(Err(io::Error::other("the buffer is full")));
        }
        ready!(self.0.borrow_mut().poll_read(cx, &mut into))?;
        let count = into.filled().len();
        buffer.filled(count);
        Poll::Ready(Ok(count))
    }

    /// Reads into the buffer; 0 is the end.
    pub(crate) async fn read(&self, buffer: &mut Buffer) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Reads into a buffer of another kind; nothing is the end.
    pub(crate) fn poll_read_into(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(cx, into)
    }

    /// Writes what can be written.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_write(cx, &[IoSlice::new(bytes)])
    }

    /// Sends what TLS holds back.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush(cx)
    }

    /// Tells the other end that nothing more will come.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.borrow_mut() {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Writes both parts whole and flushes.
    pub(crate) async fn write_all(&self, first: &[u8], second: &[u8], third: &[u8]) -> io::Result<()> {
        let total = first.len() + second.len() + third.len();
        let mut done = 0;
        while done < total {
            let (first, rest) = rest_of(first, done);
            let (second, rest) = rest_of(second, rest);
            let (third, _) = rest_of(third, rest);
            let parts = [IoSlice::new(first), IoSlice::new(second), IoSlice::new(third)];
            let parts = if second.is_empty() && third.is_empty() { &parts[..1] } else { &parts[..] };
            let count = poll_fn(|cx| self.0.borrow_mut().poll_write(cx, parts)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            done += count;
        }
        poll_fn(|cx| self.0.borrow_mut().poll_flush(cx)).await
    }

    /// Waits until the other end has closed or broken the connection. Ends never once it has sent anything.
    pub(crate) async fn closed(&self) {
        if poll_fn(|cx| self.0.borrow().socket().poll_read_ready(cx)).await.is_err() {
            return;
        }
        let mut byte = [0];
        let peeked = poll_fn(|cx| self.0.borrow().socket().poll_peek(cx, &mut ReadBuf::new(&mut byte))).await;
        if let Ok(1..) = peeked {
            std::future::pending::<()>().await;
        }
    }

    /// Whether an idle connection can still be used: nothing has arrived, not even its end.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut inner = self.0.borrow_mut();
        let mut byte = [0];
        inner.poll_read(&mut Context::from_waker(std::task::Waker::noop()), &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Tells the other end that nothing more will come.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    /// Breaks the connection at once: the other end sees a reset where the system can.
    pub(crate) fn abort(&self) {
        let socket = self.0.borrow();
        let socket = socket2::SockRef::from(socket.socket());
        let _ = socket.set_linger(Some(std::time::Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// Whether there is no TLS on it.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(&*self.0.borrow(), Inner::Plain(_))
    }

    /// The protocol that TLS negotiated.
    pub(crate) fn is_alpn(&self, protocol: &[u8]) -> bool {
        match &*self.0.borrow() {
            Inner::Plain(_) => false,
            Inner::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(protocol),
        }
    }

    /// Our end.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.0.borrow().socket().local_addr().ok()
    }
}

/// What is left of a part after `done` bytes, and how many of those lie behind it.
fn rest_of(part: &[u8], done: usize) -> (&[u8], usize) {
    (&part[done.min(part.len())..], done.saturating_sub(part.len()))
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.get_mut().poll_read(cx, into)
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().0.get_mut().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.get_mut().poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().0.get_mut() {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
