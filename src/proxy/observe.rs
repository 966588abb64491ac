//! What becomes of a request that has ended: a line in each access log, and counts.

use crate::{
    Observer,
    config::{HttpManager, LogSink},
    log::{Lines, Record, Sinks},
    metrics::{Counters, Traffic},
};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// One worker's logs and counts.
pub(crate) struct Watch {
    counters: Counters,
    sinks: Sinks,
    lines: RefCell<FxHashMap<LogSink, Lines>>,
}

impl Watch {
    pub(crate) fn new(traffic: &Traffic, sinks: Sinks) -> Self {
        Self { counters: traffic.counters(), sinks, lines: RefCell::default() }
    }
}

impl Observer for Watch {
    fn ended(&self, http: &HttpManager, record: &Record<'_>) {
        for log in &http.access_logs {
            let mut lines = self.lines.borrow_mut();
            let to = match lines.get(&log.sink) {
                Some(to) => to,
                None => lines.entry(log.sink.clone()).or_insert_with(|| self.sinks.lines(&log.sink)),
            };
            to.append(|out| log.format.render(record, out));
        }
        self.counters.count(record);
    }
}
