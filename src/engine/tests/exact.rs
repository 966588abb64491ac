//! What is computed again: what read the change, once, and nothing else.

use engine::{Batch, Engine, Input, Rows, Table, View};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

fn computed(engine: &Engine) -> BTreeMap<&'static str, u64> {
    engine.counts().into_iter().map(|(name, counts)| (name, counts.computed)).collect()
}

/// What a commit computes, by table.
fn work(engine: &mut Engine, batch: Batch) -> BTreeMap<&'static str, u64> {
    let before = computed(engine);
    engine.commit(batch);
    computed(engine).into_iter().map(|(name, after)| (name, after - before[name])).filter(|(_, n)| *n > 0).collect()
}

fn edit<K: engine::Key, V: engine::Value>(input: &Input<K, V>, key: K, value: Option<V>) -> Batch {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.set(input, key, value),
        None => batch.remove(input, key),
    }
    batch
}

/// 10,000 routes of 100 hosts each read the cluster of their own number and one thing that they all share.
struct World {
    engine: Engine,
    routes: Input<u32, u32>,
    clusters: Input<u32, u32>,
    shared: Input<(), u32>,
    hosts: Table<u32, u32>,
}

const ROUTES: u32 = 10_000;

fn world() -> World {
    let mut engine = Engine::new();
    let routes = engine.input::<u32, u32>("routes");
    let clusters = engine.input::<u32, u32>("clusters");
    let shared = engine.input::<(), u32>("shared");
    let fragments = engine.derive("fragments", &routes, move |view: &View, key: &u32, rows: &Rows<u32>| {
        let cluster = view.get(&clusters, key).map_or(0, |cluster| *cluster);
        let shared = view.get(&shared, &()).map_or(0, |shared| *shared);
        vec![(key % 100, *rows[0] + cluster / 10 + shared)]
    });
    let hosts = engine.derive("hosts", &fragments, |_: &View, host: &u32, rows: &Rows<u32>| {
        vec![(*host, rows.iter().map(|row| **row).sum())]
    });
    let mut batch = Batch::new();
    for i in 0..ROUTES {
        batch.set(&routes, i, 1);
        batch.set(&clusters, i, 10);
    }
    batch.set(&shared, (), 0);
    engine.commit(batch);
    World { engine, routes, clusters, shared, hosts }
}

#[test]
fn one_edit_of_ten_thousand_computes_its_readers_only() {
    let World { mut engine, routes, clusters, shared, hosts } = world();
    assert_eq!(*engine.read(&hosts, &7)[0], 200);
    assert_eq!(work(&mut engine, edit(&routes, 107, Some(5))), [("fragments", 1), ("hosts", 1)].into());
    assert_eq!(*engine.read(&hosts, &7)[0], 204);
    assert_eq!(work(&mut engine, edit(&clusters, 107, Some(20))), [("fragments", 1), ("hosts", 1)].into());
    // Equal input, equal result, a key that nobody reads: the change stops there.
    assert_eq!(work(&mut engine, edit(&routes, 107, Some(5))), [].into());
    assert_eq!(work(&mut engine, edit(&clusters, 107, Some(21))), [("fragments", 1)].into());
    assert_eq!(work(&mut engine, edit(&clusters, ROUTES + 1, Some(1))), [].into());
    // A key that was read while it was absent.
    assert_eq!(work(&mut engine, edit(&routes, ROUTES, Some(1))), [("fragments", 1), ("hosts", 1)].into());
    assert_eq!(work(&mut engine, edit(&clusters, ROUTES, Some(10))), [("fragments", 1), ("hosts", 1)].into());
    assert_eq!(work(&mut engine, edit(&clusters, ROUTES, None)), [("fragments", 1), ("hosts", 1)].into());
    // What all read makes all of them dirty, each once.
    let all = u64::from(ROUTES) + 1;
    assert_eq!(work(&mut engine, edit(&shared, (), Some(1))), [("fragments", all), ("hosts", 100)].into());
}

