//! What one scope's clients should have: immutable, shared, equal parts of successive snapshots shared.

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use proto::{Resource, TypeUrl};
use std::sync::{Arc, Mutex, PoisonError, Weak};

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
    /// The client has refused a response with it, or holds what was never published. Never in a snapshot.
    Unsure {
        /// The last entry that it surely held.
        last: Option<Arc<Entry>>,
        /// Another version that it may have taken from what it refused as a whole.
        maybe: Option<u64>,
    },
}

impl Slot {
    /// The entry that is, or surely was, held.
    pub(crate) fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Slot::Known(entry) => Some(entry),
            Slot::Unsure { last, .. } => last.as_ref(),
        }
    }

    /// Whether the client may hold anything at all.
    pub(crate) fn may_be_held(&self) -> bool {
        !matches!(self, Slot::Unsure { last: None, maybe: None })
    }

    /// What becomes of a slot when `sent` is refused together with other resources, or is `guilty` itself.
    pub(crate) fn refused(slot: Option<&Slot>, sent: &Entry, guilty: bool) -> Self {
        let version = sent.resource.version;
        let (last, maybe) = match slot {
            None => (None, None),
            Some(Slot::Known(last)) => (Some(last.clone()), None),
            Some(Slot::Unsure { last, maybe }) => (last.clone(), maybe.filter(|maybe| *maybe != version)),
        };
        Slot::Unsure { last, maybe: maybe.or((!guilty).then_some(version)) }
    }
}

/// Equal means: nothing needs to be sent.
impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Slot::Known(a), Slot::Known(b)) => Arc::ptr_eq(a, b) || a.resource.version == b.resource.version,
            // Only two states of the same stream hold such slots: nothing has been sent between them.
            (Slot::Unsure { .. }, Slot::Unsure { .. }) => true,
            _ => false,
        }
    }
}

/// The resources of one type, by name.
pub(crate) type Table = OrdMap<Arc<str>, Slot>;

/// Names of one type. Sets that were made of each other share what they have in common.
pub(crate) type Names = OrdSet<Arc<str>>;

/// The table of one type, and its encoded forms while somebody is sending them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    pub(crate) table: Table,
    /// The keys of the table, for streams that ask for each of them.
    pub(crate) names: Names,
    /// The last generation that changed the table.
    pub(crate) newest: u64,
    forms: Arc<Forms>,
}

/// The whole table as bytes of a response, one form for delta and one for state of the world.
#[derive(Debug, Default)]
struct Forms([Mutex<Weak<Vec<u8>>>; 2]);

impl Published {
    /// The resources in the order of their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.table.values().filter_map(Slot::entry)
    }

    /// One encoded form of the whole table, made by the first who asks and shared as long as anybody still sends it.
    pub(crate) fn form(&self, form: usize, encode: impl FnOnce() -> Vec<u8>) -> Bytes {
        struct Shared(Arc<Vec<u8>>);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let mut cached = self.forms.0[form].lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = cached.upgrade().unwrap_or_else(|| {
            let bytes = Arc::new(encode());
            *cached = Arc::downgrade(&bytes);
            bytes
        });
        Bytes::from_owner(Shared(bytes))
    }

    /// Makes one change of a generation; says whether it is one.
    pub(crate) fn set(&mut self, generation: u64, name: Arc<str>, to: Option<Resource>) -> bool {
        let changed = match to {
            None => {
                self.names.remove(&name);
                self.table.remove(&name).is_some()
            }
            Some(resource) if self.version(&name) == Some(resource.version) => false,
            Some(resource) => {
                if !self.table.contains_key(&name) {
                    self.names.insert(name.clone());
                }
                self.table.insert(name.clone(), Slot::Known(Arc::new(Entry { name, resource, generation })));
                true
            }
        };
        if changed {
            self.newest = generation;
            self.forms = Arc::default();
        }
        changed
    }

    fn version(&self, name: &str) -> Option<u64> {
        Some(self.table.get(name)?.entry()?.resource.version)
    }
}

/// What one scope's clients should have, of every type, at one generation.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The last generation that changed this scope; 0 before the first.
    pub generation: u64,
    /// When that was.
    pub(crate) published: Option<std::time::Instant>,
    types: [Published; TypeUrl::ALL.len()],
}

impl Snapshot {
    /// The resources of a type in the order of their names.
    pub fn resources(&self, type_url: TypeUrl) -> impl Iterator<Item = &Arc<Entry>> {
        self.published(type_url).entries()
    }

    /// One resource.
    pub fn get(&self, type_url: TypeUrl, name: &str) -> Option<&Arc<Entry>> {
        self.table(type_url).get(name).and_then(Slot::entry)
    }

    /// How many resources of a type there are.
    pub fn count(&self, type_url: TypeUrl) -> usize {
        self.table(type_url).len()
    }

    /// Whether there is no resource at all.
    pub fn is_empty(&self) -> bool {
        self.types.iter().all(|published| published.table.is_empty())
    }

    pub(crate) fn published(&self, type_url: TypeUrl) -> &Published {
        &self.types[type_url as usize]
    }

    pub(crate) fn table(&self, type_url: TypeUrl) -> &Table {
        &self.published(type_url).table
    }

    /// Makes one change of a generation; says whether it is one.
    pub(crate) fn set(&mut self, generation: u64, type_url: TypeUrl, name: Arc<str>, to: Option<Resource>) -> bool {
        self.types[type_url as usize].set(generation, name, to)
    }

    /// The same with another table of one type.
    pub(crate) fn with(&self, type_url: TypeUrl, published: Published) -> Self {
        let mut snapshot = self.clone();
        snapshot.types[type_url as usize] = published;
        snapshot
    }
}
