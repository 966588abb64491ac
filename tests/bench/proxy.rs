//! The data plane against stock Envoy and nginx: one backend, one generator, one core for the proxy, sides in turn.

use crate::{
    generator, nginx, routes, streams,
    table::{Row, Table, Wanted, median, percentile},
};
use anyhow::{Context, Result, ensure};
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};
use tests::{
    fixture::Trio,
    http::Call,
    objects,
    place::Place,
    process::{Usage, eventually},
    tls,
};

/// How much is done.
#[derive(Clone, Debug)]
pub struct Size {
    /// Seconds of each run.
    pub seconds: u32,
    /// Runs of each side.
    pub rounds: usize,
    /// Numbers of connections.
    pub connections: Vec<usize>,
    /// Routes of the rows about memory and start.
    pub routes: Vec<usize>,
}

/// One proxy under load.
struct Side {
    name: &'static str,
    id: u32,
    plain: SocketAddr,
    /// HTTP/2 in clear text: nginx wants a port for it.
    plain2: SocketAddr,
    secure: SocketAddr,
}

/// One run.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// Requests a CPU-second of the proxy.
    per_cpu: f64,
    /// 99th percentile, milliseconds.
    p99: f64,
    /// Requests a second.
    rate: f64,
    /// How busy the proxy's core was with it, percent.
    proxy: f64,
    /// How busy the other core was with generator and backend, percent.
    load: f64,
}

/// What is used up while a side is under load.
struct Meter<'s> {
    side: &'s Side,
    backend: u32,
    started: Instant,
    before: [f64; 2],
}

impl<'s> Meter<'s> {
    fn start(side: &'s Side, backend: u32) -> Self {
        Self { before: Self::read(side, backend), side, backend, started: Instant::now() }
    }

    /// CPU of the proxy; and of the backend with all generators that have ended.
    fn read(side: &Side, backend: u32) -> [f64; 2] {
        [Usage::of(side.id).cpu, Usage::of(backend).cpu + Usage::of_ended_children().cpu]
    }

    fn run(&self, requests: f64, p99: f64) -> Run {
        let seconds = self.started.elapsed().as_secs_f64();
        let [proxy, load] = Self::read(self.side, self.backend);
        let [proxy, load] = [proxy - self.before[0], load - self.before[1]];
        let busy = |cpu: f64| cpu / seconds * 100.0;
        let (proxy_busy, load_busy) = (busy(proxy), busy(load));
        Run { per_cpu: requests / proxy.max(0.01), p99, rate: requests / seconds, proxy: proxy_busy, load: load_busy }
    }
}

/// All rows.
pub async fn run(table: &mut Table, size: &Size) -> Result<()> {
    let place = Place::take()?;
    let backend = nginx::start(&place, "backend", &nginx::http(BACKEND))?;
    let address: SocketAddr = (place.address(9), 9_000).into();
    let certificate = tls::certificate(&["a.example".into()])?;
    let yaml = format!(
        "{}  - {{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{{name: cert}}]}}}}\n{}{}{}",
        objects::GATEWAY,
        objects::secret("cert", &certificate),
        objects::service("web", None, &[address]),
        objects::route("web", "a.example", &[("web", 1)])
    );
    let trio = Trio::start(&place, &yaml).await?;
    std::fs::write(place.directory().join("cert.pem"), &certificate.chain)?;
    std::fs::write(place.directory().join("key.pem"), &certificate.key)?;
    let peer = nginx::start(&place, "peer", &nginx::http(PEER))?;
    let mut sides = vec![Side {
        name: "nginx",
        id: peer.id(),
        plain: (place.address(4), 10_080).into(),
        plain2: (place.address(4), 10_081).into(),
        secure: (place.address(4), 10_443).into(),
    }];
    for plane in &trio.planes {
        plane.answers(80, &Call::get("a.example", "/"), |answer| answer.status == 200).await?;
        sides.push(Side {
            name: plane.name,
            id: plane.process.id(),
            plain: plane.at(80),
            plain2: plane.at(80),
            secure: plane.at(443),
        });
    }
    eventually("nginx listens", std::time::Duration::from_secs(10), async || {
        tokio::net::TcpStream::connect(sides[0].plain).await.map(drop).context("connect")
    })
    .await?;
    for side in &sides {
        nginx::pin(side.id, 0)?;
    }
    nginx::pin(backend.id(), 1)?;
    for (http2, secure) in [(false, false), (false, true), (true, false), (true, true)] {
        for &connections in &size.connections {
            compare(table, size, &sides, (backend.id(), place.directory()), http2, secure, connections)?;
        }
    }
    handshakes(table, size, &sides)?;
    drop(trio);
    streams::run(table, size).await?;
    for &routes in &size.routes {
        routes::run(table, routes, (routes == 5_000).then_some(40.0)).await?;
    }
    Ok(())
}

