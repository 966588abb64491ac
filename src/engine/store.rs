//! The rows of one table by interned key.

use crate::{
    Key, Value,
    edges::{Node, Readers},
    few::reserve,
    rows::{Repr, Rows, same},
};
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::{any::Any, cmp::Ordering, hash::BuildHasher, ops::Range, sync::Arc};

/// Keys, their rows and their readers. A key has a small integer as long as it has rows or readers.
pub(crate) struct Store<K, V> {
    /// The table's, for people.
    name: &'static str,
    /// Ids by hash of the key; the key itself stands once, in its slot.
    ids: HashTable<u32>,
    slots: Vec<Option<Slot<K, V>>>,
    free: Vec<u32>,
    /// Ids whose rows changed since the changes were last reported.
    changed: Vec<u32>,
    /// Ids that may have lost their last row and last reader.
    idle: Vec<u32>,
    /// Whether somebody wants to know the changes.
    reported: bool,
}

struct Slot<K, V> {
    key: K,
    cell: Cell<V>,
    readers: Readers,
}

/// The rows of a key with the producer of each. An input's rows have the producer 0.
pub(crate) enum Cell<V> {
    Empty,
    One { producer: u32, row: Arc<V> },
    Many(Box<Many<V>>),
}

/// Two rows or more; both have the same length.
pub(crate) struct Many<V> {
    rows: Arc<Vec<Arc<V>>>,
    producers: Vec<u32>,
}

/// What can be done to a store without knowing its types.
pub(crate) trait AnyStore: Any {
    fn name(&self) -> &'static str;
    /// The id of a key, which is a `K`, made if it has none yet.
    fn intern_any(&mut self, key: Box<dyn Any + Send>) -> u32;
    fn add_reader(&mut self, id: u32, reader: Node);
    fn remove_reader(&mut self, id: u32, reader: Node);
    fn for_each_reader(&self, id: u32, f: &mut dyn FnMut(Node));
    /// Forgets keys that have neither rows nor readers.
    fn sweep(&mut self);
    /// Starts to report changes.
    fn report(&mut self);
    /// The changes since last asked, as `Vec<(K, Rows<V>)>` sorted by key; none if nobody wants them.
    fn take_changes(&mut self) -> Option<Box<dyn Any + Send + Sync>>;
    fn counts(&self) -> StoreCounts;
}

/// How much a store holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct StoreCounts {
    pub(crate) keys: usize,
    pub(crate) rows: usize,
    pub(crate) edges: usize,
}

impl<V> Cell<V> {
    pub(crate) fn rows(&self) -> Rows<V> {
        Rows(match self {
            Self::Empty => Repr::Empty,
            Self::One { row, .. } => Repr::One(row.clone()),
            Self::Many(many) => Repr::Many(many.rows.clone()),
        })
    }

    pub(crate) fn as_slice(&self) -> &[Arc<V>] {
        match self {
            Self::Empty => &[],
            Self::One { row, .. } => std::slice::from_ref(row),
            Self::Many(many) => &many.rows,
        }
    }

    pub(crate) fn producers(&self) -> &[u32] {
        match self {
            Self::Empty => &[],
            Self::One { producer, .. } => std::slice::from_ref(producer),
            Self::Many(many) => &many.producers,
        }
    }

    fn new(mut producers: Vec<u32>, mut rows: Vec<Arc<V>>) -> Self {
        match (rows.len(), rows.pop(), producers.pop()) {
            (1, Some(row), Some(producer)) => Self::One { producer, row },
            (_, Some(row), Some(producer)) => {
                rows.push(row);
                producers.push(producer);
                Self::Many(Box::new(Many { rows: Arc::new(rows), producers }))
            }
            _ => Self::Empty,
        }
    }

    /// Where the rows of a producer stand, or would stand, by the order of its key against those of others.
    pub(crate) fn range(&self, order: impl Fn(u32) -> Ordering) -> Range<usize> {
        let producers = self.producers();
        let start = producers.partition_point(|&other| order(other).is_lt());
        start..start + producers[start..].partition_point(|&other| order(other).is_eq())
    }

    fn splice(&mut self, range: Range<usize>, producer: u32, new: Vec<Arc<V>>) {
        let kept = self.producers().len() - range.len();
        match self {
            Self::Many(many) if kept + new.len() > 1 => {
                many.producers.splice(range.clone(), std::iter::repeat_n(producer, new.len()));
                Arc::make_mut(&mut many.rows).splice(range, new);
            }
            _ if kept == 0 => *self = Self::new(vec![producer; new.len()], new),
            _ => {
                let (mut producers, mut rows) = (self.producers().to_vec(), self.as_slice().to_vec());
                producers.splice(range.clone(), std::iter::repeat_n(producer, new.len()));
                rows.splice(range, new);
                *self = Self::new(producers, rows);
            }
        }
    }

    /// The rows stay, but they may come from elsewhere.
    fn replace_producers(&mut self, new: Vec<u32>) {
        match self {
            Self::Empty => {}
            Self::One { producer, .. } => *producer = new.first().copied().unwrap_or_default(),
            Self::Many(many) => many.producers = new,
        }
    }
}

fn hash_of<K: Key>(key: &K) -> u64 {
    FxBuildHasher.hash_one(key)
}

