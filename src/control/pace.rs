//! When what is written into the cluster: each object at most once a second, in bursts less often; a state machine without a clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// A change waits for what comes with it: a new Gateway's acknowledgements are there in no time.
const SOON: Duration = Duration::from_millis(50);
/// Between two writes of an object.
const LEAST: Duration = Duration::from_secs(1);
/// What can wait is written once it has been quiet for so long,
const QUIET: Duration = Duration::from_millis(250);
/// or has waited for so long, which doubles with every time,
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// The longest time between two tries of what fails.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Objects that wait for being written.
pub struct Pace<K> {
    turns: BTreeMap<K, Turn>,
    due: BTreeSet<(Instant, K)>,
}

/// One object.
#[derive(Clone, Debug, Default)]
struct Turn {
    due: Option<Instant>,
    /// When it first wanted to be written.
    since: Option<Instant>,
    /// It can't be written again before.
    not_before: Option<Instant>,
    /// How long it may be put off.
    wait: Option<Duration>,
    failures: u32,
    is_writing: bool,
}

impl<K: Ord + Clone> Default for Pace<K> {
    fn default() -> Self {
        Self { turns: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Pace<K> {
    /// An object differs. What can wait waits until nothing more comes.
    pub fn differs(&mut self, key: &K, can_wait: bool, now: Instant) {
        let turn = self.turns.entry(key.clone()).or_default();
        let since = *turn.since.get_or_insert(now);
        let wanted = match can_wait {
            true => (now + QUIET).min(since + turn.wait.unwrap_or(FIRST_WAIT)),
            false => now + SOON,
        };
        // What is urgent stays so.
        let wanted = turn.due.filter(|_| !can_wait).map_or(wanted, |due| due.min(wanted));
        let wanted = turn.not_before.map_or(wanted, |earliest| earliest.max(wanted));
        self.schedule(key, Some(wanted));
    }

    /// An object is as it should be.
    pub fn settled(&mut self, key: &K) {
        if let Some(turn) = self.turns.get_mut(key) {
            turn.since = None;
            self.schedule(key, None);
        }
    }

    /// An object whose turn it was needs nothing after all.
    pub fn skip(&mut self, key: &K) {
        if let Some(turn) = self.turns.get_mut(key) {
            (turn.is_writing, turn.since) = (false, None);
        }
    }

    /// An object whose turn it is; it is being written until [`Pace::written`].
    pub fn next(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.due.first().cloned()?;
        if at > now {
            return None;
        }
        self.schedule(&key, None);
        if let Some(turn) = self.turns.get_mut(&key) {
            turn.is_writing = true;
        }
        Some(key)
    }

    /// When to ask again.
    pub fn wake(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// An object was written, or could not be: then it is due again.
    pub fn written(&mut self, key: &K, is_ok: bool, now: Instant) {
        let Some(turn) = self.turns.get_mut(key) else { return };
        turn.is_writing = false;
        let waited = turn.since.take().map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        if is_ok {
            turn.failures = 0;
            turn.not_before = Some(now + LEAST);
            let wait = turn.wait.unwrap_or(FIRST_WAIT);
            // It never became quiet: the next time may take longer.
            turn.wait = if waited >= wait { Some((wait * 2).min(LONGEST_WAIT)) } else { None };
            return;
        }
        turn.failures += 1;
        let backoff = LEAST * 2u32.saturating_pow(turn.failures.min(8) - 1);
        let again = now + backoff.min(LONGEST_BACKOFF);
        turn.not_before = Some(again);
        self.schedule(key, Some(again));
    }

    /// Forgets what has been quiet for long.
    pub fn tidy(&mut self, now: Instant) {
        self.turns.retain(|_, turn| {
            turn.is_writing || turn.due.is_some() || turn.not_before.is_some_and(|at| at + LONGEST_WAIT > now)
        });
    }

    fn schedule(&mut self, key: &K, at: Option<Instant>) {
        let Some(turn) = self.turns.get_mut(key) else { return };
        if let Some(due) = turn.due.take() {
            self.due.remove(&(due, key.clone()));
        }
        // While it is being written nothing else is; who writes looks again afterwards.
        if let Some(at) = at.filter(|_| !turn.is_writing) {
            turn.due = Some(at);
            self.due.insert((at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `changes` (seconds, whether they can wait) and returns when something was written.
    fn writes(changes: &[(f64, bool)]) -> Vec<f64> {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (mut pace, mut written) = (Pace::default(), Vec::new());
        let mut changes = changes.iter().peekable();
        for tick in 0..12_000 {
            let seconds = f64::from(tick) / 100.0;
            while let Some((_, can_wait)) = changes.next_if(|(when, _)| *when <= seconds) {
                pace.differs(&(), *can_wait, at(seconds));
            }
            if pace.next(at(seconds)).is_some() {
                written.push(seconds);
                pace.written(&(), true, at(seconds));
            }
        }
        written
    }

    #[test]
    fn one_change_goes_at_once_and_the_next_within_a_second() {
        assert_eq!(writes(&[(0.0, false), (0.1, false), (0.2, false)]), [0.05, 1.05]);
    }

    #[test]
    fn a_burst_of_counts_is_written_seldom_and_its_end_soon() {
        let burst: Vec<_> = (0..1000).map(|number| (f64::from(number) * 0.06, true)).collect();
        let written = writes(&burst);
        assert!(written.len() <= 12, "{written:?}");
        let (last_change, last_write) = (burst[999].0, written[written.len() - 1]);
        assert!(last_write > last_change && last_write <= last_change + 1.0, "{written:?}");
    }

    #[test]
    fn who_is_opposed_for_ever_writes_once_a_second() {
        let opposed: Vec<_> = (0..1000).map(|number| (f64::from(number) / 100.0, false)).collect();
        assert!(writes(&opposed).len() <= 11);
    }

    #[test]
    fn what_fails_is_tried_less_and_less() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.differs(&(), false, start);
        let mut now = start;
        let mut gaps = Vec::new();
        for _ in 0..9 {
            let next = pace.wake().unwrap();
            gaps.push((next - now).as_secs());
            now = next;
            assert!(pace.next(now).is_some());
            // A change in the meantime doesn't make it sooner.
            pace.differs(&(), false, now);
            pace.written(&(), false, now);
        }
        assert_eq!(gaps, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