fn compare(
    table: &mut Table,
    size: &Size,
    sides: &[Side],
    (backend, directory): (u32, &Path),
    http2: bool,
    secure: bool,
    connections: usize,
) -> Result<()> {
    let mut runs = vec![Vec::new(); sides.len()];
    // Once for warmth, then the sides in turn.
    for round in 0..=size.rounds {
        for (side, runs) in sides.iter().zip(&mut runs) {
            let seconds = if round == 0 { 1 } else { size.seconds };
            let run = if http2 {
                h2load(side, backend, secure, connections, seconds, directory)?
            } else {
                wrk(side, backend, secure, connections, seconds)?
            };
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let what = format!("{}, {}", if http2 { "HTTP/2" } else { "HTTP/1.1" }, if secure { "TLS" } else { "plain" });
    let named = format!("{connections} conn");
    let of = |name: &str, part: fn(&Run) -> f64| -> Vec<f64> {
        let at = sides.iter().position(|side| side.name == name).unwrap_or(0);
        runs[at].iter().map(part).collect()
    };
    let ours = of("windlass", |run| run.per_cpu);
    for (peer, wanted) in [("envoy", Wanted::Least(3.0)), ("nginx", Wanted::Least(1.0))] {
        let theirs = of(peer, |run| run.per_cpu);
        table.add(Row::of_rounds(
            &format!("{what}: requests a CPU-s"),
            &named,
            "req/CPU-s",
            &ours,
            (peer, &theirs),
            wanted,
        ));
    }
    let ours = of("windlass", |run| run.p99);
    for (peer, wanted) in [("envoy", Wanted::Most(0.7)), ("nginx", Wanted::Known)] {
        let theirs = of(peer, |run| run.p99);
        table.add(Row::of_rounds(&format!("{what}: p99"), &named, "ms", &ours, (peer, &theirs), wanted));
    }
    // Whose core is full: where it is the generator's, p99 is the time in its own queue.
    let (busy, load) = (of("windlass", |run| run.proxy), of("windlass", |run| run.load));
    table.add(Row::of_rounds(&format!("{what}: core busy"), &named, "%", &busy, ("load", &load), Wanted::Known));
    if http2 {
        return Ok(());
    }
    let slowest = sides.iter().map(|side| median(&of(side.name, |run| run.rate))).fold(f64::INFINITY, f64::min);
    paced(table, size, sides, &what, secure, connections, slowest / 2.0)
}

/// The same at a rate that none of them finds hard.
fn paced(
    table: &mut Table,
    size: &Size,
    sides: &[Side],
    what: &str,
    secure: bool,
    connections: usize,
    rate: f64,
) -> Result<()> {
    let mut runs = vec![Vec::new(); sides.len()];
    for _ in 0..size.rounds {
        for (side, runs) in sides.iter().zip(&mut runs) {
            let to = if secure { side.secure } else { side.plain };
            runs.push(generator::paced(to, secure, connections, rate, size.seconds)?);
        }
    }
    let of = |name: &str, part: fn(&generator::Paced) -> f64| -> Vec<f64> {
        let at = sides.iter().position(|side| side.name == name).unwrap_or(0);
        runs[at].iter().map(part).collect()
    };
    let named = format!("{connections} conn");
    let kept = median(&of("windlass", |run| run.rate));
    table.add(Row::new(&format!("{what}: fixed rate"), &named, "req/s", kept, ("target", rate), Wanted::Known));
    let ours = of("windlass", |run| run.p50);
    let theirs = of("envoy", |run| run.p50);
    let row = format!("{what}: p50 at that rate");
    table.add(Row::of_rounds(&row, &named, "ms", &ours, ("envoy", &theirs), Wanted::Known));
    let ours = of("windlass", |run| run.p99);
    for (peer, wanted) in [("envoy", Wanted::Most(0.7)), ("nginx", Wanted::Known)] {
        let row = format!("{what}: p99 at that rate");
        table.add(Row::of_rounds(&row, &named, "ms", &ours, (peer, &of(peer, |run| run.p99)), wanted));
    }
    Ok(())
}

/// New TLS connections, each with a full handshake.
fn handshakes(table: &mut Table, size: &Size, sides: &[Side]) -> Result<()> {
    let mut runs = vec![Vec::new(); sides.len()];
    for _ in 0..size.rounds {
        for (side, runs) in sides.iter().zip(&mut runs) {
            let before = Usage::of(side.id).cpu;
            let count = generator::handshakes(side.secure, size.seconds)?;
            runs.push(count / (Usage::of(side.id).cpu - before).max(0.01));
        }
    }
    let of = |name: &str| &runs[sides.iter().position(|side| side.name == name).unwrap_or(0)];
    for peer in ["envoy", "nginx"] {
        let row = "TLS handshakes a CPU-s";
        let wanted = Wanted::Least(1.0);
        table.add(Row::of_rounds(row, "P-256", "conn/CPU-s", of("windlass"), (peer, of(peer)), wanted));
    }
    Ok(())
}

fn program(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", program]).stdin(Stdio::null());
    command
}

fn wrk(side: &Side, backend: u32, secure: bool, connections: usize, seconds: u32) -> Result<Run> {
    let url = if secure { format!("https://{}/", side.secure) } else { format!("http://{}/", side.plain) };
    let meter = Meter::start(side, backend);
    let output = program("wrk")
        .args(["-t1", "--latency", "-H", "Host: a.example", "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), &url])
        .output()
        .context("wrk: install the package wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{}: {text}",
        side.name
    );
    let requests: f64 = text
        .lines()
        .find_map(|line| {
            line.split(" requests in").next().filter(|_| line.contains(" requests in"))?.trim().parse().ok()
        })
        .with_context(|| format!("no count in {text}"))?;
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%")).context("no 99%")?;
    Ok(meter.run(requests, milliseconds(p99.trim())?))
}

fn milliseconds(text: &str) -> Result<f64> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let scale = match &text[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    Ok(digits.parse::<f64>().with_context(|| format!("{text} is no time"))? * scale)
}

/// HTTP/2 with one stream at a time on each connection where there is one connection, else ten.
fn h2load(side: &Side, backend: u32, secure: bool, connections: usize, seconds: u32, directory: &Path) -> Result<Run> {
    let to = if secure { side.secure } else { side.plain2 };
    let streams = if connections == 1 { "1" } else { "10" };
    let log = directory.join("h2load.log");
    // Each request's time is wanted, which h2load only logs for a given number of requests: so many as fit.
    let count = (seconds as usize * if connections == 1 { 2_000 } else { 8_000 }).to_string();
    let _ = std::fs::remove_file(&log);
    let meter = Meter::start(side, backend);
    let output = program("h2load")
        .args(["-t1", "-m", streams, "-c", &connections.to_string(), "-n", &count])
        .args(["--connect-to", &to.to_string()])
        .arg(format!("--log-file={}", log.display()))
        .arg(if secure { "https://a.example/" } else { "http://a.example/" })
        .output()
        .context("h2load: install the package nghttp2-client")?;
    let ended = meter.run(count.parse()?, 0.0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains(&format!(" {count} 2xx")), "{}: {text}", side.name);
    let log = std::fs::read_to_string(&log).context("h2load's log")?;
    let times: Vec<f64> = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse::<f64>().ok())
        .map(|microseconds| microseconds / 1000.0)
        .collect();
    ensure!(!times.is_empty(), "h2load logged nothing: {text}");
    Ok(Run { p99: percentile(&times, 99.0), ..ended })
}

/// 1 KiB from memory.
const BACKEND: &str = "server { listen $BACKEND:9000 reuseport backlog=4096; location / { return 200 \"\
0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"; } }\n";

const PEER: &str = "upstream web { server $BACKEND:9000; keepalive 256; keepalive_requests 1000000000; }
 server {
  listen $ADDRESS:10080; listen $ADDRESS:10081 http2; listen $ADDRESS:10443 ssl http2;
  ssl_certificate $DIR/cert.pem; ssl_certificate_key $DIR/key.pem;
  location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }
 }
";
