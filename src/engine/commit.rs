//! The engine: the tables in the order of declaration, and how a batch runs through them.

use crate::{
    AsTable, Batch, Changes, Input, Key, Output, Rows, Table, Value, View, derived::Derived, source::Source,
    store::AnyStore, union::Union, view::store_of,
};
use std::any::Any;

/// Tables and how they follow from each other. One owner writes it; nothing in it waits or reads a clock.
pub struct Engine {
    tables: Vec<Box<dyn AnyTable>>,
    /// By table: the tables that are over it.
    children: Vec<Vec<usize>>,
    threads: usize,
}

/// A table without its types.
pub(crate) trait AnyTable: Send + Sync {
    /// The `Store<K, V>`.
    fn store(&self) -> &dyn AnyStore;
    fn store_mut(&mut self) -> &mut dyn AnyStore;
    /// Writes an input table; gives the ids of the keys that changed.
    fn apply(&mut self, _edits: Box<dyn Any + Send>) -> Vec<u32> {
        Vec::new()
    }
    /// Has a producer computed again by the next `update`.
    fn mark(&mut self, producer: u32);
    /// The same for a key of a table that it is over.
    fn mark_over(&mut self, _table: u32, producer: u32) {
        self.mark(producer);
    }
    /// Computes what is marked; gives the ids of the keys that changed.
    fn update(&mut self, context: Context) -> Vec<u32>;
    fn work(&self) -> Work {
        Work::default()
    }
}

/// What a table may look at while it is brought up to date.
pub(crate) struct Context<'a> {
    pub(crate) before: &'a mut [Box<dyn AnyTable>],
    pub(crate) threads: usize,
}

/// What a derived table did and holds.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) computed: u64,
    pub(crate) producers: usize,
}

/// How much an engine, or one of its tables, holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that have an id: they have rows or readers.
    pub keys: usize,
    /// Rows.
    pub rows: usize,
    /// Recorded reads.
    pub edges: usize,
    /// Producers with rows.
    pub producers: usize,
    /// Calls of derived functions since the start; retractions count too.
    pub computed: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine without tables, that computes on the caller's thread.
    pub fn new() -> Self {
        Self::with_threads(1)
    }

    /// An engine that may compute with that many threads when many rows of one table are dirty. The results are the
    /// same for any number.
    pub fn with_threads(threads: usize) -> Self {
        Self { tables: Vec::new(), children: Vec::new(), threads: threads.max(1) }
    }

    /// Declares a table that batches write.
    pub fn input<K: Key, V: Value>(&mut self, name: &'static str) -> Input<K, V> {
        self.add(Box::new(Source::<K, V>::new(name)));
        Input::new(Table::new(self.tables.len() - 1))
    }

    /// Declares a table with a function of each key of `over` and its rows, never called without rows.
    ///
    /// The function must be pure: the same key, rows and reads give the same result. If it panics, the panic comes out
    /// of `commit`; what was to be computed stays so, and the next commit takes it up again.
    pub fn derive<K: Key, V: Value, K2: Key, V2: Value>(
        &mut self,
        name: &'static str,
        over: &impl AsTable<K, V>,
        function: impl Fn(&View, &K, &Rows<V>) -> Vec<(K2, V2)> + Send + Sync + 'static,
    ) -> Table<K2, V2> {
        let (over, table) = (over.as_table(), Table::new(self.tables.len()));
        let mut derived = Derived::new(name, table.index, over, function);
        for id in store_of(&self.tables, over).live() {
            derived.mark(id);
        }
        self.children[over.index as usize].push(self.tables.len());
        self.add(Box::new(derived));
        table
    }

    /// Declares a table with all rows of others: of a key first those of the first, and so on.
    pub fn union<K: Key, V: Value>(&mut self, name: &'static str, parts: &[Table<K, V>]) -> Table<K, V> {
        let table = Table::new(self.tables.len());
        let mut union = Union::new(name, parts);
        for part in parts {
            for id in store_of(&self.tables, *part).live() {
                union.mark_over(part.index, id);
            }
            self.children[part.index as usize].push(self.tables.len());
        }
        self.add(Box::new(union));
        table
    }

    fn add(&mut self, table: Box<dyn AnyTable>) {
        self.tables.push(table);
        self.children.push(Vec::new());
    }

    /// Has the changes of a table returned by `commit`, from the next one on; the first has all its rows.
    pub fn output<K: Key, V: Value>(&mut self, table: &impl AsTable<K, V>) -> Output<K, V> {
        let table = table.as_table();
        self.tables[table.index as usize].store_mut().report();
        Output::new(table)
    }

    /// Applies the edits and brings every table up to date.
    ///
    /// # Panics
    /// If a derived function panics, or a batch was made with handles of another engine.
    pub fn commit(&mut self, batch: Batch) -> Changes {
        for (index, edits) in batch.edits {
            let changed = self.tables[index as usize].apply(edits);
            self.propagate(index as usize, &changed);
        }
        for index in 0..self.tables.len() {
            let (before, rest) = self.tables.split_at_mut(index);
            let changed = rest[0].update(Context { before, threads: self.threads });
            self.propagate(index, &changed);
        }
        let mut changes = Changes::default();
        for (index, table) in (0u32..).zip(&mut self.tables) {
            if let Some(rows) = table.store_mut().take_changes() {
                changes.tables.insert(index, rows);
            }
        }
        for table in &mut self.tables {
            table.store_mut().sweep();
        }
        changes
    }

    /// Marks what read these keys and what is over them.
    fn propagate(&mut self, index: usize, changed: &[u32]) {
        let (before, after) = self.tables.split_at_mut(index + 1);
        let store = before[index].store();
        for &id in changed {
            for &child in &self.children[index] {
                after[child - index - 1].mark_over(index as u32, id);
            }
            store.for_each_reader(id, &mut |reader| after[reader.table as usize - index - 1].mark(reader.id));
        }
    }

    /// The rows of a key.
    pub fn read<K: Key, V: Value>(&self, table: &impl AsTable<K, V>, key: &K) -> Rows<V> {
        let store = store_of(&self.tables, table.as_table());
        store.id(key).map_or(Rows::EMPTY, |id| store.cell(id).rows())
    }

    /// All keys with their rows, in order.
    pub fn iter<K: Key, V: Value>(&self, table: &impl AsTable<K, V>) -> std::vec::IntoIter<(&K, Rows<V>)> {
        store_of(&self.tables, table.as_table()).sorted().into_iter()
    }

    /// What all tables hold, by name, in the order of declaration.
    pub fn counts(&self) -> Vec<(&'static str, Counts)> {
        self.tables
            .iter()
            .map(|table| {
                let (store, work) = (table.store().counts(), table.work());
                let counts = Counts {
                    keys: store.keys,
                    rows: store.rows,
                    edges: store.edges,
                    producers: work.producers,
                    computed: work.computed,
                };
                (table.store().name(), counts)
            })
            .collect()
    }
}
