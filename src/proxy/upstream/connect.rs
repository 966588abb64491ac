//! New connections to endpoints.

use super::{Connection, Target};
use crate::{config::ClusterSpec, io::Io};
use base::tasks::Tasks;
use bytes::Bytes;
use h2::client::SendRequest;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("this proxy doesn't speak TLS to backends")]
    Tls,
    #[error("HTTP/2: {0}")]
    H2(#[from] h2::Error),
}

impl ConnectError {
    /// Envoy's name for it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            ConnectError::Timeout(_) => "connection timeout",
            _ => "remote connection failure",
        }
    }

    /// Envoy's text about the socket, if it has one.
    pub(crate) fn transport(&self) -> Option<String> {
        match self {
            ConnectError::Io(error) => Some(format!(
                "delayed connect error: {}",
                error.raw_os_error().map_or_else(|| error.to_string(), |code| code.to_string())
            )),
            _ => None,
        }
    }
}

impl Target {
    /// A new connection.
    pub(crate) async fn connect(&self, spec: &ClusterSpec) -> Result<Connection, ConnectError> {
        Ok(Connection::new(self.dial(spec).await?))
    }

    /// A handle on the shared HTTP/2 connection, which is made if there is none or the one there was has ended.
    pub(crate) async fn share(&self, spec: &ClusterSpec, tasks: &Tasks) -> Result<SendRequest<Bytes>, ConnectError> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = &*shared
            && let Ok(sender) = sender.clone().ready().await
        {
            return Ok(sender);
        }
        let io = self.dial(spec).await?;
        let limits = &spec.http2;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(limits.initial_stream_window)
            .initial_connection_window_size(limits.initial_connection_window)
            .max_header_list_size(60 << 10)
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await?;
        tasks.spawn_local("http/2 backend connection", |_| async move {
            // Why it ended is told to each of its streams.
            let _ = connection.await;
        });
        let sender = sender.ready().await?;
        *shared = Some(sender.clone());
        Ok(sender)
    }

    async fn dial(&self, spec: &ClusterSpec) -> Result<Io, ConnectError> {
        if spec.tls.is_some() {
            // Never in clear text where TLS is wanted.
            return Err(ConnectError::Tls);
        }
        let dial = tokio::time::timeout(spec.connect_timeout, TcpStream::connect(self.address));
        let stream = dial.await.map_err(|_| ConnectError::Timeout(spec.connect_timeout))??;
        stream.set_nodelay(true)?;
        Ok(Io::from(stream))
    }
}
