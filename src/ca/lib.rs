//! The certificate authority: CSR in, certificate out.
//!
//! [`sign`] is the whole of it, a pure function; [`Roots`] owns the key that it signs with; [`CertificateService`]
//! proves who asks; [`tls`] serves the port that both certificates and xDS are fetched from. [`Ca`] puts them
//! together. Nothing here knows Kubernetes or xDS, and nothing is shared between two calls but the key.

mod authority;
mod csr;
mod der;
mod kept;
mod metrics;
mod pem;
mod plug_in;
mod root_file;
mod roots;
#[cfg(test)]
mod roots_tests;
mod service;
#[cfg(test)]
mod service_tests;
mod sign;
#[cfg(test)]
mod sign_tests;
#[cfg(test)]
mod testing;
pub mod tls;
mod token;
mod x509;

pub use authority::{Authority, AuthorityError, Name};
pub use csr::MAX_CSR;
pub use kept::{Kept, new_root};
pub use roots::{RootError, Roots, Source};
pub use service::CertificateService;
pub use sign::{Chain, DEFAULT_TTL, MAX_TTL, SignError, sign};
pub use tls::Peer;
pub use token::{AUDIENCE, BootstrapTokens, MAX_TOKEN, TokenError, TokenVerifier};

use metrics::Metrics;
use prometheus_client::registry::Registry;
use proto::istio_ca::istio_certificate_service_server::IstioCertificateServiceServer;
use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Says what time it is. Tests have their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How often files are looked at: what is mended on disk is in use within a second.
const LOOK: Duration = Duration::from_millis(500);

/// How to run an authority.
#[derive(Clone)]
pub struct Options {
    /// Where our own root and the trust bundle to hand out (`root-cert.pem`) are kept; empty: nothing is written.
    pub dir: PathBuf,
    /// A directory with somebody else's key and certificates, instead of a root of our own.
    pub plug_in: Option<PathBuf>,
    /// A root of our own that somebody else keeps, instead of one in `dir`.
    pub kept: Option<Kept>,
    /// The organization in the name of a root of our own; the trust domain, by habit.
    pub organization: String,
    /// The names of our serving certificate.
    pub names: Vec<Name>,
    /// The time.
    pub clock: Clock,
}

impl Options {
    /// A root of our own in `dir`, the names of Istio's control plane, the system's clock.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let names = ["istiod.istio-system.svc", "istio-pilot.istio-system.svc", "localhost"];
        let addresses = [std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()];
        Self {
            dir: dir.into(),
            plug_in: None,
            kept: None,
            organization: "cluster.local".into(),
            names: names.iter().map(|name| Name::Dns((*name).into())).chain(addresses.map(Name::Ip)).collect(),
            clock: Arc::new(SystemTime::now),
        }
    }
}

/// Why no authority could be opened.
#[derive(Debug)]
pub enum OpenError {
    /// No key, certificates or roots.
    Roots(RootError),
    /// No serving certificate.
    Serving(SignError),
    /// No TLS.
    Tls(rustls::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roots(error) => error.fmt(f),
            Self::Serving(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

/// A running authority: its roots, its serving certificate, and what it takes to keep both fresh.
pub struct Ca {
    roots: Arc<Roots>,
    serving: Arc<tls::Serving>,
    server_config: Arc<rustls::ServerConfig>,
    published: Option<PathBuf>,
    clock: Clock,
    metrics: Metrics,
}

impl Ca {
    /// Reads or makes the root, and issues the first serving certificate.
    pub fn open(options: Options, registry: &mut Registry) -> Result<Self, OpenError> {
        let Options { dir, plug_in, kept, organization, names, clock } = options;
        let now = clock();
        let published = (!dir.as_os_str().is_empty()).then(|| dir.join("root-cert.pem"));
        if published.is_some() {
            std::fs::create_dir_all(&dir)
                .map_err(|error| OpenError::Roots(RootError::File { path: dir.clone(), error }))?;
        }
        let source = match (plug_in, kept) {
            (Some(plug_in), _) => Source::PlugIn(plug_in),
            (None, Some(kept)) => Source::Kept(kept),
            (None, None) => Source::SelfSigned(dir),
        };
        let roots = Arc::new(Roots::open(source, &organization, now).map_err(OpenError::Roots)?);
        let serving = Arc::new(tls::Serving::new(roots.clone(), names, now).map_err(OpenError::Serving)?);
        let server_config = tls::server_config(serving.clone(), roots.clone()).map_err(OpenError::Tls)?;
        let metrics = Metrics::new(registry);
        let ca = Self { roots, serving, server_config: Arc::new(server_config), published, clock, metrics };
        ca.publish().map_err(OpenError::Roots)?;
        ca.measure(now);
        Ok(ca)
    }

    /// The certificate service, with whoever verifies bearer tokens.
    pub fn service(&self, tokens: Arc<dyn TokenVerifier>) -> IstioCertificateServiceServer<CertificateService> {
        let (roots, clock, metrics) = (self.roots.clone(), self.clock.clone(), self.metrics.clone());
        CertificateService { roots, tokens, clock, metrics }.into_server()
    }

    /// TLS for the port that serves certificates and xDS. The one value stays good through every renewal.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        self.server_config.clone()
    }

    /// The owner of the signing key.
    pub fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    /// The trust bundle as a file, for clients on this machine; kept up to date. Empty if nothing is written.
    pub fn root_cert_path(&self) -> &std::path::Path {
        self.published.as_deref().unwrap_or(std::path::Path::new(""))
    }

    /// Looks at the files, replaces what changed or nears its end. What fails leaves the old in place.
    pub fn refresh(&self) -> Result<(), OpenError> {
        let now = (self.clock)();
        let looked = self.roots.refresh(now).map_err(OpenError::Roots);
        self.serving.refresh(now).map_err(OpenError::Serving)?;
        self.publish().map_err(OpenError::Roots)?;
        self.measure(now);
        looked.map(|_| ())
    }

    /// Makes a new root of our own at once; see [`Roots::rotate`].
    pub fn rotate(&self) -> Result<(), OpenError> {
        self.roots.rotate((self.clock)()).map_err(OpenError::Roots)?;
        self.refresh()
    }

    /// Refreshes until it is dropped. An error is logged when it appears or changes, not every time.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            ticks.tick().await;
            // A few small files: less work than handing them to another thread.
            let error = self.refresh().err().map(|error| error.to_string());
            match (&error, &last) {
                (Some(error), last) if last.as_ref() != Some(error) => {
                    tracing::error!(%error, "the certificate authority can't be refreshed; the last one goes on");
                }
                (None, Some(_)) => tracing::info!("the certificate authority is refreshed again"),
                _ => {}
            }
            last = error;
        }
    }

    fn publish(&self) -> Result<(), RootError> {
        let Some(published) = &self.published else { return Ok(()) };
        let bundle = self.roots.authority();
        match std::fs::read(published) {
            Ok(seen) if seen == bundle.roots_pem().as_bytes() => Ok(()),
            _ => root_file::write_whole(published, bundle.roots_pem().as_bytes(), 0o644),
        }
    }

    fn measure(&self, now: SystemTime) {
        let authority = self.roots.authority();
        self.metrics.set_expiry(authority.root_not_after(), authority.not_after(), now);
    }
}
