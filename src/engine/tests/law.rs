//! The law: after any sequence of batches, with any number of threads, every table, its recorded edges and its interned
//! keys are what a fresh engine has that got the final inputs in one batch; and the changes that `commit` returned add
//! up to the same rows.

use engine::{AsTable, Batch, Counts, Engine, Input, Output, Rows, Table, View};
use proptest::{collection::vec, prelude::*};
use std::{collections::BTreeMap, sync::Arc};

/// How one derived table behaves. All tables have small integers as keys and values.
#[derive(Clone, Debug)]
struct Spec {
    /// Over which earlier table, modulo their number.
    over: usize,
    /// Reads of earlier tables: `(table, factor)`; the key that is read depends on the rows.
    reads: Vec<(usize, u32)>,
    /// At most so many rows are emitted for a key.
    fanout: u32,
    /// How many keys there are: few make multimaps.
    keys: u32,
    /// How many values there are: few make equal results.
    values: u32,
    /// If any, nothing is derived: the table is put together from `over` and these.
    union: Vec<usize>,
}

type Step = Vec<(usize, u32, Option<u32>)>;
type Mirror = BTreeMap<u32, Vec<u32>>;

const INPUTS: usize = 2;

struct Graph {
    engine: Engine,
    inputs: Vec<Input<u32, u32>>,
    outputs: Vec<Output<u32, u32>>,
}

fn build(specs: &[Spec], threads: usize) -> Graph {
    let mut engine = Engine::with_threads(threads);
    let inputs: Vec<_> = (0..INPUTS).map(|_| engine.input::<u32, u32>("input")).collect();
    let mut tables: Vec<Table<u32, u32>> = inputs.iter().map(AsTable::as_table).collect();
    for spec in specs {
        let over = tables[spec.over % tables.len()];
        if !spec.union.is_empty() {
            let parts: Vec<_> = spec.union.iter().map(|table| tables[table % tables.len()]).chain([over]).collect();
            tables.push(engine.union("union", &parts));
            continue;
        }
        let reads: Vec<_> = spec.reads.iter().map(|(table, by)| (tables[table % tables.len()], *by)).collect();
        let (fanout, keys, values) = (spec.fanout, spec.keys, spec.values);
        tables.push(engine.derive("derived", &over, move |view: &View, key: &u32, rows: &Rows<u32>| {
            let mut sum =
                rows.iter().enumerate().fold(*key, |sum, (i, row)| sum.wrapping_mul(31) + (i as u32 + 1) * **row);
            for (table, by) in &reads {
                let wanted = sum.wrapping_mul(*by) % 17;
                sum = sum.wrapping_mul(7) + u32::from(view.contains(table, &wanted));
                sum += view.get(table, &(wanted + 1)).map_or(3, |row| *row);
                sum = view.rows(table, &(wanted + 2)).iter().fold(sum, |sum, row| sum.wrapping_mul(5) + **row);
            }
            (0..sum % (fanout + 1)).map(|i| ((key + i * 3) % keys, (sum / 7 + i) % values)).collect()
        }));
    }
    let outputs = tables.iter().map(|table| engine.output(table)).collect();
    Graph { engine, inputs, outputs }
}

impl Graph {
    fn apply(&mut self, step: &Step, mirrors: &mut [Mirror]) {
        let mut batch = Batch::new();
        for (input, key, value) in step {
            match value {
                Some(value) => batch.set(&self.inputs[*input], *key, *value),
                None => batch.remove(&self.inputs[*input], *key),
            }
        }
        let changes = self.engine.commit(batch);
        for (output, mirror) in self.outputs.iter().zip(mirrors) {
            let mut last = None;
            for (key, rows) in changes.of(output) {
                assert!(last < Some(*key), "changes are in order, each key once");
                last = Some(*key);
                let rows: Vec<u32> = rows.iter().map(|row| **row).collect();
                let before = match rows.is_empty() {
                    true => mirror.remove(key),
                    false => mirror.insert(*key, rows.clone()),
                };
                assert_ne!(before.unwrap_or_default(), rows, "what is returned did change");
            }
        }
    }

    fn tables(&self) -> Vec<Mirror> {
        let rows = |rows: Rows<u32>| rows.into_iter().map(|row: Arc<u32>| *row).collect();
        self.outputs.iter().map(|table| self.engine.iter(table).map(|(key, all)| (*key, rows(all))).collect()).collect()
    }

    fn counts(&self) -> Vec<Counts> {
        self.engine.counts().into_iter().map(|(_, counts)| Counts { computed: 0, ..counts }).collect()
    }
}

fn check(specs: &[Spec], steps: &[Step]) {
    let mut graphs = [1, 2, 4].map(|threads| build(specs, threads));
    let mut mirrors = vec![vec![Mirror::new(); INPUTS + specs.len()]; graphs.len()];
    let mut inputs = vec![BTreeMap::new(); INPUTS];
    for step in steps {
        for (input, key, value) in step {
            match value {
                Some(value) => inputs[*input].insert(*key, *value),
                None => inputs[*input].remove(key),
            };
        }
        let mut fresh = build(specs, 1);
        let everything: Step = (0..INPUTS)
            .flat_map(|input| inputs[input].iter().map(move |(key, value)| (input, *key, Some(*value))))
            .collect();
        fresh.apply(&everything, &mut vec![Mirror::new(); INPUTS + specs.len()]);
        for (graph, mirrors) in graphs.iter_mut().zip(&mut mirrors) {
            graph.apply(step, mirrors);
            assert_eq!(graph.tables(), fresh.tables());
            assert_eq!(&graph.tables(), mirrors);
            assert_eq!(graph.counts(), fresh.counts());
        }
    }
    for (graph, mirrors) in graphs.iter_mut().zip(&mut mirrors) {
        let nothing: Step =
            (0..INPUTS).flat_map(|input| inputs[input].keys().map(move |key| (input, *key, None))).collect();
        graph.apply(&nothing, mirrors);
        assert!(graph.counts().iter().all(|counts| *counts == Counts::default()), "{:?}", graph.engine.counts());
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let union = prop_oneof![4 => Just(vec![]), 1 => vec(any::<usize>(), 1..3)];
    (any::<usize>(), vec((any::<usize>(), 0..5u32), 0..3), 0..4u32, 1..24u32, 1..6u32, union)
        .prop_map(|(over, reads, fanout, keys, values, union)| Spec { over, reads, fanout, keys, values, union })
}

fn step(keys: u32, edits: usize) -> impl Strategy<Value = Step> {
    vec((0..INPUTS, 0..keys, prop_oneof![3 => (0..5u32).prop_map(Some), 2 => Just(None)]), 0..edits)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_is_from_scratch(specs in vec(spec(), 1..7), steps in vec(step(20, 8), 1..10)) {
        check(&specs, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Enough dirty rows in one table for threads to take part.
    #[test]
    fn threads_do_not_show(specs in vec(spec(), 1..5), steps in vec(step(400, 500), 1..4)) {
        check(&specs, &steps);
    }
}
