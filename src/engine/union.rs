//! Tables put together from others.

use crate::{
    Key, Table, Value,
    commit::{AnyTable, Context},
    store::{AnyStore, Store},
    view::store_of,
};
use std::sync::Arc;

/// All rows of the parts: for a key those of the first part, then those of the second, and so on.
pub(crate) struct Union<K, V> {
    parts: Vec<Table<K, V>>,
    store: Store<K, V>,
    /// Table and id of keys of parts that changed.
    dirty: Vec<(u32, u32)>,
}

impl<K: Key, V: Value> Union<K, V> {
    pub(crate) fn new(name: &'static str, parts: &[Table<K, V>]) -> Self {
        Self { parts: parts.to_vec(), store: Store::new(name), dirty: Vec::new() }
    }
}

impl<K: Key, V: Value> AnyTable for Union<K, V> {
    fn store(&self) -> &dyn AnyStore {
        &self.store
    }

    fn store_mut(&mut self) -> &mut dyn AnyStore {
        &mut self.store
    }

    /// It reads nothing through a view, so nothing names it as a reader.
    fn mark(&mut self, _: u32) {}

    fn mark_over(&mut self, table: u32, id: u32) {
        self.dirty.push((table, id));
    }

    fn update(&mut self, context: Context) -> Vec<u32> {
        let dirty = std::mem::take(&mut self.dirty);
        let part = |table: u32| store_of(context.before, Table::<K, V>::new(table as usize));
        let mut keys: Vec<&K> = dirty.iter().map(|&(table, id)| part(table).key(id)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut changed = Vec::new();
        for key in keys {
            let mut rows: Vec<Arc<V>> = Vec::new();
            for store in self.parts.iter().map(|table| store_of(context.before, *table)) {
                rows.extend_from_slice(store.id(key).map_or(&[], |id| store.cell(id).as_slice()));
            }
            let known = self.store.id(key).filter(|_| rows.is_empty());
            let Some(id) = known.or_else(|| (!rows.is_empty()).then(|| self.store.intern(key.clone()))) else {
                continue;
            };
            if self.store.set(id, vec![0; rows.len()], rows) {
                changed.push(id);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use crate::{Batch, Engine, Rows, View};

    #[test]
    fn a_union_has_the_rows_of_all_parts_and_forgets_them() {
        let mut engine = Engine::new();
        let (a, b) = (engine.input::<u8, u8>("a"), engine.input::<u8, u8>("b"));
        let mut batch = Batch::new();
        batch.set(&b, 1, 20);
        batch.set(&a, 1, 10);
        batch.set(&b, 2, 30);
        let _ = engine.commit(batch);
        let both = engine.union("both", &[*a, *b]);
        let sums = engine.derive("sums", &both, |_: &View, key: &u8, rows: &Rows<u8>| {
            vec![(*key, rows.iter().map(|row| u32::from(**row)).sum::<u32>())]
        });
        let out = engine.output(&both);
        let rows = |changes: &crate::Changes| -> Vec<(u8, Vec<u8>)> {
            changes.of(&out).map(|(key, rows)| (*key, rows.iter().map(|row| **row).collect())).collect()
        };
        assert_eq!(rows(&engine.commit(Batch::new())), [(1, vec![10, 20]), (2, vec![30])]);
        assert_eq!(*engine.read(&sums, &1)[0], 30);
        let mut batch = Batch::new();
        batch.remove(&a, 1);
        batch.remove(&b, 1);
        batch.set(&a, 3, 7);
        batch.remove(&a, 9);
        assert_eq!(rows(&engine.commit(batch)), [(1, vec![]), (3, vec![7])]);
        let counts = engine.counts();
        assert!(counts.iter().any(|(name, counts)| (*name, counts.keys, counts.rows) == ("both", 2, 2)), "{counts:?}");
        assert!(engine.read(&sums, &1).is_empty());
    }
}
