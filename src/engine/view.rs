//! What a derived function reads through: every read is recorded.

use crate::{AsTable, Key, Rows, Table, Value, commit::AnyTable, edges::Node, store::Store};
use std::{any::Any, cell::RefCell, sync::Arc};

/// The tables declared before the one that is being computed, as of this commit.
pub struct View<'a> {
    tables: &'a [Box<dyn AnyTable>],
    reads: RefCell<Vec<Read>>,
}

/// What was read. A key that the table has never seen gets its id after the computation.
pub(crate) enum Read {
    Known(Node),
    Absent(u32, Box<dyn Any + Send>),
}

impl<'a> View<'a> {
    pub(crate) fn new(tables: &'a [Box<dyn AnyTable>]) -> Self {
        Self { tables, reads: RefCell::default() }
    }

    pub(crate) fn into_reads(self) -> Vec<Read> {
        self.reads.into_inner()
    }

    /// The first row of a key.
    ///
    /// # Panics
    /// As all reads: if the handle is of another engine, or of a table that is declared later.
    pub fn get<K: Key, V: Value>(&self, table: &impl AsTable<K, V>, key: &K) -> Option<Arc<V>> {
        self.read(table.as_table(), key, |rows| rows.first().cloned())
    }

    /// All rows of a key, in the order of their producers.
    pub fn rows<K: Key, V: Value>(&self, table: &impl AsTable<K, V>, key: &K) -> Rows<V> {
        let table = table.as_table();
        let store: &Store<K, V> = store_of(self.tables, table);
        self.record(table, store, key).map_or(Rows::EMPTY, |id| store.cell(id).rows())
    }

    /// Whether a key has rows.
    pub fn contains<K: Key, V: Value>(&self, table: &impl AsTable<K, V>, key: &K) -> bool {
        self.read(table.as_table(), key, |rows| !rows.is_empty())
    }

    fn read<K: Key, V: Value, T>(&self, table: Table<K, V>, key: &K, f: impl FnOnce(&[Arc<V>]) -> T) -> T {
        let store: &Store<K, V> = store_of(self.tables, table);
        f(self.record(table, store, key).map_or(&[], |id| store.cell(id).as_slice()))
    }

    fn record<K: Key, V: Value>(&self, table: Table<K, V>, store: &Store<K, V>, key: &K) -> Option<u32> {
        let id = store.id(key);
        self.reads.borrow_mut().push(match id {
            Some(id) => Read::Known(Node { table: table.index, id }),
            None => Read::Absent(table.index, Box::new(key.clone())),
        });
        id
    }
}

/// The store behind a handle.
pub(crate) fn store_of<K: Key, V: Value>(tables: &[Box<dyn AnyTable>], table: Table<K, V>) -> &Store<K, V> {
    tables
        .get(table.index as usize)
        .and_then(|table| (table.store() as &dyn Any).downcast_ref())
        .expect("a handle of this engine, of a table declared before the reader")
}