#[test]
fn what_is_deleted_leaves_nothing_behind() {
    let World { mut engine, routes, clusters, shared, .. } = world();
    for i in 0..ROUTES {
        engine.commit(edit(&routes, i, None));
    }
    let mut batch = Batch::new();
    (0..ROUTES).for_each(|i| batch.remove(&clusters, i));
    batch.remove(&shared, ());
    engine.commit(batch);
    for (name, counts) in engine.counts() {
        assert_eq!((counts.keys, counts.rows, counts.edges, counts.producers), (0, 0, 0, 0), "{name}");
    }
}

/// Compares two rows by looking at them, and counts how often that is done.
struct Counted(u32, Arc<AtomicU64>);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.1.fetch_add(1, Relaxed);
        self.0 == other.0
    }
}

#[test]
fn a_key_with_ten_thousand_producers_is_not_looked_through_row_by_row() {
    let looks = Arc::new(AtomicU64::new(0));
    let mut engine = Engine::new();
    let routes = engine.input::<u32, u32>("routes");
    let group = engine.derive("group", &routes, {
        let looks = looks.clone();
        move |_: &View, _: &u32, rows: &Rows<u32>| vec![((), Counted(*rows[0], looks.clone()))]
    });
    let count = engine.derive("count", &group, |_: &View, _: &(), rows: &Rows<Counted>| vec![((), rows.len())]);
    let mut batch = Batch::new();
    (0..ROUTES).for_each(|i| batch.set(&routes, i, 0));
    engine.commit(batch);
    assert_eq!(*engine.read(&count, &())[0], ROUTES as usize);
    looks.store(0, Relaxed);
    // Rows that stay are shared, so that only the row that was computed is compared by value.
    assert_eq!(work(&mut engine, edit(&routes, 77, Some(1))), [("group", 1), ("count", 1)].into());
    assert_eq!(work(&mut engine, edit(&routes, 78, None)), [("group", 1), ("count", 1)].into());
    assert_eq!(*engine.read(&count, &())[0], ROUTES as usize - 1);
    assert!(looks.load(Relaxed) <= 4, "{looks:?}");
}

#[test]
fn rows_come_in_the_order_of_their_producers() {
    let mut engine = Engine::new();
    let input = engine.input::<&'static str, Vec<u32>>("input");
    let all = engine.derive("all", &input, |_: &View, key: &&'static str, rows: &Rows<Vec<u32>>| {
        rows[0].iter().map(|n| ((), format!("{key}{n}"))).collect()
    });
    for (key, numbers) in [("c", vec![2, 1]), ("a", vec![9]), ("b", vec![]), ("b", vec![3, 3]), ("a", vec![7, 8])] {
        engine.commit(edit(&input, key, Some(numbers)));
    }
    let rows: Vec<_> = engine.read(&all, &()).into_iter().map(|row| row.to_string()).collect();
    assert_eq!(rows, ["a7", "a8", "b3", "b3", "c2", "c1"]);
}

#[test]
fn a_table_declared_later_has_everything_after_the_next_commit() {
    let World { mut engine, hosts, .. } = world();
    let copy = engine.derive("copy", &hosts, |_: &View, host: &u32, rows: &Rows<u32>| vec![(*host, *rows[0])]);
    let out = engine.output(&copy);
    assert_eq!(engine.commit(Batch::new()).of(&out).count(), 100);
    assert!(engine.commit(Batch::new()).is_empty());
}

#[test]
fn a_panic_comes_out_and_the_next_commit_takes_up_the_work() {
    for threads in [1, 4] {
        let mut engine = Engine::with_threads(threads);
        let input = engine.input::<u32, u32>("input");
        let broken = Arc::new(AtomicBool::new(true));
        let doubled = engine.derive("doubled", &input, {
            let broken = broken.clone();
            move |_: &View, key: &u32, rows: &Rows<u32>| {
                assert!(*key != 200 || !broken.load(Relaxed), "no luck with 200");
                vec![(*key, *rows[0] * 2)]
            }
        });
        let out = engine.output(&doubled);
        let mut batch = Batch::new();
        (0..300).for_each(|i| batch.set(&input, i, i));
        assert!(catch_unwind(AssertUnwindSafe(|| engine.commit(batch))).is_err());
        broken.store(false, Relaxed);
        assert_eq!(engine.commit(edit(&input, 0, None)).of(&out).count(), 299);
        assert_eq!(*engine.read(&doubled, &200)[0], 400);
    }
}
