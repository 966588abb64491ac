//! How many requests to a cluster are retries, and how many may be (`retry_budget`), counted by all workers together.

use crate::{config::RetryBudget, worker::now};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

/// The counters of a cluster that has a budget.
#[derive(Debug)]
pub struct Retries {
    pub(crate) budget: RetryBudget,
    born: Instant,
    /// Requests under way.
    requests: AtomicU32,
    /// Retries under way.
    retries: AtomicU32,
    /// Requests that began, by tenths of the interval in turn: above, which tenth since the start; below, how many.
    tenths: [AtomicU64; TENTHS as usize],
}

/// As finely as Envoy forgets.
const TENTHS: u32 = 10;

impl Retries {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        let (requests, retries, tenths) = Default::default();
        Self { budget, born: Instant::now(), requests, retries, tenths }
    }

    /// A request is sent, whether it is the first of its kind or another try. It counts as one under way until dropped.
    pub(crate) fn count(&self) -> Request<'_> {
        self.count_at(now())
    }

    fn count_at(&self, now: Instant) -> Request<'_> {
        let tenth = self.tenth(now);
        let cell = &self.tenths[(tenth % TENTHS) as usize];
        let one_more = |counted: u64| {
            let (of, count) = ((counted >> 32) as u32, counted as u32);
            let count = if of == tenth { count.saturating_add(1) } else { 1 };
            Some(u64::from(tenth) << 32 | u64::from(count))
        };
        // It never says no.
        let _ = cell.fetch_update(Relaxed, Relaxed, one_more);
        self.requests.fetch_add(1, Relaxed);
        Request(self)
    }

    /// Room for one more retry, if there is any. It is taken until dropped.
    pub(crate) fn take(&self) -> Option<Retry<'_>> {
        self.take_at(now())
    }

    fn take_at(&self, now: Instant) -> Option<Retry<'_>> {
        let most = self.most(now);
        let taken = self.retries.fetch_update(Relaxed, Relaxed, |retries| (retries < most).then_some(retries + 1));
        taken.ok().map(|_| Retry(self))
    }

    /// How many retries there may be at a time.
    fn most(&self, now: Instant) -> u32 {
        let requests = if self.budget.interval.is_zero() {
            self.requests.load(Relaxed).into()
        } else {
            let now = self.tenth(now);
            let counted = self.tenths.iter().map(|cell| cell.load(Relaxed));
            let recent = counted.filter(|counted| now.wrapping_sub((counted >> 32) as u32) < TENTHS);
            recent.map(|counted| counted & u64::from(u32::MAX)).sum::<u64>()
        };
        let share = requests * u64::from(self.budget.per_million) / 1_000_000;
        self.budget.least.max(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Which tenth of an interval it is since the start.
    fn tenth(&self, now: Instant) -> u32 {
        let tenth = (self.budget.interval / TENTHS).as_nanos().max(1);
        (now.duration_since(self.born).as_nanos() / tenth) as u32
    }
}

/// A request under way.
pub(crate) struct Request<'a>(&'a Retries);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

/// A retry under way.
pub(crate) struct Retry<'a>(&'a Retries);

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        self.0.retries.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn retries(percent: u32, seconds: u64, least: u32) -> Retries {
        Retries::new(RetryBudget { per_million: percent * 10_000, interval: Duration::from_secs(seconds), least })
    }

    /// Takes as many retries as it gets.
    fn all(retries: &Retries, seconds: u64) -> usize {
        let now = retries.born + Duration::from_secs(seconds);
        let taken: Vec<_> = std::iter::from_fn(|| retries.take_at(now)).take(100).collect();
        taken.len()
    }

    #[test]
    fn some_may_always_be_and_come_back() {
        let retries = retries(20, 10, 2);
        let taken = (retries.take(), retries.take(), retries.take());
        assert!(taken.0.is_some() && taken.1.is_some() && taken.2.is_none());
        drop(taken.0);
        assert_eq!(all(&retries, 0), 1);
    }

    #[test]
    fn a_share_of_the_requests_of_the_last_seconds() {
        let retries = retries(20, 10, 0);
        let count = |requests: u32, seconds: u64| {
            (0..requests).for_each(|_| drop(retries.count_at(retries.born + Duration::from_secs(seconds))));
        };
        assert_eq!(all(&retries, 0), 0);
        count(9, 0);
        assert_eq!(all(&retries, 0), 1);
        count(6, 5);
        assert_eq!(all(&retries, 5), 3);
        assert_eq!(all(&retries, 10), 1, "the first nine are forgotten");
        count(5, 20);
        assert_eq!(all(&retries, 20), 1, "those before in the same tenth are forgotten too");
        assert_eq!(all(&retries, 1000), 0);
    }

    #[test]
    fn a_share_of_the_requests_under_way() {
        let retries = retries(50, 0, 0);
        let requests: Vec<_> = (0..3).map(|_| retries.count()).collect();
        assert_eq!(all(&retries, 0), 1);
        drop(requests);
        assert_eq!(all(&retries, 0), 0);
    }
}
