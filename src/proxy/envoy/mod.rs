//! Stock Envoy in place of our own data plane: `windlass-proxy envoy` gets its certificate, writes its bootstrap, runs it,
//! and tells others how it is.

mod ask;
mod bootstrap;
pub mod files;
mod pages;
mod relay;

pub use bootstrap::{Admin, Server, bootstrap};

use crate::certs;
use ask::ask;
use base::{metrics::Metrics, tasks::Tasks};
use hyper::Method;
use model::ObjectKey;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How to run Envoy.
pub struct Options {
    /// The Gateway that it serves.
    pub gateway: ObjectKey,
    /// `host:port` of the control plane.
    pub control: String,
    /// How its certificate is got; none: it speaks to the control plane without TLS.
    pub certs: Option<certs::Options>,
    /// The program.
    pub program: PathBuf,
    /// What else it is told on its command line.
    pub arguments: Vec<String>,
    /// A directory for its bootstrap and certificate.
    pub data: PathBuf,
    /// Where its admin page is.
    pub admin: SocketAddr,
    /// The addresses from which it connects to backends, one of a family; they are not let to the admin page. None: it
    /// connects from any, and is let.
    pub sources: Vec<IpAddr>,
    /// Where readiness and liveness are told; nowhere if absent.
    pub health: Option<SocketAddr>,
    /// The same for metrics.
    pub metrics: Option<SocketAddr>,
    /// Its workers.
    pub workers: usize,
    /// How long what is under way may take when it ends.
    pub drain: Duration,
}

/// Runs Envoy until a signal comes, or it ends by itself. Says whether everything ended in time.
///
/// # Errors
/// If it can't be started, or ends without having been asked.
pub async fn run(options: Options) -> Result<bool, String> {
    let tasks = Tasks::default();
    let directory = options.data.join("envoy");
    std::fs::create_dir_all(&directory).map_err(|error| format!("make {}: {error}", directory.display()))?;
    let admin: Arc<Path> = directory.join("admin").into();
    let served = relay::serve(options.admin, admin.clone(), options.sources.clone(), &tasks).await;
    served.map_err(|error| format!("can't serve the admin page on {}: {error}", options.admin))?;
    if let Some(address) = options.health {
        let served = pages::health(address, admin.clone(), &tasks).await;
        served.map_err(|error| format!("can't serve health pages on {address}: {error}"))?;
    }
    if let Some(address) = options.metrics {
        let served = pages::metrics(address, admin.clone(), &tasks).await;
        served.map_err(|error| format!("can't serve metrics pages on {address}: {error}"))?;
    }
    let server = match &options.certs {
        None => Server::Plaintext(options.control.clone()),
        Some(certs) => {
            let ready = certify(certs.clone(), directory.clone(), &tasks);
            tokio::select! {
                () = ready => {}
                _ = base::drain::signalled() => return Ok(tasks.end(Duration::from_secs(1)).await),
            }
            Server::Tls {
                address: options.control.clone(),
                name: certs.server_name.clone(),
                directory: directory.clone(),
            }
        }
    };
    let file = directory.join("bootstrap.json");
    let proxy = std::env::var("HOSTNAME").unwrap_or_else(|_| options.gateway.name.to_string());
    let page = Admin::Socket(&admin, &options.sources);
    let bootstrap = bootstrap(&options.gateway, &proxy, &server, &page).to_string();
    files::replace(&file, &bootstrap).map_err(|error| format!("write {}: {error}", file.display()))?;
    let child = start(&options, &file).map_err(|error| format!("start {}: {error}", options.program.display()))?;
    let ended = supervise(child, &admin, options.drain).await;
    tasks.end(Duration::from_secs(1)).await;
    ended
}

/// Gets the certificate and keeps it fresh; returns when there is one.
async fn certify(certs: certs::Options, directory: PathBuf, tasks: &Tasks) {
    let (roots, name) = (certs.roots.clone(), certs.server_name.clone());
    let manager = Metrics::default().register(|registry| certs::Manager::new(certs, registry));
    let mut certificates = manager.subscribe();
    let owner = manager.clone();
    tasks.spawn("certificate", |mut drain| async move {
        tokio::select! { () = owner.run() => {}, () = drain.drained() => {} }
    });
    let first = manager.ready().await;
    certificates.mark_unchanged();
    keep(&directory, &first, &roots, &name);
    tasks.spawn("certificate files", |mut drain| async move {
        loop {
            tokio::select! {
                changed = certificates.changed() => if changed.is_err() { return },
                () = drain.drained() => return,
            }
            let newest = certificates.borrow_and_update().clone();
            if let Some(certificate) = newest {
                keep(&directory, &certificate, &roots, &name);
            }
        }
    });
}

fn keep(directory: &Path, certificate: &Arc<certs::Certificate>, roots: &Path, name: &str) {
    if let Err(error) = files::write(directory, certificate, roots, name) {
        tracing::error!(%error, directory = %directory.display(), "Envoy's certificate can't be written");
    }
}

fn start(options: &Options, bootstrap: &Path) -> std::io::Result<Child> {
    Command::new(&options.program)
        .arg("--config-path")
        .arg(bootstrap)
        .arg("--disable-hot-restart")
        .args(["--concurrency", &options.workers.to_string()])
        .args(["--drain-time-s", &options.drain.as_secs().to_string()])
        .args(&options.arguments)
        .stdin(Stdio::null())
        .spawn()
}

async fn supervise(mut child: Child, admin: &Path, drain: Duration) -> Result<bool, String> {
    let told = |status: std::io::Result<ExitStatus>| match status {
        Ok(status) => format!("Envoy has ended: {status}"),
        Err(error) => format!("Envoy can't be waited for: {error}"),
    };
    let signal = tokio::select! {
        status = ended(&mut child) => return Err(told(status)),
        signal = base::drain::signalled() => signal.map_err(|error| format!("can't wait for signals: {error}"))?,
    };
    tracing::info!(signal, "draining");
    // A second signal ends at once.
    let all = tokio::select! {
        all = drained(admin, drain) => all,
        _ = base::drain::signalled() => false,
        status = ended(&mut child) => return Err(told(status)),
    };
    // Nothing is left to be lost.
    child.kill().and_then(|()| child.wait()).map_err(|error| format!("Envoy can't be ended: {error}"))?;
    Ok(all)
}

/// Waits for the end of Envoy, at a second's notice.
async fn ended(child: &mut Child) -> std::io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Asks Envoy to end its connections as they become idle, and waits until there is none; says whether that was in time.
async fn drained(admin: &Path, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    if let Err(error) = ask(admin, Method::POST, "/drain_listeners?graceful").await {
        tracing::warn!(%error, "Envoy doesn't drain");
        return false;
    }
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if connections(admin).await == Some(0) {
            return true;
        }
    }
    false
}

/// How many clients are connected to Envoy's listeners.
async fn connections(admin: &Path) -> Option<u64> {
    let (_, body) = ask(admin, Method::GET, "/stats?filter=^listener\\..*\\.downstream_cx_active$").await.ok()?;
    let text = std::str::from_utf8(&body).ok()?;
    let count = |line: &str| line.rsplit_once(": ")?.1.trim().parse::<u64>().ok();
    let of_traffic = text.lines().filter(|line| !line.starts_with("listener.admin."));
    Some(of_traffic.filter_map(count).sum())
}
