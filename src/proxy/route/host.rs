//! Virtual hosts by domain: whole names by hash, wildcards by the longest fixed part.

use crate::config::{Map, Name, RouteTable, VirtualHost};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Two virtual hosts of one table claim the same domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConflict {
    /// The domain.
    pub domain: Name,
    /// Who has it.
    pub holder: Name,
}

impl fmt::Display for HostConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain {:?} belongs to virtual host {:?}", self.domain, self.holder)
    }
}

/// The four kinds of domains, most specific first.
enum Domain<'a> {
    Exact(&'a str),
    Suffix(&'a str),
    Prefix(&'a str),
    Any,
}

impl<'a> Domain<'a> {
    fn of(domain: &'a str) -> Self {
        match (domain, domain.strip_prefix('*'), domain.strip_suffix('*')) {
            ("*", ..) => Domain::Any,
            (_, Some(suffix), _) => Domain::Suffix(suffix),
            (_, _, Some(prefix)) => Domain::Prefix(prefix),
            _ => Domain::Exact(domain),
        }
    }
}

impl RouteTable {
    /// The virtual host for a host in lower case: exact, longest suffix, longest prefix, `*`, in this order. A wildcard
    /// stands for one character at least.
    pub fn virtual_host(&self, host: &str) -> Option<&Arc<VirtualHost>> {
        let host = if self.ignore_port { without_port(host) } else { host };
        if let Some(found) = self.exact.get(host) {
            return Some(found);
        }
        for (&length, _) in self.suffix_lengths.range(..host.len()).rev() {
            if let Some(found) = host.get(host.len() - length..).and_then(|suffix| self.suffixes.get(suffix)) {
                return Some(found);
            }
        }
        for (&length, _) in self.prefix_lengths.range(..host.len()).rev() {
            if let Some(found) = host.get(..length).and_then(|prefix| self.prefixes.get(prefix)) {
                return Some(found);
            }
        }
        self.any.as_ref()
    }

    /// Adds a virtual host under all its domains, or leaves the table as it is. O(log n) for each domain.
    pub fn insert(&mut self, host: &Arc<VirtualHost>) -> Result<(), HostConflict> {
        for (index, domain) in host.domains.iter().enumerate() {
            if let Some(holder) = self.holder(domain) {
                return Err(HostConflict { domain: domain.clone(), holder: holder.name.clone() });
            }
            if host.domains[..index].contains(domain) {
                return Err(HostConflict { domain: domain.clone(), holder: host.name.clone() });
            }
        }
        for domain in &host.domains {
            match Domain::of(domain) {
                Domain::Any => self.any = Some(host.clone()),
                Domain::Exact(name) => drop(self.exact.insert(name.into(), host.clone())),
                Domain::Suffix(suffix) => put(&mut self.suffixes, &mut self.suffix_lengths, suffix, host),
                Domain::Prefix(prefix) => put(&mut self.prefixes, &mut self.prefix_lengths, prefix, host),
            }
        }
        Ok(())
    }

    /// Takes a virtual host out of all its domains.
    pub fn remove(&mut self, host: &VirtualHost) {
        for domain in &host.domains {
            if self.holder(domain).is_none_or(|holder| holder.name != host.name) {
                continue;
            }
            match Domain::of(domain) {
                Domain::Any => self.any = None,
                Domain::Exact(name) => drop(self.exact.remove(name)),
                Domain::Suffix(suffix) => take(&mut self.suffixes, &mut self.suffix_lengths, suffix),
                Domain::Prefix(prefix) => take(&mut self.prefixes, &mut self.prefix_lengths, prefix),
            }
        }
    }

    /// Whose domain this is.
    pub fn holder(&self, domain: &str) -> Option<&Arc<VirtualHost>> {
        match Domain::of(domain) {
            Domain::Any => self.any.as_ref(),
            Domain::Exact(name) => self.exact.get(name),
            Domain::Suffix(suffix) => self.suffixes.get(suffix),
            Domain::Prefix(prefix) => self.prefixes.get(prefix),
        }
    }
}

/// A host without its port; brackets of IPv6 literals stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // An IPv6 literal without brackets has no port.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

fn put(map: &mut Map<Arc<VirtualHost>>, lengths: &mut BTreeMap<usize, usize>, part: &str, host: &Arc<VirtualHost>) {
    map.insert(part.into(), host.clone());
    *lengths.entry(part.len()).or_default() += 1;
}

fn take(map: &mut Map<Arc<VirtualHost>>, lengths: &mut BTreeMap<usize, usize>, part: &str) {
    map.remove(part);
    if let Some(count) = lengths.get_mut(&part.len()) {
        *count -= 1;
        if *count == 0 {
            lengths.remove(&part.len());
        }
    }
}
