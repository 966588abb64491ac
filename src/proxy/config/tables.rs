//! Route tables as they are put together from two types of resources: RDS has the table, VHDS its virtual hosts.
//!
//! A virtual host is named `<table>/<host>`. One that changes costs O(log n) however many the table has. One whose table
//! has not come yet is kept.

use super::{Map, Name, RouteTable, VirtualHost};
use crate::route::HostConflict;
use proto::assemble::route_of;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use xds::client::Refusal;

/// What has been received of tables and virtual hosts.
#[derive(Default)]
pub(super) struct Tables {
    hosts: HashMap<Name, Arc<VirtualHost>>,
    /// Resource names by table, for tables that come later or anew.
    by_table: HashMap<Name, BTreeSet<Name>>,
    /// Tables whose virtual hosts come by VHDS.
    by_vhds: HashSet<Name>,
}

impl Tables {
    pub(super) fn is_by_vhds(&self, table: &Name) -> bool {
        self.by_vhds.contains(table)
    }

    pub(super) fn any_by_vhds(&self) -> bool {
        !self.by_vhds.is_empty()
    }

    /// A table has come. Its virtual hosts that came by VHDS go into it.
    pub(super) fn set_table(&mut self, name: &Name, mut table: RouteTable, vhds: bool, out: &mut Map<Arc<RouteTable>>) {
        if vhds {
            self.by_vhds.insert(name.clone());
            for resource in self.by_table.get(name).into_iter().flatten() {
                if let Some(Err(conflict)) = self.hosts.get(resource).map(|host| table.insert(host)) {
                    tracing::warn!(table = %name, virtual_host = %resource, %conflict, "virtual host is left out");
                }
            }
        } else {
            self.by_vhds.remove(name);
        }
        out.insert(name.clone(), Arc::new(table));
    }

    pub(super) fn remove_table(&mut self, name: &Name, out: &mut Map<Arc<RouteTable>>) {
        self.by_vhds.remove(name);
        out.remove(name);
    }

    pub(super) fn remove_host(&mut self, resource: &Name, out: &mut Map<Arc<RouteTable>>) {
        let Some(table) = route_of(resource) else { return };
        if let Some(resources) = self.by_table.get_mut(table) {
            resources.remove(resource);
            if resources.is_empty() {
                self.by_table.remove(table);
            }
        }
        if let Some(host) = self.hosts.remove(resource) {
            self.edit(table, out, |table| table.remove(&host));
        }
    }

    /// Virtual hosts have come, all those of one response: a domain may move from one of them to another. Those that
    /// claim a domain of a virtual host that stays are refused, and their versions before stay.
    pub(super) fn set_hosts(
        &mut self,
        hosts: Vec<(Name, Arc<VirtualHost>)>,
        out: &mut Map<Arc<RouteTable>>,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut by_table: HashMap<Name, Vec<(Name, Arc<VirtualHost>)>> = HashMap::new();
        for (resource, host) in hosts {
            match route_of(&resource) {
                Some(table) => by_table.entry(table.into()).or_default().push((resource, host)),
                None => refusals
                    .push(Refusal { name: resource, error: "name: wanted <route configuration>/<host>".to_owned() }),
            }
        }
        for (table, hosts) in by_table {
            let olds: Vec<_> = hosts.iter().map(|(resource, _)| self.hosts.get(resource).cloned()).collect();
            let mut conflicts: Vec<Option<HostConflict>> = vec![None; hosts.len()];
            self.edit(&table, out, |table| {
                olds.iter().flatten().for_each(|old| table.remove(old));
                for ((_, host), conflict) in hosts.iter().zip(&mut conflicts) {
                    *conflict = table.insert(host).err();
                }
                for (old, conflict) in olds.iter().zip(&conflicts) {
                    if let (Some(old), Some(_)) = (old, conflict) {
                        // Its domains may have gone to a good newcomer; then the newcomer keeps them.
                        let _ = table.insert(old);
                    }
                }
            });
            for ((resource, host), conflict) in hosts.into_iter().zip(conflicts) {
                match conflict {
                    Some(conflict) => refusals.push(Refusal { name: resource, error: format!("domains: {conflict}") }),
                    None => {
                        self.by_table.entry(table.clone()).or_default().insert(resource.clone());
                        self.hosts.insert(resource, host);
                    }
                }
            }
        }
        refusals
    }

    /// Changes a table in force that gets its hosts by VHDS; nothing if there is none yet.
    fn edit(&self, table: &str, out: &mut Map<Arc<RouteTable>>, change: impl FnOnce(&mut RouteTable)) {
        if self.by_vhds.contains(table)
            && let Some(table) = out.get_mut(table)
        {
            change(Arc::make_mut(table));
        }
    }
}
