//! How far long work is: on standard error, only if that is a terminal, and only once it takes long.

use std::{
    cell::{Cell, RefCell},
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Work under way; its line disappears when this is dropped.
pub struct Progress {
    what: &'static str,
    total: usize,
    done: Cell<usize>,
    /// When the line was last written, or the work was begun; none is no terminal.
    last: RefCell<Option<Instant>>,
    shown: Cell<bool>,
}

/// Work shorter than this has no line, and no line is written more often.
const PAUSE: Duration = Duration::from_millis(300);

impl Progress {
    /// Begins work of so many steps.
    pub fn new(what: &'static str, total: usize) -> Self {
        let last = std::io::stderr().is_terminal().then(Instant::now);
        Self { what, total, done: Cell::new(0), last: RefCell::new(last), shown: Cell::new(false) }
    }

    /// One step more.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        let mut last = self.last.borrow_mut();
        if last.is_some_and(|last| last.elapsed() >= PAUSE) {
            *last = Some(Instant::now());
            self.shown.set(true);
            self.write(&format!("{} {} of {}", self.what, self.done.get(), self.total));
        }
    }

    fn write(&self, text: &str) {
        // Whoever closed standard error doesn't want to know.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        let _ = std::io::stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.get() {
            self.write("");
        }
    }
}
