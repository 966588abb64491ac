//! Pages that others than the pod itself reach: whether it lives and is ready, and its metrics. Nothing can be changed by
//! them, and nothing of the configuration is told.

use super::{Admin, metrics, ready, serve};
use axum::{Router, routing::get};
use base::tasks::Tasks;
use std::{io, net::SocketAddr};

impl Admin {
    /// Serves readiness and liveness until the tasks drain, and says where.
    pub(crate) async fn serve_health(&self, address: SocketAddr, tasks: &Tasks) -> io::Result<SocketAddr> {
        serve("health pages", address, self.health(), tasks).await
    }

    /// Serves metrics until the tasks drain, and says where.
    pub(crate) async fn serve_metrics(&self, address: SocketAddr, tasks: &Tasks) -> io::Result<SocketAddr> {
        let pages = Router::new().route("/stats/prometheus", get(metrics)).route("/metrics", get(metrics));
        serve("metrics pages", address, pages.with_state(self.clone()).merge(self.health()), tasks).await
    }

    fn health(&self) -> Router {
        let pages = Router::new().route("/healthz/ready", get(ready)).route("/healthz/live", get(live));
        pages.with_state(self.clone())
    }
}

async fn live() -> &'static str {
    "LIVE\n"
}
