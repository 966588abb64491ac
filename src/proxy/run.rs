//! A whole proxy: configuration from the control plane, listeners on workers, admin pages beside them.

use crate::{
    admin::Admin,
    certs,
    config::{Config, Name, Shared, Store},
    door::Door,
    log::Writer,
    metrics::Traffic,
    observe::Watch,
    plane::{self, Plane},
};
use base::{metrics::Metrics, ready::Readiness, tasks::Tasks};
use model::ObjectKey;
use proto::ads::{Node, Struct, Value, value::Kind};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
};
use xds::client::{Held, Interests};

/// How soon a listener that could not be opened is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What a proxy is told at its start.
#[derive(Clone)]
pub struct Options {
    /// The Gateway that it serves.
    pub gateway: ObjectKey,
    /// Where its configuration comes from.
    pub control: Control,
    /// Where its last good configuration outlives a restart; nowhere if absent.
    pub data: Option<PathBuf>,
    /// Workers; each is a thread with listeners of its own.
    pub workers: usize,
    /// The address that listeners bind, in place of the one in their configuration.
    pub bind: Option<IpAddr>,
    /// Where admin pages are served; nowhere if absent.
    pub admin: Option<SocketAddr>,
    /// Where readiness and liveness are told to others than this machine; nowhere if absent.
    pub health: Option<SocketAddr>,
    /// The same for metrics.
    pub metrics: Option<SocketAddr>,
}

/// The control plane.
#[derive(Clone)]
pub enum Control {
    /// `host:port` without TLS: whoever can reach it sees everything. For a laptop.
    Plaintext(String),
    /// `host:port` over mTLS, with a certificate that its authority signs.
    Mtls(String, Box<certs::Options>),
}

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused a thread.
    #[error("can't start workers: {0}")]
    Workers(io::Error),
    /// The admin address can't be listened on.
    #[error("can't serve pages on {0}: {1}")]
    Admin(SocketAddr, io::Error),
    /// The data directory can't be used.
    #[error("can't keep configuration in {0:?}: {1}")]
    Data(PathBuf, io::Error),
}

/// The addresses of the open listeners, by name.
pub type Addresses = BTreeMap<Name, SocketAddr>;

/// A running proxy.
pub struct Proxy {
    config: Shared,
    tasks: Tasks,
    readiness: Readiness,
    metrics: Metrics,
    addresses: watch::Receiver<Addresses>,
    admin: Option<SocketAddr>,
    drain: oneshot::Sender<Duration>,
    drained: oneshot::Receiver<bool>,
    asked: watch::Receiver<bool>,
    writer: Writer,
}

impl Proxy {
    /// Starts a proxy on the current runtime; its workers have runtimes of their own. It is ready some time later.
    ///
    /// # Errors
    /// If threads, the admin address or the data directory can't be had. A control plane that isn't there is waited for.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (tasks, metrics, readiness, config) =
            (Tasks::default(), Metrics::default(), Readiness::default(), Shared::default());
        let writer = Writer::start().map_err(StartError::Workers)?;
        let gateway = &options.gateway;
        let traffic = metrics.register(|registry| Traffic::new(&gateway.namespace, &gateway.name, registry));
        let barrier = readiness.barrier("configuration");
        let (ask, asked) = watch::channel(false);
        let pages = Admin::new(config.clone(), readiness.clone(), metrics.clone(), ask);
        let admin = serve_pages(&pages, &options, &tasks).await?;
        let sinks = writer.sinks();
        let observers: plane::Observers = Arc::new(move |_| Box::new(Watch::new(&traffic, sinks.clone())));
        let plane = plane::Options { workers: options.workers, observers, admin };
        let plane = Plane::start(plane, config.clone()).map_err(StartError::Workers)?;
        let mut store = Store::new(config.clone(), options.bind).with_ports(plane.ports());
        let (interests, held) = match &options.data {
            Some(dir) => store.keep_in(dir).map_err(|error| StartError::Data(dir.clone(), error))?,
            None => (Store::interests(), Held::new()),
        };
        let (complete, is_complete) = watch::channel(false);
        let door = Door::new(store, complete, &metrics);
        let (drain, asked_to_drain) = oneshot::channel();
        let (tell_drained, drained) = oneshot::channel();
        let (tell_addresses, addresses) = watch::channel(Addresses::new());
        let listeners = Listeners { plane, config: config.clone(), is_complete, addresses: tell_addresses };
        tasks.spawn("listeners", |_| async move {
            // Nobody may be left to hear it.
            let _ = tell_drained.send(listeners.run(barrier, asked_to_drain).await);
        });
        subscribe(&options, (interests, held), door, &tasks, &metrics);
        Ok(Self { config, tasks, readiness, metrics, addresses, admin, drain, drained, asked, writer })
    }

    /// Whether it serves, and what it waits for.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.load()
    }

    /// The open listeners; changes can be waited for.
    pub fn addresses(&self) -> watch::Receiver<Addresses> {
        self.addresses.clone()
    }

    /// Where admin pages are served.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Waits until somebody asks for the end by an admin page; for ever if there is none.
    pub async fn asked_to_drain(&self) {
        if self.asked.clone().wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }

    /// Stops accepting, lets requests under way end, and closes what is left after `limit`. Says whether all ended in
    /// time.
    pub async fn drain(self, limit: Duration) -> bool {
        let Self { tasks, drain, drained, writer, .. } = self;
        // The listeners' task lives as long as the group, or has panicked: then nothing can be drained.
        let _ = drain.send(limit);
        let all = drained.await.unwrap_or(false);
        let ended = tasks.end(Duration::from_secs(5)).await;
        // Writes what is left.
        drop(writer);
        all && ended
    }
}

