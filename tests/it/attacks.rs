//! Attacks on the edge: what each of them may cost our proxy, in memory and in CPU, while everybody else is served.
//!
//! A cost in CPU is stated in ordinary requests, measured in the same run on the same process: it holds on a machine of
//! any speed. Everything is bounded in count and in time.

#[path = "attack/http1.rs"]
mod http1;
#[path = "attack/http2.rs"]
mod http2;
#[path = "attack/many.rs"]
mod many;
#[path = "attack/wire.rs"]
mod wire;

use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tests::{
    backend::{Backend, Speaks},
    fixture::{ControlPlane, DataPlane},
    http::{Call, Connection},
    load::Load,
    objects,
    place::Place,
    process::Usage,
    tls,
};

/// Where the proxy is, without and with TLS.
#[derive(Clone, Copy)]
pub struct Target {
    plain: SocketAddr,
    tls: SocketAddr,
}

/// How long the proxy may still be busy with what was sent.
const SETTLE: Duration = Duration::from_millis(500);

/// Something that a stranger does; it tells how many times it did it, and fails if the proxy doesn't answer as it must.
pub struct Attack {
    name: &'static str,
    run: fn(Target) -> BoxFuture<'static, Result<u64>>,
    /// What the proxy may grow by, MiB.
    most_mib: f64,
    /// What one time may cost, in ordinary requests.
    most_requests: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attack_is_bounded_and_hurts_nobody_else() -> Result<()> {
    let place = Place::take()?;
    let backend = Backend::start("a", place.address(9), Speaks::Http1).await?;
    let control = ControlPlane::start(&place, &objects(&backend)?).await?;
    let proxy = DataPlane::windlass(&place, &control).await?;
    let target = Target { plain: proxy.at(80), tls: proxy.at(443) };
    proxy.listening(443).await?;
    proxy.answers(80, &good(), |answer| answer.status == 200).await?;
    let request = cost_of_a_request(&proxy).await?;
    println!("an ordinary request: {:.0} us of CPU", request * 1e6);
    println!("{:<44}{:>9}{:>9}{:>12}{:>9}", "attack", "times", "MiB", "requests", "served");
    let mut failed = Vec::new();
    for attack in http1::attacks().into_iter().chain(http2::attacks()).chain(many::attacks()) {
        if let Err(error) = suffer(&proxy, target, &attack, request).await {
            println!("{:<44}{error:#}", attack.name);
            failed.push(format!("{}: {error:#}", attack.name));
        }
    }
    ensure!(failed.is_empty(), "{}\nlog:\n{}", failed.join("\n"), proxy.process.tail());
    let lines = proxy.process.output().lines().count();
    ensure!(lines < 50, "strangers wrote {lines} lines into the log:\n{}", proxy.process.tail());
    Ok(())
}

/// One attack under load from others: the load must not notice, and the cost is held to its bounds.
async fn suffer(proxy: &DataPlane, target: Target, attack: &Attack, request: f64) -> Result<()> {
    let load = Load::start(target.plain, good(), 2, Duration::from_millis(10), |answer| answer.status == 200);
    let before = proxy.process.usage();
    let peak = Peak::watch(proxy.process.id());
    let times = (attack.run)(target).await?;
    // What was sent is not yet read; and somebody else must have been served beside it.
    tokio::time::sleep(SETTLE).await;
    let cpu = proxy.process.usage().cpu - before.cpu;
    let grown = peak.mib() - before.resident;
    let others = load.tally();
    drop(load);
    let each = ((cpu - others.sent as f64 * request) / times.max(1) as f64 / request).max(0.0);
    println!("{:<44}{times:>9}{grown:>9.1}{each:>12.2}{:>9}", attack.name, others.sent - others.failed);
    ensure!(others.failed == 0, "{} of {} others failed: {:?}", others.failed, others.sent, others.failures);
    ensure!(others.sent > 0, "nobody else was served");
    ensure!(grown <= attack.most_mib, "the proxy grew by {grown:.1} MiB, at most {} are allowed", attack.most_mib);
    let most = attack.most_requests;
    ensure!(each <= most, "each time cost as much as {each:.2} requests, at most {most} are allowed");
    Ok(())
}

/// The largest resident set of a process while this lives.
struct Peak(Arc<AtomicU64>, tokio::task::JoinHandle<()>);

impl Peak {
    fn watch(id: u32) -> Self {
        let most = Arc::new(AtomicU64::new(0));
        let seen = most.clone();
        let look = move || seen.fetch_max((Usage::of(id).resident * 1024.0) as u64, Ordering::Relaxed);
        look();
        Self(
            most,
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    look();
                }
            }),
        )
    }

    fn mib(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64 / 1024.0
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.1.abort();
    }
}

/// What an ordinary kept-alive request costs the proxy, CPU-seconds.
async fn cost_of_a_request(proxy: &DataPlane) -> Result<f64> {
    const REQUESTS: u32 = 3000;
    let mut connection = Connection::open(proxy.at(80), &good()).await?;
    let before = proxy.process.usage().cpu;
    for _ in 0..REQUESTS {
        let (answer, again) = connection.send(&good()).await.context("an ordinary request")?;
        ensure!(answer.status == 200 && again, "{}", answer.status);
    }
    Ok((proxy.process.usage().cpu - before) / f64::from(REQUESTS))
}

fn good() -> Call {
    Call::get("good.example", "/")
}

fn objects(backend: &Backend) -> Result<String> {
    let certificate = tls::certificate(&["good.example".into()])?;
    Ok([
        objects::GATEWAY,
        "  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: good}]}}\n",
        &objects::secret("good", &certificate),
        &objects::backend(backend),
        &objects::route("good", "good.example", &[("a", 1)]),
    ]
    .concat())
}
