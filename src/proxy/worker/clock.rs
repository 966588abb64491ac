//! The time, as a worker sees it: read once for all that happens between two waits.

use std::cell::Cell;
use tokio::time::Instant;

/// A reading of the clock is used so often before it is read again, so that time goes on where a worker never waits.
const USES: u32 = 16;

thread_local! {
    static NOW: Cell<(Option<Instant>, u32)> = const { Cell::new((None, 0)) };
}

/// The time of this turn of the worker; off by the length of a few requests at most.
pub(crate) fn now() -> Instant {
    let (now, uses) = NOW.get();
    match now {
        Some(now) if uses < USES => {
            NOW.set((Some(now), uses + 1));
            now
        }
        _ => {
            let now = Instant::now();
            NOW.set((Some(now), 0));
            now
        }
    }
}

/// The worker has waited: the last reading is old.
pub(crate) fn waited() {
    NOW.set((None, 0));
}
