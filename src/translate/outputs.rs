//! What translation declares, and how its changes are read.

use engine::{Changes, Engine, Output, Rows};
use proto::{Resource, ResourceKey};
use std::sync::Arc;

/// The tables of Envoy resources, one for each type, in the order of make before break.
#[derive(Clone)]
pub struct Outputs {
    pub(crate) tables: [Output<ResourceKey, Resource>; 7],
}

impl Outputs {
    /// The resources that a commit changed, by type in the order of make before break, then by key. None: it is gone.
    pub fn changes<'a>(&self, changes: &'a Changes) -> impl Iterator<Item = (&'a ResourceKey, Option<Arc<Resource>>)> {
        self.tables.into_iter().flat_map(move |table| changes.of(&table)).map(first)
    }

    /// All resources, in the same order.
    pub fn all<'a>(&self, engine: &'a Engine) -> impl Iterator<Item = (&'a ResourceKey, Arc<Resource>)> {
        let rows = self.tables.into_iter().flat_map(move |table| engine.iter(&table));
        rows.map(first).filter_map(|(key, resource)| Some((key, resource?)))
    }
}

fn first((key, rows): (&ResourceKey, Rows<Resource>)) -> (&ResourceKey, Option<Arc<Resource>>) {
    (key, rows.first().cloned())
}
