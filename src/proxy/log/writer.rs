//! Lines on their way out. A worker appends to a buffer of its own, and is never held up: a thread collects the buffers
//! and writes; when it can't keep up, lines are dropped and counted.

use crate::config::LogSink;
use std::{
    fs::OpenOptions,
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Bytes that may wait in one worker's buffer for one sink.
const LARGEST: usize = 1 << 20;
/// How long lines are collected before they are written.
const PAUSE: Duration = Duration::from_millis(20);

/// The owner of the writing thread. What is buffered when it is dropped is written first.
pub struct Writer {
    shared: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    buffers: Mutex<Vec<Arc<Buffer>>>,
    awake: AtomicBool,
    ended: AtomicBool,
    dropped: AtomicU64,
    thread: Mutex<Option<std::thread::Thread>>,
}

/// Lines of one worker for one sink.
struct Buffer {
    sink: LogSink,
    text: Mutex<String>,
}

/// The way to all sinks.
#[derive(Clone)]
pub struct Sinks(Arc<State>);

/// A worker's way to a sink.
#[derive(Clone)]
pub struct Lines {
    state: Arc<State>,
    buffer: Arc<Buffer>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses one.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::<State>::default();
        let state = shared.clone();
        let thread = base::tasks::thread("access-log", move || state.run())?;
        *lock(&shared.thread) = Some(thread.thread().clone());
        Ok(Self { shared, thread: Some(thread) })
    }

    /// For those who write lines.
    pub fn sinks(&self) -> Sinks {
        Sinks(self.shared.clone())
    }

    /// Lines that were dropped because a sink was too slow or could not be written.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been told by its own hook.
            let _ = thread.join();
        }
    }
}

impl Sinks {
    /// A new buffer for lines to that sink.
    pub fn lines(&self, sink: &LogSink) -> Lines {
        let buffer = Arc::new(Buffer { sink: sink.clone(), text: Mutex::default() });
        lock(&self.0.buffers).push(buffer.clone());
        Lines { state: self.0.clone(), buffer }
    }
}

impl Lines {
    /// Lets `render` append one line.
    pub fn append(&self, render: impl FnOnce(&mut String)) {
        let mut text = lock(&self.buffer.text);
        if text.len() > LARGEST {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = text.is_empty();
        render(&mut text);
        drop(text);
        if was_empty
            && !self.state.awake.swap(true, Ordering::AcqRel)
            && let Some(thread) = &*lock(&self.state.thread)
        {
            thread.unpark();
        }
    }
}

impl State {
    fn run(&self) {
        let mut spare = String::new();
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            self.awake.store(false, Ordering::Release);
            let buffers = lock(&self.buffers).clone();
            for buffer in &buffers {
                spare.clear();
                std::mem::swap(&mut spare, &mut *lock(&buffer.text));
                if !spare.is_empty()
                    && let Err(error) = write(&buffer.sink, spare.as_bytes())
                {
                    let lines = spare.bytes().filter(|&byte| byte == b'\n').count() as u64;
                    self.dropped.fetch_add(lines, Ordering::Relaxed);
                    tracing::warn!(sink = ?buffer.sink, %error, lines, "access log could not be written");
                }
            }
            drop(buffers);
            if ended {
                return;
            }
            self.forget();
            if !self.awake.load(Ordering::Acquire) {
                std::thread::park();
            }
            if !self.ended.load(Ordering::Acquire) {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Forgets buffers whose workers are gone.
    fn forget(&self) {
        lock(&self.buffers).retain(|buffer| Arc::strong_count(buffer) > 1 || !lock(&buffer.text).is_empty());
    }
}

/// A file is opened for each write, so that it can be rotated under us.
fn write(sink: &LogSink, text: &[u8]) -> io::Result<()> {
    match sink {
        LogSink::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(text)?;
            out.flush()
        }
        LogSink::Stderr => io::stderr().lock().write_all(text),
        LogSink::File(path) => OpenOptions::new().create(true).append(true).open(&**path)?.write_all(text),
    }
}

// A panic while a lock is held can only lose lines.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_arrives_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let writer = Writer::start().unwrap();
        let lines = writer.sinks().lines(&LogSink::File(path.to_str().unwrap().into()));
        for number in 0..1000 {
            lines.append(|out| out.push_str(&format!("{number}\n")));
        }
        drop(writer);
        let wanted: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(std::fs::read_to_string(path).unwrap(), wanted);
    }

    #[test]
    fn a_sink_that_cannot_be_written_costs_lines_and_nothing_else() {
        let writer = Writer::start().unwrap();
        let lines = writer.sinks().lines(&LogSink::File("/nonexistent/log".into()));
        lines.append(|out| out.push_str("one\ntwo\n"));
        let state = writer.shared.clone();
        drop(writer);
        assert_eq!(state.dropped.load(Ordering::Relaxed), 2);
    }
}
