//! What a pod with Envoy tells others: whether it lives and is ready, and its metrics, all of them by Envoy's own word.

use super::ask::ask;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use base::tasks::Tasks;
use std::{io, net::SocketAddr, path::Path, sync::Arc};
use tokio::net::TcpListener;

/// Serves readiness and liveness until the tasks drain.
pub async fn health(address: SocketAddr, admin: Arc<Path>, tasks: &Tasks) -> io::Result<()> {
    serve("health pages", address, health_pages(admin), tasks).await
}

/// Serves metrics until the tasks drain.
pub async fn metrics(address: SocketAddr, admin: Arc<Path>, tasks: &Tasks) -> io::Result<()> {
    let pages = Router::new().route("/stats/prometheus", get(stats)).route("/metrics", get(stats));
    serve("metrics pages", address, pages.with_state(admin.clone()).merge(health_pages(admin)), tasks).await
}

fn health_pages(admin: Arc<Path>) -> Router {
    Router::new().route("/healthz/ready", get(ready)).route("/healthz/live", get(live)).with_state(admin)
}

async fn serve(what: &'static str, address: SocketAddr, pages: Router, tasks: &Tasks) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tasks.spawn(what, |mut end| async move {
        let served = axum::serve(listener, pages).with_graceful_shutdown(async move { end.drained().await });
        if let Err(error) = served.await {
            tracing::error!(%error, what, "nothing is served any more");
        }
    });
    Ok(())
}

async fn ready(State(admin): State<Arc<Path>>) -> (StatusCode, Bytes) {
    answer(&admin, "/ready").await
}

/// Envoy is alive if its main thread answers, ready or not.
async fn live(State(admin): State<Arc<Path>>) -> (StatusCode, Bytes) {
    match answer(&admin, "/ready").await {
        (StatusCode::BAD_GATEWAY, why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        (_, state) => (StatusCode::OK, state),
    }
}

async fn stats(State(admin): State<Arc<Path>>) -> impl IntoResponse {
    let (status, body) = answer(&admin, "/stats/prometheus").await;
    (status, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body)
}

async fn answer(admin: &Path, path: &str) -> (StatusCode, Bytes) {
    match ask(admin, Method::GET, path).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error}\n").into()),
    }
}
