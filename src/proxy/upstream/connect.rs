//! New connections to endpoints.

use super::{Connection, Target};
use crate::{
    config::{ClusterSpec, UpstreamTls},
    io::Io,
    proxy_protocol::{Ends, version2},
    tls::TlsError,
    worker::Worker,
};
use bytes::Bytes;
use h2::client::SendRequest;
use rustls::pki_types::ServerName;
use std::{io, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, TlsStream};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("TLS: {0}")]
    Tls(String),
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
            // What exactly is wrong with a backend's certificate is said in the log, and nobody else's business.
            ConnectError::Tls(_) => Some("TLS_error".to_owned()),
            _ => None,
        }
    }
}

impl From<TlsError> for ConnectError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

impl Target {
    /// A new connection. Where the backend wants to know, it is told whom it is for.
    pub(crate) async fn connect(
        &self,
        spec: &ClusterSpec,
        worker: &Worker,
        whom: Option<Ends>,
    ) -> Result<Connection, ConnectError> {
        Ok(Connection::new(self.dial(spec, worker, whom).await?))
    }

    /// A handle on the shared HTTP/2 connection, which is made if there is none or the one there was has ended.
    pub(crate) async fn share(&self, spec: &ClusterSpec, worker: &Worker) -> Result<SendRequest<Bytes>, ConnectError> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = &*shared
            && let Ok(sender) = sender.clone().ready().await
        {
            return Ok(sender);
        }
        let io = self.dial(spec, worker, None).await?;
        let limits = &spec.http2;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(limits.initial_stream_window)
            .initial_connection_window_size(limits.initial_connection_window)
            .max_header_list_size(60 << 10)
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await?;
        worker.tasks.spawn_local("http/2 backend connection", |_| async move {
            // Why it ended is told to each of its streams.
            let _ = connection.await;
        });
        let sender = sender.ready().await?;
        *shared = Some(sender.clone());
        Ok(sender)
    }

    /// The limit of the time holds for all of it.
    async fn dial(&self, spec: &ClusterSpec, worker: &Worker, whom: Option<Ends>) -> Result<Io, ConnectError> {
        if let Some(rehearsal) = &worker.rehearsal {
            rehearsal.asked(&spec.name);
            return Err(io::Error::new(io::ErrorKind::NotConnected, "nothing is sent in a rehearsal").into());
        }
        if worker.is_own_page(self.address) {
            if self.may_complain() {
                let (cluster, endpoint) = (&spec.name, self.address);
                tracing::warn!(%cluster, %endpoint, "a backend leads to the admin page; it is not connected to");
            }
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        let dial = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            if spec.proxy_protocol {
                stream.write_all(&version2(whom)).await?;
            }
            match &spec.tls {
                None => Ok(Io::from(stream)),
                // Boxed: a request in clear text doesn't carry a handshake along.
                Some(tls) => Box::pin(encrypt(worker, tls, stream)).await,
            }
        };
        let dial = tokio::time::timeout(spec.connect_timeout, dial).await;
        let dial = dial.unwrap_or(Err(ConnectError::Timeout(spec.connect_timeout)));
        if let Err(ConnectError::Tls(error)) = &dial
            && self.may_complain()
        {
            tracing::warn!(cluster = %spec.name, endpoint = %self.address, %error, "no TLS with a backend");
        }
        dial
    }
}

async fn encrypt(worker: &Worker, tls: &UpstreamTls, stream: TcpStream) -> Result<Io, ConnectError> {
    let settings = worker.tls.towards(&worker.config(), tls)?;
    // Without a server name to send, rustls needs one all the same; it stays here.
    let name = tls.sni.as_deref().unwrap_or("unnamed.invalid").to_owned();
    let name = ServerName::try_from(name).map_err(|error| ConnectError::Tls(error.to_string()))?;
    let stream = TlsConnector::from(settings).connect(name, stream).await;
    let stream = stream.map_err(|error| ConnectError::Tls(error.to_string()))?;
    Ok(Io::from(TlsStream::from(stream)))
}
