//! Connections and datagrams that nobody looks into, against stock Envoy and nginx: one core for the proxy, another for
//! backend and clients, sides in turn.

mod load;

pub use load::{generate, serve};

use crate::{
    generator, nginx,
    proxy::Size,
    table::{Row, Table, Wanted},
};
use anyhow::{Context, Result};
use std::{net::SocketAddr, time::Duration};
use tests::{
    fixture::Trio,
    objects,
    place::Place,
    process::{Process, Usage, eventually},
};
use tokio::net::{TcpStream, UdpSocket};

/// The ports of the Gateway: a backend that echoes, one that greets, one of datagrams. The backend's are the same.
const PORTS: [u16; 3] = [9001, 9002, 9003];

/// One proxy.
struct Side {
    name: &'static str,
    id: u32,
    /// In the order of [`PORTS`].
    at: [SocketAddr; 3],
}

/// What is asked of all sides in turn: the generator's name for it, and which port.
#[derive(Clone, Copy)]
struct Work(&'static str, usize);

/// All rows.
pub async fn run(table: &mut Table, size: &Size) -> Result<()> {
    let place = Place::take()?;
    let backend = backend(&place).await?;
    let trio = Trio::start(&place, &yaml(&place)).await?;
    let peer = nginx::start(&place, "peer", PEER)?;
    let peer_at = PORTS.map(|port| (place.address(4), port).into());
    let mut sides = vec![Side { name: "nginx", id: peer.id(), at: peer_at }];
    for plane in &trio.planes {
        sides.push(Side { name: plane.name, id: plane.process.id(), at: PORTS.map(|port| plane.at(port)) });
    }
    for side in &sides {
        serves(side).await?;
        nginx::pin(side.id, 0)?;
    }
    nginx::pin(backend.id(), 1)?;
    let named = format!("{} clients", load::CLIENTS);
    per_cpu(table, size, &sides, Work("exchanges", 0), ("TCP: connections a CPU-s", &named, "conn/CPU-s"), 1.0)?;
    let gigabyte = f64::from(1 << 30);
    per_cpu(table, size, &sides, Work("bulk", 1), ("TCP: bulk a CPU-s", "1 conn", "GiB/CPU-s"), gigabyte)?;
    greetings(table, size, &sides)?;
    let named = format!("{} sessions", load::SESSIONS);
    per_cpu(table, size, &sides, Work("datagrams", 2), ("UDP: answered a CPU-s", &named, "/CPU-s"), 1.0)
}

/// How much of some work a CPU-second of each side does.
fn per_cpu(
    table: &mut Table,
    size: &Size,
    sides: &[Side],
    Work(work, port): Work,
    (what, named, unit): (&str, &str, &str),
    scale: f64,
) -> Result<()> {
    let runs = in_turn(size, sides, |side| {
        let before = Usage::of(side.id).cpu;
        let count = generator::generate(&[work.into(), side.at[port].to_string()], size.seconds)?;
        let count = count.first().context("no count")? / scale;
        Ok(count / (Usage::of(side.id).cpu - before).max(0.01))
    })?;
    for peer in ["envoy", "nginx"] {
        let (ours, theirs) = (of(sides, &runs, "windlass"), of(sides, &runs, peer));
        table.add(Row::of_rounds(what, named, unit, ours, (peer, theirs), Wanted::Least(1.0)));
    }
    Ok(())
}

/// A server that speaks first: how long until it is heard.
fn greetings(table: &mut Table, size: &Size, sides: &[Side]) -> Result<()> {
    let runs =
        in_turn(size, sides, |side| generator::generate(&["greetings".into(), side.at[1].to_string()], size.seconds))?;
    let part = |name: &str, part: usize| -> Vec<f64> {
        of(sides, &runs, name).iter().filter_map(|run| run.get(part).copied()).collect()
    };
    let ours = part("windlass", 0);
    for (peer, wanted) in [("envoy", Wanted::Most(1.0)), ("nginx", Wanted::Known)] {
        let theirs = part(peer, 0);
        table.add(Row::of_rounds("TCP: first byte, p50", "1 conn", "ms", &ours, (peer, &theirs), wanted));
    }
    let p99 = part("windlass", 1);
    table.add(Row::of_rounds("TCP: first byte, p99", "1 conn", "ms", &p99, ("target", &[5.0]), Wanted::Most(1.0)));
    Ok(())
}

fn in_turn<T>(size: &Size, sides: &[Side], work: impl Fn(&Side) -> Result<T>) -> Result<Vec<Vec<T>>> {
    let mut runs: Vec<Vec<T>> = sides.iter().map(|_| Vec::new()).collect();
    for _ in 0..size.rounds {
        for (side, runs) in sides.iter().zip(&mut runs) {
            runs.push(work(side).with_context(|| format!("through {}", side.name))?);
        }
    }
    Ok(runs)
}

fn of<'r, T>(sides: &[Side], runs: &'r [Vec<T>], name: &str) -> &'r [T] {
    &runs[sides.iter().position(|side| side.name == name).unwrap_or(0)]
}

async fn backend(place: &Place) -> Result<Process> {
    let mut arguments = vec!["serve".to_owned()];
    arguments.extend(PORTS.map(|port| SocketAddr::from((place.address(9), port)).to_string()));
    let mut backend = Process::start("backend", &std::env::current_exe()?, &arguments, &place.make("logs")?)?;
    backend.ready_line(Duration::from_secs(10)).await?;
    Ok(backend)
}

/// Waits until a side passes connections and datagrams on.
async fn serves(side: &Side) -> Result<()> {
    eventually(&format!("{} passes on", side.name), Duration::from_secs(30), async || {
        TcpStream::connect(side.at[0]).await?;
        TcpStream::connect(side.at[1]).await?;
        let socket = UdpSocket::bind((side.at[2].ip(), 0)).await?;
        socket.connect(side.at[2]).await?;
        socket.send(b"x").await?;
        tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut [0; 8])).await??;
        Ok(())
    })
    .await
}

fn yaml(place: &Place) -> String {
    let mut yaml = objects::GATEWAY.to_owned();
    for (port, protocol) in PORTS.into_iter().zip(["TCP", "TCP", "UDP"]) {
        yaml += &format!("  - {{name: p{port}, port: {port}, protocol: {protocol}}}\n");
    }
    for (port, protocol) in PORTS.into_iter().zip(["TCP", "TCP", "UDP"]) {
        let service = objects::service(&format!("s{port}"), None, &[(place.address(9), port).into()]);
        yaml += &service
            .replace("port: 80", &format!("port: 80\n    protocol: {protocol}"))
            .replace("protocol: TCP}", &format!("protocol: {protocol}}}"));
        yaml += &format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {protocol}Route\nmetadata: {{name: r{port}, \
             namespace: default}}\nspec:\n  parentRefs: [{{name: gw, sectionName: p{port}}}]\n  rules:\n  \
             - backendRefs: [{{name: s{port}, port: 80}}]\n"
        );
    }
    yaml
}

const PEER: &str = "stream {
 server { listen $ADDRESS:9001; proxy_pass $BACKEND:9001; }
 server { listen $ADDRESS:9002; proxy_pass $BACKEND:9002; }
 server { listen $ADDRESS:9003 udp; proxy_pass $BACKEND:9003; }
}
";
