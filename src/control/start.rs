//! Starting a control plane.

use crate::{
    Accounts, Board, Metrics, Objects, Pipeline, Sinks, admin,
    cluster::Cluster,
    deploy::Desired,
    identity::Identity,
    scopes::Scopes,
    serve,
    source::{self, Inbox, Watch, cluster::Onlookers},
};
use base::{ready::Readiness, tasks::Tasks};
use ca::{BootstrapTokens, Ca};
use model::TrustDomain;
use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::net::TcpListener;
use xds::{
    Publisher,
    server::{Ads, Limits},
};

/// Where objects come from.
pub enum Source {
    /// Files and directories.
    Files {
        /// Which.
        paths: Vec<PathBuf>,
        /// Whether to follow their changes.
        follow: bool,
    },
    /// A Kubernetes API server.
    Cluster {
        /// Which.
        cluster: Cluster,
        /// Who sees its objects beside us.
        onlookers: Onlookers,
    },
}

/// How to run a control plane.
pub struct Options {
    /// Where objects come from.
    pub source: Source,
    /// Without a cluster: where the CA keeps its root, and the secret of bootstrap tokens.
    pub data: PathBuf,
    /// Somebody else's key and certificates, instead of a root of our own; in a cluster only if they are there.
    pub plug_in_ca: Option<PathBuf>,
    /// The trust domain of the identities that are vouched for.
    pub trust_domain: TrustDomain,
    /// What the installation decides once.
    pub resolve: resolve::Settings,
    /// What the data planes are told.
    pub translate: translate::Settings,
    /// xDS and certificates over TLS.
    pub xds: SocketAddr,
    /// xDS without TLS or identities.
    pub plaintext: Option<SocketAddr>,
    /// The admin page. Whoever is not on this machine needs a token for its debug pages.
    pub admin: Option<SocketAddr>,
    /// Readiness and liveness alone.
    pub health: Option<SocketAddr>,
    /// Threads that compute large changes.
    pub threads: usize,
}

/// Why a control plane could not be started.
#[derive(Debug)]
pub enum StartError {
    /// No certificate authority.
    Ca(ca::OpenError),
    /// No secret for bootstrap tokens.
    Tokens(ca::RootError),
    /// A port can't be had.
    Bind {
        /// For what.
        what: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The files can't be read at all.
    Source(io::Error),
    /// The system gives no thread.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca(error) => write!(f, "certificate authority: {error}"),
            Self::Tokens(error) => write!(f, "bootstrap tokens: {error}"),
            Self::Bind { what, address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{what}: {address} is in use by another process: stop that one, or choose another port")
            }
            Self::Bind { what, address, error } => write!(f, "{what}: {address} can't be bound: {error}"),
            Self::Source(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "no thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running control plane. It ends when its group of tasks drains, and its files are no longer followed when it is
/// dropped.
pub struct Control {
    /// xDS and certificates over TLS.
    pub xds: SocketAddr,
    /// xDS without TLS.
    pub plaintext: Option<SocketAddr>,
    /// The admin page.
    pub admin: Option<SocketAddr>,
    /// Statuses and proxies.
    pub board: Board,
    /// The objects in use, and problems of what was read.
    pub objects: Objects,
    /// What is to be made for Gateways.
    pub desired: Desired,
    /// The service accounts of the Gateways' proxies.
    pub accounts: Accounts,
    /// Makes bootstrap tokens; in a cluster the API server does.
    pub tokens: Option<Arc<BootstrapTokens>>,
    /// The certificate authority.
    pub ca: Arc<Ca>,
    /// What is published.
    pub publisher: Publisher,
    inbox: Inbox,
    _watch: Option<Watch>,
}

impl Control {
    /// Starts everything; returns when the ports are bound. `readiness` gets a barrier that is passed when everything
    /// was read once and what follows from it is published; until then the proxies' ports accept connections and
    /// let them wait.
    ///
    /// # Errors
    /// If something essential is missing. Bad objects are no errors.
    pub async fn start(
        options: Options,
        tasks: &Tasks,
        metrics: &base::metrics::Metrics,
        readiness: &Readiness,
    ) -> Result<Self, StartError> {
        let Options { source, data, plug_in_ca, trust_domain, resolve, translate, threads, .. } = options;
        let inbox = Inbox::default();
        if let Some((listener, _)) = bind_maybe("readiness", options.health).await? {
            admin::serve_readiness(listener, readiness.clone(), inbox.clone(), tasks);
        }
        let first = readiness.barrier("configuration");
        let identity = Identity::open(&source, &data, plug_in_ca, trust_domain, metrics, tasks).await?;
        let Identity { ca, verifier, tokens, operators } = identity;
        let (xds, xds_at) = bind("xDS over TLS", options.xds).await?;
        let plaintext = bind_maybe("xDS in plaintext", options.plaintext).await?;
        let admin = bind_maybe("the admin page", options.admin).await?;

        let ours = Metrics::default();
        ours.register(metrics);
        let publisher = Publisher::default();
        let in_cluster = matches!(source, Source::Cluster { .. });
        let sinks = Sinks::new(publisher.clone(), ours.clone(), in_cluster);
        let Sinks { board, accounts, desired, objects, wanted, .. } = sinks.clone();
        let (pipeline, work) = (Pipeline::new(resolve, translate, threads, sinks), inbox.clone());
        base::tasks::thread("engine", move || pipeline.run(&work, first)).map_err(StartError::Thread)?;
        let tell = tell(objects.clone(), ours.clone(), board.clone());
        let watch = match source {
            Source::Files { paths, follow } => source::watch(paths, follow, inbox.clone(), tell).map(Some),
            Source::Cluster { cluster, mut onlookers } => {
                onlookers.push(Arc::new(board.clone()));
                let wanted = wanted.unwrap_or_default().subscribe();
                source::cluster::watch(&cluster, inbox.clone(), tell, onlookers, wanted, ours.clone(), tasks);
                Ok(None)
            }
        };
        let watch = watch.map_err(|error| {
            inbox.close();
            StartError::Source(error)
        })?;

        let scopes = Scopes(accounts.clone());
        let ads = Ads::new(publisher.clone(), scopes, board.clone(), Limits::default(), metrics);
        serve::secure(xds, ads.clone(), ca.clone(), verifier.clone(), tasks);
        let plaintext_at = plaintext.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = plaintext {
            serve::plaintext(listener, ads.clone(), tasks);
        }
        let admin_at = admin.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = admin {
            let (metrics, readiness) = (metrics.clone(), readiness.clone());
            let (board, objects, publisher) = (board.clone(), objects.clone(), publisher.clone());
            let door = admin::Door { verifier, operators };
            let pages = admin::Pages { readiness, inbox: inbox.clone(), metrics, ours, ads, board, objects, publisher };
            admin::serve(listener, pages, door, tasks);
        }
        Ok(Self {
            xds: xds_at,
            plaintext: plaintext_at,
            admin: admin_at,
            board,
            objects,
            desired,
            accounts,
            tokens,
            ca,
            publisher,
            inbox,
            _watch: watch,
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// Who hears of problems in what was read.
fn tell(objects: Objects, metrics: Metrics, board: Board) -> source::TellProblems {
    Box::new(move |problems| {
        metrics.problems(problems.len());
        objects.set_problems(problems);
        board.change();
    })
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { what, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn bind_maybe(
    what: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    match address {
        Some(address) => bind(what, address).await.map(Some),
        None => Ok(None),
    }
}
