//! Connections and datagrams that nobody looks into: authorize, pick, connect, copy, log.

mod copy;
mod udp;

pub(crate) use udp::serve as serve_datagrams;

use crate::{
    authz::{Explanation, Input, Metadata, Verdict},
    config::{AccessLog, Config, Discovery, StreamChain, TcpProxy},
    head::Conn,
    io::Io,
    log::{Flag, Flags, Record},
    proxy_protocol::Ends,
    route::Request,
    upstream::{Active, Connection, Group, Target},
    worker::{Worker, now},
};
use std::{net::SocketAddr, rc::Rc, sync::Arc, time::SystemTime};

/// What is noted of a connection on its way.
#[derive(Default)]
struct Trace {
    flags: Flags,
    cluster: Option<Arc<str>>,
    upstream: Option<SocketAddr>,
    upstream_local: Option<SocketAddr>,
    upstream_failure: Option<String>,
    attempts: u32,
    denied: Option<Box<Explanation>>,
    received: u64,
    sent: u64,
}

/// A connection to a backend, counted as its load.
struct Line {
    connection: Connection,
    _active: Active,
}

/// Serves a connection to its end. However it ends, both sides are closed.
pub(crate) async fn serve(worker: Rc<Worker>, conn: Conn, chain: Arc<StreamChain>, client: Io) {
    let started = now();
    let mut trace = Trace::default();
    let config = worker.config();
    // Held for the record alone: what the connection was opened with.
    let proxy = config.proxy(&chain.proxy).cloned();
    let line = match (denied(&config, &chain, &conn), &proxy) {
        (Some(why), _) => {
            trace.denied = Some(why);
            None
        }
        (None, None) => None,
        (None, Some(proxy)) => open(&worker, &config, (proxy, &conn), &mut trace).await,
    };
    drop(config);
    if let (Some(line), Some(proxy)) = (line, &proxy) {
        worker.observer.stream_opened(trace.cluster.as_deref());
        let ended = copy::both(&worker, &client, &line.connection.io, proxy.idle_timeout).await;
        (trace.received, trace.sent) = (ended.received, ended.sent);
        if let Some(flag) = ended.flag {
            trace.flags.set(flag);
        }
    }
    let logs = proxy.as_ref().map_or(&[][..], |proxy| &proxy.access_logs);
    tell(&worker, &conn, logs, &trace, now().duration_since(started));
}

/// Why a policy refuses the connection.
fn denied(config: &Config, chain: &StreamChain, conn: &Conn) -> Option<Box<Explanation>> {
    let none: &[(&str, &str)] = &[];
    let request = Request { method: "", scheme: "", host: "", path: "", query: None, headers: none };
    let metadata = Metadata::default();
    let input = Input {
        request: &request,
        peer: conn.peer,
        local: conn.local,
        remote: conn.remote.ip(),
        server_name: conn.sni.as_deref(),
        certificate: conn.certificate.as_deref(),
        metadata: &metadata,
    };
    chain.policies.iter().find_map(|source| match config.policy(source) {
        None => Some(Box::new(Explanation::missing(source.name()))),
        Some(policy) => match policy.check(&input) {
            Verdict::Allowed => None,
            Verdict::Denied(why) => Some(why),
        },
    })
}

async fn open(worker: &Worker, config: &Config, (proxy, conn): (&TcpProxy, &Conn), trace: &mut Trace) -> Option<Line> {
    let name = proxy.pick(worker.random());
    trace.cluster = Some(name.clone());
    let Some(cluster) = config.cluster(name) else {
        trace.flags.set(Flag::NoCluster);
        return None;
    };
    let group = match &cluster.spec.discovery {
        Discovery::Endpoints => worker.clusters.group(cluster, &cluster.endpoints),
        Discovery::Dns { .. } => {
            let endpoints = worker.names.endpoints(cluster).await;
            worker.clusters.group(cluster, &endpoints)
        }
    };
    let whom = Ends { from: conn.remote, to: conn.local };
    let line = connect(worker, &group, (proxy.connect_attempts, whom), trace).await?;
    trace.upstream_local = line.connection.local;
    Some(line)
}

/// Tries one endpoint after the other.
async fn connect(worker: &Worker, group: &Group, (attempts, whom): (u32, Ends), trace: &mut Trace) -> Option<Line> {
    let mut last: Option<Rc<Target>> = None;
    for _ in 0..attempts {
        let Some(target) = group.pick(|| worker.random(), last.as_ref()) else {
            trace.flags.set(Flag::NoHealthyUpstream);
            return None;
        };
        trace.attempts += 1;
        trace.upstream = Some(target.address);
        let active = Active::new(target.clone());
        match target.connect(&group.spec, worker, Some(whom)).await {
            Ok(connection) => return Some(Line { connection, _active: active }),
            Err(error) => trace.upstream_failure = error.transport(),
        }
        last = Some(target.clone());
    }
    trace.flags.set(Flag::UpstreamConnectionFailure);
    trace.flags.set(Flag::UpstreamRetryLimitExceeded);
    None
}

fn tell(worker: &Worker, conn: &Conn, logs: &[AccessLog], trace: &Trace, duration: std::time::Duration) {
    let record = Record {
        start: SystemTime::now().checked_sub(duration),
        duration,
        flags: trace.flags,
        upstream_failure: trace.upstream_failure.as_deref(),
        connection_details: trace.denied.as_deref().map(|why| &*why.details),
        denied: trace.denied.as_deref(),
        bytes_received: trace.received,
        bytes_sent: trace.sent,
        upstream: trace.upstream,
        upstream_local: trace.upstream_local,
        cluster: trace.cluster.as_deref(),
        attempts: trace.attempts,
        local: Some(conn.local),
        remote: Some(conn.remote),
        peer: Some(conn.peer),
        server_name: conn.sni.as_deref(),
        tls_version: conn.tls,
        peer_uri: conn.certificate.as_ref().and_then(|certificate| certificate.uris.first()).map(String::as_str),
        ..Record::default()
    };
    worker.observer.stream_ended(logs, &record);
}
