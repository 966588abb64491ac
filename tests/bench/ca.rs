//! The certificate authority: how many requests a CPU-second signs, as a function and through the whole service (gRPC
//! over TLS, token, request, answer).

use crate::table::{Row, Table, Wanted};
use anyhow::{Context, Result};
use ca::{BootstrapTokens, Roots, Source, sign};
use hyper_util::rt::TokioIo;
use model::Identity;
use proto::istio_ca::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tests::{fixture::ControlPlane, objects, place::Place, process::Usage, tls};
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};

/// Callers at once.
const CALLERS: usize = 16;

/// All rows.
pub async fn run(table: &mut Table, rounds: usize) -> Result<()> {
    let csrs: Arc<[String]> = (0..64).map(|_| csr()).collect::<Result<_>>()?;
    table.add(row("CSRs signed a CPU-s, the function", function(&csrs, rounds)?));
    table.add(row("CSRs signed a CPU-s, the service", service(&csrs, rounds).await?));
    Ok(())
}

fn row(what: &str, per_cpu: f64) -> Row {
    Row::new(what, "P-256", "CSR/CPU-s", per_cpu, ("target", 6_000.0), Wanted::Least(1.0))
}

fn caller() -> Result<Identity> {
    "spiffe://cluster.local/ns/default/sa/gw".parse().context("an identity")
}

fn csr() -> Result<String> {
    let mut parameters = rcgen::CertificateParams::default();
    let uri = "spiffe://cluster.local/ns/default/sa/gw".try_into()?;
    parameters.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    Ok(parameters.serialize_request(&rcgen::KeyPair::generate()?)?.pem()?)
}

fn function(csrs: &[String], rounds: usize) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let now = SystemTime::now();
    let roots = Roots::open(Source::SelfSigned(directory.path().into()), "cluster.local", now)?;
    let (authority, caller) = (roots.authority(), caller()?);
    let before = Usage::of(std::process::id()).cpu;
    for round in 0..rounds {
        std::hint::black_box(sign(&csrs[round % csrs.len()], &caller, Duration::ZERO, now, &authority)?);
    }
    Ok(rounds as f64 / (Usage::of(std::process::id()).cpu - before).max(0.01))
}

async fn service(csrs: &Arc<[String]>, rounds: usize) -> Result<f64> {
    let place = Place::take()?;
    let control = ControlPlane::start(&place, objects::GATEWAY).await?;
    let key = find(place.directory(), "token.key").context("no token.key in the control plane's data")?;
    let tokens = BootstrapTokens::open(key.parent().unwrap_or(place.directory()))?;
    let token = format!("Bearer {}", tokens.issue(&caller()?, SystemTime::now() + Duration::from_secs(3600)));
    let channel = channel(place.control(15_012)).await?;
    let before = control.process.usage().cpu;
    let callers = (0..CALLERS).map(|caller| {
        let (csrs, token) = (csrs.clone(), token.clone());
        let mut client = IstioCertificateServiceClient::new(channel.clone());
        async move {
            for round in 0..rounds / CALLERS {
                let csr = csrs[(caller + round) % csrs.len()].clone();
                let mut request = Request::new(IstioCertificateRequest { csr, ..IstioCertificateRequest::default() });
                request.metadata_mut().insert("authorization", token.parse()?);
                client.create_certificate(request).await?;
            }
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(callers).await?;
    Ok(rounds as f64 / (control.process.usage().cpu - before).max(0.01))
}

async fn channel(to: SocketAddr) -> Result<Channel> {
    let connect = move |_: Uri| async move {
        let tcp = tokio::net::TcpStream::connect(to).await.map_err(anyhow::Error::from)?;
        let stream = tls::connect(tcp, "istiod.istio-system.svc", true, None).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(TokioIo::new(stream))
    };
    let endpoint = Endpoint::from_static("http://istiod.istio-system.svc");
    endpoint.connect_with_connector(tower::service_fn(connect)).await.context("connect to the CA")
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    let own = entries.iter().find(|path| path.file_name().is_some_and(|file| file == name)).cloned();
    own.or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
