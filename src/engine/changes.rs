//! What a commit changed.

use crate::{Key, Output, Rows, Value};
use std::{any::Any, collections::BTreeMap};

/// The changed rows of the output tables.
#[derive(Default)]
pub struct Changes {
    pub(crate) tables: BTreeMap<u32, Box<dyn Any + Send + Sync>>,
}

impl Changes {
    /// Whether no output changed.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The changed keys of an output, in order, each with its rows after the change: none if it is gone.
    pub fn of<'a, K: Key, V: Value>(
        &'a self,
        output: &Output<K, V>,
    ) -> impl Iterator<Item = (&'a K, Rows<V>)> + use<'a, K, V> {
        self.tables
            .get(&output.index)
            .and_then(|rows| rows.downcast_ref::<Vec<(K, Rows<V>)>>())
            .into_iter()
            .flatten()
            .map(|(key, rows)| (key, rows.clone()))
    }
}
