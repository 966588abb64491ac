//! Input tables.

use crate::{
    Key, Value,
    batch::Edits,
    commit::{AnyTable, Context},
    store::{AnyStore, Store},
};
use std::any::Any;

/// A table that batches write.
pub(crate) struct Source<K, V> {
    store: Store<K, V>,
}

impl<K: Key, V: Value> Source<K, V> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { store: Store::new(name) }
    }
}

impl<K: Key, V: Value> AnyTable for Source<K, V> {
    fn store(&self) -> &dyn AnyStore {
        &self.store
    }

    fn store_mut(&mut self) -> &mut dyn AnyStore {
        &mut self.store
    }

    fn apply(&mut self, edits: Box<dyn Any + Send>) -> Vec<u32> {
        let mut edits = *edits.downcast::<Edits<K, V>>().expect("a batch for this engine");
        // Stable: the last edit of a key stays the last.
        edits.sort_by(|a, b| a.0.cmp(&b.0));
        let mut changed = Vec::new();
        let mut edits = edits.into_iter().peekable();
        while let Some((key, value)) = edits.next() {
            if edits.peek().is_some_and(|(next, _)| *next == key) {
                continue;
            }
            let id = match value {
                Some(_) => self.store.intern(key),
                None => match self.store.id(&key) {
                    Some(id) => id,
                    None => continue,
                },
            };
            let rows: Vec<_> = value.into_iter().collect();
            if self.store.set(id, vec![0; rows.len()], rows) {
                changed.push(id);
            }
        }
        changed
    }

    fn mark(&mut self, _: u32) {}

    fn update(&mut self, _: Context) -> Vec<u32> {
        Vec::new()
    }
}
