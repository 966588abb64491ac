//! A tiny backend: it says its name and what it was asked.

use base::tasks::Tasks;
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};

/// Connections at once.
const MAX_CONNECTIONS: usize = 1_024;

/// Starts it on a free port of this machine and says which.
///
/// # Errors
/// If there is no free port.
pub async fn start(name: &'static str, tasks: &Tasks) -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let group = tasks.clone();
    tasks.spawn(name, |mut drain| async move {
        tokio::select! {
            () = serve(name, listener, group) => {}
            () = drain.drained() => {}
        }
    });
    Ok(port)
}

async fn serve(name: &'static str, listener: TcpListener, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(permit) = room.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tasks.spawn("connection", |mut drain| async move {
            let answer = service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, &request)) });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::pin!(connection);
            tokio::select! {
                // A client that goes away is no news.
                _ = &mut connection => {}
                () = drain.drained() => connection.as_mut().graceful_shutdown(),
            }
            drop(permit);
        });
    }
}

fn answer(name: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("-");
    let text = format!("{name}: {} {} for {host}\n", request.method(), request.uri());
    Response::new(Full::new(text.into()))
}
