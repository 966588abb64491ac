//! Whole route configurations for clients that want them, put together from shells and virtual hosts.

use crate::snapshot::{Entry, Published, Snapshot};
use proto::{Resource, TypeUrl, assemble};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The route configurations of one scope.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    shells: BTreeMap<Arc<str>, Resource>,
    /// What has changed since they were put together.
    changed: BTreeSet<Arc<str>>,
    assembled: Published,
    last: Arc<Snapshot>,
}

impl Routes {
    /// Notes a change before it is published. Returns the resource as clients that subscribe to virtual hosts get it.
    pub(crate) fn note(&mut self, type_url: TypeUrl, name: &Arc<str>, to: Option<Resource>) -> Option<Resource> {
        match type_url {
            TypeUrl::Route => {
                self.changed.insert(name.clone());
                match to {
                    None => {
                        self.shells.remove(name);
                        None
                    }
                    Some(shell) => {
                        let discovered = Resource::from_bytes(assemble::vhds(&shell.body));
                        self.shells.insert(name.clone(), shell);
                        Some(discovered)
                    }
                }
            }
            TypeUrl::VirtualHost => {
                if let Some(route) = assemble::route_of(name)
                    && !self.changed.contains(route)
                {
                    self.changed.insert(route.into());
                }
                to
            }
            _ => to,
        }
    }

    /// The snapshot with whole route configurations and no virtual hosts; only what has changed is put together.
    pub(crate) fn assemble(&mut self, newest: &Snapshot) -> Arc<Snapshot> {
        if self.last.generation != newest.generation {
            for name in std::mem::take(&mut self.changed) {
                let whole = self.shells.get(&name).map(|shell| {
                    let hosts = hosts_of(newest, &name);
                    Resource::from_bytes(assemble::full(&shell.body, hosts.iter().map(|host| &host.resource.body)))
                });
                self.assembled.set(newest.generation, name, whole);
            }
            let snapshot = newest.with(TypeUrl::VirtualHost, Published::default());
            self.last = Arc::new(snapshot.with(TypeUrl::Route, self.assembled.clone()));
        }
        self.last.clone()
    }
}

fn hosts_of<'a>(snapshot: &'a Snapshot, route: &str) -> Vec<&'a Arc<Entry>> {
    let prefix: Arc<str> = format!("{route}/").into();
    let from_here = snapshot.table(TypeUrl::VirtualHost).range(prefix.clone()..);
    let hosts = from_here.take_while(|(name, _)| name.starts_with(&*prefix)).filter_map(|(_, slot)| slot.entry());
    hosts.filter(|host| assemble::route_of(&host.name) == Some(route)).collect()
}
