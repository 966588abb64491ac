//! A proxy's admin page.

use anyhow::Context;
use hyper::body::Bytes;
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of the answer.
///
/// # Errors
/// If nobody answers there, or with anything but 200.
pub async fn fetch(admin: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let what = || format!("http://{admin}{path}");
    let get = async { crate::http::get(TcpStream::connect(admin).await?, &admin.to_string(), path).await };
    tokio::time::timeout(PATIENCE, get)
        .await
        .with_context(|| format!("{}: no answer within {PATIENCE:?}", what()))?
        .with_context(|| format!("{}: is an admin page there?", what()))
}
