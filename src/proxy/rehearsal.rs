//! Asking the data path what it would do with a request, with neither a port nor a backend.
//!
//! A [`Rehearsal`] is a worker like any other: configuration comes through the same door into the same store, and a
//! request goes as bytes through the same codec, filters, policies and router. It differs in three things: connections are
//! socket pairs, TLS has ended before they begin, and whoever would open a connection to a backend notes that instead.

mod nearest;
mod notes;

pub use nearest::Nearest;
pub use notes::{Backend, Forwarded};

pub(crate) use notes::Notes;

use crate::{
    authz::{Explanation, PeerCertificate},
    config::{FilterChain, Listener, Name, Serves, Shared, Store, Transport},
    h1::{Scan, parse_response},
    head::{Conn, Reply},
    io::Io,
    plane::Names,
    serve::{Link, serve},
    tls::Settings,
    worker::{Outer, Worker},
};
use base::tasks::Tasks;
use bytes::Bytes;
use proto::{Resource, TypeUrl, assemble};
use std::{
    cell::Cell,
    io,
    net::{IpAddr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream as Pair},
    rc::Rc,
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    runtime::{Builder, LocalOptions, LocalRuntime},
};
use xds::client::{Interests, Refusal, Update};

/// The data path of one gateway, on the calling thread.
pub struct Rehearsal {
    runtime: LocalRuntime,
    worker: Rc<Worker>,
    notes: Rc<Notes>,
    config: Shared,
    refused: Vec<(TypeUrl, Refusal)>,
    waiting: Vec<(Name, Vec<String>)>,
}

/// A request and the connection that it comes on.
#[derive(Clone, Debug)]
pub struct Question {
    /// The port of the listener.
    pub port: u16,
    /// The server name of the TLS handshake, in lower case; none is clear text, empty is a handshake without one.
    pub server_name: Option<String>,
    /// The client's end.
    pub peer: SocketAddr,
    /// The address that the client connects to.
    pub local: IpAddr,
    /// What the client's certificate says, if it has one to show.
    pub certificate: Option<PeerCertificate>,
    /// HTTP/1.1, head and body, as it arrives.
    pub request: Bytes,
}

/// Why a connection is closed before anything of HTTP is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// No listener has that port.
    NoListener {
        /// The ports of those that are there.
        ports: Vec<u16>,
    },
    /// The listener has no filter chain for such a connection.
    NoChain {
        /// The server names that it has chains for; an empty one is any.
        server_names: Vec<Name>,
        /// Whether its chains want TLS.
        tls: bool,
    },
    /// The listener wants a client certificate.
    NoCertificate,
    /// The listener passes bytes on without looking for requests in them.
    NoHttp,
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The listener.
    pub listener: String,
    /// Its filter chain.
    pub chain: String,
    /// Whether the listener looks at client certificates.
    pub sees_identity: bool,
    /// The code; 0 if the connection was closed without one. 200 where a backend would answer.
    pub status: u16,
    /// The response's fields where no backend would answer.
    pub headers: Vec<(String, String)>,
    /// The response's body where no backend would answer.
    pub body: Vec<u8>,
    /// Envoy's `response_code_details`.
    pub details: String,
    /// The canonical host and path.
    pub canonical: Option<(String, String)>,
    /// The virtual host.
    pub virtual_host: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// Why a policy denies it.
    pub denied: Option<Explanation>,
    /// Where it is sent, and how it looks then.
    pub forwarded: Option<Forwarded>,
    /// Clusters that filters would have asked: what became of the request depends on their answers.
    pub asked: Vec<String>,
    /// Without a route: which came nearest.
    pub nearest: Option<Nearest>,
}

/// Most that is read of a response.
const MOST: u64 = 1 << 20;