impl<K: Key, V: Value> Store<K, V> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            ids: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            idle: Vec::new(),
            reported: false,
        }
    }

    fn slot(&self, id: u32) -> &Slot<K, V> {
        self.slots[id as usize].as_ref().expect("an id in use: it has rows, readers, or was just interned")
    }

    fn slot_mut(&mut self, id: u32) -> &mut Slot<K, V> {
        self.slots[id as usize].as_mut().expect("an id in use: it has rows, readers, or was just interned")
    }

    pub(crate) fn key(&self, id: u32) -> &K {
        &self.slot(id).key
    }

    pub(crate) fn cell(&self, id: u32) -> &Cell<V> {
        &self.slot(id).cell
    }

    pub(crate) fn id(&self, key: &K) -> Option<u32> {
        self.ids.find(hash_of(key), |&id| self.key(id) == key).copied()
    }

    pub(crate) fn intern(&mut self, key: K) -> u32 {
        if let Some(id) = self.id(&key) {
            return id;
        }
        let hash = hash_of(&key);
        let slot = Some(Slot { key, cell: Cell::Empty, readers: Readers::NONE });
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                reserve(&mut self.slots);
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 keys in a table")
            }
        };
        let slots = &self.slots;
        self.ids.insert_unique(hash, id, |&id| slots[id as usize].as_ref().map_or(0, |slot| hash_of(&slot.key)));
        id
    }

    /// Replaces the rows of a key; says whether they differ from those before.
    pub(crate) fn set(&mut self, id: u32, producers: Vec<u32>, rows: Vec<Arc<V>>) -> bool {
        let slot = self.slot_mut(id);
        if same(slot.cell.as_slice(), &rows) {
            slot.cell.replace_producers(producers);
            return false;
        }
        slot.cell = Cell::new(producers, rows);
        self.note(id);
        true
    }

    /// Replaces the rows in a range, which are all rows of one producer, by others of it that differ.
    pub(crate) fn splice(&mut self, id: u32, range: Range<usize>, producer: u32, rows: Vec<Arc<V>>) {
        self.slot_mut(id).cell.splice(range, producer, rows);
        self.note(id);
    }

    /// The rows of a key changed.
    fn note(&mut self, id: u32) {
        if matches!(self.slot(id).cell, Cell::Empty) {
            self.idle.push(id);
        }
        if self.reported {
            self.changed.push(id);
        }
    }

    /// The ids of all keys with rows.
    pub(crate) fn live(&self) -> impl Iterator<Item = u32> {
        let has_rows = |slot: &Slot<K, V>| !matches!(slot.cell, Cell::Empty);
        (0u32..).zip(&self.slots).filter(move |(_, slot)| slot.as_ref().is_some_and(has_rows)).map(|(id, _)| id)
    }

    /// All keys with rows, sorted.
    pub(crate) fn sorted(&self) -> Vec<(&K, Rows<V>)> {
        let mut all: Vec<_> = self.slots.iter().flatten().filter(|slot| !slot.cell.as_slice().is_empty()).collect();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all.into_iter().map(|slot| (&slot.key, slot.cell.rows())).collect()
    }

    fn forget(&mut self, id: u32) {
        let Some(slot) = self.slots[id as usize].take_if(|slot| slot.is_idle()) else { return };
        if let Ok(entry) = self.ids.find_entry(hash_of(&slot.key), |&other| other == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    /// Gives memory back once three quarters of it are unused. Slots can't move, but trailing ones can go.
    fn shrink(&mut self) {
        if self.slots.len() < 64 || self.ids.len() * 4 > self.slots.len() {
            return;
        }
        let used = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        if used * 2 <= self.slots.len() {
            self.slots.truncate(used);
            self.slots.shrink_to_fit();
            self.free.retain(|&id| (id as usize) < used);
            self.free.shrink_to_fit();
            let slots = &self.slots;
            self.ids.shrink_to_fit(|&id| slots[id as usize].as_ref().map_or(0, |slot| hash_of(&slot.key)));
        }
    }
}

impl<K, V> Slot<K, V> {
    fn is_idle(&self) -> bool {
        matches!(self.cell, Cell::Empty) && self.readers.is_empty()
    }
}

impl<K: Key, V: Value> AnyStore for Store<K, V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn intern_any(&mut self, key: Box<dyn Any + Send>) -> u32 {
        let key = key.downcast::<K>().expect("a view reads a table by its own type of key");
        self.intern(*key)
    }

    fn add_reader(&mut self, id: u32, reader: Node) {
        self.slot_mut(id).readers.insert(reader);
    }

    fn remove_reader(&mut self, id: u32, reader: Node) {
        let slot = self.slot_mut(id);
        slot.readers.remove(reader);
        if slot.is_idle() {
            self.idle.push(id);
        }
    }

    fn for_each_reader(&self, id: u32, f: &mut dyn FnMut(Node)) {
        self.slot(id).readers.for_each(f);
    }

    fn sweep(&mut self) {
        if self.idle.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.idle) {
            self.forget(id);
        }
        self.shrink();
    }

    fn report(&mut self) {
        self.reported = true;
        self.changed = self.live().collect();
    }

    fn take_changes(&mut self) -> Option<Box<dyn Any + Send + Sync>> {
        if !self.reported || self.changed.is_empty() {
            return None;
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let mut rows: Vec<(K, Rows<V>)> =
            changed.into_iter().map(|id| self.slot(id)).map(|slot| (slot.key.clone(), slot.cell.rows())).collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Some(Box::new(rows))
    }

    fn counts(&self) -> StoreCounts {
        let used = || self.slots.iter().flatten();
        StoreCounts {
            keys: self.ids.len(),
            rows: used().map(|slot| slot.cell.as_slice().len()).sum(),
            edges: used().map(|slot| slot.readers.len()).sum(),
        }
    }
}
