//! One GET to a proxy's admin page.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// The largest answer that is read.
const MAX_ANSWER: usize = 1 << 30;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of the answer.
///
/// # Errors
/// If nobody answers there, or with anything but 200.
pub async fn fetch(admin: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let what = || format!("http://{admin}{path}");
    tokio::time::timeout(PATIENCE, get(admin, path))
        .await
        .with_context(|| format!("{}: no answer within {PATIENCE:?}", what()))?
        .with_context(|| format!("{}: is a proxy's admin page there?", what()))
}

async fn get(admin: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(admin).await?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, admin.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = send.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        if !status.is_success() {
            bail!("wanted 200, saw {status}");
        }
        Ok(body)
    };
    // The connection is driven here, beside the request: no task outlives this call.
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}
