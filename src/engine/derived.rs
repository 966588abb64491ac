//! Derived tables: a function of one key of another table, its recorded reads, and what it emitted.

use crate::{
    Key, Rows, Table, Value, View,
    commit::{AnyTable, Context, Work},
    edges::{Node, difference},
    few::{Few, reserve},
    store::{AnyStore, Store},
    view::{Read, store_of},
};
use std::{
    cmp::Ordering,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A table computed from the table `over`, one producer for each of that table's keys.
pub(crate) struct Derived<K, V, K2, V2, F> {
    index: u32,
    over: Table<K, V>,
    function: F,
    store: Store<K2, V2>,
    /// By id of the key in `over`.
    producers: Vec<Producer>,
    dirty: Vec<u32>,
    computed: u64,
}

/// What one producer read and emitted last.
#[derive(Default)]
struct Producer {
    reads: Few<Node>,
    emitted: Few<u32>,
    dirty: bool,
}

/// What a producer emits now.
struct Outcome<K2, V2> {
    producer: u32,
    rows: Vec<(K2, Arc<V2>)>,
    reads: Vec<Read>,
}

/// A row that was just computed.
struct Fresh<V2> {
    id: u32,
    producer: u32,
    row: Arc<V2>,
}

/// Fewer dirty rows than this are computed on the caller's thread: starting one costs about as much as they do.
const WORTH_THREADS: usize = 64;
/// How many rows a thread takes at a time.
const BLOCK: usize = 16;

impl<K, V, K2, V2, F> Derived<K, V, K2, V2, F>
where
    K: Key,
    V: Value,
    K2: Key,
    V2: Value,
    F: Fn(&View, &K, &Rows<V>) -> Vec<(K2, V2)> + Send + Sync + 'static,
{
    pub(crate) fn new(name: &'static str, index: u32, over: Table<K, V>, function: F) -> Self {
        Self { index, over, function, store: Store::new(name), producers: Vec::new(), dirty: Vec::new(), computed: 0 }
    }

    /// Computes the dirty producers. Changes nothing: a panic leaves them dirty.
    fn compute(&self, before: &[Box<dyn AnyTable>], threads: usize) -> Vec<Outcome<K2, V2>> {
        if threads < 2 || self.dirty.len() < WORTH_THREADS {
            return self.dirty.iter().map(|&producer| self.compute_one(before, producer)).collect();
        }
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            while let Some(block) = self.dirty.chunks(BLOCK).nth(next.fetch_add(1, Relaxed)) {
                done.extend(block.iter().map(|&producer| self.compute_one(before, producer)));
            }
            done
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
            let mut outcomes = worker();
            for other in others {
                match other.join() {
                    Ok(done) => outcomes.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            outcomes
        })
    }

    fn compute_one(&self, before: &[Box<dyn AnyTable>], producer: u32) -> Outcome<K2, V2> {
        let over = store_of(before, self.over);
        let rows = over.cell(producer).rows();
        if rows.is_empty() {
            return Outcome { producer, rows: Vec::new(), reads: Vec::new() };
        }
        let view = View::new(before);
        let emitted = (self.function)(&view, over.key(producer), &rows);
        let rows = emitted.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
        Outcome { producer, rows, reads: view.into_reads() }
    }

    /// Replaces the recorded reads of a producer, and the edges with them.
    fn record(&mut self, before: &mut [Box<dyn AnyTable>], producer: u32, reads: Vec<Read>) {
        let nodes = Few::new(reads.into_iter().map(|read| match read {
            Read::Known(node) => node,
            Read::Absent(table, key) => Node { table, id: before[table as usize].store_mut().intern_any(key) },
        }));
        let reader = Node { table: self.index, id: producer };
        let state = &mut self.producers[producer as usize];
        let mut come = Vec::new();
        let gone = |node: Node| before[node.table as usize].store_mut().remove_reader(node.id, reader);
        difference(state.reads.as_slice(), nodes.as_slice(), gone, |node| come.push(node));
        for node in come {
            before[node.table as usize].store_mut().add_reader(node.id, reader);
        }
        state.reads = nodes;
    }

    /// Records what the producers read and emitted; gives the rows that they emitted, and all `(key, producer)` where a
    /// producer emits a key now or emitted it before.
    fn absorb(
        &mut self,
        before: &mut [Box<dyn AnyTable>],
        outcomes: Vec<Outcome<K2, V2>>,
    ) -> (Vec<Fresh<V2>>, Vec<(u32, u32)>) {
        let mut fresh = Vec::with_capacity(outcomes.len());
        let mut touched = Vec::with_capacity(outcomes.len());
        for Outcome { producer, rows, reads } in outcomes {
            self.record(before, producer, reads);
            let start = fresh.len();
            for (key, row) in rows {
                fresh.push(Fresh { id: self.store.intern(key), producer, row });
            }
            let emitted = Few::new(fresh[start..].iter().map(|row| row.id));
            let state = &mut self.producers[producer as usize];
            touched.extend(state.emitted.as_slice().iter().chain(emitted.as_slice()).map(|&id| (id, producer)));
            state.emitted = emitted;
        }
        (fresh, touched)
    }

    /// Brings the rows of a key up to date with what its dirty producers emit now; says whether they differ.
    ///
    /// A key may have 10,000 producers, of which one changed, or was computed again to the same result: that must not
    /// cost 10,000 steps. So a producer's rows are found by search, and those of a single one that changed are spliced in.
    fn merge(&mut self, over: &Store<K, V>, id: u32, dirty: &[(u32, u32)], fresh: &[Fresh<V2>]) -> bool {
        let cell = self.store.cell(id);
        let mut rest = fresh;
        let mut changed = dirty.iter().filter_map(|&(_, producer)| {
            let (mine, others) = rest.split_at(rest.iter().take_while(|row| row.producer == producer).count());
            rest = others;
            let range = cell.range(|other| over.key(other).cmp(over.key(producer)));
            let old = &cell.as_slice()[range.clone()];
            let equal = old.len() == mine.len() && old.iter().zip(mine).all(|(old, new)| *old == new.row);
            (!equal).then_some((range, producer, mine))
        });
        match (changed.next(), changed.next()) {
            (None, _) => false,
            (Some((range, producer, rows)), None) => {
                let rows = rows.iter().map(|row| row.row.clone()).collect();
                self.store.splice(id, range, producer, rows);
                true
            }
            _ => self.rebuild(over, id, fresh),
        }
    }

    /// Puts a key's rows together: the old ones of producers that were not computed, and the fresh ones, in the order of
    /// the producers' keys.
    fn rebuild(&mut self, over: &Store<K, V>, id: u32, fresh: &[Fresh<V2>]) -> bool {
        let cell = self.store.cell(id);
        let mut old = cell
            .producers()
            .iter()
            .zip(cell.as_slice())
            .filter(|(producer, _)| !self.producers[**producer as usize].dirty)
            .peekable();
        let mut producers = Vec::with_capacity(fresh.len());
        let mut rows = Vec::with_capacity(fresh.len());
        for new in fresh {
            while let Some((producer, row)) = old.next_if(|(producer, _)| over.key(**producer) < over.key(new.producer))
            {
                producers.push(*producer);
                rows.push(row.clone());
            }
            producers.push(new.producer);
            rows.push(new.row.clone());
        }
        for (producer, row) in old {
            producers.push(*producer);
            rows.push(row.clone());
        }
        self.store.set(id, producers, rows)
    }
}

impl<K, V, K2, V2, F> AnyTable for Derived<K, V, K2, V2, F>
where
    K: Key,
    V: Value,
    K2: Key,
    V2: Value,
    F: Fn(&View, &K, &Rows<V>) -> Vec<(K2, V2)> + Send + Sync + 'static,
{
    fn store(&self) -> &dyn AnyStore {
        &self.store
    }

    fn store_mut(&mut self) -> &mut dyn AnyStore {
        &mut self.store
    }

    fn mark(&mut self, producer: u32) {
        let place = producer as usize;
        while place >= self.producers.len() {
            reserve(&mut self.producers);
            self.producers.push(Producer::default());
        }
        if !self.producers[place].dirty {
            self.producers[place].dirty = true;
            self.dirty.push(producer);
        }
    }

    fn update(&mut self, context: Context) -> Vec<u32> {
        if self.dirty.is_empty() {
            return Vec::new();
        }
        let outcomes = self.compute(context.before, context.threads);
        self.computed += outcomes.len() as u64;
        let (mut fresh, mut touched) = self.absorb(context.before, outcomes);
        let over = store_of(context.before, self.over);
        let order = |a: (u32, u32), b: (u32, u32)| {
            a.0.cmp(&b.0).then_with(|| match a.1 == b.1 {
                true => Ordering::Equal,
                false => over.key(a.1).cmp(over.key(b.1)),
            })
        };
        // Stable: within one producer the order of emission stays.
        fresh.sort_by(|a, b| order((a.id, a.producer), (b.id, b.producer)));
        touched.sort_unstable_by(|a, b| order(*a, *b));
        touched.dedup();
        let mut rest = fresh.as_slice();
        let mut changed = Vec::new();
        for dirty in touched.chunk_by(|a, b| a.0 == b.0) {
            let id = dirty[0].0;
            let (mine, others) = rest.split_at(rest.partition_point(|row| row.id <= id));
            rest = others;
            if self.merge(over, id, dirty, mine) {
                changed.push(id);
            }
        }
        for producer in std::mem::take(&mut self.dirty) {
            self.producers[producer as usize].dirty = false;
        }
        changed
    }

    fn work(&self) -> Work {
        Work {
            computed: self.computed,
            producers: self.producers.iter().filter(|one| !one.emitted.as_slice().is_empty()).count(),
        }
    }
}
