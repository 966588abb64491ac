//! Admin pages, beside the data path: on the control side's runtime, never on a worker.

mod dump;
mod public;

use crate::config::Shared;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use base::{metrics::Metrics, ready::Readiness, tasks::Tasks};
use std::{io, net::SocketAddr};
use tokio::{net::TcpListener, sync::watch};

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Admin {
    config: Shared,
    readiness: Readiness,
    metrics: Metrics,
    drain: watch::Sender<bool>,
}

impl Admin {
    /// `drain` becomes true when a page asks for the end.
    pub(crate) fn new(config: Shared, readiness: Readiness, metrics: Metrics, drain: watch::Sender<bool>) -> Self {
        Self { config, readiness, metrics, drain }
    }

    /// Serves the pages until the tasks drain, and says where.
    pub(crate) async fn serve(&self, address: SocketAddr, tasks: &Tasks) -> io::Result<SocketAddr> {
        let pages = Router::new()
            .route("/", get(index))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/stats/prometheus", get(metrics))
            .route("/config_dump", get(config_dump))
            .route("/clusters", get(clusters))
            .route("/listeners", get(listeners))
            .route("/drain", post(drain))
            .route("/quitquitquit", post(drain))
            .with_state(self.clone());
        serve("admin pages", address, pages, tasks).await
    }
}

async fn serve(what: &'static str, address: SocketAddr, pages: Router, tasks: &Tasks) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tasks.spawn(what, |mut end| async move {
        let served = axum::serve(listener, pages).with_graceful_shutdown(async move { end.drained().await });
        if let Err(error) = served.await {
            tracing::error!(%error, what, "nothing is served any more");
        }
    });
    Ok(address)
}

async fn index() -> &'static str {
    "windlass-proxy\n\n\
     GET  /ready              200 once the first full configuration is served\n\
     GET  /metrics            OpenMetrics; also /stats/prometheus\n\
     GET  /config_dump        the configuration in force, in the shape of Envoy's\n\
     GET  /clusters           endpoints of each cluster\n\
     GET  /listeners          listeners\n\
     POST /drain              end gracefully; also /quitquitquit\n"
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.readiness.waiting_for() {
        waiting if waiting.is_empty() => (StatusCode::OK, "LIVE\n".to_owned()),
        waiting => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", waiting.join(", "))),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], admin.metrics.render())
}

async fn config_dump(State(admin): State<Admin>) -> impl IntoResponse {
    Json(dump::config(&admin.config.load()))
}

async fn clusters(State(admin): State<Admin>) -> String {
    dump::clusters(&admin.config.load())
}

async fn listeners(State(admin): State<Admin>) -> String {
    dump::listeners(&admin.config.load())
}

async fn drain(State(admin): State<Admin>) -> &'static str {
    admin.drain.send_replace(true);
    "OK\n"
}
