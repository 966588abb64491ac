//! Texts and patterns that many resources share are kept once.

use super::re2;
use crate::config::Name;
use regex::Regex;
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

/// What parsing shares between resources: it belongs to whoever parses, one at a time.
#[derive(Default)]
pub struct Context {
    names: RefCell<HashSet<Name>>,
    patterns: RefCell<HashMap<Name, Weak<Regex>>>,
    /// Size at which the next sweep is due.
    sweep_at: RefCell<usize>,
}

impl Context {
    pub(super) fn name(&self, text: &str) -> Name {
        let mut names = self.names.borrow_mut();
        if let Some(name) = names.get(text) {
            return name.clone();
        }
        let name: Name = text.into();
        names.insert(name.clone());
        name
    }

    pub(super) fn pattern(&self, pattern: &str) -> Result<Arc<Regex>, String> {
        if let Some(regex) = self.patterns.borrow().get(pattern).and_then(Weak::upgrade) {
            return Ok(regex);
        }
        let regex = Arc::new(re2::full(pattern)?);
        self.patterns.borrow_mut().insert(pattern.into(), Arc::downgrade(&regex));
        Ok(regex)
    }

    /// Forgets what nothing uses any more, whenever twice as much is kept as after the last time.
    pub fn sweep(&self) {
        let (mut names, mut patterns) = (self.names.borrow_mut(), self.patterns.borrow_mut());
        let mut sweep_at = self.sweep_at.borrow_mut();
        if names.len() + patterns.len() > *sweep_at {
            names.retain(|name| Arc::strong_count(name) > 1);
            patterns.retain(|_, regex| regex.strong_count() > 0);
            *sweep_at = 1024 + 2 * (names.len() + patterns.len());
        }
    }
}
