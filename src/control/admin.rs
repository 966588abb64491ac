//! The admin page: readiness, metrics, and what the control plane knows, which is everything but secrets. The latter is
//! for this machine, and for those that [`Door`] lets in.

mod door;
mod pages;

use crate::{objects::Objects, source::Inbox, status::Board};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use base::{metrics::Metrics, ready::Readiness, tasks::Tasks};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use xds::{Publisher, server::Ads};

pub use door::Door;
pub use pages::statuses;

/// What the pages show.
pub struct Pages {
    /// Whether clients are served.
    pub readiness: Readiness,
    /// Whether what is read is still taken.
    pub inbox: Inbox,
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

/// Nothing takes so long: everything there is, read at the start, takes seconds.
const STUCK: Duration = Duration::from_secs(120);

type Shared = State<Arc<Pages>>;

/// Serves the pages until the group drains.
pub fn serve(listener: TcpListener, pages: Pages, door: Door, tasks: &Tasks) {
    let debug = Router::new()
        .route("/debug", get(index))
        .route("/debug/syncz", get(async |pages: Shared| Json(pages::syncz(&pages.ads))))
        .route("/debug/config_dump", get(async |pages: Shared| Json(pages::config_dump(&pages.publisher))))
        .route("/debug/configz", get(async |pages: Shared| Json(pages::configz(&pages.objects))))
        .route("/debug/status", get(async |pages: Shared| Json(statuses(&pages.board, &pages.objects))))
        .layer(middleware::from_fn_with_state(Arc::new(door), door::pass));
    let router = Router::new()
        .route("/", get(index))
        .route("/ready", get(async |pages: Shared| ready(&pages.readiness)))
        .route("/live", get(async |pages: Shared| live(&pages.inbox)))
        .route("/metrics", get(metrics))
        .route("/version", get(|| async { format!("{}\n", crate::metrics::VERSION) }))
        .merge(debug)
        .with_state(Arc::new(pages));
    run("admin", listener, router, tasks);
}

/// Serves readiness and liveness alone until the group drains.
pub fn serve_readiness(listener: TcpListener, readiness: Readiness, inbox: Inbox, tasks: &Tasks) {
    let router = Router::new()
        .route("/ready", get(async move || ready(&readiness)))
        .route("/live", get(async move || live(&inbox)));
    run("readiness", listener, router, tasks);
}

fn run(name: &'static str, listener: TcpListener, router: Router, tasks: &Tasks) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tasks.spawn(name, |mut drain| async move {
        let server = axum::serve(listener, service).with_graceful_shutdown(async move { drain.drained().await });
        if let Err(error) = server.await {
            tracing::error!(%error, name, "pages ended");
        }
    });
}

async fn index() -> &'static str {
    "/ready               200 as soon as everything was read and published once\n\
     /live                200 unless a change has been worked on for longer than anything takes\n\
     /metrics             for Prometheus\n\
     /version\n\
     /debug/status        what became of every object, and the problems of what was read\n\
     /debug/syncz         the connected proxies, and what they have\n\
     /debug/config_dump   what is published, by Gateway\n\
     /debug/configz       the objects in use\n"
}

fn ready(readiness: &Readiness) -> Response {
    match readiness.waiting_for().as_slice() {
        [] => (StatusCode::OK, "ready\n").into_response(),
        waiting => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", waiting.join(", "))).into_response(),
    }
}

/// Whether a restart would help. An API server that is away is no reason: what is known is served on.
fn live(inbox: &Inbox) -> Response {
    match inbox.busy().filter(|busy| *busy > STUCK) {
        None => (StatusCode::OK, "live\n").into_response(),
        Some(busy) => {
            let text = format!("a change has been worked on for {} s\n", busy.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn metrics(pages: Shared) -> Response {
    pages.ours.look();
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], pages.metrics.render()).into_response()
}
