//! How many of something there may be at a time.

use std::{cell::Cell, rc::Rc};

/// Counts what is under way.
#[derive(Default)]
pub(crate) struct Permits(Rc<Cell<usize>>);

/// One that is under way, until it is dropped.
pub(crate) struct Permit(Rc<Cell<usize>>);

impl Permits {
    /// One more, if there are fewer than `most`.
    pub(crate) fn take(&self, most: usize) -> Option<Permit> {
        if self.0.get() >= most {
            return None;
        }
        self.0.set(self.0.get() + 1);
        Some(Permit(self.0.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
