//! What becomes of a request that has ended: a line in each access log, and counts.

use crate::{
    Observer,
    config::{AccessLog, HttpManager, LogSink},
    log::{Lines, Record, Sinks},
    metrics::{Counters, Streams, Traffic},
};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// One worker's logs and counts.
pub(crate) struct Watch {
    counters: Counters,
    streams: Streams,
    sinks: Sinks,
    lines: RefCell<FxHashMap<LogSink, Lines>>,
}

impl Watch {
    pub(crate) fn new(traffic: &Traffic, sinks: Sinks) -> Self {
        Self { counters: traffic.counters(), streams: traffic.streams(), sinks, lines: RefCell::default() }
    }
}

impl Observer for Watch {
    fn ended(&self, http: &HttpManager, record: &Record<'_>) {
        self.write(&http.access_logs, record);
        self.counters.count(record);
    }

    fn stream_opened(&self, cluster: Option<&str>) {
        self.streams.opened(cluster);
    }

    fn stream_ended(&self, logs: &[AccessLog], record: &Record<'_>) {
        self.write(logs, record);
        self.streams.ended(record);
        self.counters.denied(record);
    }
}

impl Watch {
    fn write(&self, logs: &[AccessLog], record: &Record<'_>) {
        for log in logs {
            let mut lines = self.lines.borrow_mut();
            let to = match lines.get(&log.sink) {
                Some(to) => to,
                None => lines.entry(log.sink.clone()).or_insert_with(|| self.sinks.lines(&log.sink)),
            };
            to.append(|out| log.format.render(record, out));
        }
    }
}
