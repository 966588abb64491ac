//! A delta ADS client: subscribes, hands what comes to a [`Handler`], acknowledges or refuses, and comes back after
//! every end of the stream with the versions that it has, so that nothing is sent twice.

mod backoff;
mod session;

use bytes::Bytes;
use proto::{TypeUrl, ads::Node};
use std::collections::{BTreeMap, BTreeSet};
use std::{future::Future, io, sync::Arc, time::Duration};

pub use backoff::Backoff;

/// One resource as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The message, without the `Any` around it. Shares the response's buffer: copy what is kept for long.
    pub body: Bytes,
}

/// A resource that the handler can't use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub name: Arc<str>,
    /// Why: field path and reason.
    pub error: String,
}

/// What the client does with resources.
pub trait Handler: Send + 'static {
    /// Takes one response of a type. The resources that are not refused count as accepted; if any is refused the
    /// response is not acknowledged, and the refusals say why. Subscriptions are changed through `interests`, and the
    /// server is told after this response's answer.
    fn apply(
        &mut self,
        type_url: TypeUrl,
        updates: Vec<Update>,
        removed: Vec<Arc<str>>,
        interests: &mut Interests,
    ) -> Vec<Refusal>;

    /// A stream is open (`true`), or has ended (`false`): what was applied stays valid.
    fn connected(&mut self, _connected: bool) {}
}

/// What to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interests(pub(crate) BTreeMap<TypeUrl, Interest>);

/// What to ask for of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) wildcard: bool,
    pub(crate) names: BTreeSet<Arc<str>>,
}

impl Interests {
    /// Everything of a type.
    pub fn wildcard(&mut self, type_url: TypeUrl) -> &mut Self {
        self.0.entry(type_url).or_default().wildcard = true;
        self
    }

    /// Exactly these names of a type (beside the wildcard, if there is one).
    pub fn names(&mut self, type_url: TypeUrl, names: impl IntoIterator<Item = Arc<str>>) -> &mut Self {
        self.0.entry(type_url).or_default().names = names.into_iter().collect();
        self
    }
}

/// Opens connections to the server: TCP, TLS, whatever the caller decides.
pub trait Connect: Send + Sync + 'static {
    /// A connection.
    type Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static;

    /// Opens one, ready for HTTP/2 with prior knowledge.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// The value of the `authorization` header, asked for once a stream.
    fn authorization(&self) -> Option<String> {
        None
    }
}

/// How a client says who it is, and how patient it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sent with the first request of every stream.
    pub node: Node,
    /// The `:authority` of the requests.
    pub authority: String,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// The wait before the second attempt, and the longest wait.
    pub backoff: (Duration, Duration),
    /// The most bytes of one response.
    pub max_message: usize,
    /// What the handler has already, from a run before: it isn't sent again, and what is gone since is told.
    pub held: Held,
}

/// Versions by type and name.
pub type Held = BTreeMap<TypeUrl, BTreeMap<Arc<str>, Arc<str>>>;

impl Options {
    /// With the usual patience: 5 s to connect, waits of 100 ms to 15 s, responses of up to 1 GiB.
    pub fn new(node: Node, authority: impl Into<String>) -> Self {
        Self {
            node,
            authority: authority.into(),
            connect_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(100), Duration::from_secs(15)),
            max_message: 1 << 30,
            held: Held::new(),
        }
    }
}

/// Keeps a stream open and the handler up to date, until it is dropped. Never returns.
pub async fn run<C: Connect, H: Handler>(options: Options, connector: C, interests: Interests, mut handler: H) {
    let mut backoff = Backoff::new(options.backoff.0, options.backoff.1);
    let mut session = session::Session::new(interests, options.held.clone());
    let connector = Arc::new(connector);
    loop {
        let end = session.stream(&options, &connector, &mut handler).await;
        if end.opened {
            backoff.reset();
        }
        let wait = backoff.wait();
        tracing::info!(server = options.authority, error = %end.error, retry_in = ?wait, "xds stream ended");
        tokio::time::sleep(wait).await;
    }
}
