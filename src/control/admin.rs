//! The admin page: readiness, metrics, and what the control plane knows. For this machine only: it is bound to
//! loopback, and shows everything but secrets.

mod pages;

use crate::{objects::Objects, status::Board};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base::{metrics::Metrics, ready::Readiness, tasks::Tasks};
use std::sync::Arc;
use tokio::net::TcpListener;
use xds::{Publisher, server::Ads};

pub use pages::statuses;

/// What the pages show.
pub struct Pages {
    /// Whether clients are served.
    pub readiness: Readiness,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Those of ours that are only known when asked.
    pub ours: crate::metrics::Metrics,
    /// The open streams.
    pub ads: Ads,
    /// Statuses.
    pub board: Board,
    /// The objects in use.
    pub objects: Objects,
    /// What is published.
    pub publisher: Publisher,
}

type Shared = State<Arc<Pages>>;

/// Serves the pages until the group drains.
pub fn serve(listener: TcpListener, pages: Pages, tasks: &Tasks) {
    let router = Router::new()
        .route("/", get(index))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(|| async { format!("{}\n", crate::metrics::VERSION) }))
        .route("/debug", get(index))
        .route("/debug/syncz", get(async |pages: Shared| Json(pages::syncz(&pages.ads))))
        .route("/debug/config_dump", get(async |pages: Shared| Json(pages::config_dump(&pages.publisher))))
        .route("/debug/configz", get(async |pages: Shared| Json(pages::configz(&pages.objects))))
        .route("/debug/status", get(async |pages: Shared| Json(statuses(&pages.board, &pages.objects))))
        .with_state(Arc::new(pages));
    tasks.spawn("admin", |mut drain| async move {
        let server = axum::serve(listener, router).with_graceful_shutdown(async move { drain.drained().await });
        if let Err(error) = server.await {
            tracing::error!(%error, "the admin page ended");
        }
    });
}

async fn index() -> &'static str {
    "/ready               200 as soon as everything was read and published once\n\
     /metrics             for Prometheus\n\
     /version\n\
     /debug/status        what became of every object, and the problems of what was read\n\
     /debug/syncz         the connected proxies, and what they have\n\
     /debug/config_dump   what is published, by Gateway\n\
     /debug/configz       the objects in use\n"
}

async fn ready(pages: Shared) -> Response {
    match pages.readiness.waiting_for().as_slice() {
        [] => (StatusCode::OK, "ready\n").into_response(),
        waiting => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", waiting.join(", "))).into_response(),
    }
}

async fn metrics(pages: Shared) -> Response {
    pages.ours.look();
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], pages.metrics.render()).into_response()
}
