//! What one scope's clients should have: immutable, shared, equal parts of successive snapshots shared.

use imbl::OrdMap;
use proto::{Resource, TypeUrl};
use std::sync::Arc;

/// One published resource.
#[derive(Debug)]
pub struct Entry {
    /// Unique within its type.
    pub name: Arc<str>,
    /// The encoded resource.
    pub resource: Resource,
    /// The generation that brought this version.
    pub generation: u64,
}

/// What a stream holds under a name, or a snapshot publishes.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// Exactly this entry.
    Known(Arc<Entry>),
    /// The client may hold something else; the last entry that it surely held, if any.
    Unsure(Option<Arc<Entry>>),
}

impl Slot {
    /// The entry, for what a snapshot publishes.
    pub(crate) fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Slot::Known(entry) => Some(entry),
            Slot::Unsure(entry) => entry.as_ref(),
        }
    }
}

/// Equal means: nothing needs to be sent.
impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Slot::Known(a), Slot::Known(b)) => Arc::ptr_eq(a, b) || a.resource.version == b.resource.version,
            _ => false,
        }
    }
}

/// The resources of one type, by name.
pub(crate) type Table = OrdMap<Arc<str>, Slot>;

/// What one scope's clients should have, of every type, at one generation.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The last generation that changed this scope; 0 before the first.
    pub generation: u64,
    pub(crate) tables: [Table; TypeUrl::ALL.len()],
}

impl Snapshot {
    /// The resources of a type in the order of their names.
    pub fn resources(&self, type_url: TypeUrl) -> impl Iterator<Item = &Arc<Entry>> {
        self.table(type_url).values().filter_map(Slot::entry)
    }

    /// One resource.
    pub fn get(&self, type_url: TypeUrl, name: &str) -> Option<&Arc<Entry>> {
        self.table(type_url).get(name).and_then(Slot::entry)
    }

    /// How many resources of a type there are.
    pub fn len(&self, type_url: TypeUrl) -> usize {
        self.table(type_url).len()
    }

    /// Whether there is no resource at all.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(OrdMap::is_empty)
    }

    pub(crate) fn table(&self, type_url: TypeUrl) -> &Table {
        &self.tables[type_url as usize]
    }

    pub(crate) fn table_mut(&mut self, type_url: TypeUrl) -> &mut Table {
        &mut self.tables[type_url as usize]
    }

    /// Makes one change of a generation; says whether it is one.
    pub(crate) fn set(&mut self, generation: u64, type_url: TypeUrl, name: Arc<str>, to: Option<Resource>) -> bool {
        let table = self.table_mut(type_url);
        let Some(resource) = to else { return table.remove(&name).is_some() };
        if table.get(&name).and_then(Slot::entry).is_some_and(|entry| entry.resource.version == resource.version) {
            return false;
        }
        table.insert(name.clone(), Slot::Known(Arc::new(Entry { name, resource, generation })));
        true
    }
}