/// Serves what is asked for; says where the admin pages are.
async fn serve_pages(pages: &Admin, options: &Options, tasks: &Tasks) -> Result<Option<SocketAddr>, StartError> {
    let failed = |address| move |error| StartError::Admin(address, error);
    if let Some(address) = options.health {
        pages.serve_health(address, tasks).await.map_err(failed(address))?;
    }
    if let Some(address) = options.metrics {
        pages.serve_metrics(address, tasks).await.map_err(failed(address))?;
    }
    match options.admin {
        None => Ok(None),
        Some(address) => pages.serve(address, tasks).await.map(Some).map_err(failed(address)),
    }
}

/// Keeps the configuration up to date, until the tasks drain.
fn subscribe(options: &Options, (interests, held): (Interests, Held), door: Door, tasks: &Tasks, metrics: &Metrics) {
    let client =
        |address: &str| xds::client::Options { held, ..xds::client::Options::new(node(&options.gateway), address) };
    match &options.control {
        Control::Plaintext(address) => {
            let run = xds::client::run(client(address), Plain(address.clone()), interests, door);
            tasks.spawn("configuration", |mut drain| async move {
                tokio::select! { () = run => {}, () = drain.drained() => {} }
            });
        }
        Control::Mtls(address, certs) => {
            let manager = metrics.register(|registry| certs::Manager::new((**certs).clone(), registry));
            let run = xds::client::run(client(address), manager.connector(address), interests, door);
            tasks.spawn("configuration", |mut drain| async move {
                tokio::select! { () = run => {}, () = drain.drained() => {} }
            });
            tasks.spawn("certificate", |mut drain| async move {
                tokio::select! { () = manager.run() => {}, () = drain.drained() => {} }
            });
        }
    }
}

/// Who we are: CONTRACTS 1.2. Virtual hosts come as resources of their own.
fn node(gateway: &ObjectKey) -> Node {
    let ObjectKey { namespace, name } = gateway;
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let pod = std::env::var("HOSTNAME").unwrap_or_else(|_| name.to_string());
    let fields = [
        ("GATEWAY".to_owned(), text(&gateway.to_string())),
        ("NAMESPACE".to_owned(), text(namespace)),
        ("VHDS".to_owned(), text("true")),
    ];
    Node {
        id: format!("router~127.0.0.1~{pod}.{namespace}~{namespace}.svc.cluster.local"),
        cluster: format!("{name}.{namespace}"),
        metadata: Some(Struct { fields: fields.into() }),
        user_agent_name: "windlass-proxy".to_owned(),
        user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Node::default()
    }
}

/// Connections without TLS.
struct Plain(String);

impl xds::client::Connect for Plain {
    type Io = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.0).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The task that owns the plane: listeners follow the configuration.
struct Listeners {
    plane: Plane,
    config: Shared,
    is_complete: watch::Receiver<bool>,
    addresses: watch::Sender<Addresses>,
}

impl Listeners {
    async fn run(mut self, barrier: base::ready::Barrier, mut drain: oneshot::Receiver<Duration>) -> bool {
        let mut changes = self.config.changes();
        let mut barrier = Some(barrier);
        let mut told: BTreeMap<Name, String> = BTreeMap::new();
        loop {
            changes.mark_unchanged();
            let complete = *self.is_complete.borrow_and_update();
            let errors: BTreeMap<Name, String> =
                self.plane.apply().into_iter().map(|(name, error)| (name, error.to_string())).collect();
            for (name, error) in &errors {
                if told.get(name) != Some(error) {
                    tracing::error!(listener = %name, %error, "listener is not open");
                }
            }
            let failed = !errors.is_empty();
            told = errors;
            self.tell_addresses();
            if complete
                && !failed
                && let Some(barrier) = barrier.take()
            {
                barrier.pass();
            }
            tokio::select! {
                // A proxy that is dropped drains nothing.
                limit = &mut drain => return self.plane.drain(limit.unwrap_or(Duration::ZERO)).await,
                Ok(()) = changes.changed() => {}
                Ok(()) = self.is_complete.changed() => {}
                () = tokio::time::sleep(RETRY), if failed => {}
            }
        }
    }

    fn tell_addresses(&self) {
        let now: Addresses = self.plane.addresses().map(|(name, address)| (name.clone(), address)).collect();
        self.addresses.send_if_modified(|then| {
            let changed = *then != now;
            if changed {
                for (name, address) in now.iter().filter(|(name, _)| !then.contains_key(*name)) {
                    tracing::info!(listener = %name, %address, "listener is open");
                }
                *then = now;
            }
            changed
        });
    }
}
