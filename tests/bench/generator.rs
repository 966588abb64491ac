//! Load that wrk and h2load don't make, as programs of their own (`windlass-bench generate ..`), so that they can be
//! pinned apart from what they measure: requests at a fixed rate, and new TLS connections.

use crate::{streams, table::percentile};
use anyhow::{Context, Result, ensure};
use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tests::http::{Call, Connection};
use tokio::{net::TcpStream, runtime::Builder};

/// What came of requests at a fixed rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paced {
    /// Requests that were answered, for each second.
    pub rate: f64,
    /// Median, milliseconds.
    pub p50: f64,
    /// 99th percentile, milliseconds.
    pub p99: f64,
}

/// Requests at `rate` over so many connections. A request that could not be sent in time because the answer before it
/// was late has its time counted from when it was due, so that a slow answer doesn't hide those behind it.
pub fn paced(to: SocketAddr, secure: bool, connections: usize, rate: f64, seconds: u32) -> Result<Paced> {
    let arguments = ["pace".into(), to.to_string(), secure.to_string(), connections.to_string(), rate.to_string()];
    match generate(&arguments, seconds)?[..] {
        [rate, p50, p99] => Ok(Paced { rate, p50, p99 }),
        _ => anyhow::bail!("the generator said something else"),
    }
}

/// How many TLS connections were made, each with a handshake of its own, by 16 clients at once.
pub fn handshakes(to: SocketAddr, seconds: u32) -> Result<f64> {
    generate(&["handshakes".into(), to.to_string()], seconds)?.first().copied().context("no count")
}

/// What `windlass-bench generate` prints with these arguments, on the core that is not the proxy's.
pub fn generate(arguments: &[String], seconds: u32) -> Result<Vec<f64>> {
    let program = std::env::current_exe()?;
    let output = Command::new("taskset")
        .args(["-c", "1"])
        .arg(program)
        .arg("generate")
        .args(arguments)
        .arg(seconds.to_string())
        .stdin(Stdio::null())
        .output()
        .context("taskset")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().map(|figure| figure.parse().with_context(|| format!("{text} is no figures"))).collect()
}

/// The program: prints its figures.
pub fn main(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["pace", to, secure, connections, rate, seconds] => {
            let seconds = seconds.parse()?;
            let mut times = pace(to.parse()?, secure.parse()?, connections.parse()?, rate.parse()?, seconds)?;
            // The first tenth is warmth.
            let times = times.split_off(times.len() / 10);
            let rate = times.len() as f64 / seconds as f64 / 0.9;
            println!("{rate} {} {}", percentile(&times, 50.0), percentile(&times, 99.0));
        }
        ["handshakes", to, seconds] => println!("{}", shake(to.parse()?, seconds.parse()?)?),
        [what, to, seconds] => streams::generate(what, to.parse()?, Duration::from_secs(seconds.parse()?))?,
        _ => anyhow::bail!("generate pace|handshakes|exchanges|bulk|greetings|datagrams"),
    }
    Ok(())
}

/// Milliseconds of each request, in the order in which they were due.
fn pace(to: SocketAddr, secure: bool, connections: usize, rate: f64, seconds: u32) -> Result<Vec<f64>> {
    let every = Duration::from_secs_f64(connections as f64 / rate);
    let start = Instant::now() + Duration::from_millis(200);
    let clients: Vec<_> = (0..connections)
        .map(|index| {
            let first = start + every.mul_f64(index as f64 / connections as f64);
            thread::spawn(move || client(to, secure, first, every, start + Duration::from_secs(seconds.into())))
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.join().ok().context("a client panicked")??);
    }
    times.sort_by_key(|(due, _)| *due);
    Ok(times.into_iter().map(|(_, milliseconds)| milliseconds).collect())
}

/// One connection on a thread of its own: a thread sleeps to a twentieth of a millisecond, a runtime's timer to one.
fn client(
    to: SocketAddr,
    secure: bool,
    mut due: Instant,
    every: Duration,
    end: Instant,
) -> Result<Vec<(Instant, f64)>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let request = Call::get("a.example", "/");
    let request = if secure { request.over_tls("a.example") } else { request };
    let mut connection = runtime.block_on(Connection::open(to, &request))?;
    let mut times = Vec::new();
    while due < end {
        let behind = Instant::now() >= due;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // That a sleep lasts too long is our fault, not the server's.
        let since = if behind { due } else { Instant::now() };
        let (answer, kept) = runtime.block_on(connection.send(&request))?;
        ensure!(answer.status == 200 && kept, "{}", answer.status);
        times.push((due, since.elapsed().as_secs_f64() * 1000.0));
        due += every;
    }
    Ok(times)
}

fn shake(to: SocketAddr, seconds: u64) -> Result<u64> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let client = async || {
        let mut count = 0;
        while Instant::now() < end {
            // Each has a client configuration of its own, and so no ticket of another.
            let stream = tests::tls::connect(TcpStream::connect(to).await?, "a.example", false, None).await?;
            ensure!(stream.get_ref().1.handshake_kind() != Some(rustls::HandshakeKind::Resumed), "a full handshake");
            count += 1;
        }
        Ok::<u64, anyhow::Error>(count)
    };
    let counts = runtime.block_on(futures::future::try_join_all((0..16).map(|_| client())))?;
    Ok(counts.iter().sum())
}
