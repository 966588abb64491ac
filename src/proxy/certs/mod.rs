//! The proxy's own certificate: asked for, renewed, kept, and shown to the control plane.
//!
//! One task ([`Manager::run`]) owns the certificate; everyone else reads a finished value. A certificate that is
//! valid is only ever replaced by a newer one that has been verified: whatever fails, the old one stays.

mod certificate;
mod connect;
mod request;
mod schedule;

pub use certificate::{Certificate, CertificateError};
pub use connect::Connector;
pub use request::{RequestError, Token};

use model::Identity;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::MetricType,
    registry::Registry,
};
use schedule::Backoff;
use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// Says what time it is. Tests have their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The longest sleep before the wall clock is looked at again, for it may have been set.
const LOOK: Duration = Duration::from_secs(30);

/// Whom to ask for what.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of the certificate authority.
    pub ca_address: String,
    /// The name that the control plane's certificate must have.
    pub server_name: String,
    /// Who we are.
    pub identity: Identity,
    /// A PEM file with the roots to trust; read at each connection, for it may change.
    pub roots: PathBuf,
    /// What proves who we are before there is a certificate.
    pub token: Option<Token>,
    /// Where the certificate outlives a restart; nowhere if absent.
    pub dir: Option<PathBuf>,
    /// How long a certificate should live; zero lets the authority decide.
    pub ttl: Duration,
    /// The time.
    pub clock: Clock,
}

/// The owner of the certificate.
pub struct Manager {
    options: Options,
    current: watch::Sender<Option<Arc<Certificate>>>,
}

impl Manager {
    /// A manager, with the certificate of the last run if it is still good.
    pub fn new(options: Options, registry: &mut Registry) -> Arc<Self> {
        let kept = options.dir.as_ref().and_then(|dir| {
            let kept = Certificate::load(dir, &options.identity, (options.clock)());
            kept.inspect_err(|error| tracing::warn!(%error, "the certificate of the last run can't be used"))
                .ok()
                .flatten()
        });
        let manager = Arc::new(Self { options, current: watch::Sender::new(kept.map(Arc::new)) });
        let help = "time until the certificate of the workload ends";
        registry.register("cert_expiry_seconds", help, Expiry(manager.clone()));
        manager
    }

    /// The certificate, if there is one that is valid now.
    pub fn current(&self) -> Option<Arc<Certificate>> {
        let now = (self.options.clock)();
        self.current.borrow().as_ref().filter(|certificate| certificate.is_valid(now)).cloned()
    }

    /// The newest certificate that we have had, valid or not.
    fn known(&self) -> Option<Arc<Certificate>> {
        self.current.borrow().clone()
    }

    /// Tells of each new certificate.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Certificate>>> {
        self.current.subscribe()
    }

    /// Waits until there is a certificate that is valid.
    pub async fn ready(&self) -> Arc<Certificate> {
        let mut changes = self.subscribe();
        loop {
            if let Some(certificate) = self.current() {
                return certificate;
            }
            // `self` holds the sender, so the wait can't fail.
            let _ = changes.changed().await;
        }
    }

    /// Opens connections to a server of the control plane at `host:port`, over TLS with our certificate.
    pub fn connector(self: &Arc<Self>, address: impl Into<String>) -> Connector {
        Connector::new(self.clone(), address.into())
    }

    /// Gets the first certificate and renews it in time, until it is dropped. Never returns.
    pub async fn run(&self) {
        let mut backoff = Backoff::default();
        // Half of the failed attempts show no certificate: an authority that has lost its root trusts no old one.
        let mut show_certificate = true;
        loop {
            self.wait_for_renewal().await;
            match self.renew(show_certificate).await {
                Ok(()) => {
                    backoff = Backoff::default();
                    show_certificate = true;
                }
                Err(error) => {
                    let wait = backoff.next();
                    tracing::warn!(%error, retry_in = ?wait, "no new certificate; the last one stays");
                    show_certificate = !show_certificate || self.options.token.is_none();
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn wait_for_renewal(&self) {
        loop {
            let renew_at = match &*self.current.borrow() {
                Some(certificate) => certificate.renew_at(),
                None => return,
            };
            match renew_at.duration_since((self.options.clock)()) {
                Ok(left) if !left.is_zero() => tokio::time::sleep(left.min(LOOK)).await,
                _ => return,
            }
        }
    }

    async fn renew(&self, show_certificate: bool) -> Result<(), RequestError> {
        let certificate =
            request::request(&self.options, self.current().filter(|_| show_certificate), self.known()).await?;
        if let Some(dir) = &self.options.dir {
            // The certificate is good even if it can't be kept.
            if let Err(error) = certificate.save(dir) {
                tracing::warn!(%error, "the certificate won't outlive a restart");
            }
        }
        tracing::info!(identity = %self.options.identity, "has a new certificate");
        self.current.send_replace(Some(Arc::new(certificate)));
        Ok(())
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manager({})", self.options.identity)
    }
}

/// `cert_expiry_seconds`, computed when it is read; negative once the certificate has ended, 0 before there is one.
#[derive(Debug)]
struct Expiry(Arc<Manager>);

impl EncodeMetric for Expiry {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let now = (self.0.options.clock)();
        let left = self.0.current.borrow().as_ref().map_or(0, |certificate| {
            let end = certificate.not_after();
            end.duration_since(now)
                .map_or_else(|over| -(over.duration().as_secs() as i64), |left| left.as_secs() as i64)
        });
        encoder.encode_gauge(&left)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
