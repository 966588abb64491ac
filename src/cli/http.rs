//! One GET over a connection that is there.

use anyhow::bail;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The largest answer that is read.
const MAX_ANSWER: usize = 1 << 30;

/// The body of the answer.
///
/// # Errors
/// If nobody answers, or with anything but 200.
pub async fn get<S: AsyncRead + AsyncWrite + Unpin>(stream: S, host: &str, path: &str) -> anyhow::Result<Bytes> {
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
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
