//! Edits of input tables, committed together.

use crate::{Input, Key, Value};
use std::{any::Any, collections::BTreeMap, sync::Arc};

/// Edits of input tables. The last edit of a key counts.
#[derive(Default)]
pub struct Batch {
    pub(crate) edits: BTreeMap<u32, Box<dyn Any + Send>>,
}

/// The edits of one table, in the order they were made.
pub(crate) type Edits<K, V> = Vec<(K, Option<Arc<V>>)>;

impl Batch {
    /// No edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are no edits.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Sets a row.
    pub fn set<K: Key, V: Value>(&mut self, input: &Input<K, V>, key: K, value: impl Into<Arc<V>>) {
        self.edit(input, key, Some(value.into()));
    }

    /// Removes a row, if it is there.
    pub fn remove<K: Key, V: Value>(&mut self, input: &Input<K, V>, key: K) {
        self.edit(input, key, None);
    }

    fn edit<K: Key, V: Value>(&mut self, input: &Input<K, V>, key: K, value: Option<Arc<V>>) {
        self.edits
            .entry(input.index)
            .or_insert_with(|| Box::new(Edits::<K, V>::new()))
            .downcast_mut::<Edits<K, V>>()
            .expect("handles of one engine only")
            .push((key, value));
    }
}
