//! Whether the API server answers: said once when it stops, once when it is back.

use super::LONGEST_WAIT;
use crate::{cluster::whole, metrics::Metrics};
use base::drain::Drain;
use kube::{
    Client,
    runtime::{utils, watcher},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The first wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// An API server that was just started knows nobody's rights for a while.
const STARTING: Duration = Duration::from_secs(5);
/// How often the API server is asked whether it is back.
const PERIOD: Duration = Duration::from_secs(1);

/// How well the watches do.
pub struct Health {
    metrics: Metrics,
    state: Mutex<State>,
    failed: Notify,
    /// Cheaper to look at than the state.
    any_forbidden: AtomicBool,
}

#[derive(Default)]
struct State {
    /// When a watch last failed.
    last: Option<Instant>,
    /// Kinds that we have no right to read: since when, and whether it was said.
    forbidden: BTreeMap<String, (Instant, bool)>,
}

impl Health {
    /// All is well until something fails.
    pub fn new(metrics: Metrics) -> Self {
        metrics.follows(true);
        Self { metrics, state: Mutex::default(), failed: Notify::new(), any_forbidden: AtomicBool::new(false) }
    }

    /// A watch failed; it is tried again. Says whether that is, for longer than a moment, for want of a right.
    pub fn failed(&self, what: &str, error: &watcher::Error) -> bool {
        let mut state = self.state();
        if is_forbidden(error) {
            self.any_forbidden.store(true, Ordering::Relaxed);
            let (since, said) = state.forbidden.entry(what.to_owned()).or_insert((Instant::now(), false));
            let lasts = since.elapsed() > STARTING;
            if lasts && !std::mem::replace(said, true) {
                tracing::error!(what, %error, "the API server refuses a watch: grant get, list and watch");
                self.count(&state);
            }
            return lasts;
        }
        // It has forgotten what was before: everything is listed anew, and nothing is wrong.
        if matches!(error, watcher::Error::WatchError(status) if status.code == 410) {
            return false;
        }
        if state.last.replace(Instant::now()).is_none() {
            let error = whole(error);
            tracing::warn!(what, error, "the API server can't be followed; what is known stays in use");
            self.metrics.follows(false);
            self.failed.notify_one();
        }
        false
    }

    /// A watch has said something: there is a right to it.
    pub fn well(&self, what: &str) {
        if self.any_forbidden.load(Ordering::Relaxed) {
            let mut state = self.state();
            if state.forbidden.remove(what).is_some_and(|(_, said)| said) {
                tracing::info!(what, "the API server lets it be watched again");
                self.count(&state);
            }
            self.any_forbidden.store(!state.forbidden.is_empty(), Ordering::Relaxed);
        }
    }

    fn count(&self, state: &State) {
        self.metrics.forbidden(state.forbidden.values().filter(|(_, said)| *said).count());
    }

    /// Says when the API server is back, until the drain.
    pub async fn follow(&self, client: Client, mut drain: Drain) {
        loop {
            tokio::select! {
                () = self.failed.notified() => {}
                () = drain.drained() => return,
            }
            let began = Instant::now();
            tokio::select! {
                () = self.back(&client) => tracing::info!(after = ?began.elapsed(), "the API server is followed again"),
                () = drain.drained() => return,
            }
        }
    }

    /// Waits until the API server answers and no watch has failed for longer than any of them waits.
    async fn back(&self, client: &Client) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let answers = tokio::time::timeout(LONGEST_WAIT, client.apiserver_version()).await;
            let mut state = self.state();
            let calm = state.last.is_none_or(|last| last.elapsed() > LONGEST_WAIT + PERIOD);
            if calm && matches!(answers, Ok(Ok(_))) {
                state.last = None;
                self.metrics.follows(true);
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether we have no right to what was asked for.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// Waits between tries: twice as long each time, up to a bound, and never twice the same for two watches.
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// With that first wait and that longest one.
    pub fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, failures: 0 }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new((FIRST_WAIT, LONGEST_WAIT))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        Some(wait.mul_f64(rand::random_range(0.5..1.0)))
    }
}

impl utils::Backoff for Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
