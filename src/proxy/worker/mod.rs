//! A worker: one thread with a runtime, listeners, pools and buffers of its own. Nothing here is shared with another
//! worker but what is finished: the configuration and the TLS settings.

mod clock;
mod lend;
mod permits;

pub(crate) use clock::{now, waited};
pub(crate) use lend::Scratch;

use crate::{
    config::{Config, Shared},
    io::Timer,
    log::Record,
    plane::Names,
    rehearsal::Notes,
    tls::Settings,
    upstream::Clusters,
};
use base::tasks::Tasks;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// What is told of every request that has ended; one for each worker, so that nothing is contended.
pub trait Observer {
    /// A request has ended on a connection of this manager.
    fn ended(&self, http: &crate::config::HttpManager, record: &Record<'_>);

    /// A connection that nobody looks into has reached a backend of that cluster.
    fn stream_opened(&self, _cluster: Option<&str>) {}

    /// Such a connection has ended, or never reached a backend.
    fn stream_ended(&self, _logs: &[crate::config::AccessLog], _record: &Record<'_>) {}
}

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Outer {
    pub(crate) config: Shared,
    pub(crate) tls: Arc<Settings>,
    pub(crate) names: Names,
    /// Where our own admin pages are.
    pub(crate) admin: Option<SocketAddr>,
}

/// One worker's own state.
pub(crate) struct Worker {
    /// Its tasks.
    pub(crate) tasks: Tasks,
    /// Its deadlines.
    pub(crate) timer: Timer,
    /// Its view of clusters, with pools.
    pub(crate) clusters: Clusters,
    /// Who is told of requests.
    pub(crate) observer: Box<dyn Observer>,
    /// What DNS says.
    pub(crate) names: Names,
    /// Copies of requests under way.
    pub(crate) mirrors: permits::Permits,
    /// Present if nothing may be sent to backends: it is noted instead.
    pub(crate) rehearsal: Option<Rc<Notes>>,
    /// TLS settings, shared by all workers.
    pub(crate) tls: Arc<Settings>,
    admin: Option<SocketAddr>,
    source: Shared,
    /// Counted once more here, without atomics, as every request holds it.
    #[allow(clippy::redundant_allocation)]
    current: RefCell<Rc<Arc<Config>>>,
    lent: lend::Pool,
    random: Cell<u64>,
    draining: Cell<bool>,
    /// As text, and until when it is that.
    date: RefCell<Option<(String, Instant)>>,
}

impl Worker {
    pub(crate) fn new(outer: Outer, tasks: Tasks, observer: Box<dyn Observer>) -> Self {
        let source = outer.config;
        let current = RefCell::new(Rc::new(source.load()));
        Self {
            tasks,
            timer: Timer::new(),
            clusters: Clusters::default(),
            observer,
            names: outer.names,
            mirrors: permits::Permits::default(),
            rehearsal: None,
            tls: outer.tls,
            admin: outer.admin,
            source,
            current,
            lent: lend::Pool::default(),
            random: Cell::new(rand::random::<u64>() | 1),
            draining: Cell::new(false),
            date: RefCell::default(),
        }
    }

    /// The same worker, but it opens no connections to backends.
    pub(crate) fn rehearsing(self, notes: Rc<Notes>) -> Self {
        // Zero stays zero: the first of what could be drawn, always.
        Self { rehearsal: Some(notes), random: Cell::new(0), ..self }
    }

    /// The configuration of this moment: held for one request, it doesn't change under it.
    #[allow(clippy::redundant_allocation)]
    pub(crate) fn config(&self) -> Rc<Arc<Config>> {
        let mut current = self.current.borrow_mut();
        if self.source.is_newer(&current) {
            *current = Rc::new(self.source.load());
        }
        current.clone()
    }

    /// Whether an address leads to our own admin pages. They are nobody's backend, but names outside of the cluster are
    /// resolved here, and DNS may say anything.
    pub(crate) fn is_own_page(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.admin.is_some_and(|admin| {
            admin.port() == address.port() && (ip == admin.ip() || ip.is_loopback() || ip.is_unspecified())
        })
    }

    /// A number to draw by; not for secrets (xorshift64*).
    pub(crate) fn random(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Buffers for one request.
    pub(crate) fn lend(&self) -> Box<Scratch> {
        self.lent.take()
    }

    /// Takes buffers back.
    pub(crate) fn give_back(&self, scratch: Box<Scratch>) {
        self.lent.give(scratch);
    }

    /// Whether connections are to end after the request under way.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// From now on connections end: with the answer to their next request, or when none comes for the drain's time.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.timer.fire_idle();
    }

    /// A listener has gone: connections look whether it was theirs.
    pub(crate) fn listener_gone(&self) {
        self.timer.fire_idle();
    }

    /// Calls `with` with the date for a `date` field (RFC 9110 5.6.7).
    pub(crate) fn with_date(&self, with: impl FnOnce(&str)) {
        let mut date = self.date.borrow_mut();
        if date.as_ref().is_none_or(|(_, until)| now() >= *until) {
            let wall = SystemTime::now();
            let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            *date = Some((httpdate::fmt_http_date(wall), now() + left));
        }
        with(date.as_ref().map_or("", |(text, _)| text));
    }
}
