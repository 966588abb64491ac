//! The data plane against stock Envoy and nginx: one backend, one generator, one core for the proxy, sides in turn.

use crate::table::{Row, Table, Wanted, percentile};
use anyhow::{Context, Result, ensure};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tests::{
    fixture::Trio,
    http::Call,
    objects,
    place::Place,
    process::{Process, Usage, eventually},
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
    /// Routes of the row about memory.
    pub routes: usize,
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
}

/// All rows.
pub async fn run(table: &mut Table, size: &Size) -> Result<()> {
    let place = Place::take()?;
    let backend = nginx(&place, "backend", BACKEND)?;
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
    let peer = nginx(&place, "peer", PEER)?;
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
        pin(side.id, 0)?;
    }
    pin(backend.id(), 1)?;
    for (http2, secure) in [(false, false), (false, true), (true, false), (true, true)] {
        for &connections in &size.connections {
            compare(table, size, &sides, place.directory(), http2, secure, connections)?;
        }
    }
    drop(trio);
    memory(table, size.routes).await
}

fn compare(
    table: &mut Table,
    size: &Size,
    sides: &[Side],
    directory: &Path,
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
                h2load(side, secure, connections, seconds, directory)?
            } else {
                wrk(side, secure, connections, seconds)?
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
    Ok(())
}

fn generator(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", program]).stdin(Stdio::null());
    command
}

fn wrk(side: &Side, secure: bool, connections: usize, seconds: u32) -> Result<Run> {
    let url = if secure { format!("https://{}/", side.secure) } else { format!("http://{}/", side.plain) };
    let before = Usage::of(side.id).cpu;
    let output = generator("wrk")
        .args(["-t1", "--latency", "-H", "Host: a.example", "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), &url])
        .output()
        .context("wrk: install the package wrk")?;
    let cpu = Usage::of(side.id).cpu - before;
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
    Ok(Run { per_cpu: requests / cpu.max(0.01), p99: milliseconds(p99.trim())? })
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
fn h2load(side: &Side, secure: bool, connections: usize, seconds: u32, directory: &Path) -> Result<Run> {
    let to = if secure { side.secure } else { side.plain2 };
    let streams = if connections == 1 { "1" } else { "10" };
    let log = directory.join("h2load.log");
    // Each request's time is wanted, which h2load only logs for a given number of requests: so many as fit.
    let count = (seconds as usize * if connections == 1 { 2_000 } else { 8_000 }).to_string();
    let _ = std::fs::remove_file(&log);
    let before = Usage::of(side.id).cpu;
    let output = generator("h2load")
        .args(["-t1", "-m", streams, "-c", &connections.to_string(), "-n", &count])
        .args(["--connect-to", &to.to_string()])
        .arg(format!("--log-file={}", log.display()))
        .arg(if secure { "https://a.example/" } else { "http://a.example/" })
        .output()
        .context("h2load: install the package nghttp2-client")?;
    let cpu = Usage::of(side.id).cpu - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains(&format!(" {count} 2xx")), "{}: {text}", side.name);
    let log = std::fs::read_to_string(&log).context("h2load's log")?;
    let times: Vec<f64> = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse::<f64>().ok())
        .map(|microseconds| microseconds / 1000.0)
        .collect();
    ensure!(!times.is_empty(), "h2load logged nothing: {text}");
    Ok(Run { per_cpu: times.len() as f64 / cpu.max(0.01), p99: percentile(&times, 99.0) })
}

/// Resident memory with many routes, both data planes at rest.
async fn memory(table: &mut Table, routes: usize) -> Result<()> {
    let place = Place::take()?;
    let address: SocketAddr = (place.address(9), 9_000).into();
    let mut yaml = objects::GATEWAY.to_owned();
    for number in 0..routes {
        let service = format!("s{number}");
        yaml += &objects::service(&service, None, &[address]);
        yaml += &objects::route(&format!("r{number}"), &format!("h{number}.example"), &[(&service, 1)]);
    }
    let trio = Trio::start(&place, &yaml).await?;
    let last = Call::get(&format!("h{}.example", routes - 1), "/");
    for plane in &trio.planes {
        // Nobody listens at the backend: 503 says that the last route is there.
        plane.answers(80, &last, |answer| answer.status == 503).await?;
    }
    let [envoy, ours] = [0, 1].map(|at| trio.planes[at].process.usage().resident);
    let named = format!("{routes} routes");
    table.add(Row::new("proxy, resident", &named, "MiB", ours, ("target", 40.0), Wanted::Most(1.0)));
    table.add(Row::new("proxy, resident", &named, "MiB", ours, ("envoy", envoy), Wanted::Known));
    Ok(())
}

fn pin(id: u32, core: u32) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 {
        let status =
            Command::new("taskset").args(["-acp", &core.to_string(), &id.to_string()]).stdout(Stdio::null()).status();
        ensure!(status.context("taskset")?.success(), "pin {id} to core {core}");
    }
    Ok(())
}

fn nginx(place: &Place, name: &str, servers: &str) -> Result<Process> {
    let directory = place.make(name)?;
    let text = format!(
        "daemon off; master_process off; error_log stderr crit; pid {0}/pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\n access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_temp_path {0}/b;\n\
         proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n{1}}}\n",
        directory.display(),
        servers
            .replace("$DIR", &place.directory().display().to_string())
            .replace("$BACKEND", &format!("{}:9000", place.address(9)))
            .replace("$ADDRESS", &place.address(4).to_string())
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text)?;
    let arguments = ["-c".into(), file.display().to_string(), "-p".into(), directory.display().to_string()];
    Process::start(name, &find("nginx")?, &arguments, &place.make("logs")?)
}

/// A program on the path, or where Debian keeps servers.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let found = path.split(':').map(|directory| Path::new(directory).join(name)).find(|file| file.exists());
    found.with_context(|| format!("{name} is not installed"))
}

/// 1 KiB from memory.
const BACKEND: &str = "server { listen $BACKEND reuseport backlog=4096; location / { return 200 \"\
0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"; } }\n";

const PEER: &str = "upstream web { server $BACKEND; keepalive 256; keepalive_requests 1000000000; }
 server {
  listen $ADDRESS:10080; listen $ADDRESS:10081 http2; listen $ADDRESS:10443 ssl http2;
  ssl_certificate $DIR/cert.pem; ssl_certificate_key $DIR/key.pem;
  location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }
 }
";
