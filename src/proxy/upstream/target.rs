//! One endpoint: how busy it is, and open connections to it.

use crate::{config::ClusterSpec, io::Io};
use bytes::Bytes;
use h2::client::SendRequest;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};
use tokio::time::Instant;

/// One endpoint of a cluster.
pub(crate) struct Target {
    /// Where.
    pub(crate) address: SocketAddr,
    active: Cell<u32>,
    /// Idle HTTP/1 connections, the last used on top.
    idle: RefCell<Vec<Connection>>,
    /// The connection that all HTTP/2 streams share. The lock is held while it is made, so that it is made once.
    pub(crate) shared: tokio::sync::Mutex<Option<SendRequest<Bytes>>>,
    idle_timeout: Option<Duration>,
    longest_life: Option<Duration>,
    most_requests: u32,
    complained: Cell<Option<Instant>>,
}

/// A connection to an endpoint that speaks HTTP/1.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) io: Io,
    /// Our end of it.
    pub(crate) local: Option<SocketAddr>,
    served: Cell<u32>,
    born: Instant,
    last_used: Instant,
}

/// Most idle connections to one endpoint.
const MOST_IDLE: usize = 1024;

/// How often the log is told of the same failure.
const COMPLAINT: Duration = Duration::from_secs(10);

/// Where a backend closes idle connections sooner than we do, requests meet closed ones; most backends keep a minute.
const IDLE: Duration = Duration::from_secs(60);

impl Target {
    pub(super) fn new(address: SocketAddr, spec: &ClusterSpec) -> Self {
        Self {
            address,
            active: Cell::new(0),
            idle: RefCell::default(),
            shared: tokio::sync::Mutex::default(),
            idle_timeout: spec.idle_timeout,
            longest_life: spec.max_connection_duration,
            most_requests: spec.max_requests_per_connection,
            complained: Cell::new(None),
        }
    }

    /// Whether the log may be told of a failure: once in a while, for every request meets it.
    pub(super) fn may_complain(&self) -> bool {
        let due = self.complained.get().is_none_or(|last| last.elapsed() >= COMPLAINT);
        if due {
            self.complained.set(Some(Instant::now()));
        }
        due
    }

    /// Requests under way.
    pub(super) fn active(&self) -> u32 {
        self.active.get()
    }

    /// The last used idle connection that is still open.
    pub(crate) fn checkout(&self) -> Option<Connection> {
        loop {
            let connection = self.idle.borrow_mut().pop()?;
            if connection.io.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last response has been read to its end.
    pub(crate) fn give_back(&self, mut connection: Connection, now: Instant) {
        let worn = self.most_requests > 0 && connection.served() >= self.most_requests;
        let old = self.longest_life.is_some_and(|life| now.duration_since(connection.born) > life);
        let mut idle = self.idle.borrow_mut();
        if !worn && !old && idle.len() < MOST_IDLE {
            connection.last_used = now;
            idle.push(connection);
        }
    }

    /// Closes idle connections that are too old or were closed by the backend.
    pub(super) fn sweep(&self) {
        let limit = self.idle_timeout.unwrap_or(IDLE).min(IDLE);
        self.idle.borrow_mut().retain(|connection| connection.last_used.elapsed() < limit && connection.io.is_quiet());
    }
}

impl Connection {
    pub(super) fn new(io: Io) -> Self {
        let now = Instant::now();
        Self { local: io.local(), io, served: Cell::new(0), born: now, last_used: now }
    }

    /// Requests that it has carried.
    pub(crate) fn served(&self) -> u32 {
        self.served.get()
    }

    /// It is to carry one more. Says whether it has carried one before.
    pub(crate) fn serve(&self) -> bool {
        self.served.replace(self.served.get() + 1) > 0
    }
}

/// A request under way: counts as load of its endpoint until it is dropped.
pub(crate) struct Active(Rc<Target>);

impl Active {
    pub(crate) fn new(target: Rc<Target>) -> Self {
        target.active.set(target.active.get() + 1);
        Self(target)
    }
}

impl std::ops::Deref for Active {
    type Target = Rc<Target>;

    fn deref(&self) -> &Rc<Target> {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
    }
}
