//! Deadlines of one worker: one timer for all of its connections.
//!
//! A connection has one alarm and moves its deadline with a store to memory; the queue is touched only if the new
//! deadline is earlier than the one that is queued. An alarm that comes due too early is queued again. So a
//! connection under load costs the queue one step per timeout, not per request.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;

/// Milliseconds since the worker started; [`NEVER`] is no deadline.
type Millis = u64;
const NEVER: Millis = Millis::MAX;

/// The deadlines of a worker.
#[derive(Clone)]
pub(crate) struct Timer {
    queue: Rc<RefCell<Queue>>,
    start: Instant,
}

#[derive(Default)]
struct Queue {
    due: BTreeSet<(Millis, usize)>,
    entries: slab::Slab<Entry>,
    driver: Option<Waker>,
}

struct Entry {
    at: Millis,
    queued: Millis,
    fired: bool,
    /// The connection waits for a request: a drain ends it.
    idle: bool,
    waker: Option<Waker>,
}

/// The deadline has passed, or the worker drains and the connection was idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

/// The deadline of one connection or stream.
pub(crate) struct Alarm {
    timer: Timer,
    key: usize,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { queue: Rc::default(), start: Instant::now() }
    }

    /// A new alarm, without a deadline.
    pub(crate) fn alarm(&self) -> Alarm {
        let entry = Entry { at: NEVER, queued: NEVER, fired: false, idle: false, waker: None };
        Alarm { timer: self.clone(), key: self.queue.borrow_mut().entries.insert(entry) }
    }

    /// Fires the alarms of all idle connections.
    pub(crate) fn fire_idle(&self) {
        let mut queue = self.queue.borrow_mut();
        let wakers: Vec<Waker> = queue
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.idle)
            .filter_map(|(_, entry)| {
                entry.fired = true;
                entry.waker.take()
            })
            .collect();
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Fires alarms as they come due; the worker polls this for as long as it lives.
    pub(crate) async fn drive(&self) {
        let mut sleep = pin!(tokio::time::sleep_until(self.start));
        poll_fn(|cx| {
            loop {
                let now = self.millis(Instant::now());
                let (woken, next) = self.queue.borrow_mut().turn(now);
                woken.into_iter().for_each(Waker::wake);
                let mut queue = self.queue.borrow_mut();
                queue.driver = Some(cx.waker().clone());
                let Some(next) = next else { return Poll::<()>::Pending };
                drop(queue);
                sleep.as_mut().reset(self.start + Duration::from_millis(next));
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Rounded down.
    fn millis(&self, instant: Instant) -> Millis {
        instant.saturating_duration_since(self.start).as_millis() as Millis
    }
}

impl Queue {
    /// Handles what is due; gives who is to be woken and when to come again.
    fn turn(&mut self, now: Millis) -> (Vec<Waker>, Option<Millis>) {
        let mut woken = Vec::new();
        while let Some(&(at, key)) = self.due.first() {
            if at > now {
                return (woken, Some(at));
            }
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.queued = NEVER;
            if entry.at <= now {
                entry.fired = true;
                woken.extend(entry.waker.take());
            } else if entry.at != NEVER {
                entry.queued = entry.at;
                self.due.insert((entry.at, key));
            }
        }
        (woken, None)
    }

    fn set(&mut self, key: usize, at: Millis, idle: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        (entry.at, entry.fired, entry.idle) = (at, false, idle);
        if at < entry.queued {
            if entry.queued != NEVER {
                self.due.remove(&(entry.queued, key));
            }
            entry.queued = at;
            self.due.insert((at, key));
            if self.due.first() == Some(&(at, key))
                && let Some(driver) = self.driver.take()
            {
                driver.wake();
            }
        }
    }
}

impl Alarm {
    /// Moves the deadline; none is no deadline.
    pub(crate) fn set(&self, at: Option<Instant>) {
        self.put(at, false);
    }

    /// The same while the connection is idle, so that a drain fires it.
    pub(crate) fn set_idle(&self, at: Option<Instant>) {
        self.put(at, true);
    }

    fn put(&self, at: Option<Instant>, idle: bool) {
        // Rounded up, so that what fires is really due.
        let at = at.map_or(NEVER, |at| self.timer.millis(at) + 1);
        self.timer.queue.borrow_mut().set(self.key, at, idle);
    }

    /// Waits for the future, but no longer than the deadline, which may be moved meanwhile.
    pub(crate) async fn guard<T>(&self, future: impl Future<Output = T>) -> Result<T, Expired> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            let mut queue = self.timer.queue.borrow_mut();
            let Some(entry) = queue.entries.get_mut(self.key) else { return Poll::Pending };
            if entry.fired {
                return Poll::Ready(Err(Expired));
            }
            match &mut entry.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                waker => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut queue = self.timer.queue.borrow_mut();
        let entry = queue.entries.remove(self.key);
        if entry.queued != NEVER {
            queue.due.remove(&(entry.queued, self.key));
        }
    }
}