impl Rehearsal {
    /// A data path with the resources of one scope.
    ///
    /// # Errors
    /// If the system refuses a runtime.
    pub fn new<'a>(resources: impl Iterator<Item = (TypeUrl, &'a Arc<str>, &'a Resource)>) -> io::Result<Self> {
        let config = Shared::default();
        let mut store = Store::new(config.clone(), None);
        let refused = load(&mut store, resources);
        let waiting = store.waiting();
        let notes = Rc::new(Notes::default());
        let outer = Outer {
            config: config.clone(),
            tls: Arc::new(Settings::new(config.clone())),
            names: Names::unasked(),
            admin: None,
        };
        let tasks = Tasks::default();
        let worker = Worker::new(outer, tasks.clone(), Box::new(notes.clone())).rehearsing(notes.clone());
        let worker = Rc::new(worker);
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let timer = worker.timer.clone();
        runtime.block_on(async { drop(tasks.spawn_local("timer", |_| async move { timer.drive().await })) });
        Ok(Self { runtime, worker, notes, config, refused, waiting })
    }

    /// What the proxy refuses of the resources.
    pub fn refused(&self) -> &[(TypeUrl, Refusal)] {
        &self.refused
    }

    /// Listeners that would not open, and what they wait for.
    pub fn waiting(&self) -> &[(Name, Vec<String>)] {
        &self.waiting
    }

    /// What becomes of a request.
    ///
    /// # Errors
    /// If its connection is closed before anything is read.
    pub fn ask(&self, question: &Question) -> Result<Answer, Closed> {
        let config = self.config.load();
        let listeners = || config.listeners.values().filter(|listener| listener.udp.is_none());
        let listener = listeners().find(|listener| listener.address.port() == question.port);
        let Some(listener) = listener else {
            let mut ports: Vec<u16> = listeners().map(|listener| listener.address.port()).collect();
            ports.sort_unstable();
            return Err(Closed::NoListener { ports });
        };
        let chain = identify(listener, question)?;
        let Serves::Http(http) = &chain.serves else { return Err(Closed::NoHttp) };
        let tls = chain.tls.as_ref();
        let sees_identity = tls.is_some_and(|tls| tls.client_roots.is_some());
        let shown = if sees_identity { question.certificate.clone() } else { None };
        if tls.is_some_and(|tls| tls.require_client_certificate) && shown.is_none() {
            return Err(Closed::NoCertificate);
        }
        let conn = Conn {
            peer: question.peer,
            remote: question.peer,
            local: SocketAddr::new(question.local, question.port),
            tls: tls.map(|_| "TLSv1.3"),
            sni: question.server_name.as_deref().filter(|name| !name.is_empty()).map(Into::into),
            certificate: tls.map(|_| Arc::new(shown.unwrap_or_default())),
        };
        let link = Link {
            peer: conn.remote.ip().to_string().into(),
            conn,
            listener: listener.name.clone(),
            chain: chain.clone(),
            http: http.clone(),
            seen: Cell::new(config.generation),
        };
        self.notes.clear();
        let response = self.runtime.block_on(exchange(self.worker.clone(), link, &question.request));
        let mut answer = self.notes.take();
        answer.listener = listener.name.to_string();
        answer.chain = chain.name.to_string();
        answer.sees_identity = sees_identity;
        // What could not be read at all was a closed connection.
        read(&response.unwrap_or_default(), &mut answer);
        Ok(answer)
    }
}

/// Puts all resources through the proxy's door, in the order of make before break.
fn load<'a>(
    store: &mut Store,
    resources: impl Iterator<Item = (TypeUrl, &'a Arc<str>, &'a Resource)>,
) -> Vec<(TypeUrl, Refusal)> {
    let mut by_type: Vec<(TypeUrl, Vec<Update>)> = TypeUrl::ALL.iter().map(|one| (*one, Vec::new())).collect();
    for (type_url, name, resource) in resources {
        // Virtual hosts come as resources of their own, as the proxy asks for them.
        let body = if type_url == TypeUrl::Route { assemble::vhds(&resource.body) } else { resource.body.clone() };
        let update = Update { name: name.clone(), version: resource.version_text().into(), body };
        by_type.iter_mut().filter(|(one, _)| *one == type_url).for_each(|(_, all)| all.push(update.clone()));
    }
    let mut interests = Interests::default();
    let refused = by_type.into_iter().flat_map(|(type_url, updates)| {
        let refusals = store.apply(type_url, &updates, &[], &mut interests);
        refusals.into_iter().map(move |refusal| (type_url, refusal)).collect::<Vec<_>>()
    });
    refused.collect()
}

/// The filter chain of a connection, as `plane::accept` finds it.
fn identify<'l>(listener: &'l Listener, question: &Question) -> Result<&'l Arc<FilterChain>, Closed> {
    let transport = if question.server_name.is_some() { Transport::Tls } else { Transport::Plain };
    let server_name = question.server_name.as_deref().filter(|name| !name.is_empty());
    let chain = listener.chain(server_name, transport);
    chain.filter(|chain| chain.tls.is_some() == question.server_name.is_some()).ok_or_else(|| {
        let chains = || listener.chains.iter().chain(&listener.default_chain);
        let names = |chain: &Arc<FilterChain>| match &*chain.matches.server_names {
            [] => vec!["".into()],
            names => names.to_vec(),
        };
        Closed::NoChain {
            server_names: chains().flat_map(names).collect(),
            tls: chains().any(|chain| chain.tls.is_some()),
        }
    })
}

/// Sends the request and reads the response.
async fn exchange(worker: Rc<Worker>, link: Link, request: &[u8]) -> io::Result<Vec<u8>> {
    let (ours, theirs) = Pair::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let mut ours = UnixStream::from_std(ours)?;
    // To the data path a socket is a socket.
    let theirs = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(theirs)))?;
    let client = async {
        ours.write_all(request).await?;
        ours.shutdown().await?;
        let mut response = Vec::new();
        ours.take(MOST).read_to_end(&mut response).await?;
        Ok(response)
    };
    let (response, ()) = tokio::join!(client, serve(worker, link, Io::from(theirs)));
    response
}

/// Reads the head of a response and what follows it.
fn read(response: &[u8], answer: &mut Answer) {
    let mut reply = Reply::default();
    let Ok(Some(head)) = parse_response(response, &mut Scan::default(), false, &mut reply) else { return };
    answer.status = reply.status;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    answer.headers = reply.fields.iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
    answer.body = response[head.consumed..].to_vec();
}

#[cfg(test)]
mod tests;
