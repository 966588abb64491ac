//! What a story is made of: both data planes at one control plane, objects that are edited, load that must not fail.

use anyhow::{Context, Result, ensure};
use std::{net::SocketAddr, time::Duration};
use tests::{
    backend::{Backend, Speaks},
    fixture::Trio,
    http::{Answer, Call},
    load::Load,
    objects,
    place::Place,
    process::eventually,
    tls::{self, Certificate},
};

/// How long a change may take to be seen, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A policy that denies everything.
pub const DENY_ALL: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
";

/// A Gateway with TLS too, whose certificate is the Secret `cert`.
const SECURE: &str = "  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}\n";

/// A running story. Fields are dropped in this order: the programs before the place they live in.
pub struct Story {
    /// The programs.
    pub trio: Trio,
    backends: Vec<Backend>,
    /// Where they live.
    pub place: Place,
}

/// The answers that are no failures where nothing is to be seen.
pub fn ok(answer: &Answer) -> bool {
    answer.status == 200
}

impl Story {
    /// Backends of these names with their Services, a Gateway with port 80, and these routes in `routes.yaml`.
    pub async fn begin(backends: &[&str], routes: &str) -> Result<Self> {
        Self::start(backends, objects::GATEWAY.into(), routes, &[80]).await
    }

    /// The same with a TLS listener on port 443 for that name.
    pub async fn begin_tls(backends: &[&str], routes: &str, name: &str) -> Result<Self> {
        let secret = objects::secret("cert", &tls::certificate(&[name.into()])?);
        Self::start(backends, format!("{}{SECURE}{secret}", objects::GATEWAY), routes, &[80, 443]).await
    }

    async fn start(names: &[&str], mut fixed: String, routes: &str, ports: &[u16]) -> Result<Self> {
        let place = Place::take()?;
        let mut backends = Vec::new();
        for name in names {
            let backend = Backend::start(name, place.address(9), Speaks::Http1).await?;
            let file = place.make("objects")?.join(format!("service-{name}.yaml"));
            std::fs::write(file, objects::backend(&backend))?;
            backends.push(backend);
        }
        // A Secret is edited in a file of its own.
        let secret = fixed.find("---\napiVersion: v1\nkind: Secret").map(|at| fixed.split_off(at));
        if let Some(secret) = secret {
            std::fs::write(place.make("objects")?.join("secret.yaml"), secret)?;
        }
        std::fs::write(place.make("objects")?.join("routes.yaml"), routes)?;
        let trio = Trio::start(&place, &fixed).await?;
        for plane in &trio.planes {
            for port in ports {
                plane.listening(*port).await?;
            }
        }
        Ok(Self { trio, backends, place })
    }

    /// Starts load through both data planes, once they answer as allowed.
    pub fn load(&self, request: Call, allowed: fn(&Answer) -> bool) -> Vec<Load> {
        let port = if request.sni.is_some() { 443 } else { 80 };
        let start = |to: SocketAddr| Load::start(to, request.clone(), 3, Duration::from_millis(5), allowed);
        self.trio.planes.iter().map(|plane| start(plane.at(port))).collect()
    }

    /// Replaces the routes.
    pub fn write(&mut self, routes: &str) -> Result<()> {
        self.trio.control.write("routes.yaml", routes)
    }

    /// Replaces the endpoints of a Service.
    pub fn write_endpoints(&self, service: &str, endpoints: &[Backend]) -> Result<()> {
        let addresses: Vec<_> = endpoints.iter().map(|backend| backend.address).collect();
        self.trio.control.write(&format!("service-{service}.yaml"), &objects::service(service, None, &addresses))
    }

    /// Replaces a Secret.
    pub fn write_secret(&self, name: &str, certificate: &Certificate) -> Result<()> {
        self.trio.control.write("secret.yaml", &objects::secret(name, certificate))
    }

    /// Waits until both data planes answer so.
    pub async fn until(&self, request: &Call, wanted: impl Fn(&Answer) -> bool) -> Result<()> {
        for plane in &self.trio.planes {
            plane.answers(80, request, &wanted).await?;
        }
        Ok(())
    }

    /// Waits until both data planes show that certificate.
    pub async fn until_shown(&self, name: &str, certificate: &Certificate) -> Result<()> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let wanted = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).ok().context("a certificate")?;
        for plane in &self.trio.planes {
            let what = format!("{} shows the new certificate", plane.name);
            let shown = eventually(&what, LIMIT, async || {
                let shown = tls::shown_certificate(plane.at(443), name).await?;
                ensure!(shown == wanted.as_ref(), "another certificate is shown");
                Ok(())
            });
            shown.await?;
        }
        Ok(())
    }

    /// Waits until nobody sends anything to a backend any more.
    pub async fn quiet(&self, backend: &Backend) -> Result<()> {
        eventually("the backend is left alone", LIMIT, async || {
            backend.take_seen();
            tokio::time::sleep(Duration::from_millis(300)).await;
            let seen = backend.take_seen().len();
            ensure!(seen == 0, "{seen} requests within 300 ms");
            Ok(())
        })
        .await
    }

    /// Waits until a backend has received a request for that path.
    pub async fn arrived(&self, backend: &str, path: &str) -> Result<()> {
        let backend = self.backends.iter().find(|one| one.name == backend).context("no such backend")?;
        eventually("the request arrives", LIMIT, async || {
            ensure!(backend.take_seen().iter().any(|seen| seen.path == path), "not yet");
            Ok(())
        })
        .await
    }

    /// How many resources the control plane has sent, of all types.
    pub async fn sent(&self) -> Result<f64> {
        self.trio.control.metric("pilot_xds_pushes", &[]).await
    }

    /// Waits until the edits so far must have been read: a later one has shown. It is a Service that nobody refers to,
    /// which the control plane counts and sends to nobody.
    pub async fn seen_by_source(&self) -> Result<()> {
        let before = self.trio.control.metric("pilot_services", &[]).await?;
        let name = format!("unused-{before}");
        self.trio.control.write(&format!("{name}.yaml"), &objects::service(&name, None, &[]))?;
        eventually("the source reads the edit", LIMIT, async || {
            let now = self.trio.control.metric("pilot_services", &[]).await?;
            ensure!(now > before, "no further Service was counted");
            Ok(())
        })
        .await
    }

    /// The listeners' versions as both sides see them.
    pub async fn listeners(&self) -> Result<(String, f64)> {
        let page =
            self.trio.planes[0].page("/config_dump?resource=dynamic_listeners&mask=name,active_state.version_info");
        let dump = String::from_utf8_lossy(&page.await?.body).into_owned();
        ensure!(dump.contains("version_info"), "no listeners in {dump}");
        Ok((dump, self.trio.control.metric("pilot_xds_pushes", &["lds"]).await?))
    }

    /// Ends the story: nothing failed, and nothing was refused.
    pub async fn end(self, loads: Vec<Load>) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (load, plane) in loads.iter().zip(&self.trio.planes) {
            let tally = load.tally();
            ensure!(tally.sent > 50, "{}: only {} requests were sent", plane.name, tally.sent);
            ensure!(
                tally.failed == 0,
                "{}: {} of {} requests failed ({:?}):\n{}\nlog:\n{}",
                plane.name,
                tally.failed,
                tally.sent,
                tally.answers,
                tally.failures.join("\n"),
                plane.process.tail()
            );
        }
        self.trio.nothing_refused().await
    }
}
