//! Questions to Envoy's admin page, which is a socket in the file system: no backend's address leads to it.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::{io, path::Path, time::Duration};
use tokio::net::UnixStream;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Status and body of the answer.
pub async fn ask(admin: &Path, method: Method, path: &str) -> io::Result<(StatusCode, Bytes)> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "Envoy's admin page doesn't answer");
    tokio::time::timeout(PATIENCE, call(admin, method, path)).await.map_err(|_| late())?
}

async fn call(admin: &Path, method: Method, path: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(admin).await?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let answer = async {
        let response = send.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    };
    // The connection is driven here, beside the request: no task outlives this call.
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(io::Error::other)?;
            answer.await
        }
    }
}
