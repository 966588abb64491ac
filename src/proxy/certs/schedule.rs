//! When to renew, and when to try again: both spread out, so that many proxies don't ask at once.

use rand::Rng;
use std::time::{Duration, SystemTime};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The least time between two renewals: a certificate with seconds to live must not make its holder spin.
const LEAST_LIFE: Duration = Duration::from_secs(1);

/// When to renew a certificate: at half of the life that it had left when it was received, give or take 15 percent of
/// that. Then 10,000 proxies that started in one second renew at no more than 1.7 times their mean rate.
pub(crate) fn renewal(received: SystemTime, not_after: SystemTime) -> SystemTime {
    let life = not_after.duration_since(received).unwrap_or_default();
    received + life.mul_f64(rand::rng().random_range(0.35..0.65)).max(LEAST_LIFE)
}

/// How long to wait after each failure: twice as long each time up to a limit, and of that between half and all.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_WAIT)
    }
}

impl Backoff {
    pub fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(rand::rng().random_range(0.5..1.0));
        self.0 = (self.0 * 2).min(LONGEST_WAIT);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_spread_around_half_life() {
        let start = SystemTime::UNIX_EPOCH;
        let mut buckets = [0; 20];
        for _ in 0..20_000 {
            let at = renewal(start, start + Duration::from_secs(20_000)).duration_since(start).unwrap();
            buckets[at.as_secs() as usize / 1000] += 1;
        }
        // One renewal a half life is 2,000 a bucket on average.
        assert!(buckets.iter().all(|count| *count <= 4_000), "{buckets:?}");
        assert!(buckets[..7].iter().chain(&buckets[13..]).all(|count| *count == 0), "{buckets:?}");
    }

    #[test]
    fn waits_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST_WAIT);
        for _ in 0..64 {
            assert!(backoff.next() <= LONGEST_WAIT);
        }
        assert!(backoff.next() >= LONGEST_WAIT / 2);
    }
}
